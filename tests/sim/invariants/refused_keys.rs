//! Invariant: a key whose write was refused never applies, however often it is sent again and whatever the accounts
//! hold by then.

use std::collections::HashMap;

use quorapay::domain::{IdempotencyKey, Operation};
use quorapay::replication::LogIndex;

/// The keys that somebody was told are refused.
#[derive(Default)]
pub(super) struct RefusedKeys(HashMap<IdempotencyKey, LogIndex>);

impl RefusedKeys {
    pub(super) fn answered(&mut self, index: LogIndex, operation: &Operation) {
        if operation.rejection().is_some() {
            self.0.insert(operation.key().clone(), index);
        }
    }

    /// Every operation of the whole history.
    pub(super) fn check<'a>(&self, operations: impl Iterator<Item = (LogIndex, &'a Operation)>) {
        for (at, operation) in operations.filter(|(_, operation)| operation.rejection().is_none()) {
            let refused = self.0.get(operation.key());
            assert!(refused.is_none(), "{} was refused at {refused:?} and is applied at {at}", operation.key());
        }
    }
}
