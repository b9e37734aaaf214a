//! Invariants: a node repairs itself at most once an hour by its own clock, and it gives a damaged ledger up only when a
//! quorum of the other stores holds everything that it knows to be committed.

use std::collections::BTreeMap;

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{NodeId, Voter};

use super::committed_history::CommittedHistory;
use crate::node::Node;
use crate::repair::MIN_INTERVAL_MS;

/// When each node last repaired itself.
#[derive(Default)]
pub(super) struct SelfRepairs(BTreeMap<usize, u64>);

impl SelfRepairs {
    /// A node is about to repair itself.
    pub(super) fn begins(&mut self, node: usize, now_ms: u64) {
        if let Some(before) = self.0.insert(node, now_ms) {
            let apart_ms = now_ms.abs_diff(before);
            assert!(apart_ms >= MIN_INTERVAL_MS, "node{} repairs itself again after {apart_ms} ms", node + 1);
        }
    }

    /// An hour has passed for a node, or its data directory is a new one.
    pub(super) fn forget(&mut self, node: usize) {
        self.0.remove(&node);
    }
}

/// Checks a node that is about to begin with an empty ledger by its own decision.
pub(super) fn check_others(node: usize, history: &CommittedHistory, nodes: &[Node]) {
    let known = nodes[node].process.as_ref().map_or(LogIndex(0), |process| process.engine.replica().commit_index());
    let needed = known.min(history.last());
    let holds = |voter: (&NodeId, &Voter)| {
        let of_voter = |other: &&Node| other.id == *voter.0 && other.disk.store_id == voter.1.store_id;
        *voter.0 != nodes[node].id
            && nodes.iter().find(of_voter).is_some_and(|other| other.disk.position(needed) == history.position(needed))
    };
    // A configuration is in force as soon as its leader has appended it.
    let appended = nodes.iter().filter_map(|node| node.process.as_ref()?.engine.replica().configuration());
    let backed = history.configuration().into_iter().chain(appended).any(|configuration| {
        configuration.voters.iter().filter(|voter| holds(*voter)).count() >= configuration.quorum()
    });
    assert!(backed, "{} gives its ledger up, and no quorum of the others holds {needed}", nodes[node].id);
}
