//! Invariants: a node repairs itself at most once an hour by its own clock, and it gives a damaged ledger up only if a
//! quorum of the other stores held everything that it knows to be committed at some moment since it was quarantined. That
//! they still hold it nobody can know: another disk may fail at the same moment.

use std::collections::{BTreeMap, BTreeSet};

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{NodeId, Voter};

use super::committed_history::CommittedHistory;
use crate::node::Node;
use crate::repair::MIN_INTERVAL_MS;

/// What is known of nodes that repair themselves.
#[derive(Default)]
pub(super) struct SelfRepairs {
    /// When each last did so.
    repaired_ms: BTreeMap<usize, u64>,
    /// Those that are about to, and for which no quorum of the others has held everything yet.
    needed: BTreeSet<usize>,
}

impl SelfRepairs {
    /// A node is about to repair itself.
    pub(super) fn begins(&mut self, node: usize, now_ms: u64) {
        self.needed.insert(node);
        if let Some(before) = self.repaired_ms.insert(node, now_ms) {
            let apart_ms = now_ms.abs_diff(before);
            assert!(apart_ms >= MIN_INTERVAL_MS, "node{} repairs itself again after {apart_ms} ms", node + 1);
        }
    }

    /// An hour has passed for a node, or its data directory is a new one.
    pub(super) fn forget(&mut self, node: usize) {
        self.repaired_ms.remove(&node);
    }

    /// Looks whether the ledgers of quarantined nodes are still needed.
    pub(super) fn look(&mut self, history: &CommittedHistory, nodes: &[Node]) {
        self.needed.retain(|node| !others_hold(*node, history, nodes));
    }

    /// Checks a node that is about to begin with an empty ledger by its own decision.
    pub(super) fn gives_up(&self, node: usize) {
        assert!(
            !self.needed.contains(&node),
            "node{} gives its ledger up, and no quorum of the others held it",
            node + 1
        );
    }
}

/// Whether a quorum of the other stores holds everything that a node knows to be committed.
fn others_hold(node: usize, history: &CommittedHistory, nodes: &[Node]) -> bool {
    let known = nodes[node].process.as_ref().map_or(LogIndex(0), |process| process.engine.replica().commit_index());
    let needed = known.min(history.last());
    let holds = |voter: (&NodeId, &Voter)| {
        let of_voter = |other: &&Node| other.id == *voter.0 && other.disk.store_id == voter.1.store_id;
        *voter.0 != nodes[node].id
            && nodes.iter().find(of_voter).is_some_and(|other| other.disk.position(needed) == history.position(needed))
    };
    // A configuration is in force as soon as its leader has appended it.
    let appended = nodes.iter().filter_map(|node| node.process.as_ref()?.engine.replica().configuration());
    history.configuration().into_iter().chain(appended).any(|configuration| {
        configuration.voters.iter().filter(|voter| holds(*voter)).count() >= configuration.quorum()
    })
}
