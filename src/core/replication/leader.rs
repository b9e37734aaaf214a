//! The leader: sends what is new to every peer, counts what a quorum has made durable, and steps down when no quorum
//! answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::candidate::TRANSFER_GRACE_MS;
use super::effect::{CoordinationCommand, Effect, Outgoing, RequestId};
use super::entry::Entry;
use super::message::{Append, EntryBatch, Request};
use super::reads::PendingRead;
use super::replica::{MAX_BATCH_BYTES, Replica, Role};
use super::time::reached_by;
use super::types::{NodeId, Now, Position, StoreId};
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};

/// How soon followers learn of a commit when nothing else is said to them.
const COMMIT_NEWS_MS: u64 = 5;

/// A follower that answers heartbeats and stores nothing for this long counts as one that does not answer: what is wrong
/// between it and this leader may not be wrong between it and another one.
const STARVED_MS: u64 = 10_000;

/// The leader of one epoch.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) epoch: Epoch,
    /// Index of the epoch's first entry. Invariant 6: nothing is committed by counting copies of older entries.
    start: LogIndex,
    /// Whether that entry is committed: proposals and reads are taken only then.
    pub(super) open: bool,
    began_ms: u64,
    pub(super) peers: BTreeMap<NodeId, Progress>,
    /// Index of the configuration from which `peers` was last completed.
    peers_known_as_of: Option<LogIndex>,
    /// Number of the newest quorum round.
    pub(super) round: u64,
    pub(super) reads: VecDeque<PendingRead>,
    pub(super) transfer: Option<Transfer>,
}

/// What the leader knows of one peer, and what is on its way there.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The next entry to send.
    next: LogIndex,
    /// Highest index durable there and equal to the own log.
    pub(super) matched: LogIndex,
    /// What its process said last that it shares with this log. That is less than `matched` after a restart or a late
    /// fence, and then it follows the commit index no further until it is told anew.
    reported: LogIndex,
    /// The store that says so.
    pub(super) store_id: Option<StoreId>,
    in_flight: Option<InFlight>,
    /// A heartbeat beside what is in flight, which takes long: a heavy batch on a thin link, or a slow disk there.
    beside: Option<RequestId>,
    /// Highest round that it has answered.
    pub(super) confirmed_round: u64,
    sent_round: u64,
    sent_ms: Option<u64>,
    sent_commit: LogIndex,
    answered_ms: Option<u64>,
    /// Since when no batch that was sent there was stored, if one was sent.
    starved_since_ms: Option<u64>,
    /// Whether its process was found gone since it last answered: no successor, whatever it said before.
    gone: bool,
    /// Whether a read of older entries from the own ledger is on its way.
    loading: bool,
    /// Older entries for it, the first being the one before those to send.
    loaded: Vec<Arc<Entry>>,
    /// What this store must hold before it may vote: everything that was committed when it was first heard of.
    pub(super) admission_index: LogIndex,
}

#[derive(Debug)]
struct InFlight {
    id: RequestId,
    /// The first entry of the batch that it carried, if it carried one.
    first: Option<LogIndex>,
}

/// What a leader knows about one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerView {
    /// The peer.
    pub node: NodeId,
    /// Highest index that is durable there and equal to the leader's log.
    pub matched: LogIndex,
    /// Whether it answered within the heartbeat timeout.
    pub reachable: bool,
    /// Whether its store is a voter.
    pub votes: bool,
}

/// A hand-over of the leadership.
#[derive(Debug)]
pub(super) struct Transfer {
    to: Option<NodeId>,
    until_ms: u64,
}

/// How long a hand-over may keep proposals waiting before it is called off.
const TRANSFER_MS: u64 = 2_000;

impl Leader {
    pub(super) fn new(epoch: Epoch, start: LogIndex, now: Now) -> Self {
        Self {
            epoch,
            start,
            open: false,
            began_ms: now.monotonic_ms,
            peers: BTreeMap::new(),
            peers_known_as_of: None,
            round: 1,
            reads: VecDeque::new(),
            transfer: None,
        }
    }
}

impl Progress {
    /// Whether it answered within `within_ms` and was not found gone since.
    pub(super) fn answered_within(&self, now: Now, within_ms: u64) -> bool {
        !self.gone && self.answered_ms.is_some_and(|answered| now.monotonic_ms <= answered + within_ms)
    }

    /// When it last answered, zero for never and for one that takes nothing in.
    fn supported_ms(&self, now: Now) -> u64 {
        let starved = self.starved_since_ms.is_some_and(|since| now.monotonic_ms > since + STARVED_MS);
        self.answered_ms.filter(|_| !starved).unwrap_or(0)
    }
}

impl Replica {
    /// Sends each peer what it lacks, a heartbeat if one is due, or nothing.
    pub(super) fn replicate(&mut self, now: Now) {
        let Role::Leader(leader) = &mut self.role else { return };
        if leader.reads.back().is_some_and(|read| read.round > leader.round) {
            leader.round += 1;
        }
        self.change_configuration(now);
        self.meet_peers();
        let Role::Leader(leader) = &self.role else { return };
        let peers: Vec<NodeId> = leader.peers.keys().cloned().collect();
        for peer in peers {
            self.load_for(&peer);
            self.replicate_to(now, &peer);
        }
    }

    /// Every known node gets a progress record; it is first tried with the entries of this epoch.
    fn meet_peers(&mut self) {
        let known_as_of = Some(self.log.configuration_index());
        if matches!(&self.role, Role::Leader(leader) if leader.peers_known_as_of == known_as_of) {
            return;
        }
        let others = self.others();
        let Role::Leader(leader) = &mut self.role else { return };
        leader.peers_known_as_of = known_as_of;
        for node in others {
            leader.peers.entry(node).or_insert_with(|| Progress { next: leader.start, ..Progress::default() });
        }
    }

    fn replicate_to(&mut self, now: Now, peer: &NodeId) {
        let last = self.log.last().index;
        let heartbeat_ms = self.config.timing.heartbeat_ms;
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.round;
        let read_waits = !leader.reads.is_empty();
        let progress = leader.peers.get_mut(peer).expect("peers are met before they are served");
        let since_sent = progress.sent_ms.map_or(u64::MAX, |sent| now.monotonic_ms.saturating_sub(sent));
        if progress.in_flight.is_some() {
            if progress.beside.is_none() && since_sent >= heartbeat_ms {
                self.send_append(now, peer, None);
            }
            return;
        }
        let silent = progress.answered_ms < progress.sent_ms && since_sent < heartbeat_ms;
        if silent {
            // The last request failed: wait a heartbeat before the next, so that a dead peer costs little.
            return;
        }
        let wants_entries = progress.next <= last;
        let due = since_sent >= heartbeat_ms
            || (read_waits && progress.sent_round < round)
            || (progress.sent_commit < self.commit_index && since_sent >= COMMIT_NEWS_MS);
        // A follower that forgot what it shares with this log, or lost it, is shown the end of it, with no entries.
        let unsure = due && progress.reported < progress.next.previous();
        let entries = if wants_entries || unsure { self.batch_for(peer) } else { None };
        if entries.is_some() || due {
            self.send_append(now, peer, entries);
        }
    }

    /// The next entries for a peer with the place before them, from memory or from what was loaded for it.
    fn batch_for(&mut self, peer: &NodeId) -> Option<(Position, Vec<Arc<Entry>>)> {
        let most = self.config.limits.batch_entries;
        let Role::Leader(leader) = &mut self.role else { return None };
        let progress = leader.peers.get_mut(peer)?;
        let next = progress.next;
        if let Some(batch) = self.log.batch_from(next, most, MAX_BATCH_BYTES) {
            return Some(batch);
        }
        let mut loaded = std::mem::take(&mut progress.loaded);
        if next == LogIndex(1) && loaded.first().is_some_and(|entry| entry.index == next) {
            return Some((Position::default(), loaded));
        }
        if loaded.len() > 1 && loaded[0].index == next.previous() {
            let previous = loaded.remove(0).position();
            return Some((previous, loaded));
        }
        None
    }

    /// Has older entries read for a peer before it needs them: while one batch travels the next is read.
    fn load_for(&mut self, peer: &NodeId) {
        let (durable, most) = (self.storage.durable_index(), self.config.limits.batch_entries as u64);
        let Role::Leader(leader) = &mut self.role else { return };
        let progress = leader.peers.get_mut(peer).expect("peers are met before they are served");
        if progress.loading || !progress.loaded.is_empty() || progress.store_id.is_none() {
            return;
        }
        if self.log.holds(progress.next) || progress.next > durable {
            return;
        }
        progress.loading = true;
        let from_index = LogIndex(progress.next.previous().0.max(1));
        let to_index = durable.min(LogIndex(from_index.0 + most));
        self.effects.push(Effect::Load { peer: peer.clone(), from_index, to_index });
    }

    pub(super) fn on_loaded(&mut self, peer: &NodeId, entries: Vec<Arc<Entry>>) {
        // Entries asked for in an earlier leadership of this node may have been truncated since.
        let own = entries.last().is_none_or(|last| self.log.epoch_at(last.index) == Some(last.epoch));
        let entries = if own { entries } else { Vec::new() };
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.peers.get_mut(peer)
        {
            progress.loading = false;
            progress.loaded = entries;
        }
    }

    fn send_append(&mut self, now: Now, peer: &NodeId, entries: Option<(Position, Vec<Arc<Entry>>)>) {
        let commit_index = self.commit_index;
        let commit_hash = self.log.position(commit_index).map(|position| position.hash);
        let Role::Leader(leader) = &self.role else { return };
        let (epoch, round) = (leader.epoch, leader.round);
        let first = entries.as_ref().map(|(previous, _)| previous.index.next());
        let sent_to = entries.as_ref().and_then(|(_, entries)| entries.last()).map(|entry| entry.index);
        let head = |log| Append { epoch, round, log, commit_index, commit_hash };
        let outgoing = match entries {
            None => Outgoing::Plain(Request::Append(head(None))),
            Some((previous, entries)) => {
                Outgoing::Append { head: head(Some(EntryBatch { previous, entries: Vec::new() })), entries }
            }
        };
        let id = self.send(peer, outgoing);
        let Role::Leader(leader) = &mut self.role else { return };
        let progress = leader.peers.get_mut(peer).expect("peers are met before they are served");
        if progress.in_flight.is_some() {
            // It commits nothing of the batch beside it, so that is still to be told.
            progress.beside = Some(id);
        } else {
            progress.in_flight = Some(InFlight { id, first });
            progress.sent_commit = commit_index;
        }
        if sent_to.is_some() {
            progress.starved_since_ms.get_or_insert(now.monotonic_ms);
        }
        progress.sent_round = round;
        progress.sent_ms = Some(now.monotonic_ms);
        // Where the next batch will begin if this one is stored; a refusal or silence sets it back.
        progress.next = sent_to.map_or(progress.next, LogIndex::next);
    }

    /// The progress of the peer that answers, if its answer is waited for; from now on it is not. A store that was not
    /// seen before starts from nothing: what another one acknowledged is lost with it.
    fn answered(
        &mut self,
        now: Now,
        id: RequestId,
        from: &NodeId,
        round: u64,
        store: StoreId,
    ) -> Option<&mut Progress> {
        let commit_index = self.commit_index;
        let Role::Leader(leader) = &mut self.role else { return None };
        let progress = leader.peers.get_mut(from)?;
        let awaited = progress.in_flight.take_if(|in_flight| in_flight.id == id).is_some()
            || progress.beside.take_if(|beside| *beside == id).is_some();
        if !awaited {
            return None;
        }
        progress.answered_ms = Some(now.monotonic_ms);
        progress.gone = false;
        progress.confirmed_round = progress.confirmed_round.max(round);
        if progress.store_id != Some(store) {
            progress.store_id = Some(store);
            if planted(Bug::WipedStoreCounts) {
                return Some(progress);
            }
            progress.matched = LogIndex(0);
            progress.reported = LogIndex(0);
            // Before the epoch's first entry is committed, the commit index may be behind what was committed under
            // another leader; that entry stands above all of it.
            progress.admission_index = commit_index.max(leader.start);
            progress.loaded = Vec::new();
        }
        Some(progress)
    }

    pub(super) fn on_appended(
        &mut self,
        now: Now,
        id: RequestId,
        from: &NodeId,
        round: u64,
        matched: LogIndex,
        store: StoreId,
    ) {
        let Some(progress) = self.answered(now, id, from, round, store) else { return };
        if matched > progress.matched {
            progress.matched = matched;
            progress.starved_since_ms = None;
        }
        progress.reported = matched;
        progress.next = progress.next.max(progress.matched.next());
        self.advance_commit(now);
        self.answer_reads();
    }

    pub(super) fn on_mismatch(
        &mut self,
        now: Now,
        id: RequestId,
        from: &NodeId,
        round: u64,
        (index, epoch, epoch_start): (LogIndex, Epoch, LogIndex),
        store: StoreId,
    ) {
        let agreed = self.log.agreement(index, epoch, epoch_start);
        let Some(progress) = self.answered(now, id, from, round, store) else { return };
        progress.next = agreed.next();
        progress.starved_since_ms = None;
        progress.loaded = Vec::new();
        self.answer_reads();
    }

    /// Whether this is the append of this leadership whose answer is waited for.
    pub(super) fn awaits_append(&self, id: RequestId, from: &NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let Some(progress) = leader.peers.get(from) else { return false };
        progress.beside == Some(id) || progress.in_flight.as_ref().is_some_and(|in_flight| in_flight.id == id)
    }

    pub(super) fn on_append_unanswered(&mut self, id: RequestId, to: &NodeId) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.peers.get_mut(to) else { return };
        progress.beside.take_if(|beside| *beside == id);
        if let Some(in_flight) = progress.in_flight.take_if(|in_flight| in_flight.id == id)
            && let Some(first) = in_flight.first
        {
            // Whether it arrived is unknown: sent again, it changes nothing if it did.
            progress.next = first.max(progress.matched.next());
            progress.loaded = Vec::new();
        }
    }

    /// Commits the highest index that a majority of voters has durable and whose entry is of this epoch.
    pub(super) fn advance_commit(&mut self, now: Now) {
        let Role::Leader(leader) = &self.role else { return };
        let early = planted(Bug::LeaderCountsItselfEarly);
        let own = if early { self.log.last().index } else { self.storage.durable_index() };
        let on_quorum = self.quorum_value(own, |progress| progress.matched);
        let is_of_this_epoch = on_quorum >= leader.start || planted(Bug::OldEpochCommits);
        if !is_of_this_epoch || on_quorum <= self.commit_index {
            return;
        }
        self.commit_index = on_quorum;
        self.open_epoch();
        self.finish_transfer(now);
    }

    /// The highest value that a quorum of voters has reached, given this node's own.
    pub(super) fn quorum_value<T: Ord + Copy + Default>(&self, own: T, of: impl Fn(&Progress) -> T) -> T {
        let (Role::Leader(leader), Some(configuration)) = (&self.role, self.log.configuration()) else {
            return T::default();
        };
        let mut values: Vec<T> = Vec::with_capacity(configuration.voters.len());
        for (node, voter) in &configuration.voters {
            if *node == self.config.node_id {
                values.push(if voter.store_id == self.store_id { own } else { T::default() });
            } else {
                let vouches =
                    |progress: &&Progress| progress.store_id == Some(voter.store_id) || planted(Bug::WipedStoreCounts);
                let progress = leader.peers.get(node).filter(vouches);
                values.push(progress.map_or(T::default(), &of));
            }
        }
        reached_by(values, configuration.quorum())
    }

    /// On every tick: a leader whom no quorum answers steps down; a hand-over goes on or is called off.
    pub(super) fn watch_over_leadership(&mut self, now: Now) {
        let Role::Leader(leader) = &self.role else { return };
        let answered = self.quorum_value(now.monotonic_ms, |progress| progress.supported_ms(now));
        let heard = answered.max(leader.began_ms);
        if answered > 0 {
            self.confirmed_ms = Some(answered);
        }
        if now.monotonic_ms > heard + self.config.timing.step_down_ms {
            self.step_down(now);
            return;
        }
        if leader.transfer.as_ref().is_some_and(|transfer| now.monotonic_ms >= transfer.until_ms)
            && let Role::Leader(leader) = &mut self.role
        {
            leader.transfer = None;
        }
        self.finish_transfer(now);
    }

    /// A follower's process is gone.
    pub(super) fn note_gone(&mut self, peer: &NodeId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.peers.get_mut(peer)
        {
            progress.gone = true;
        }
    }

    /// Begins to hand over: proposals are refused until a successor leads or time is up.
    pub fn transfer(&mut self, now: Now, to: Option<NodeId>) {
        if let Role::Leader(leader) = &mut self.role
            && leader.open
        {
            leader.transfer = Some(Transfer { to, until_ms: now.monotonic_ms + TRANSFER_MS });
            self.finish_transfer(now);
        }
    }

    /// Hands over once everything is committed and a successor has it all.
    fn finish_transfer(&mut self, now: Now) {
        let last = self.log.last().index;
        let Role::Leader(leader) = &self.role else { return };
        let Some(transfer) = &leader.transfer else { return };
        if self.commit_index < last {
            return;
        }
        let epoch = leader.epoch;
        let ready = |(node, progress): &(&NodeId, &Progress)| {
            transfer.to.as_ref().is_none_or(|to| to == *node)
                && progress.matched == last
                && progress.answered_within(now, self.config.timing.heartbeat_timeout_ms)
                && self.log.configuration().zip(progress.store_id).is_some_and(|(c, store)| c.binds(node, store))
        };
        let Some(successor) = leader.peers.iter().find(ready).map(|(node, _)| node.clone()) else { return };
        for node in self.others() {
            self.send(&node, Outgoing::Plain(Request::Transfer { epoch, successor: successor.clone() }));
        }
        self.become_follower(None);
        self.last_heard_ms = Some(now.monotonic_ms);
        self.stand_not_before_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
        self.transfer_until_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
        self.coordinate(CoordinationCommand::GoToBack);
    }

    /// What the leader knows about each peer; empty unless this node leads.
    #[must_use]
    pub fn followers(&self, now: Now) -> Vec<FollowerView> {
        let Role::Leader(leader) = &self.role else { return Vec::new() };
        let votes = |node: &NodeId, progress: &Progress| {
            self.log.configuration().zip(progress.store_id).is_some_and(|(c, store)| c.binds(node, store))
        };
        let view = |(node, progress): (&NodeId, &Progress)| FollowerView {
            node: node.clone(),
            matched: progress.matched,
            reachable: progress.answered_within(now, self.config.timing.heartbeat_timeout_ms),
            votes: votes(node, progress),
        };
        leader.peers.iter().map(view).collect()
    }
}
