//! The ledger's time: the latest moment that the clocks of a quorum have passed.
//!
//! Entries are stamped with it, and holds expire by it. The leader's clock alone must not decide: a leader whose clock
//! is days ahead would expire every open hold on the day it is elected, irrevocably, because the ledger's time never
//! goes back. A moment counts as passed once a quorum of clocks has passed it, so no minority of wrong clocks can move
//! the ledger's time, forwards or backwards.
//!
//! No safety property depends on any of this: the index alone orders the entries.

use std::collections::{BTreeMap, BTreeSet};

use super::cluster_clock::Electorate;
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

    /// The latest moment that the clocks of a quorum have passed, as far as this node knows. False clocks have passed
    /// nothing, unless too few others are left that were heard in this leadership.
    pub(super) fn passed_by_quorum(
        &self,
        now: Now,
        electorate: &Electorate<'_>,
        falsetickers: &BTreeSet<NodeId>,
    ) -> Timestamp {
        let Electorate { own, voters, quorum } = electorate;
        let clock = |node: &NodeId| if node == *own { Timestamp(now.unix_ms) } else { self.estimate(now, node) };
        if !falsetickers.is_empty() {
            let right = voters.iter().filter(|node| !falsetickers.contains(**node)).map(|node| clock(node));
            let heard: Vec<Timestamp> = right.filter(|reading| *reading > Timestamp(0)).collect();
            if heard.len() >= *quorum {
                return reached_by_quorum(heard, *quorum);
            }
        }
        reached_by_quorum(voters.iter().map(|node| clock(node)).collect(), *quorum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::sample::node;
    use crate::time::Reading;

    const NOW: Now = Now::of(Reading { monotonic_us: 10_000_000, wall_us: 0 });

    #[test]
    fn a_clock_that_was_heard_runs_on_and_an_unheard_one_has_passed_nothing() {
        let mut clocks = Clocks::default();
        clocks.record(NOW, &node("node2"), Timestamp(500));
        let later = Now::of(Reading { monotonic_us: 10_250_000, wall_us: 0 });
        assert_eq!(clocks.estimate(later, &node("node2")), Timestamp(750));
        assert_eq!(clocks.estimate(later, &node("node3")), Timestamp(0));
        clocks.record(later, &node("node2"), Timestamp(100));
        assert_eq!(clocks.estimate(later, &node("node2")), Timestamp(100), "it was set back");
    }

    #[test]
    fn a_false_clock_has_passed_nothing_unless_too_few_others_were_heard() {
        let ids = ["node1", "node2", "node3", "node4", "node5"].map(node);
        let now = Now::of(Reading { monotonic_us: 0, wall_us: 1_000_000 });
        let electorate = Electorate { own: &ids[0], voters: ids.iter().collect(), quorum: 3 };
        let mut clocks = Clocks::default();
        for (id, reading) in ids.iter().skip(1).zip([1_010, 900, 90_000, 80_000]) {
            clocks.record(now, id, Timestamp(reading));
        }
        let passed = |falsetickers: &[&NodeId]| {
            let falsetickers = falsetickers.iter().map(|node| (*node).clone()).collect();
            clocks.passed_by_quorum(now, &electorate, &falsetickers)
        };
        assert_eq!(passed(&[]), Timestamp(1_010), "the third latest of five");
        assert_eq!(passed(&[&ids[3], &ids[4]]), Timestamp(900), "the third latest of the three that are right");
        assert_eq!(passed(&[&ids[2], &ids[3], &ids[4]]), Timestamp(1_010), "two are too few");
    }
}
