//! Invariant: a key whose write was refused never applies, however often it is repeated and however the balances
//! change.

use std::collections::HashMap;

use quorapay_core::domain::{IdempotencyKey, LogIndex, Operation};

/// The keys whose refusal was answered to a caller.
#[derive(Default)]
pub(super) struct RefusedKeys(HashMap<IdempotencyKey, LogIndex>);

impl RefusedKeys {
    pub(super) fn answered(&mut self, index: LogIndex, operation: &Operation) {
        let refused = verdicts(operation).filter(|(_, refused)| *refused);
        self.0.extend(refused.map(|(key, _)| (key.clone(), index)));
    }

    /// Checks every operation of the whole history.
    pub(super) fn check<'a>(&self, operations: impl Iterator<Item = (LogIndex, &'a Operation)>) {
        for (at, operation) in operations {
            for (key, _) in verdicts(operation).filter(|(_, refused)| !refused) {
                let refused = self.0.get(key);
                assert!(refused.is_none(), "{key} was refused at {refused:?} and is applied at {at}");
            }
        }
    }
}

/// The keys that an operation holds, and whether the request under each was refused.
fn verdicts(operation: &Operation) -> impl Iterator<Item = (&IdempotencyKey, bool)> {
    let own = operation.key().map(|key| (key, operation.rejection().is_some()));
    let items = match operation {
        Operation::Batch(batch) => Some(batch.keyed_here()),
        _ => None,
    };
    let items = items.into_iter().flatten().map(|(key, item)| (key, item.outcome.rejection().is_some()));
    own.into_iter().chain(items)
}
