//! The ledger's time: the latest moment that the clocks of a quorum have passed.
//!
//! Entries are stamped with it, and holds expire by it. The leader's own clock is no better than any other: if it alone
//! counted, a node whose clock is days ahead would end every open hold on the day it is elected, and for good, since time
//! on the ledger never goes back. Counting clocks like acknowledgements, one that is wrong changes nothing, in whichever
//! direction. Where no quorum of clocks agrees that a moment has passed, the ledger's time waits.
//!
//! Nothing that keeps the ledger right depends on any of this: order is given by the index alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::{Entry, EntryBody, UnchainedEntry};
use super::replica::Replica;
use super::types::{NodeId, Now};
use crate::domain::Timestamp;
use crate::domain::{Operation, Stamp};
use crate::planted::{Bug, planted};

/// What the wall clocks of the other nodes said, and when.
#[derive(Debug, Default)]
pub(super) struct Clocks(BTreeMap<NodeId, Reading>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    said: Timestamp,
    heard_ms: u64,
}

impl Clocks {
    /// Takes note of what a node's clock says.
    pub(super) fn hear(&mut self, now: Now, node: &NodeId, said: Timestamp) {
        let reading = Reading { said, heard_ms: now.monotonic_ms };
        match self.0.get_mut(node) {
            Some(known) => *known = reading,
            None => {
                self.0.insert(node.clone(), reading);
            }
        }
    }

    /// What a node's clock says by now: a little less, by as long as the reading was on its way. Zero if it was never
    /// heard.
    fn at(&self, now: Now, node: &NodeId) -> Timestamp {
        let passed = |reading: &Reading| now.monotonic_ms.saturating_sub(reading.heard_ms);
        self.0.get(node).map_or(Timestamp(0), |reading| Timestamp(reading.said.0.saturating_add(passed(reading))))
    }
}

impl Replica {
    /// When and where the next entry will be appended by this leader.
    #[must_use]
    pub fn next_stamp(&self, now: Now) -> Stamp {
        let timestamp = if planted(Bug::WallClockTimestamps) {
            Timestamp(now.unix_ms)
        } else {
            self.log.last_timestamp().max(self.time_of_quorum(now))
        };
        Stamp { timestamp, epoch: self.promised_epoch(), index: self.log.last().index.next() }
    }

    /// Appends an operation as the leader, under the stamp for which it was decided. Call only while
    /// [`Replica::takes_proposals`].
    ///
    /// # Panics
    /// If the stamp is not that of the next entry.
    pub fn propose(&mut self, stamp: Stamp, operation: Operation) -> Arc<Entry> {
        self.append_stamped(stamp, EntryBody::Operation(operation))
    }

    /// Appends as the leader, here and now.
    pub(super) fn append(&mut self, now: Now, body: EntryBody) -> Arc<Entry> {
        self.append_stamped(self.next_stamp(now), body)
    }

    fn append_stamped(&mut self, stamp: Stamp, body: EntryBody) -> Arc<Entry> {
        let (index, epoch) = (self.log.last().index.next(), self.promised_epoch());
        assert_eq!((stamp.index, stamp.epoch), (index, epoch), "an entry has the place for which it was decided");
        self.push(UnchainedEntry { index, epoch, timestamp: stamp.timestamp, body })
    }

    /// The latest moment that the clocks of a quorum have passed, as far as this node knows.
    fn time_of_quorum(&self, now: Now) -> Timestamp {
        let own = Timestamp(now.unix_ms);
        if planted(Bug::LeadersClockAlone) {
            return own;
        }
        let clock = |node: &NodeId| if *node == self.config.node_id { own } else { self.clocks.at(now, node) };
        let clocks = match self.log.configuration() {
            Some(configuration) => configuration.voters.keys().map(clock).collect(),
            None => self.config.peers.keys().map(clock).collect(),
        };
        reached_by(clocks, self.quorum())
    }
}

/// The highest value that at least `quorum` of the values have reached; zero if there are fewer.
pub(super) fn reached_by<T: Ord + Copy + Default>(mut values: Vec<T>, quorum: usize) -> T {
    values.sort_unstable_by(|a, b| b.cmp(a));
    values.get(quorum - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::sample::node;

    const NOW: Now = Now { monotonic_ms: 10_000, unix_ms: 0 };

    #[test]
    fn a_clock_that_was_heard_runs_on_and_an_unheard_one_has_passed_nothing() {
        let mut clocks = Clocks::default();
        clocks.hear(NOW, &node("node2"), Timestamp(500));
        let later = Now { monotonic_ms: 10_250, ..NOW };
        assert_eq!(clocks.at(later, &node("node2")), Timestamp(750));
        assert_eq!(clocks.at(later, &node("node3")), Timestamp(0));
        clocks.hear(later, &node("node2"), Timestamp(100));
        assert_eq!(clocks.at(later, &node("node2")), Timestamp(100), "it was set back");
    }

    #[test]
    fn what_a_quorum_has_reached_is_what_that_many_have_reached() {
        for (values, quorum, reached) in [
            (vec![7], 1, 7),
            (vec![9, 7], 2, 7),
            (vec![0, 9_000, 9], 2, 9),
            (vec![0, 0, 9], 2, 0),
            (vec![5, 1, 4, 2, 3], 3, 3),
            (vec![], 1, 0),
        ] {
            assert_eq!(reached_by(values.clone(), quorum), reached, "{values:?}");
        }
    }
}
