//! Invariants: a node's commit index never decreases, not even over a restart, and never exceeds what a quorum of the
//! configured stores has made durable; and a leader commits only by an entry of its own epoch.

use std::collections::HashMap;

use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::{Configuration, Entry, EntryBody, StoreId};

use crate::node::Node;

pub(super) fn restarted(node: usize, durable: LogIndex, applied: LogIndex) {
    assert!(applied >= durable, "node{} starts at {applied}, {durable} was durable as its commit index", node + 1);
}

pub(super) fn advanced(node: usize, before: LogIndex, now: LogIndex, last: LogIndex) {
    assert!(now >= before, "node{} has applied {before} and then only {now}", node + 1);
    assert!(now <= last, "node{} has applied {now}, but only {last} is durable there", node + 1);
}

/// Checks the newest of the entries that a node was the first to commit. If the node leads, that entry must be of its
/// epoch: an older one can be on a quorum and still be overwritten. (If the leader's own disk is behind, there is
/// nothing to check.)
pub(super) fn check_epoch(node: &Node, newest: &Entry) {
    let Some(replica) = node.process.as_ref().map(|process| process.engine.replica()) else { return };
    if replica.is_leader() && replica.commit_index() == newest.index {
        let epoch = replica.promised_epoch();
        assert_eq!(newest.epoch, epoch, "{} commits by an entry of an older epoch: {newest:?}", node.id);
    }
}

/// Which stores ever had which entry on disk. A store whose disk was lost still counts: its copy was acknowledged, and
/// a wiped disk gets another store id.
pub(super) struct DurableCopies {
    nodes: usize,
    /// Each store's node and its bit in `copies`.
    stores: HashMap<StoreId, (usize, u64)>,
    copies: HashMap<(LogIndex, Epoch), u64>,
    configurations: Vec<(LogIndex, Configuration)>,
    committed_configuration: LogIndex,
}

impl DurableCopies {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            stores: HashMap::new(),
            copies: HashMap::new(),
            configurations: Vec::new(),
            committed_configuration: LogIndex(0),
        }
    }

    pub(super) fn store_made(&mut self, node: usize, store_id: StoreId) {
        assert!(self.stores.len() < 64, "a run wipes few disks");
        let bit = 1 << self.stores.len();
        self.stores.insert(store_id, (node, bit));
    }

    /// Adds a copy; true if it is the first one.
    pub(super) fn add(&mut self, store: StoreId, entry: &Entry) -> bool {
        let (_, bit) = self.stores[&store];
        let copies = self.copies.entry((entry.index, entry.epoch)).or_default();
        if *copies == 0
            && let EntryBody::Configuration(configuration) = &entry.body
        {
            self.configurations.push((entry.index, configuration.clone()));
        }
        let first = *copies == 0;
        *copies |= bit;
        first
    }

    /// An entry commits for the first time.
    pub(super) fn check_commit(&mut self, entry: &Entry, nodes: &[Node]) {
        self.check_quorum(entry, nodes);
        if matches!(entry.body, EntryBody::Configuration(_)) {
            self.committed_configuration = entry.index;
        }
    }

    /// Checks that a quorum of some configuration in force holds the entry: the newest committed one, a later one, or
    /// one that so far is only in a leader's memory, where it is in force as soon as it is appended.
    pub(super) fn check_quorum(&self, entry: &Entry, nodes: &[Node]) {
        let copies = self.copies.get(&(entry.index, entry.epoch)).copied().unwrap_or_default();
        let later = self.configurations.iter().filter(|(index, _)| *index >= self.committed_configuration);
        let of_some = later.into_iter().any(|(_, configuration)| self.is_quorum(configuration, copies));
        let of_all = self.committed_configuration.0 == 0 && self.is_first_quorum(copies);
        let in_memory = |node: &Node| {
            let configuration = node.process.as_ref().and_then(|process| process.engine.replica().configuration());
            configuration.is_some_and(|configuration| self.is_quorum(configuration, copies))
        };
        let backed = of_some || of_all || nodes.iter().any(in_memory);
        assert!(backed, "committed without a quorum of durable copies ({copies:b}): {entry:?}");
    }

    fn is_quorum(&self, configuration: &Configuration, copies: u64) -> bool {
        let holds = |store: &StoreId| self.stores.get(store).is_some_and(|(_, bit)| copies & bit != 0);
        configuration.voters.values().filter(|voter| holds(&voter.store_id)).count() >= configuration.quorum()
    }

    /// Before the first configuration every node votes with its current store.
    fn is_first_quorum(&self, copies: u64) -> bool {
        let holds = |node: usize| self.stores.values().any(|(holder, bit)| *holder == node && copies & bit != 0);
        (0..self.nodes).filter(|node| holds(*node)).count() > self.nodes / 2
    }
}
