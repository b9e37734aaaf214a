//! Real time within one history: what clients knew at any moment.

use crate::history::{Micros, OperationId};
use quorapay_core::domain::LogIndex;

/// An operation, small enough to be kept by the million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) history: usize,
    pub(super) line: u64,
    pub(super) id: OperationId,
}

/// An answer that told of an index, and when.
#[derive(Clone, Copy, Debug)]
struct Told {
    ended: Micros,
    index: LogIndex,
    by: Reference,
}

/// What the answers of one history told of, by time.
#[derive(Debug, Default)]
pub(super) struct Order {
    told: Vec<Told>,
}

impl Order {
    /// An answer told of an index: everything up to there was committed when it ended.
    pub(super) fn told(&mut self, ended: Micros, index: LogIndex, by: Reference) {
        self.told.push(Told { ended, index, by });
    }

    /// Call once all answers are in: each is given the highest index told of up to its time.
    pub(super) fn settle(&mut self) {
        self.told.sort_by_key(|told| told.ended);
        for at in 1..self.told.len() {
            let before = self.told[at - 1];
            let told = &mut self.told[at];
            if before.index > told.index {
                (told.index, told.by) = (before.index, before.by);
            }
        }
    }

    /// The highest index that any answer had told of before `moment`, and which.
    pub(super) fn known_before(&self, moment: Micros) -> Option<(LogIndex, Reference)> {
        let before = self.told.partition_point(|told| told.ended < moment);
        before.checked_sub(1).map(|at| (self.told[at].index, self.told[at].by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_known_at_a_moment_is_the_highest_index_of_all_answers_before_it() {
        let by = |line| Reference { history: 0, line, id: OperationId { process: 0, operation: line } };
        let mut order = Order::default();
        for (ended, index) in [(30, 4), (10, 7), (20, 5), (40, 9)] {
            order.told(Micros(ended), LogIndex(index), by(ended));
        }
        order.settle();
        let known = |moment| order.known_before(Micros(moment)).map(|(index, by)| (index.0, by.line));
        assert_eq!(known(10), None, "an answer that ends at the same moment orders nothing");
        assert_eq!(known(11), Some((7, 10)));
        assert_eq!(known(40), Some((7, 10)));
        assert_eq!(known(99), Some((9, 40)));
    }
}
