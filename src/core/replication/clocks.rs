//! The ledger's time: the latest moment that the clocks of a quorum have passed.
//!
//! Entries are stamped with it, and holds expire by it. The leader's clock alone must not decide: a leader whose clock
//! is days ahead would expire every open hold on the day it is elected, irrevocably, because the ledger's time never
//! goes back. A moment counts as passed once a quorum of clocks has passed it, so no minority of wrong clocks can move
//! the ledger's time, forwards or backwards.
//!
//! No safety property depends on any of this: the index alone orders the entries.

use std::collections::BTreeMap;

use super::quorum::reached_by_quorum;
use super::types::{NodeId, Now};
use crate::domain::Timestamp;

/// The latest wall clock reading of each other node.
#[derive(Debug, Default)]
pub(super) struct Clocks(BTreeMap<NodeId, Reading>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    timestamp: Timestamp,
    /// When it was received.
    received_ms: u64,
}

impl Clocks {
    /// Replaces a node's reading.
    pub(super) fn record(&mut self, now: Now, node: &NodeId, timestamp: Timestamp) {
        let reading = Reading { timestamp, received_ms: now.monotonic_ms };
        match self.0.get_mut(node) {
            Some(known) => *known = reading,
            None => {
                self.0.insert(node.clone(), reading);
            }
        }
    }

    /// What a node's clock shows by now: its last reading plus the time since, which is behind by the message's delay.
    /// Zero without a reading.
    fn estimate(&self, now: Now, node: &NodeId) -> Timestamp {
        let Some(reading) = self.0.get(node) else { return Timestamp(0) };
        let elapsed_ms = now.monotonic_ms.saturating_sub(reading.received_ms);
        Timestamp(reading.timestamp.0.saturating_add(elapsed_ms))
    }

    /// The latest moment that the clocks of a quorum of `voters` have passed, as far as this node, `own`, knows.
    pub(super) fn passed_by_quorum<'v>(
        &self,
        now: Now,
        own: &NodeId,
        voters: impl Iterator<Item = &'v NodeId>,
        quorum: usize,
    ) -> Timestamp {
        let clock = |node| if node == own { Timestamp(now.unix_ms) } else { self.estimate(now, node) };
        reached_by_quorum(voters.map(clock).collect(), quorum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::sample::node;

    const NOW: Now = Now { monotonic_ms: 10_000, unix_ms: 0 };

    #[test]
    fn a_clock_that_was_heard_runs_on_and_an_unheard_one_has_passed_nothing() {
        let mut clocks = Clocks::default();
        clocks.record(NOW, &node("node2"), Timestamp(500));
        let later = Now { monotonic_ms: 10_250, ..NOW };
        assert_eq!(clocks.estimate(later, &node("node2")), Timestamp(750));
        assert_eq!(clocks.estimate(later, &node("node3")), Timestamp(0));
        clocks.record(later, &node("node2"), Timestamp(100));
        assert_eq!(clocks.estimate(later, &node("node2")), Timestamp(100), "it was set back");
    }
}
