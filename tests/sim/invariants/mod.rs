//! The oracle: what must hold in every run. It observes all nodes from outside, so it knows the one committed history
//! that no node may contradict. A broken invariant panics, and the panic's file names the check.
//!
//! ```text
//! acknowledged_payments        every acknowledged write stays in the committed history
//! admitted_stores              an admitted store holds everything that was committed when it started
//! agreeing_chains              logs are equal up to the lower of their commit indexes
//! bounded_failover             a leader and its successor that die are replaced before their sessions end
//! bounded_memory               what a core holds in memory is bounded by its limits
//! callers                      no entry was asked for with an API key that was not in force
//! charges, money               a model of payments, orders and accounts, compared with every outcome
//! commit_index                 it never decreases, and is on a quorum
//! committed_history            one history for all nodes
//! counted_copies               a leader counts nothing that a store no longer holds
//! durable_before_acknowledged  nothing is acknowledged before it is durable
//! equal_entries                same index and epoch, same entry and history
//! hung_disks                   a leader whose disk hangs gives up, and does not collect what it cannot write
//! justified_quarantine         only damaged ledgers are quarantined
//! leader_completeness          a leader has everything that was committed before its epoch
//! linearizable_reads           a read shows the history as of an index that is new enough
//! linearizable_writes          a key has one index, above everything answered before
//! node_banks                   every bank equals the replay of the history
//! one_leader_per_epoch         an epoch has at most one leader
//! one_step_configurations      voters change one store at a time
//! own_checks                   no replica halts
//! refused_keys                 a refused key never applies
//! self_repair                  a damaged node begins again once an hour, and not before the others serve
//! rule_versions                rules never go back, and every node knows them
//! silent_peers                 a follower that does not answer costs next to nothing
//! timestamps                   they never decrease, and one wrong clock does not move them
//! true_time                    while all clocks are right, each node's corrected clock is within its bound
//! unique_keys                  a key is committed at most once
//! ```

mod acknowledged_payments;
mod admitted_stores;
mod agreeing_chains;
pub(crate) mod bounded_failover;
mod bounded_memory;
mod callers;
mod charges;
mod commit_index;
mod committed_history;
pub(crate) mod counted_copies;
mod durable_before_acknowledged;
mod equal_entries;
mod hung_disks;
mod justified_quarantine;
mod leader_completeness;
mod linearizable_reads;
mod linearizable_writes;
mod money;
mod node_banks;
mod one_leader_per_epoch;
mod one_step_configurations;
mod own_checks;
mod refused_keys;
mod rule_versions;
mod self_repair;
mod silent_peers;
mod timestamps;
mod true_time;
mod unique_keys;

use quorapay_core::domain::{AccountId, AccountState, Epoch, IdempotencyKey, LogIndex, RuleVersion};
use quorapay_core::engine::{Engine, ProposalOutcome};
use quorapay_core::replication::{Append, EntryBody, NodeId, ReadId, Response, StoreId};

use super::clients::Intent;
use super::disk::{Disk, row};
use super::knobs::Knobs;
use super::node::Node;
use super::world::World;

use acknowledged_payments::AcknowledgedPayments;
use admitted_stores::AdmittedStores;
use bounded_memory::BoundedMemory;
use callers::Callers;
use commit_index::DurableCopies;
use committed_history::CommittedHistory;
use equal_entries::EqualEntries;
use hung_disks::Unpersisted;
use linearizable_writes::LinearizableWrites;
use money::Money;
use one_leader_per_epoch::OneLeaderPerEpoch;
use refused_keys::RefusedKeys;
use rule_versions::RuleVersions;
use self_repair::SelfRepairs;
use silent_peers::SilentPeers;
use unique_keys::UniqueKeys;

/// All invariants of one run.
pub(crate) struct Oracle {
    leaders: OneLeaderPerEpoch,
    entries: EqualEntries,
    copies: DurableCopies,
    history: CommittedHistory,
    keys: UniqueKeys,
    money: Money,
    acknowledged: AcknowledgedPayments,
    admitted: AdmittedStores,
    writes: LinearizableWrites,
    refused: RefusedKeys,
    unpersisted: Unpersisted,
    memory: BoundedMemory,
    repairs: SelfRepairs,
    silent_peers: SilentPeers,
    rules: RuleVersions,
    callers: Callers,
    answered_up_to: LogIndex,
}

impl Oracle {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            leaders: OneLeaderPerEpoch::new(nodes + 1),
            entries: EqualEntries::default(),
            copies: DurableCopies::new(nodes),
            history: CommittedHistory::default(),
            keys: UniqueKeys::default(),
            money: Money::default(),
            acknowledged: AcknowledgedPayments::default(),
            admitted: AdmittedStores::default(),
            writes: LinearizableWrites::default(),
            refused: RefusedKeys::default(),
            unpersisted: Unpersisted::default(),
            memory: BoundedMemory::default(),
            repairs: SelfRepairs::default(),
            silent_peers: SilentPeers::default(),
            rules: RuleVersions::default(),
            callers: Callers::default(),
            answered_up_to: LogIndex(0),
        }
    }

    /// A node got a new ledger file.
    pub(crate) fn store_made(&mut self, node: usize, store_id: StoreId) {
        self.copies.store_made(node, store_id);
    }

    /// A leader sends an append.
    pub(crate) fn append_sent(&mut self, now: u64, node: usize, append: &Append, nodes: &[Node]) {
        if self.leaders.append_sent(now, node, append.epoch) {
            leader_completeness::check(&nodes[node], append.epoch, &self.history);
        }
        if let Some(hash) = append.commit_hash {
            self.history.claim(append.commit_index, hash);
        }
    }

    /// A leader sends entries to a follower.
    pub(crate) fn batch_sent(&mut self, node: &Node, to: usize, entries: usize, knobs: &Knobs) {
        silent_peers::check_size(entries, knobs.limits.batch_entries);
        if let Some(process) = &node.process {
            self.silent_peers.batch_sent((process.life, process.engine.replica().promised_epoch(), to));
        }
    }

    /// A leader has read entries for a follower.
    pub(crate) fn batch_read(&mut self, node: &Node, peer: usize, entries: usize, knobs: &Knobs) {
        // One more: the entry before the batch.
        silent_peers::check_size(entries, knobs.limits.batch_entries + 1);
        if let Some(process) = &node.process {
            self.silent_peers.batch_read((process.life, process.engine.replica().promised_epoch(), peer));
        }
    }

    /// A response reaches the process that waits for it.
    pub(crate) fn response_arrives(&mut self, life: u64, from: usize, response: &Response) {
        self.silent_peers.answered(life, from, response);
    }

    /// A node responds to a request of this epoch.
    pub(crate) fn responding(&self, disk: &Disk, epoch: Epoch, response: &Response) {
        durable_before_acknowledged::check(disk, epoch, response);
    }

    /// A write became durable: all entries above `before` are new.
    pub(crate) fn durable(&mut self, node: usize, before: LogIndex, nodes: &[Node]) {
        let disk = &nodes[node].disk;
        for entry in &disk.rows[row(before.next())..] {
            let previous = disk.position(entry.index.previous()).expect("the log has no gaps");
            self.entries.seen(&previous, entry);
            self.rules.check(disk, entry, nodes);
            if self.copies.add(disk.store_id, entry)
                && let Some(before) = one_step_configurations::check(disk, entry)
            {
                self.copies.check_quorum(before, nodes);
            }
        }
    }

    /// A node started. It may be the first to know that an entry is committed: its process died between the write of
    /// the commit index and the next step.
    pub(crate) fn restarted(&mut self, at: u64, node: usize, durable: LogIndex, applied: LogIndex, nodes: &[Node]) {
        commit_index::restarted(node, durable, applied);
        let known = self.history.last();
        if known < durable {
            self.applied(at, node, known, durable, nodes);
        }
        self.admitted.started(nodes[node].disk.store_id, self.history.last());
    }

    /// A node has applied more of its log.
    pub(crate) fn applied(&mut self, at: u64, node: usize, before: LogIndex, now: LogIndex, nodes: &[Node]) {
        let disk = &nodes[node].disk;
        commit_index::advanced(node, before, now, disk.last_index());
        let mut newest = None;
        for entry in &disk.rows[row(before.next())..row(now.next())] {
            let voters =
                matches!(entry.body, EntryBody::Configuration(_)).then(|| self.history.configuration().cloned());
            if self.history.confirm(entry) {
                self.copies.check_commit(entry, nodes);
                if let (Some(Some(before)), EntryBody::Configuration(voters)) = (voters, &entry.body) {
                    self.admitted.check(&before, voters, &self.history, nodes);
                }
                newest = Some(entry);
                if let EntryBody::EpochStart { rules, .. } = &entry.body {
                    self.money.begin_epoch(*rules);
                }
                timestamps::check(at, self.history.before(entry.index), entry, nodes);
                if let Some(operation) = entry.operation() {
                    self.keys.committed(entry.index, operation);
                    self.money.committed(entry, operation);
                    self.callers.committed(entry, operation);
                }
            }
        }
        if let Some(entry) = newest {
            commit_index::check_epoch(&nodes[node], entry);
        }
    }

    /// Compares a node's bank with the model, for the accounts of the last applied entry.
    pub(crate) fn compare_bank(&self, node: usize, engine: &Engine) {
        if let Some(entry) = self.history.at(engine.applied_index()) {
            node_banks::compare_touched(node, engine, &self.money, entry);
        }
    }

    /// A caller was answered.
    pub(crate) fn answered(&mut self, intent: &Intent, outcome: &ProposalOutcome, nodes: &[Node]) {
        let index = match outcome {
            ProposalOutcome::Decided(entry) => {
                self.history.claim(entry.index, entry.hash);
                self.copies.check_quorum(entry, nodes);
                self.acknowledged.decided(intent, entry);
                entry.index
            }
            ProposalOutcome::Repeated { index, entry, fingerprint } => {
                self.acknowledged.repeated(intent, *index, entry.as_deref(), *fingerprint);
                *index
            }
            ProposalOutcome::NotLeading
            | ProposalOutcome::Overloaded
            | ProposalOutcome::Denied(_)
            | ProposalOutcome::Unknown => return,
        };
        if let ProposalOutcome::Decided(entry) | ProposalOutcome::Repeated { entry: Some(entry), .. } = outcome
            && let Some(operation) = entry.operation()
        {
            self.refused.answered(index, operation);
        }
        self.writes.answered(&intent.proposal.key, index);
        self.answered_up_to = self.answered_up_to.max(index);
    }

    /// A client is about to use a key for the first time: its write comes after everything that was answered so far.
    pub(crate) fn key_first_used(&mut self, key: &IdempotencyKey) {
        self.writes.first_used(key, self.answered_up_to);
    }

    /// A node got a read index for a read that began when `floor` had been answered.
    pub(crate) fn read_index_given(&self, read: ReadId, index: LogIndex, floor: LogIndex) {
        linearizable_reads::check_index(read, index, floor);
    }

    /// A node halts because it found an invariant broken.
    pub(crate) fn halted(&self, node: &Node, reason: &str) -> ! {
        own_checks::halted(node, reason)
    }

    /// A process has started on its ledger.
    pub(crate) fn program_started(&mut self, node: &Node) {
        self.rules.started(node);
    }

    /// A program ends because it does not know these rules.
    pub(crate) fn program_refused(&self, node: &Node, rules: RuleVersion) {
        self.rules.refused(node, rules);
    }

    /// The rules in force after the committed history.
    pub(crate) fn rules_in_force(&self) -> RuleVersion {
        rule_versions::in_force(self.history.entries())
    }

    /// All nodes know these rules, and an election has passed since.
    pub(crate) fn check_rules_in_force(&self, expected: RuleVersion) {
        rule_versions::check_in_force(self.rules_in_force(), expected, self.history.last());
    }

    /// The highest index that was answered to some caller: everybody who asks from now on must see it.
    pub(crate) const fn answered_up_to(&self) -> LogIndex {
        self.answered_up_to
    }

    /// A linearizable read was answered.
    pub(crate) fn read_answered(&mut self, account: &AccountId, shown: Option<&AccountState>, at: LogIndex) {
        linearizable_reads::check(&self.money, account, shown, at);
        self.answered_up_to = self.answered_up_to.max(at);
    }

    /// Whether this store votes, by the newest committed configuration.
    pub(crate) fn votes(&self, node: &NodeId, store: StoreId) -> bool {
        self.history.configuration().is_some_and(|configuration| configuration.binds(node, store))
    }

    /// A process has handled a tick.
    pub(crate) fn ticked(&self, now: u64, node: usize, nodes: &[Node], knobs: &Knobs) {
        hung_disks::check_leadership(&nodes[node], now, knobs);
        true_time::check(&nodes[node], now, knobs, nodes);
    }

    /// A core's effects were executed.
    pub(crate) fn effects_taken(&mut self, node: &Node, knobs: &Knobs) {
        self.unpersisted.check(node, knobs);
        self.memory.check(node, knobs);
    }

    /// A node has quarantined itself.
    pub(crate) fn quarantined(&self, node: &Node) {
        justified_quarantine::check(node);
    }

    /// A node may repair itself now, by its clock.
    pub(crate) fn repair_begins(&mut self, node: usize, now_ms: u64) {
        self.repairs.begins(node, now_ms);
    }

    /// A node gives its damaged ledger up by itself.
    pub(crate) fn gives_up_ledger(&self, node: usize) {
        self.repairs.gives_up(node);
    }

    /// Something has happened.
    pub(crate) fn look_at_repairs(&mut self, nodes: &[Node]) {
        self.repairs.look(&self.history, nodes);
    }

    /// A node may repair itself again.
    pub(crate) fn repair_forgotten(&mut self, node: usize) {
        self.repairs.forget(node);
    }

    /// The current leader; the newest one, if there are several.
    pub(crate) fn leader(&self, now: u64) -> Option<usize> {
        self.leaders.newest(now)
    }

    /// Why there is not exactly one leader, if so.
    pub(crate) fn contested_leadership(&self, now: u64, nodes: &[Node]) -> Option<String> {
        (nodes.len() > 1).then(|| self.leaders.contested(now)).flatten()
    }
}

impl World {
    /// The checks at the end of a run, once all nodes agree.
    pub(crate) fn check_end_state(&self) {
        let oracle = &self.oracle;
        agreeing_chains::check(self.members());
        for (number, node) in self.members().iter().enumerate() {
            for entry in &node.disk.rows {
                assert_eq!(oracle.history.at(entry.index), Some(entry), "a log differs from the committed history");
            }
            if let Some(process) = &node.process {
                node_banks::compare_all(number, &process.engine, &oracle.money);
                oracle.callers.compare(number, &process.engine);
            }
        }
        oracle.acknowledged.check_end_state(&oracle.history);
        unique_keys::check_refused(&self.clients.intents, &oracle.keys);
        oracle.refused.check(oracle.history.operations());
        oracle.money.check_sums();
    }
}
