//! Invariants: the rule version never falls along a log, no epoch begins by rules that some node has never known, and
//! no program refuses rules that it knows. That every entry is decided by the rules in force at its place is checked by
//! `money`, whose model knows both sets of rules.

use std::collections::BTreeMap;

use quorapay_core::domain::{LogIndex, RuleVersion};
use quorapay_core::replication::{Entry, EntryBody, NodeId};

use crate::disk::{Disk, row};
use crate::node::Node;

/// The newest rules that some program of each node has known.
#[derive(Default)]
pub(super) struct RuleVersions {
    known: BTreeMap<NodeId, RuleVersion>,
}

impl RuleVersions {
    /// A process has started.
    pub(super) fn started(&mut self, node: &Node) {
        let known = self.known.entry(node.id.clone()).or_default();
        *known = (*known).max(node.newest_rules);
    }

    /// A program refuses to follow rules, because it does not know them.
    pub(super) fn refused(&self, node: &Node, rules: RuleVersion) {
        assert!(rules > node.newest_rules, "{} knows the rules {rules} and refuses them", node.id);
    }

    /// An entry has become durable somewhere for the first time.
    pub(super) fn check(&self, disk: &Disk, entry: &Entry, nodes: &[Node]) {
        let EntryBody::EpochStart { rules, .. } = &entry.body else { return };
        let before = in_force(&disk.rows[..row(entry.index)]);
        assert!(*rules >= before, "the rules fall from {before} to {rules} at {}", entry.index);
        if *rules == before {
            return;
        }
        for node in nodes {
            let known = self.known.get(&node.id).copied().unwrap_or_default();
            assert!(known >= *rules, "entry {} begins by rules {rules}, which {} never knew", entry.index, node.id);
        }
    }
}

/// The rules in force after these entries.
pub(super) fn in_force<'entry>(entries: impl IntoIterator<Item = &'entry std::sync::Arc<Entry>>) -> RuleVersion {
    let named = entries.into_iter().filter_map(|entry| match &entry.body {
        EntryBody::EpochStart { rules, .. } => Some(*rules),
        EntryBody::Configuration(_) | EntryBody::Operation(_) => None,
    });
    named.last().unwrap_or_default()
}

/// At the end of a run with upgrades.
pub(super) fn check_in_force(rules: RuleVersion, expected: RuleVersion, at: LogIndex) {
    assert_eq!(
        rules, expected,
        "all nodes know the rules {expected}, and after an election {rules} are in force at {at}"
    );
}
