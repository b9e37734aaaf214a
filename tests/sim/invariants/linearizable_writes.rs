//! Invariant: idempotent writes are linearizable, with the ledger as their order. Every answer to a key names one index,
//! and that index comes after everything that anybody was told before the key was first used.

use std::collections::HashMap;

use quorapay_core::domain::IdempotencyKey;
use quorapay_core::domain::LogIndex;

/// What is known of each key that was ever used.
#[derive(Default)]
pub(super) struct LinearizableWrites(HashMap<IdempotencyKey, Use>);

struct Use {
    /// Highest index that anybody was told before the key was first used.
    floor: LogIndex,
    answered: Option<LogIndex>,
}

impl LinearizableWrites {
    pub(super) fn asked(&mut self, key: &IdempotencyKey, floor: LogIndex) {
        self.0.entry(key.clone()).or_insert(Use { floor, answered: None });
    }

    pub(super) fn answered(&mut self, key: &IdempotencyKey, index: LogIndex) {
        let used = self.0.get_mut(key).expect("a key is asked before it is answered");
        let floor = used.floor;
        assert!(index > floor, "{key} is answered at {index}, but {floor} was answered before it was first used");
        let first = *used.answered.get_or_insert(index);
        assert_eq!(first, index, "{key} is answered at two indexes");
    }
}
