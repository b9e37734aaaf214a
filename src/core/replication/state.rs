//! The state of a node that does not depend on its role, with the elementary operations on it. The handlers of all
//! roles use it; it does not know them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clocks::Clocks;
use super::cluster_clock::{ClusterClock, Electorate};
use super::config::{
    MAX_PRE_VOTE_DOUBLINGS, MAX_TAIL_BYTES, PRE_VOTE_TIMEOUT_MS, ReplicaConfig, TRANSFER_GRACE_MS, UNFIT_PAUSE_MS,
    UNREACHABLE_MS, UNREACHED_STANDS_MS,
};
use super::effect::{CoordinationCommand, Effect, LogChange, Outgoing, PersistId, QueueRank, ReadId, RequestId, RpcId};
use super::entry::{Entry, EntryBody, UnchainedEntry};
use super::forwarded_reads::ForwardedReads;
use super::log::Log;
use super::message::{ClockTimes, Request, Response};
use super::pacing::Pacing;
use super::start::ReplicaStart;
use super::storage::Storage;
use super::types::{Configuration, NodeId, Now, Position, Promise, StoreId, can_follow};
use crate::domain::{ApiKeyId, Epoch, LogIndex, RuleVersion, Stamp, Timestamp};
use crate::planted::{Bug, planted};

/// A node's state in all roles.
#[derive(Debug)]
pub(super) struct State {
    pub(super) config: ReplicaConfig,
    pub(super) store_id: StoreId,
    pub(super) log: Log,
    /// Invariant 1: never lowered; every answer given under it waited until it was durable.
    pub(super) promise: Option<Promise>,
    /// Invariant 2: never lowered; at most the end of the log; every entry up to it is on a quorum.
    pub(super) commit_index: LogIndex,
    pub(super) storage: Storage,
    pub(super) election: ElectionTimers,
    /// This node's rank in ZooKeeper's election queue.
    pub(super) queue_rank: QueueRank,
    /// The highest epoch that this node has heard of.
    pub(super) highest_epoch: Epoch,
    /// When a leader's append, or at the leader a quorum of responses, last confirmed this node's commit index.
    pub(super) confirmed_ms: Option<u64>,
    pub(super) forwarded_reads: ForwardedReads,
    pub(super) clocks: Clocks,
    pub(super) cluster_clock: ClusterClock,
    /// How far the true time can be from the stamps of this epoch's leader, as it last named it.
    pub(super) time_error_named: (Epoch, Option<u64>),
    /// The newest rules that all nodes know, as the leader of this epoch last named them. See `common_rules`.
    pub(super) rules_named: (Epoch, RuleVersion),
    /// Why the node quarantined itself, if it did.
    pub(super) quarantine: Option<String>,
    /// Since when no connection to these peers can be opened.
    unreachable_since_ms: BTreeMap<NodeId, u64>,
    /// Whether this node can decide whatever it may be asked as the leader. If not, another one leads if it can.
    pub(super) fit: bool,
    pub(super) pacing: Pacing,
    /// How often this node opened an epoch since it started.
    pub(super) elections_won: u64,
    effects: Vec<Effect>,
    changes: Vec<LogChange>,
    last_request: RequestId,
    halted: bool,
}

/// When this node may campaign. All in milliseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(super) struct ElectionTimers {
    /// When a leader or candidate of the promised epoch was last heard.
    pub(super) last_heard_ms: Option<u64>,
    /// Until when it counts as confirmed, by a majority or by a broken connection, that there is no leader.
    pub(super) no_leader_until_ms: u64,
    /// No candidacy before this moment: after a false alarm, after a failed candidacy, or while a named successor has
    /// its turn.
    pub(super) not_before_ms: u64,
    /// Until when this node leaves the leadership to a named successor.
    pub(super) yield_until_ms: u64,
    /// Until when it is this node's turn, because the last leader named it as its successor.
    pub(super) succeed_until_ms: u64,
    /// The epoch of that leader.
    pub(super) named_in: Epoch,
    /// Since when this node would campaign, but a majority cannot open connections to it.
    pub(super) unreached_since_ms: Option<u64>,
    /// How many pre-votes in a row no majority has answered in time.
    pub(super) pre_votes_unanswered: u32,
    /// As a leader, this node does not move the leadership to better links before this moment: the last such move was in
    /// vain, unless another node has led since.
    pub(super) no_move_before_ms: u64,
    /// Until when this node leads if it is its turn, although it is not fit: the others have had theirs.
    pub(super) leads_unfit_until_ms: u64,
    /// The same for a node whose clock is false.
    pub(super) leads_false_until_ms: u64,
}

impl ElectionTimers {
    /// A successor was named: counts as hearing a leader, so that no other node campaigns during its turn.
    pub(super) fn yield_from(&mut self, now: Now) {
        self.last_heard_ms = Some(now.monotonic_ms);
        self.not_before_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
        self.yield_until_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
    }

    /// This node was named as successor: nothing keeps it from campaigning at once.
    pub(super) fn succeed_from(&mut self, now: Now, epoch: Epoch) {
        self.named_in = epoch;
        self.last_heard_ms = None;
        self.no_leader_until_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
        self.not_before_ms = now.monotonic_ms;
        self.succeed_until_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
        // An earlier transfer may have asked this node to let another one pass.
        self.yield_until_ms = now.monotonic_ms;
    }

    /// How long a pre-vote waits for answers.
    pub(super) fn pre_vote_timeout_ms(&self) -> u64 {
        PRE_VOTE_TIMEOUT_MS << self.pre_votes_unanswered.min(MAX_PRE_VOTE_DOUBLINGS)
    }

    /// Whether it is this node's turn to lead, because the last leader named it.
    pub(super) const fn succeeds(&self, now: Now) -> bool {
        now.monotonic_ms < self.succeed_until_ms
    }

    /// Whether the leader of this epoch has handed over to this node. What it sent before may come later.
    pub(super) fn has_taken_over_from(&self, now: Now, epoch: Epoch) -> bool {
        self.succeeds(now) && epoch == self.named_in
    }

    /// Another node leads: no successor has a turn any more, this node may campaign as soon as that leader fails, and
    /// its own last move of the leadership was not in vain.
    pub(super) fn follow(&mut self, now: Now) {
        if now.monotonic_ms < self.yield_until_ms {
            self.yield_until_ms = now.monotonic_ms;
            self.not_before_ms = now.monotonic_ms;
        }
        self.succeed_until_ms = now.monotonic_ms;
        self.unreached_since_ms = None;
        self.no_move_before_ms = now.monotonic_ms;
    }

    /// Whether this node has been ready to campaign for so long, though a majority cannot open connections to it, that
    /// no other node seems able to lead.
    pub(super) fn stands_unreached(&self, now: Now) -> bool {
        self.unreached_since_ms.is_some_and(|since| now.monotonic_ms >= since + UNREACHED_STANDS_MS)
    }
}

impl State {
    pub(super) fn new(config: ReplicaConfig, mut start: ReplicaStart) -> Self {
        let log = Log::new(&mut start);
        let commit_index = start.commit_index.min(log.last().index);
        let highest_epoch = start.promise.as_ref().map_or(Epoch(0), |promise| promise.epoch).max(log.last().epoch);
        Self {
            storage: Storage::new(log.last().index, start.promise.clone(), commit_index),
            store_id: start.store_id,
            promise: start.promise,
            commit_index,
            log,
            election: ElectionTimers::default(),
            queue_rank: QueueRank::Absent,
            highest_epoch,
            confirmed_ms: None,
            forwarded_reads: ForwardedReads::default(),
            clocks: Clocks::default(),
            cluster_clock: ClusterClock::default(),
            time_error_named: (Epoch(0), None),
            rules_named: (Epoch(0), RuleVersion::FIRST),
            quarantine: None,
            unreachable_since_ms: BTreeMap::new(),
            fit: true,
            pacing: Pacing::default(),
            elections_won: 0,
            effects: Vec::new(),
            changes: Vec::new(),
            last_request: RequestId(0),
            halted: false,
            config,
        }
    }
}

/// Promises and durability.
impl State {
    /// The promised epoch, 0 before the first promise.
    pub(super) fn promised_epoch(&self) -> Epoch {
        self.promise.as_ref().map_or(Epoch(0), |promise| promise.epoch)
    }

    /// Makes a promise; it becomes durable with the next write.
    pub(super) fn make_promise(&mut self, now: Now, epoch: Epoch, leader: NodeId) {
        let promise = Promise { epoch, leader };
        self.hear_of(epoch);
        self.storage.promise(promise.clone());
        self.promise = Some(promise);
        self.release_responses(now);
    }

    /// Whether this node's promise allows requests of `leader` in `epoch`: promised to it, or newer than any promise.
    pub(super) fn promise_allows(&self, epoch: Epoch, leader: &NodeId) -> bool {
        let is_free =
            |promise: &Promise| epoch > promise.epoch || (epoch == promise.epoch && *leader == promise.leader);
        planted(Bug::NoFence) || (self.promise.as_ref().is_none_or(is_free) && self.is_plausible(epoch))
    }

    /// Whether elections can have led from what this node knows to `epoch`. Others are not accepted from anybody:
    /// ZooKeeper or a peer that names one could use up all epochs.
    pub(super) fn is_plausible(&self, epoch: Epoch) -> bool {
        can_follow(epoch, self.highest_epoch)
    }

    pub(super) fn hear_of(&mut self, epoch: Epoch) {
        if self.is_plausible(epoch) {
            self.highest_epoch = self.highest_epoch.max(epoch);
        }
    }

    /// For how long this node's disk has hung, beyond what a write may take.
    pub(super) fn disk_hangs_for_ms(&self, now: Now) -> Option<u64> {
        self.storage.write_takes_ms(now.monotonic_ms).checked_sub(self.config.timing.hung_write_ms)
    }

    /// A write is durable: sends the responses that waited for it.
    pub(super) fn on_persisted(&mut self, now: Now, id: PersistId) {
        if self.storage.on_persisted(id) {
            self.release_responses(now);
        }
    }

    /// Responds once this node's promise of `epoch` and its log up to `index` are durable.
    pub(super) fn respond_when_durable(
        &mut self,
        now: Now,
        rpc: RpcId,
        response: Response,
        epoch: Epoch,
        index: LogIndex,
    ) {
        self.storage.hold_back(now, rpc, response, epoch, index);
        self.release_responses(now);
    }

    fn release_responses(&mut self, now: Now) {
        let promised = self.promised_epoch();
        self.storage.release_responses(now, promised, &mut self.effects);
    }
}

/// The log.
impl State {
    /// Adds an entry to the end of this node's log: in memory at once, in the ledger with the next write.
    pub(super) fn push(&mut self, entry: UnchainedEntry) -> Arc<Entry> {
        let entry = self.log.push(entry);
        self.storage.append(Arc::clone(&entry));
        self.changes.push(LogChange::Appended(Arc::clone(&entry)));
        entry
    }

    /// Appends as the leader.
    pub(super) fn append(&mut self, now: Now, body: EntryBody) -> Arc<Entry> {
        self.append_stamped(self.next_stamp(now), None, body)
    }

    /// Appends as the leader, under the stamp for which the entry was decided.
    pub(super) fn append_stamped(&mut self, stamp: Stamp, principal: Option<ApiKeyId>, body: EntryBody) -> Arc<Entry> {
        let (index, epoch) = (self.log.last().index.next(), self.promised_epoch());
        assert_eq!((stamp.index, stamp.epoch), (index, epoch), "an entry is appended where it was decided");
        self.push(UnchainedEntry { index, epoch, timestamp: stamp.timestamp, principal, body })
    }

    /// The stamp of the next entry that this node appends as the leader.
    pub(super) fn next_stamp(&self, now: Now) -> Stamp {
        let timestamp = if planted(Bug::WallClockTimestamps) {
            Timestamp(now.unix_ms)
        } else {
            self.log.last_timestamp().max(self.ledger_time(now))
        };
        Stamp { timestamp, epoch: self.promised_epoch(), index: self.log.last().index.next() }
    }

    fn ledger_time(&self, now: Now) -> Timestamp {
        if planted(Bug::LeadersClockAlone) {
            return Timestamp(now.unix_ms);
        }
        self.clocks.passed_by_quorum(now, &self.electorate(), self.cluster_clock.falsetickers())
    }

    /// Removes the end of the log after `to`. Invariant 3: never at or below the commit index; false if it would be.
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

    pub(super) fn commit_up_to(&mut self, index: LogIndex) {
        self.commit_index = self.commit_index.max(index.min(self.log.last().index));
    }

    /// Whether so much waits for a quorum, or for this node's own disk, that proposals must be refused.
    pub(super) fn tail_is_full(&self) -> bool {
        let durable = if planted(Bug::HungWriteIgnored) { self.log.last().index } else { self.storage.durable_index() };
        let settled = self.commit_index.min(durable);
        self.log.last().index.0 - settled.0 >= self.config.limits.tail_entries as u64
            || self.log.bytes_above(settled) >= MAX_TAIL_BYTES
    }

    pub(super) fn take_changes(&mut self) -> Vec<LogChange> {
        std::mem::take(&mut self.changes)
    }
}

/// Nodes and votes.
impl State {
    /// All other nodes: those in the settings and those in the log's configuration.
    pub(super) fn others(&self) -> Vec<NodeId> {
        let mut others: BTreeSet<&NodeId> = self.config.peers.keys().collect();
        others.extend(self.log.configuration().into_iter().flat_map(|c| c.voters.keys()));
        others.remove(&self.config.node_id);
        others.into_iter().cloned().collect()
    }

    /// The nodes that vote: by the log's configuration or, before the first one, by the settings.
    pub(super) fn voter_ids(&self) -> BTreeSet<&NodeId> {
        match self.log.configuration() {
            Some(configuration) => configuration.voters.keys().collect(),
            None => self.config.peers.keys().collect(),
        }
    }

    /// How many of the voters make a majority.
    pub(super) fn quorum(&self) -> usize {
        self.log.configuration().map_or(self.config.peers.len() / 2 + 1, Configuration::quorum)
    }

    fn electorate(&self) -> Electorate<'_> {
        Electorate { own: &self.config.node_id, voters: self.voter_ids(), quorum: self.quorum() }
    }

    /// Whether this node's store counts in the newest configuration; true before the first one.
    pub(super) fn is_voter(&self) -> bool {
        self.binds(&self.config.node_id, self.store_id).unwrap_or(true)
    }

    /// Whether this store of this node counts in the newest configuration; `None` before the first one.
    pub(super) fn binds(&self, node: &NodeId, store: StoreId) -> Option<bool> {
        self.log.configuration().map(|configuration| configuration.binds(node, store))
    }

    pub(super) fn on_peer_reachable(&mut self, now: Now, peer: NodeId, reachable: bool) {
        if reachable {
            self.unreachable_since_ms.remove(&peer);
        } else {
            self.unreachable_since_ms.entry(peer).or_insert(now.monotonic_ms);
        }
    }

    /// The peers to which this node has not been able to open connections for a while.
    pub(super) fn unreachable(&self, now: Now) -> Vec<NodeId> {
        let is_late = |since: &u64| now.monotonic_ms >= since + UNREACHABLE_MS;
        self.unreachable_since_ms.iter().filter(|(_, since)| is_late(since)).map(|(peer, _)| peer.clone()).collect()
    }

    /// Whether a leader or candidate was heard within the heartbeat timeout.
    pub(super) fn heard_leader(&self, now: Now) -> bool {
        let timeout_ms = self.config.timing.heartbeat_timeout_ms;
        self.election.last_heard_ms.is_some_and(|heard| now.monotonic_ms < heard + timeout_ms)
    }
}

/// Clocks.
impl State {
    /// On every tick: asks for clocks that no message has told lately, and judges those that are known.
    pub(super) fn tend_clocks(&mut self, now: Now) {
        for node in self.cluster_clock.take_due_probes(now, self.others()) {
            let id = self.send(&node, Outgoing::Plain(Request::Clock));
            self.cluster_clock.asked(now, &node, id);
        }
        let was_false = self.own_clock_is_false();
        let mut cluster_clock = std::mem::take(&mut self.cluster_clock);
        cluster_clock.judge(now, &self.electorate());
        self.cluster_clock = cluster_clock;
        if was_false && !self.own_clock_is_false() {
            // If it is false again one day, the others have not had their turn yet.
            self.election.leads_false_until_ms = now.monotonic_ms;
        }
    }

    /// What a response says of this node's clocks that leaves as soon as its request has arrived.
    pub(super) const fn clock_times(now: Now) -> ClockTimes {
        ClockTimes { received_us: now.reading.wall_us, held_us: 0 }
    }

    /// Whether this node's own clock is judged false here.
    pub(super) fn own_clock_is_false(&self) -> bool {
        !planted(Bug::FalseLeaderStays) && self.cluster_clock.falsetickers().contains(&self.config.node_id)
    }

    /// Whether another node should lead, because this one is not fit or its clock is false, and the others have not had
    /// their turn yet.
    pub(super) fn should_give_way(&self, now: Now, is_false: bool) -> bool {
        let is_unfit = !self.fit && now.monotonic_ms >= self.election.leads_unfit_until_ms;
        is_unfit || (is_false && now.monotonic_ms >= self.election.leads_false_until_ms)
    }

    /// The others have their turn now.
    pub(super) fn give_way(&mut self, now: Now, is_false: bool) {
        let until_ms = now.monotonic_ms + UNFIT_PAUSE_MS;
        if !self.fit {
            self.election.leads_unfit_until_ms = until_ms;
        }
        if is_false {
            self.election.leads_false_until_ms = until_ms;
        }
    }

    /// How far the true time can be from the stamp of an entry that this node, the leader, appends now.
    pub(super) fn time_error_ms(&self, now: Now) -> Option<u64> {
        self.cluster_clock.error_of_ms(now, self.next_stamp(now).timestamp)
    }
}

/// Effects.
impl State {
    pub(super) fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(super) fn take_effects(&mut self, effects: &mut Vec<Effect>) {
        effects.append(&mut self.effects);
    }

    pub(super) fn send(&mut self, to: &NodeId, request: Outgoing) -> RequestId {
        self.last_request = RequestId(self.last_request.0 + 1);
        self.emit(Effect::Send { id: self.last_request, to: to.clone(), request });
        self.last_request
    }

    /// Responds at once, with something that needs no durability.
    pub(super) fn respond(&mut self, rpc: RpcId, response: Response) {
        self.emit(Effect::Respond { rpc, response });
    }

    /// Refuses a request: a newer epoch, or this epoch to another node, has been promised.
    pub(super) fn respond_fenced(&mut self, rpc: RpcId) {
        self.respond(rpc, Response::Fenced { promised: self.promised_epoch() });
    }

    pub(super) fn coordinate(&mut self, command: CoordinationCommand) {
        self.emit(Effect::Coordinate(command));
    }

    pub(super) fn refuse_reads(&mut self, reads: Vec<ReadId>) {
        self.effects.extend(reads.into_iter().map(Effect::ReadRefused));
    }

    /// The newest rules that all nodes know, as the leader of the log's newest epoch last named them, if it has.
    pub(super) fn common_rules(&self) -> Option<RuleVersion> {
        let (epoch, rules) = self.rules_named;
        (epoch == self.log.last().epoch).then_some(rules)
    }

    /// Stops the process if one of these entries, which it must store, begins an epoch by rules that this program does
    /// not know. True if so.
    pub(super) fn is_outdated_by<'entry>(&mut self, entries: impl IntoIterator<Item = &'entry UnchainedEntry>) -> bool {
        let newest = self.config.newest_rules;
        let unknown = entries.into_iter().find_map(|entry| match &entry.body {
            EntryBody::EpochStart { rules, .. } if *rules > newest => Some((entry.index, *rules)),
            _ => None,
        });
        if let Some((index, rules)) = unknown {
            self.halted = true;
            self.emit(Effect::Outdated { index, rules });
        }
        unknown.is_some()
    }

    /// Stops the process: an invariant is broken.
    pub(super) fn halt(&mut self, reason: String) {
        self.halted = true;
        self.emit(Effect::Halt(reason));
    }

    pub(super) fn is_halted(&self) -> bool {
        self.halted
    }
}
