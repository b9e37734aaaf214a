//! Invariants: while every clock is right, none is judged false, and the true time lies within the error bound of each
//! node's corrected clock.

use crate::knobs::Knobs;
use crate::node::{Node, true_time};

/// A clock counts as right that is off by no more than this.
const TOLERANCE_MS: u64 = 50;

/// Checks a node right after its process has handled a tick.
pub(super) fn check(node: &Node, at: u64, knobs: &Knobs, nodes: &[Node]) {
    let Some(process) = &node.process else { return };
    let is_right = |node: &Node| node.clock_off_ms(knobs.clock_skew_ms).is_some_and(|off_ms| off_ms <= TOLERANCE_MS);
    if !nodes.iter().all(is_right) {
        return;
    }
    let replica = process.engine.replica();
    let falsetickers = replica.falsetickers();
    assert!(falsetickers.is_empty(), "{} judges the clocks of {falsetickers:?} false, and all are right", node.id);
    if let Some(time) = replica.cluster_time(node.now(at)) {
        let truth = true_time(at, knobs.clock_skew_ms);
        let off_ms = time.corrected.0.abs_diff(truth.0);
        assert!(off_ms <= time.error_ms, "{} takes {time:?} for the time, and it is {truth:?}", node.id);
    }
}
