//! Invariant: idempotent writes are linearizable, in the order of the ledger. All answers for a key name the same
//! index, and that index is above every index that was answered before the key was first used.

use std::collections::HashMap;

use quorapay_core::domain::{IdempotencyKey, LogIndex};

/// Every key that was ever used.
#[derive(Default)]
pub(super) struct LinearizableWrites(HashMap<IdempotencyKey, Use>);

struct Use {
    /// Highest index that was answered before the key was first used.
    floor: LogIndex,
    answered: Option<LogIndex>,
}

impl LinearizableWrites {
    pub(super) fn first_used(&mut self, key: &IdempotencyKey, floor: LogIndex) {
        self.0.entry(key.clone()).or_insert(Use { floor, answered: None });
    }

    pub(super) fn answered(&mut self, key: &IdempotencyKey, index: LogIndex) {
        let used = self.0.get_mut(key).expect("a key is used before it is answered");
        let floor = used.floor;
        assert!(index > floor, "{key} is answered at {index}, but {floor} was answered before it was first used");
        let first = *used.answered.get_or_insert(index);
        assert_eq!(first, index, "{key} is answered at two indexes");
    }
}
