//! A leader's append at a follower: match the chains, store the batch, follow the commit index.

use super::handler::FollowerHandler;
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};
use crate::replication::effect::{QueueRank, RpcId};
use crate::replication::entry::UnchainedEntry;
use crate::replication::message::{Acknowledged, Append, EntryBatch, Response};
use crate::replication::state::State;
use crate::replication::types::{Hash, Now, Position};

/// Why a batch was not stored.
enum Refused {
    /// This log has no entry equal to the one before the batch. Its entry at `index` tells the leader where to
    /// continue.
    Mismatch { index: LogIndex },
    /// The batch cannot be stored as it is.
    Unable,
}

impl FollowerHandler<'_> {
    /// An append of this follower's leader: the replica has accepted its epoch.
    pub(in crate::replication) fn on_append(&mut self, now: Now, rpc: RpcId, append: Append) {
        if self.state.disk_hangs_for_ms(now).is_some() || self.has_no_room_for(&append) {
            // A leader needs a quorum that can store, and what cannot be stored must not collect in memory.
            return self.state.respond(rpc, Response::Unable);
        }
        if let Some(lost) = append.acknowledged.filter(|acknowledged| !self.holds(acknowledged)) {
            self.state.quarantine =
                Some(format!("the ledger no longer holds entry {}, which it has acknowledged", lost.index));
            return self.state.respond(rpc, Response::Unable);
        }
        let brings_batch = append.log.is_some();
        if let Some(batch) = append.log {
            match self.store_batch(batch) {
                Ok(matched) => self.follower.matched = self.follower.matched.max(matched),
                Err(Refused::Mismatch { index }) => {
                    return self.respond_mismatch(now, rpc, append.epoch, append.round, index);
                }
                Err(Refused::Unable) => return self.state.respond(rpc, Response::Unable),
            }
        }
        let matched = self.follower.matched;
        let known = if planted(Bug::CommitBeyondMatched) { self.state.log.last().index } else { matched };
        self.state.commit_up_to(append.commit_index.min(known));
        if append.commit_index <= matched {
            self.compare_chain(append.commit_index, append.commit_hash);
        }
        if self.state.quarantine.is_some() {
            return self.state.respond(rpc, Response::Unable);
        }
        self.state.confirmed_ms = Some(now.monotonic_ms);
        self.state.rules_named = (append.epoch, append.common_rules);
        // A heartbeat is answered at once, for the part of the log that is durable: the leader must hear from this node
        // while its disk is slow.
        let matched = if brings_batch { matched } else { matched.min(self.state.storage.durable_index()) };
        self.state.time_error_named = (append.epoch, append.time_error_ms);
        let (round, store_id, clock) = (append.round, self.state.store_id, State::clock_times(now));
        let falsetickers = self.state.cluster_clock.falsetickers();
        let leader_is_false = self.follower.leader.as_ref().is_some_and(|leader| falsetickers.contains(leader));
        let unreachable = self.state.unreachable(now);
        let in_queue = self.state.queue_rank != QueueRank::Absent;
        let newest_rules = self.state.config.newest_rules;
        let response = Response::Appended {
            round,
            matched,
            store_id,
            clock,
            leader_is_false,
            unreachable,
            in_queue,
            newest_rules,
        };
        self.state.respond_when_durable(now, rpc, response, append.epoch, matched);
    }

    /// Whether entries that this node has not stored yet leave no room in memory for more. A leader waits for the answer
    /// to a batch before it sends the next, but it may take another process's answer for this one's.
    fn has_no_room_for(&self, append: &Append) -> bool {
        let brings_entries = append.log.as_ref().is_some_and(|batch| !batch.entries.is_empty());
        let in_memory = self.state.log.last().index.0 - self.state.storage.durable_index().0;
        let batch = u64::try_from(self.state.config.limits.batch_entries).unwrap_or(u64::MAX);
        brings_entries && in_memory > batch
    }

    /// Whether this store still holds what it has acknowledged to its leader. Under the promise of the leader's epoch
    /// nothing that this leader has counted is ever truncated, and an entry of the same epoch at the same index is the
    /// same entry with the same history.
    fn holds(&self, acknowledged: &Acknowledged) -> bool {
        acknowledged.store_id != self.state.store_id
            || self.state.log.epoch_at(acknowledged.index) == Some(acknowledged.epoch)
    }

    fn respond_mismatch(&mut self, now: Now, rpc: RpcId, epoch: Epoch, round: u64, index: LogIndex) {
        let response = Response::Mismatch {
            round,
            index,
            epoch: self.state.log.epoch_at(index).expect("an index of this log"),
            epoch_start: self.state.log.epoch_start_of(index),
            store_id: self.state.store_id,
        };
        self.state.respond_when_durable(now, rpc, response, epoch, LogIndex(0));
    }

    /// Stores what is new in a batch, after removing what conflicts with it. Returns up to where this log now equals
    /// the leader's.
    fn store_batch(&mut self, batch: EntryBatch) -> Result<LogIndex, Refused> {
        let EntryBatch { previous, entries } = batch;
        let log = &self.state.log;
        let last = log.last().index;
        if log.epoch_at(previous.index) != Some(previous.epoch) {
            return Err(Refused::Mismatch { index: previous.index.min(last) });
        }
        if log.position(previous.index).is_some_and(|own| own.hash != previous.hash) {
            self.quarantine_over_chain(previous.index);
            return Err(Refused::Unable);
        }
        if !is_consecutive(&previous, &entries) {
            return Err(Refused::Unable);
        }
        let end = entries.last().map_or(previous.index, |entry| entry.index);
        let known = entries.iter().take_while(|entry| log.epoch_at(entry.index) == Some(entry.epoch)).count();
        if self.state.is_outdated_by(&entries[known..]) {
            return Err(Refused::Unable);
        }
        if let Some(first_new) = entries.get(known)
            && first_new.index <= last
        {
            self.remove_conflict(previous, first_new.index)?;
        }
        for entry in entries.into_iter().skip(known) {
            self.state.push(entry);
        }
        if planted(Bug::TruncateWithoutConflict)
            && let Some(end) = self.state.log.position(end)
        {
            self.state.truncate(end);
        }
        Ok(end)
    }

    /// Removes this log's entries from the first one that differs from the batch after `previous`.
    fn remove_conflict(&mut self, previous: Position, first_conflict: LogIndex) -> Result<(), Refused> {
        // The entry before the conflict is equal to the leader's. Memory holds it, unless it is the one at the commit
        // index with which this process started; then the leader is asked to begin right after it.
        let keep = first_conflict.previous();
        let end = if keep == previous.index { Some(previous) } else { self.state.log.position(keep) };
        let end = end.ok_or(Refused::Mismatch { index: keep })?;
        if self.state.truncate(end) { Ok(()) } else { Err(Refused::Unable) }
    }

    /// Compares the chain with the leader's at its commit index, if both sides have the hash at hand.
    fn compare_chain(&mut self, at: LogIndex, theirs: Option<Hash>) {
        if let (Some(own), Some(theirs)) = (self.state.log.position(at), theirs)
            && own.hash != theirs
        {
            self.quarantine_over_chain(at);
        }
    }

    fn quarantine_over_chain(&mut self, index: LogIndex) {
        self.state.quarantine = Some(format!("the hash chain differs from the leader's at index {index}"));
    }
}

fn is_consecutive(previous: &Position, entries: &[UnchainedEntry]) -> bool {
    let mut before = (previous.index, previous.epoch);
    entries.iter().all(|entry| {
        let follows = entry.index == before.0.next() && entry.epoch >= before.1;
        before = (entry.index, entry.epoch);
        follows
    })
}
