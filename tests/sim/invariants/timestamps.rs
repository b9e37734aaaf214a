//! Invariants: timestamps never decrease along the log, whatever the clocks do, and a single clock ahead of all others
//! does not move them.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorapay_core::domain::Timestamp;
use quorapay_core::replication::{Entry, NodeId};

use super::Node;

pub(super) fn check(at: u64, before: Option<&Arc<Entry>>, entry: &Entry, nodes: &[Node]) {
    let floor = before.map_or(Timestamp(0), |before| before.timestamp);
    assert!(entry.timestamp >= floor, "time goes back from {before:?} to {entry:?}");
    let second = second_latest(at, nodes);
    assert!(
        entry.timestamp == floor || entry.timestamp.0 <= second.0 + ROUNDED_MS,
        "one clock alone is as late as {entry:?}: another one is at {second:?} at the most"
    );
}

/// What an extrapolated reading may gain by rounding to whole milliseconds.
const ROUNDED_MS: u64 = 1;

/// The latest time that two nodes' clocks may have passed; with a single node, its own. A quorum has at least two
/// nodes, even while nodes that lost their disks do not vote.
fn second_latest(at: u64, nodes: &[Node]) -> Timestamp {
    let mut clocks: BTreeMap<&NodeId, Timestamp> = BTreeMap::new();
    for node in nodes {
        let clock = clocks.entry(&node.id).or_default();
        *clock = (*clock).max(node.latest_clock(at));
    }
    let mut clocks: Vec<Timestamp> = clocks.into_values().collect();
    clocks.sort_unstable();
    clocks[clocks.len().saturating_sub(2)]
}
