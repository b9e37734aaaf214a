//! Batches: many payments in order, each decided by itself, or all or none.

use std::collections::BTreeMap;

use super::super::{
    Batch, BatchItem, BatchRequest, DecidedItem, Fingerprint, IdempotencyKey, KeyDigest, LogIndex, PaymentOutcome,
    Rejection, Stamp,
};
use super::outcome::check_outcome;
use super::store::Bank;
use super::undo::Undo;
use crate::planted::{Bug, planted};

/// The entry that holds a used idempotency key, for a batch's item with that key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// The entry that holds it.
    pub index: LogIndex,
    /// Fingerprint of the request under the key; `None` if the key was fenced.
    pub fingerprint: Option<Fingerprint>,
}

/// The holders of those keys of a batch's items that are used already.
pub type KeyHolders = BTreeMap<KeyDigest, KeyHolder>;

impl Bank {
    /// Decides a batch and executes it.
    pub(super) fn execute_batch(
        &mut self,
        stamp: Stamp,
        key: IdempotencyKey,
        fingerprint: Fingerprint,
        request: BatchRequest,
        holders: &KeyHolders,
        undo: &mut Undo,
    ) -> Batch {
        let BatchRequest { atomic, items } = request;
        let decide = |(BatchItem { key, request }, number): (BatchItem, u16)| {
            let key = key.map(|key| {
                let fingerprint = request.fingerprint();
                (key, fingerprint)
            });
            let held = key.as_ref().and_then(|(key, asked)| outcome_of_used_key(holders, key.digest(), *asked));
            let order_before = self.order_before(&request);
            let outcome = held.unwrap_or_else(|| self.pay(stamp, number, &request, undo));
            DecidedItem { key, request, order_before, outcome }
        };
        let mut items: Vec<DecidedItem> = items.into_iter().zip(0_u16..).map(decide).collect();
        if atomic && items.iter().any(|item| item.outcome.rejection().is_some()) && !planted(Bug::TornBatches) {
            self.undo(undo);
            undo.0.clear();
            items.iter_mut().for_each(|item| item.outcome = aborted(item.outcome));
        }
        Batch { key, fingerprint, atomic, items }
    }

    /// Applies a batch that the leader decided. The bank does not know which keys were used, so it accepts the outcomes
    /// that follow from used keys as they are written.
    pub(super) fn apply_batch(&mut self, stamp: Stamp, batch: &Batch, undo: &mut Undo) -> Result<(), String> {
        let mut outcomes = Vec::with_capacity(batch.items.len());
        for (item, number) in batch.items.iter().zip(0_u16..) {
            outcomes.push(if follows_from_key(item.outcome) {
                item.outcome
            } else {
                self.recall_order_of(&item.request, item.order_before)?;
                self.pay(stamp, number, &item.request, undo)
            });
        }
        if batch.atomic && outcomes.iter().any(|outcome| outcome.rejection().is_some()) && !planted(Bug::TornBatches) {
            self.undo(undo);
            undo.0.clear();
            outcomes.iter_mut().for_each(|outcome| *outcome = aborted(*outcome));
        }
        let written = batch.items.iter().map(|item| item.outcome);
        outcomes.into_iter().zip(written).try_for_each(|(here, written)| check_outcome(&here, &written))
    }
}

/// The outcome of an item whose key is used.
fn outcome_of_used_key(holders: &KeyHolders, digest: KeyDigest, asked: Fingerprint) -> Option<PaymentOutcome> {
    let KeyHolder { index, fingerprint } = *holders.get(&digest)?;
    Some(match fingerprint {
        None => PaymentOutcome::Rejected(Rejection::IdempotencyKeyFenced),
        Some(fingerprint) if fingerprint == asked => PaymentOutcome::Repeated { index },
        Some(_) => PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused),
    })
}

const fn follows_from_key(outcome: PaymentOutcome) -> bool {
    matches!(
        outcome,
        PaymentOutcome::Repeated { .. }
            | PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced)
    )
}

/// An item's outcome after its batch was aborted.
const fn aborted(outcome: PaymentOutcome) -> PaymentOutcome {
    match outcome {
        PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. } => {
            PaymentOutcome::Rejected(Rejection::BatchAborted)
        }
        PaymentOutcome::Rejected(_) | PaymentOutcome::Repeated { .. } => outcome,
    }
}
