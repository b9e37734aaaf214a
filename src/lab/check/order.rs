//! Real-time order within one history: which ledger index clients knew of at any time.

use crate::history::{Micros, OperationId};
use quorapay_core::domain::LogIndex;

/// An operation of a history. Small, because millions are kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OperationRef {
    pub(super) history: usize,
    pub(super) line: u64,
    pub(super) id: OperationId,
}

/// An answer that named an index, and its time.
#[derive(Clone, Copy, Debug)]
struct Observation {
    ended: Micros,
    index: LogIndex,
    by: OperationRef,
}

/// The indexes that the answers of one history named, by time.
#[derive(Debug, Default)]
pub(super) struct RealTimeOrder {
    observations: Vec<Observation>,
}

impl RealTimeOrder {
    /// Adds an answer that named an index: everything up to there was committed when it ended.
    pub(super) fn observe(&mut self, ended: Micros, index: LogIndex, by: OperationRef) {
        self.observations.push(Observation { ended, index, by });
    }

    /// Called once all answers are added: gives each the highest index that was known up to its time.
    pub(super) fn finish(&mut self) {
        self.observations.sort_by_key(|observation| observation.ended);
        for at in 1..self.observations.len() {
            let before = self.observations[at - 1];
            let observation = &mut self.observations[at];
            if before.index > observation.index {
                (observation.index, observation.by) = (before.index, before.by);
            }
        }
    }

    /// The highest index that an answer had named before `moment`, and that answer.
    pub(super) fn known_before(&self, moment: Micros) -> Option<(LogIndex, OperationRef)> {
        let before = self.observations.partition_point(|observation| observation.ended < moment);
        before.checked_sub(1).map(|at| (self.observations[at].index, self.observations[at].by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_index_is_the_highest_of_all_earlier_answers() {
        let by = |line| OperationRef { history: 0, line, id: OperationId { process: 0, operation: line } };
        let mut order = RealTimeOrder::default();
        for (ended, index) in [(30, 4), (10, 7), (20, 5), (40, 9)] {
            order.observe(Micros(ended), LogIndex(index), by(ended));
        }
        order.finish();
        let known = |moment| order.known_before(Micros(moment)).map(|(index, by)| (index.0, by.line));
        assert_eq!(known(10), None, "an answer that ends at the same moment orders nothing");
        assert_eq!(known(11), Some((7, 10)));
        assert_eq!(known(40), Some((7, 10)));
        assert_eq!(known(99), Some((9, 40)));
    }
}
