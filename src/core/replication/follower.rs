//! What a voter or learner does when a leader or candidate speaks to it.

use super::effect::{Effect, RpcId};
use super::entry::UnchainedEntry;
use super::message::{Append, EntryBatch, FenceAnswer, Response};
use super::replica::{Replica, Role};
use super::types::{Hash, NodeId, Now, Position};
use crate::domain::{Epoch, LogIndex, Timestamp};
use crate::planted::{Bug, planted};

impl Replica {
    /// A candidate asks for a promise. Granted unless this or a higher epoch was promised to another; answered once the
    /// promise and everything in the log are durable.
    ///
    /// A learner promises too: it may be a voter already and lag behind the entry that says so, and then the others
    /// cannot do without it. Whether the promise counts is for the candidate to say, by the store named in it.
    pub(super) fn on_fence(&mut self, now: Now, rpc: RpcId, from: &NodeId, epoch: Epoch, their_commit: LogIndex) {
        if !self.promise_allows(epoch, from) {
            self.effects.push(Effect::Respond { rpc, response: Response::Fenced { promised: self.promised_epoch() } });
            return;
        }
        self.accept_epoch(now, epoch, from, None);
        let answer = self.fence_answer(now, epoch, their_commit);
        let last = answer.last.index;
        self.respond_when_durable(rpc, Response::Promised(Box::new(answer)), epoch, last);
    }

    pub(super) fn fence_answer(&self, now: Now, epoch: Epoch, their_commit: LogIndex) -> FenceAnswer {
        FenceAnswer {
            epoch,
            store_id: self.store_id,
            last: self.log.last(),
            commit_index: self.commit_index,
            spans: self.log.spans_above(self.commit_index.min(their_commit)),
            clock: Timestamp(now.unix_ms),
        }
    }

    /// A candidate copies this node's log, or the end of it.
    pub(super) fn on_fetch(&mut self, rpc: RpcId, epoch: Epoch, from_index: LogIndex, to_index: LogIndex) {
        let promised = self.promised_epoch();
        let to_index = to_index.min(self.storage.durable_index());
        let effect = if epoch < promised {
            Effect::Respond { rpc, response: Response::Fenced { promised } }
        } else if from_index > to_index || from_index == LogIndex(0) {
            Effect::Respond { rpc, response: Response::Unable }
        } else {
            Effect::RespondEntries { rpc, from_index, to_index }
        };
        self.effects.push(effect);
    }

    /// Takes an epoch's side: promises it if it is new and follows its leader.
    fn accept_epoch(&mut self, now: Now, epoch: Epoch, from: &NodeId, leader: Option<&NodeId>) {
        let known =
            matches!(&self.role, Role::Follower(f) if epoch == self.promised_epoch() && f.leader.as_ref() == leader);
        if epoch > self.promised_epoch() {
            self.make_promise(epoch, from.clone());
        }
        if !known {
            self.become_follower(leader.cloned());
            if planted(Bug::TruncateToCommitIndex)
                && let Some(committed) = self.log.position(self.commit_index)
            {
                self.truncate(committed);
            }
            if leader.is_some() {
                self.end_yielding(now);
            }
        }
        self.last_heard_ms = Some(now.monotonic_ms);
        self.silence_confirmed_until_ms = 0;
        self.pre_vote = None;
    }

    /// The leader's word: promise its epoch, match the chains, store, follow its commit index.
    pub(super) fn on_append(&mut self, now: Now, rpc: RpcId, from: &NodeId, append: Append) {
        if !self.promise_allows(append.epoch, from) || *from == self.config.node_id {
            self.effects.push(Effect::Respond { rpc, response: Response::Fenced { promised: self.promised_epoch() } });
            return;
        }
        self.accept_epoch(now, append.epoch, from, Some(from));
        let brings_batch = append.log.is_some();
        if let Some(batch) = append.log {
            match self.store_batch(batch) {
                Ok(matched) => self.raise_matched(matched),
                Err(Refused::Mismatch { index }) => {
                    let response = Response::Mismatch {
                        round: append.round,
                        index,
                        epoch: self.log.epoch_at(index).expect("an index of this log"),
                        epoch_start: self.log.epoch_start_of(index),
                        store_id: self.store_id,
                    };
                    self.respond_when_durable(rpc, response, append.epoch, LogIndex(0));
                    return;
                }
                Err(Refused::Unable) => {
                    self.effects.push(Effect::Respond { rpc, response: Response::Unable });
                    return;
                }
            }
        }
        let matched = self.matched();
        let known = if planted(Bug::CommitBeyondMatched) { self.log.last().index } else { matched };
        self.commit_up_to(append.commit_index.min(known));
        if append.commit_index <= matched {
            self.compare_chain(append.commit_index, append.commit_hash);
        }
        if self.quarantine.is_some() {
            self.effects.push(Effect::Respond { rpc, response: Response::Unable });
            return;
        }
        self.confirmed_ms = Some(now.monotonic_ms);
        // A heartbeat does not wait for what is being written: the leader must hear of this node while its disk is slow.
        let matched = if brings_batch { matched } else { matched.min(self.storage.durable_index()) };
        let (round, clock) = (append.round, Timestamp(now.unix_ms));
        let response = Response::Appended { round, matched, store_id: self.store_id, clock };
        self.respond_when_durable(rpc, response, append.epoch, matched);
    }

    fn matched(&self) -> LogIndex {
        match &self.role {
            Role::Follower(follower) => follower.matched,
            Role::Candidate(_) | Role::Leader(_) => LogIndex(0),
        }
    }

    fn raise_matched(&mut self, matched: LogIndex) {
        if let Role::Follower(follower) = &mut self.role {
            follower.matched = follower.matched.max(matched);
        }
    }

    /// Stores what is new in a batch, after removing what contradicts it. Says up to where this log now equals the
    /// leader's.
    fn store_batch(&mut self, batch: EntryBatch) -> Result<LogIndex, Refused> {
        let EntryBatch { previous, entries } = batch;
        let last = self.log.last().index;
        if self.log.epoch_at(previous.index) != Some(previous.epoch) {
            return Err(Refused::Mismatch { index: previous.index.min(last) });
        }
        if self.log.position(previous.index).is_some_and(|own| own.hash != previous.hash) {
            self.enter_quarantine_over_chain(previous.index);
            return Err(Refused::Unable);
        }
        if !is_consecutive(&previous, &entries) {
            return Err(Refused::Unable);
        }
        let end = entries.last().map_or(previous.index, |entry| entry.index);
        let known = entries.iter().take_while(|entry| self.log.epoch_at(entry.index) == Some(entry.epoch)).count();
        if let Some(first) = entries.get(known)
            && first.index <= last
        {
            // The entry before the first conflict is equal to the leader's. It is in memory, unless it is the one at the
            // commit index with which this process started; then the leader is asked to begin right after it.
            let keep = first.index.previous();
            let place = if keep == previous.index { Some(previous) } else { self.log.position(keep) };
            let place = place.ok_or(Refused::Mismatch { index: keep })?;
            if !self.truncate(place) {
                return Err(Refused::Unable);
            }
        }
        for entry in entries.into_iter().skip(known) {
            self.push(entry);
        }
        if planted(Bug::TruncateWithoutConflict)
            && let Some(end) = self.log.position(end)
        {
            self.truncate(end);
        }
        Ok(end)
    }

    pub(super) fn commit_up_to(&mut self, index: LogIndex) {
        self.commit_index = self.commit_index.max(index.min(self.log.last().index));
    }

    /// Compares the chain with the leader's at its commit index, if both sides have the hash at hand.
    fn compare_chain(&mut self, at: LogIndex, theirs: Option<Hash>) {
        if let (Some(own), Some(theirs)) = (self.log.position(at), theirs)
            && own.hash != theirs
        {
            self.enter_quarantine_over_chain(at);
        }
    }

    fn enter_quarantine_over_chain(&mut self, index: LogIndex) {
        self.quarantine = Some(format!("the hash chain differs from the leader's at index {index}"));
    }
}

/// Why a batch was not stored.
enum Refused {
    /// The place before it is not in this log, whose entry at `index` says how to go on.
    Mismatch { index: LogIndex },
    /// It cannot be stored as it is.
    Unable,
}

fn is_consecutive(previous: &Position, entries: &[UnchainedEntry]) -> bool {
    let mut before = (previous.index, previous.epoch);
    entries.iter().all(|entry| {
        let follows = entry.index == before.0.next() && entry.epoch >= before.1;
        before = (entry.index, entry.epoch);
        follows
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::replication::sample::{Chain, node};
    use crate::replication::{
        EpochSpan, Event, Limits, Persist, ReplicaConfig, ReplicaStart, Request, StoreId, Timing,
    };

    /// A follower that has just started with these entries and loaded only those above its commit index.
    fn follower(chain: &Chain, commit_index: LogIndex) -> Replica {
        let peers = ["node1", "node2"].map(|id| (node(id), format!("http://{id}")));
        let (timing, limits) = (Timing::default(), Limits::default());
        let config = ReplicaConfig { node_id: node("node2"), peers: BTreeMap::from(peers), timing, limits };
        let start = ReplicaStart {
            store_id: StoreId(2),
            promise: None,
            commit_index,
            last: chain.last(),
            spans: vec![EpochSpan { epoch: Epoch(1), start: LogIndex(1) }],
            configurations: Vec::new(),
            tail: chain.entries.iter().filter(|entry| entry.index > commit_index).cloned().collect(),
        };
        Replica::new(config, start)
    }

    /// The follower's answer to the leader's entries after `after`, and what it made durable before it.
    fn answer(follower: &mut Replica, leader: &Chain, after: usize) -> (Response, Vec<Persist>) {
        let entries = leader.entries[after..].iter().map(|entry| entry.unchained()).collect();
        let log = Some(EntryBatch { previous: leader.entries[after - 1].position(), entries });
        let append = Append { epoch: leader.last().epoch, round: 1, log, commit_index: LogIndex(0), commit_hash: None };
        let request = Request::Append(append);
        follower.step(Now::default(), Event::Request { rpc: RpcId(1), from: node("node1"), request });
        let (mut effects, mut writes) = (Vec::new(), Vec::new());
        loop {
            follower.take_effects(Now::default(), &mut effects);
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Persist(write) => {
                        follower.step(Now::default(), Event::Persisted(write.id));
                        writes.push(write);
                    }
                    Effect::Respond { response, .. } => return (response, writes),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_conflict_right_above_the_commit_index_of_the_start_is_resolved_by_asking_for_the_entries_after_it() {
        let (mut own, mut leader) = (Chain::of_payments(10), Chain::of_payments(10));
        own.pay();
        own.pay();
        leader.start_epoch(2);
        let mut follower = follower(&own, LogIndex(10));
        let (refusal, _) = answer(&mut follower, &leader, 9);
        assert!(matches!(refusal, Response::Mismatch { index: LogIndex(10), .. }), "{refusal:?}");
        let (stored, writes) = answer(&mut follower, &leader, 10);
        assert!(matches!(stored, Response::Appended { matched: LogIndex(11), .. }), "{stored:?}");
        assert_eq!(writes.last().and_then(|write| write.truncate_after), Some(LogIndex(10)));
        assert_eq!(follower.last(), leader.last());
    }
}
