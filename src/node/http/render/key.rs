//! What an idempotency key was used for, as its call was answered.

use quorapay_api::{BatchSummary, KeyLookup, KeyState};
use quorapay_core::domain::{Batch, IdempotencyKey, Operation, PaymentOutcome};
use quorapay_core::replication::Entry;

use super::account::changed_account;
use super::api_key::changed_api_key;
use super::change::change_by_key;
use super::payment::{decided_payment, decided_under};

/// The look-up of a key that an entry holds.
pub(in crate::http) fn lookup<'entry>(entry: &'entry Entry, key: &IdempotencyKey) -> KeyLookup<'entry> {
    let committed = KeyLookup::of_state(KeyState::Committed);
    match entry.operation() {
        Some(Operation::Batch(batch)) if batch.key == *key => {
            KeyLookup { batch: Some(batch_summary(entry, batch)), ..committed }
        }
        Some(Operation::Payment(_) | Operation::Batch(_)) => {
            let decided = decided_under(entry, key);
            KeyLookup { payment: decided.and_then(|decided| decided_payment(entry, &decided)), ..committed }
        }
        Some(Operation::PaymentChange(change)) => KeyLookup { change: Some(change_by_key(entry, change)), ..committed },
        Some(Operation::Account(change)) => KeyLookup { account: Some(changed_account(entry, change)), ..committed },
        Some(Operation::ApiKey(change)) => KeyLookup { api_key: Some(changed_api_key(entry, change)), ..committed },
        Some(Operation::KeyFence(_)) => KeyLookup { index: Some(entry.index), ..KeyLookup::of_state(KeyState::Fenced) },
        Some(Operation::Expiry(_)) | None => committed,
    }
}

/// How many payments of a batch were made, refused, and answered with an earlier one that had the same key.
pub(in crate::http) fn batch_counts(batch: &Batch) -> (u32, u32, u32) {
    let (mut succeeded, mut rejected, mut replayed) = (0, 0, 0);
    for item in &batch.items {
        match item.outcome {
            PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. } => succeeded += 1,
            PaymentOutcome::Rejected(_) => rejected += 1,
            PaymentOutcome::Repeated { .. } => replayed += 1,
        }
    }
    (succeeded, rejected, replayed)
}

fn batch_summary(entry: &Entry, batch: &Batch) -> BatchSummary {
    let (succeeded, rejected, replayed) = batch_counts(batch);
    BatchSummary { status: batch.outcome().into(), succeeded, rejected, replayed, index: entry.index }
}
#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::{
        AccountChangeKind, MinorUnits, Overdraft, PaymentChangeKind, PaymentChangeOutcome, PaymentOutcome, Rejection,
    };

    fn held(entry: &Entry, key: &str) -> Value {
        samples::shown(&lookup(entry, &samples::key(key)))
    }

    #[test]
    fn a_key_shows_whatever_was_decided_under_it() {
        let payment = held(&samples::payment_entry(samples::request(), samples::succeeded()), "order \"42\"");
        assert_eq!((&payment["state"], &payment["payment"]["status"]), (&json!("committed"), &json!("succeeded")));
        let (entry, id) = samples::change_entry(PaymentChangeKind::Capture(None), samples::applied(1_250));
        let change = held(&entry, "change");
        assert_eq!(
            (&change["change"]["id"], &change["change"]["status"]),
            (&json!(id.to_string()), &json!("captured"))
        );
        let opened = held(&samples::account_entry("shop", AccountChangeKind::Open(Overdraft::None)), "account");
        assert_eq!((&opened["state"], &opened["account"]["id"]), (&json!("committed"), &json!("shop")));
        let fenced = held(&samples::fence_entry("k"), "k");
        assert_eq!(fenced, json!({"state": "fenced", "index": 7}));
    }

    #[test]
    fn a_refused_change_is_shown_with_its_reason() {
        let refused = PaymentChangeOutcome::Rejected(Rejection::AmountExceedsHeld);
        let amount = MinorUnits::new(9_000);
        let change = held(&samples::change_entry(PaymentChangeKind::Capture(Some(amount)), refused).0, "change");
        assert_eq!(change["change"]["rejection"], "amount_exceeds_held");
        assert_eq!(change["change"].get("change"), None);
    }

    #[test]
    fn a_batch_is_shown_under_its_own_key_and_each_payment_under_that_payments() {
        let refused = PaymentOutcome::Rejected(Rejection::AccountFrozen);
        let entry = samples::batch_entry(false, &[samples::succeeded(), refused]);
        let batch = held(&entry, "batch");
        assert_eq!(
            batch["batch"],
            json!({"status": "decided", "succeeded": 1, "rejected": 1, "replayed": 0, "index": 7})
        );
        let item = held(&entry, "item 1");
        assert_eq!((&item["payment"]["rejection"], item.get("batch")), (&json!("account_frozen"), None));
        assert!(item["payment"]["id"].as_str().expect("an id").contains("-8001-"));
    }
}
