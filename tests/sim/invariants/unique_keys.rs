//! Invariants: a key is in the committed history at most once, so that nothing applies twice and a refused write never
//! applies later; a write that was answered is there, and one that was never appended is not.

use std::collections::HashMap;

use quorapay_core::domain::{
    Batch, DecidedItem, Fingerprint, IdempotencyKey, LogIndex, Operation, PaymentOutcome, Rejection,
};

use crate::clients::Intent;

/// The entry that holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    index: LogIndex,
    /// `None` for a fence.
    fingerprint: Option<Fingerprint>,
}

/// The holders of all committed keys.
#[derive(Default)]
pub(super) struct UniqueKeys(HashMap<IdempotencyKey, Holder>);

impl UniqueKeys {
    pub(super) fn committed(&mut self, index: LogIndex, operation: &Operation) {
        if let Operation::Batch(batch) = operation {
            batch.items.iter().for_each(|item| self.check_item(index, item));
            self.check_aborted(batch);
        }
        let fenced = matches!(operation, Operation::KeyFence(_));
        for key in operation.keys() {
            let fingerprint = operation.fingerprint_under(key).filter(|_| !fenced);
            if let Some(first) = self.0.insert(key.clone(), Holder { index, fingerprint }) {
                panic!("{key} is committed at {} and again at {index}", first.index);
            }
        }
    }

    /// Checks that a batch's item was decided exactly if its key was unused, and otherwise names the right holder.
    fn check_item(&self, index: LogIndex, item: &DecidedItem) {
        let Some((key, asked)) = &item.key else { return };
        let holder = self.0.get(key);
        let fits = match item.outcome {
            PaymentOutcome::Repeated { index: at } => holder == Some(&Holder { index: at, fingerprint: Some(*asked) }),
            PaymentOutcome::Rejected(Rejection::IdempotencyKeyFenced) => {
                holder.is_some_and(|holder| holder.fingerprint.is_none())
            }
            PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused) => {
                holder.is_some_and(|holder| holder.fingerprint.is_some_and(|held| held != *asked))
            }
            _ => holder.is_none(),
        };
        assert!(fits, "{key} is held by {holder:?}, but the batch at {index} says {:?}", item.outcome);
    }

    fn check_aborted(&self, batch: &Batch) {
        let refused = batch.items.iter().any(|item| item.outcome.rejection().is_some());
        let moved = |item: &DecidedItem| {
            matches!(item.outcome, PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. })
        };
        let torn = batch.atomic && refused && batch.items.iter().any(moved);
        assert!(!torn, "an atomic batch is torn: {batch:?}");
    }
}

/// Checks that every answered write is in the history, and no write that all nodes refused to append.
pub(super) fn check_refused(intents: &[Intent], keys: &UniqueKeys) {
    for intent in intents {
        let key = &intent.proposal.key;
        let committed = keys.0.get(key);
        if intent.settled {
            assert!(committed.is_some(), "{key} was answered and is not committed");
        } else if !intent.unknown && !intent.shared_key {
            assert_eq!(committed, None, "no node answered that it might have appended {key}");
        }
    }
}
