//! The replica: one node's part in the protocol. This file holds its state, its one switch over events and the checks
//! that run after every step; what each event leads to stands in the files beside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::candidate::{Candidate, PreVote};
use super::effect::{CoordinationCommand, CoordinationEvent, Effect, Event, Outgoing, QueueRank, ReadId, RequestId};
use super::entry::{Entry, UnchainedEntry};
use super::leader::Leader;
use super::log::Log;
use super::message::{Request, Response};
use super::reads::FollowerReads;
use super::start::{ReplicaConfig, ReplicaStart};
use super::storage::Storage;
use super::time::Clocks;
use super::types::{Configuration, NodeId, Now, Position, Promise, StoreId};
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};

/// What a batch weighs at most on the wire and in one transaction.
pub(super) const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What the entries above the commit index weigh when a leader takes no more proposals.
const MAX_TAIL_BYTES: u64 = 64 * 1024 * 1024;

/// A change of the log, in the order in which it happened: the bank follows it.
#[derive(Clone, Debug)]
pub enum LogChange {
    /// An entry was added at the end.
    Appended(Arc<Entry>),
    /// Every entry above this index was removed; none of them was committed.
    TruncatedAfter(LogIndex),
}

/// What a replica is doing.
#[derive(Debug)]
pub(super) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// Follows the leader of an epoch, or waits for one.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// The leader whose word was heard last, if it was not found dead since.
    pub(super) leader: Option<NodeId>,
    /// The highest index known to be equal to that leader's log.
    pub(super) matched: LogIndex,
}

/// One node's part in the protocol. See the module `replication` for the contract.
#[derive(Debug)]
pub struct Replica {
    pub(super) config: ReplicaConfig,
    pub(super) store_id: StoreId,
    pub(super) log: Log,
    /// Invariant 1: never lowered; every answer given under it waited until it was durable.
    pub(super) promise: Option<Promise>,
    /// Invariant 2: never lowered; at most the end of the log; every entry up to it is on a quorum.
    pub(super) commit_index: LogIndex,
    pub(super) storage: Storage,
    pub(super) role: Role,
    pub(super) place: QueueRank,
    /// When a leader or candidate of the promised epoch was last heard.
    pub(super) last_heard_ms: Option<u64>,
    /// When a leader's word, or a quorum of answers to this leader, last confirmed what this node knows.
    pub(super) confirmed_ms: Option<u64>,
    /// Until when a majority's word that no leader is heard is good enough to stand on.
    pub(super) silence_confirmed_until_ms: u64,
    /// No candidacy before this moment: after a false alarm, a failed one, or for the sake of a named successor.
    pub(super) stand_not_before_ms: u64,
    /// Until when a named successor is let pass in the queue.
    pub(super) transfer_until_ms: u64,
    pub(super) pre_vote: Option<PreVote>,
    /// The highest epoch that this node has heard of.
    pub(super) highest_epoch: Epoch,
    pub(super) reads: FollowerReads,
    pub(super) quarantine: Option<String>,
    pub(super) elections_won: u64,
    pub(super) clocks: Clocks,
    pub(super) effects: Vec<Effect>,
    pub(super) changes: Vec<LogChange>,
    last_request: RequestId,
    halted: bool,
}

impl Replica {
    /// Makes the replica of a node from what its ledger holds.
    #[must_use]
    pub fn new(config: ReplicaConfig, mut start: ReplicaStart) -> Self {
        let log = Log::new(&mut start);
        let commit_index = start.commit_index.min(log.last().index);
        let highest_epoch = start.promise.as_ref().map_or(Epoch(0), |promise| promise.epoch).max(log.last().epoch);
        Self {
            storage: Storage::new(log.last().index, start.promise.clone(), commit_index),
            store_id: start.store_id,
            promise: start.promise,
            commit_index,
            log,
            role: Role::Follower(Follower::default()),
            place: QueueRank::Absent,
            last_heard_ms: None,
            confirmed_ms: None,
            silence_confirmed_until_ms: 0,
            stand_not_before_ms: 0,
            transfer_until_ms: 0,
            pre_vote: None,
            highest_epoch,
            reads: FollowerReads::default(),
            quarantine: None,
            elections_won: 0,
            clocks: Clocks::default(),
            effects: Vec::new(),
            changes: Vec::new(),
            last_request: RequestId(0),
            halted: false,
            config,
        }
    }

    /// Takes note of something that happened. After a broken invariant nothing is taken note of any more.
    pub fn step(&mut self, now: Now, event: Event) {
        if self.halted {
            return;
        }
        let commit_before = self.commit_index;
        match event {
            Event::Tick => self.on_tick(now),
            Event::Request { rpc, from, request } => self.on_request(now, rpc, &from, request),
            Event::Response { id, from, response } => self.on_response(now, id, &from, response),
            Event::Unanswered { id, to } => self.on_unanswered(now, id, &to),
            Event::Persisted(id) => {
                self.on_persisted(id);
                self.on_promise_durable(now);
                self.advance_commit(now);
            }
            Event::Loaded { peer, entries } => self.on_loaded(&peer, entries),
            Event::PeerGone(peer) => self.on_peer_gone(now, &peer),
            Event::Coordination(event) => self.on_coordination(now, &event),
            Event::Quarantine(reason) => self.enter_quarantine(now, reason),
        }
        self.check_invariants(commit_before);
    }

    /// Takes out everything that is now to be done.
    pub fn take_effects(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.halted {
            self.replicate(now);
            let most = self.config.limits.batch_entries;
            if let Some(write) = self.storage.take(self.commit_index, most, now.monotonic_ms) {
                self.effects.push(Effect::Persist(write));
            }
            self.ask_read_index();
            self.log.trim(self.commit_index.min(self.storage.durable_index()), self.config.limits.cached_entries);
        }
        effects.append(&mut self.effects);
    }

    /// Takes out how the log changed since the last call.
    pub fn take_changes(&mut self) -> Vec<LogChange> {
        std::mem::take(&mut self.changes)
    }

    fn on_tick(&mut self, now: Now) {
        match &self.role {
            Role::Follower(_) => self.consider_standing(now),
            Role::Candidate(_) => self.continue_candidacy(now),
            Role::Leader(_) => self.watch_over_leadership(now),
        }
    }

    fn on_request(&mut self, now: Now, rpc: super::effect::RpcId, from: &NodeId, request: Request) {
        if self.quarantine.is_some() {
            self.effects.push(Effect::Respond { rpc, response: Response::Unable });
            return;
        }
        match request {
            Request::PreVote => {
                let response = Response::PreVote {
                    hears_leader: self.hears_leader(now),
                    promised: self.promised_epoch(),
                    last_index: self.log.last().index,
                };
                self.effects.push(Effect::Respond { rpc, response });
            }
            Request::Fence { epoch, commit_index } => self.on_fence(now, rpc, from, epoch, commit_index),
            Request::Fetch { epoch, from_index, to_index } => self.on_fetch(rpc, epoch, from_index, to_index),
            Request::Append(append) => self.on_append(now, rpc, from, append),
            Request::ReadIndex => self.on_read_index(rpc),
            Request::Transfer { epoch, successor } => self.on_transfer(now, rpc, epoch, &successor),
        }
    }

    fn on_response(&mut self, now: Now, id: RequestId, from: &NodeId, response: Response) {
        match response {
            Response::PreVote { hears_leader, promised, last_index } => {
                self.hear_of(promised);
                self.on_pre_vote(now, id, from, hears_leader, last_index);
            }
            Response::Promised(answer) => self.on_promised(now, from, *answer),
            Response::Entries { previous, entries, last_hash } => {
                self.on_entries(now, id, previous, entries, last_hash);
            }
            Response::Appended { round, matched, store_id, clock } => {
                if self.awaits_append(id, from) {
                    self.clocks.hear(now, from, clock);
                }
                self.on_appended(now, id, from, round, matched, store_id);
            }
            Response::Mismatch { round, index, epoch, epoch_start, store_id } => {
                let hint = (index, epoch, epoch_start);
                self.on_mismatch(now, id, from, round, hint, store_id);
            }
            Response::Fenced { promised } => {
                let of_this_leadership = self.awaits_append(id, from);
                self.on_append_unanswered(id, from);
                self.on_fenced(now, promised, of_this_leadership);
            }
            Response::ReadIndex { epoch, commit_index } => self.on_read_index_answer(id, epoch, commit_index),
            Response::Transferring => {}
            Response::Unable => self.on_unanswered(now, id, from),
        }
    }

    fn on_unanswered(&mut self, now: Now, id: RequestId, to: &NodeId) {
        self.on_append_unanswered(id, to);
        self.on_fetch_unanswered(now, id);
        self.on_read_index_unanswered(id);
    }

    fn on_coordination(&mut self, now: Now, event: &CoordinationEvent) {
        match event {
            CoordinationEvent::QueueRank(place) => self.on_place(now, *place),
            CoordinationEvent::EpochTaken(epoch) => self.on_epoch_taken(now, *epoch),
            CoordinationEvent::EpochRefused => self.abandon_candidacy(now),
        }
    }

    fn enter_quarantine(&mut self, now: Now, reason: String) {
        if self.quarantine.is_none() {
            self.quarantine = Some(reason);
            self.step_down(now);
        }
    }

    /// Stops leading or standing and goes to the back of the queue.
    pub(super) fn step_down(&mut self, now: Now) {
        if matches!(self.role, Role::Follower(_)) {
            return;
        }
        self.become_follower(None);
        self.last_heard_ms = None;
        self.silence_confirmed_until_ms = 0;
        self.stand_not_before_ms = now.monotonic_ms + self.config.timing.backoff_ms;
        self.coordinate(CoordinationCommand::GoToBack);
    }

    /// Becomes a follower of `leader`, or of nobody yet. Whoever waited on this node's leadership is let go.
    pub(super) fn become_follower(&mut self, leader: Option<NodeId>) {
        let role = Role::Follower(Follower { leader, matched: LogIndex(0) });
        if let Role::Leader(leader) = std::mem::replace(&mut self.role, role) {
            self.refuse_reads_of(*leader);
        }
    }

    /// Makes a promise; it becomes durable with the next write.
    pub(super) fn make_promise(&mut self, epoch: Epoch, leader: NodeId) {
        let promise = Promise { epoch, leader };
        self.hear_of(epoch);
        self.storage.promise(promise.clone());
        self.promise = Some(promise);
        self.release_waiting();
    }

    /// Whether this node's promise lets `leader` speak in `epoch`: promised to it, or newer than any promise.
    pub(super) fn promise_allows(&self, epoch: Epoch, leader: &NodeId) -> bool {
        planted(Bug::NoFence)
            || self
                .promise
                .as_ref()
                .is_none_or(|promise| epoch > promise.epoch || (epoch == promise.epoch && *leader == promise.leader))
    }

    /// Appends to the end of this node's log: in memory at once, in the ledger with the next write.
    pub(super) fn push(&mut self, entry: UnchainedEntry) -> Arc<Entry> {
        let entry = self.log.push(entry);
        self.storage.append(Arc::clone(&entry));
        self.changes.push(LogChange::Appended(Arc::clone(&entry)));
        entry
    }

    /// Removes the end of the log after `to`. Never at or below the commit index.
    pub(super) fn truncate(&mut self, to: Position) -> bool {
        if to.index < self.commit_index {
            self.halt(format!("invariant 3: truncating to {} below the commit index {}", to.index, self.commit_index));
            return false;
        }
        if to.index < self.log.last().index {
            self.log.truncate(to);
            self.storage.truncate(to.index);
            self.changes.push(LogChange::TruncatedAfter(to.index));
        }
        true
    }

    pub(super) fn send(&mut self, to: &NodeId, request: Outgoing) -> RequestId {
        self.last_request = RequestId(self.last_request.0 + 1);
        self.effects.push(Effect::Send { id: self.last_request, to: to.clone(), request });
        self.last_request
    }

    pub(super) fn coordinate(&mut self, command: CoordinationCommand) {
        self.effects.push(Effect::Coordinate(command));
    }

    pub(super) fn halt(&mut self, reason: String) {
        self.halted = true;
        self.effects.push(Effect::Halt(reason));
    }

    /// Reports from outside the protocol that an invariant is broken, such as a bank that differs from the ledger.
    pub fn halt_on(&mut self, reason: String) {
        self.halt(reason);
    }

    pub(super) fn hear_of(&mut self, epoch: Epoch) {
        self.highest_epoch = self.highest_epoch.max(epoch);
    }

    pub(super) fn hears_leader(&self, now: Now) -> bool {
        let fresh = |heard: u64| now.monotonic_ms < heard + self.config.timing.heartbeat_timeout_ms;
        matches!(self.role, Role::Leader(_)) || self.last_heard_ms.is_some_and(fresh)
    }

    /// All other nodes that this one knows: those configured by hand and those in the log's configuration.
    pub(super) fn others(&self) -> Vec<NodeId> {
        let mut others: BTreeMap<&NodeId, ()> = self.config.peers.keys().map(|node| (node, ())).collect();
        others.extend(self.log.configuration().into_iter().flat_map(|c| c.voters.keys()).map(|node| (node, ())));
        others.remove(&self.config.node_id);
        others.into_keys().cloned().collect()
    }

    /// How many answers make a quorum, of the log's configuration or, before the first one, of the nodes set by hand.
    pub(super) fn quorum(&self) -> usize {
        self.log.configuration().map_or(self.config.peers.len() / 2 + 1, Configuration::quorum)
    }

    fn check_invariants(&mut self, commit_before: LogIndex) {
        let last = self.log.last().index;
        let broken = if self.commit_index < commit_before {
            Some(format!("invariant 2: the commit index fell from {commit_before} to {}", self.commit_index))
        } else if self.commit_index > last {
            Some(format!("invariant 2: commit index {} beyond the end of the log {last}", self.commit_index))
        } else if self.storage.durable_index() > last {
            Some(format!("invariant 4: durable index {} beyond the log {last}", self.storage.durable_index()))
        } else if let Role::Leader(leader) = &self.role {
            let own = self.promise.as_ref().is_some_and(|p| p.epoch == leader.epoch && p.leader == self.config.node_id);
            (!own).then(|| format!("invariant 5: leads epoch {} but promised {:?}", leader.epoch, self.promise))
        } else {
            None
        };
        if let Some(reason) = broken {
            self.halt(reason);
        }
    }
}

/// What others may know of a replica.
impl Replica {
    /// The epoch promised, 0 before the first promise.
    #[must_use]
    pub fn promised_epoch(&self) -> Epoch {
        self.promise.as_ref().map_or(Epoch(0), |promise| promise.epoch)
    }

    /// End of the log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.log.last()
    }

    /// Highest index known to be on a quorum.
    #[must_use]
    pub const fn commit_index(&self) -> LogIndex {
        self.commit_index
    }

    /// Committed and in this node's ledger: what reads show.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        self.commit_index.min(self.storage.durable_index())
    }

    /// The ledger file.
    #[must_use]
    pub const fn store_id(&self) -> StoreId {
        self.store_id
    }

    /// Whether this node leads and takes proposals: its `EpochStart` is committed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.open)
    }

    /// Whether this node leads, recovery included.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether this node stands for election.
    #[must_use]
    pub const fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate(_))
    }

    /// The leader, if this node leads or heard one within the heartbeat timeout.
    #[must_use]
    pub fn leader(&self, now: Now) -> Option<&NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.open.then_some(&self.config.node_id),
            Role::Follower(follower) if self.hears_leader(now) => follower.leader.as_ref(),
            Role::Follower(_) | Role::Candidate(_) => None,
        }
    }

    /// When a leader's word, or a quorum of answers to this leader, last confirmed what this node knows.
    #[must_use]
    pub const fn confirmed_ms(&self) -> Option<u64> {
        self.confirmed_ms
    }

    /// Whether the store counts in the newest configuration; true before the first one.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.log.configuration().is_none_or(|c| c.binds(&self.config.node_id, self.store_id))
    }

    /// Why the node quarantined itself, if it did.
    #[must_use]
    pub fn quarantine(&self) -> Option<&str> {
        self.quarantine.as_deref()
    }

    /// The newest configuration in the log.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.log.configuration()
    }

    /// How often this node opened an epoch since it started.
    #[must_use]
    pub const fn elections_won(&self) -> u64 {
        self.elections_won
    }

    /// An entry, if memory still holds it.
    #[must_use]
    pub fn cached_entry(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        self.log.entry(index)
    }

    /// The place at an index, if memory still knows its hash.
    #[must_use]
    pub fn cached_position(&self, index: LogIndex) -> Option<Position> {
        self.log.position(index)
    }

    /// Whether a leader may take another proposal: open, not handing over, and its tail is not full.
    #[must_use]
    pub fn takes_proposals(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.open && leader.transfer.is_none())
            && self.quarantine.is_none()
    }

    /// Whether so much waits for a quorum that a proposal must be refused for now.
    #[must_use]
    pub fn tail_is_full(&self) -> bool {
        self.log.last().index.0 - self.commit_index.0 >= self.config.limits.tail_entries as u64
            || self.log.weight_above(self.commit_index) >= MAX_TAIL_BYTES
    }

    /// Asks for a read index.
    pub fn read(&mut self, read: ReadId) {
        self.start_read(read);
    }
}
