//! Batches: payments in order, each by itself or all or none.

use super::super::{
    Batch, BatchItem, BatchRequest, DecidedItem, Fingerprint, IdempotencyKey, KeyDigest, PaymentOutcome, Rejection,
    Stamp,
};
use super::{Bank, KeyHolder, KeyHolders, Undo, same};
use crate::planted::{Bug, planted};

impl Bank {
    /// Decides a batch and carries it out.
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
            let held = key.as_ref().and_then(|(key, asked)| held_by(holders, key.digest(), *asked));
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

    /// Applies a batch that was decided elsewhere. Which keys were used up is for whoever keeps the keys to know: the
    /// outcomes that follow from them are taken as they were written.
    pub(super) fn apply_batch(&mut self, stamp: Stamp, batch: &Batch, undo: &mut Undo) -> Result<(), String> {
        let mut outcomes = Vec::with_capacity(batch.items.len());
        for (item, number) in batch.items.iter().zip(0_u16..) {
            outcomes.push(if is_of_a_key(item.outcome) {
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
        outcomes.into_iter().zip(written).try_for_each(|(here, written)| same(&here, &written))
    }
}

/// The outcome of a payment whose key is used up.
fn held_by(holders: &KeyHolders, digest: KeyDigest, asked: Fingerprint) -> Option<PaymentOutcome> {
    let KeyHolder { index, fingerprint } = *holders.get(&digest)?;
    Some(match fingerprint {
        None => PaymentOutcome::Rejected(Rejection::IdempotencyKeyFenced),
        Some(fingerprint) if fingerprint == asked => PaymentOutcome::Repeated { index },
        Some(_) => PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused),
    })
}

const fn is_of_a_key(outcome: PaymentOutcome) -> bool {
    matches!(
        outcome,
        PaymentOutcome::Repeated { .. }
            | PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced)
    )
}

/// What an outcome becomes when the batch that it belongs to is aborted.
const fn aborted(outcome: PaymentOutcome) -> PaymentOutcome {
    match outcome {
        PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. } => {
            PaymentOutcome::Rejected(Rejection::BatchAborted)
        }
        PaymentOutcome::Rejected(_) | PaymentOutcome::Repeated { .. } => outcome,
    }
}
