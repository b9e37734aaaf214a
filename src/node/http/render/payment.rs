//! Payments as they were decided and where they stand.

use std::borrow::Cow;

use crate::runtime::PaymentRecord;
use quorapay_api::{Metadata, Payment, PaymentBalances, Rfc3339};
use quorapay_core::domain::{
    Batch, DecidedPayment, IdempotencyKey, Operation, PaymentId, PaymentOutcome, PaymentRequest, PaymentState,
    PaymentStatus, Rejection, Timestamp,
};
use quorapay_core::replication::Entry;

/// Room for a payment without free text, so that an answer is allocated once.
const TYPICAL_PAYMENT_BYTES: usize = 448;

/// About how many bytes a payment takes as JSON.
pub(in crate::http) fn estimated_bytes(request: &PaymentRequest) -> usize {
    TYPICAL_PAYMENT_BYTES + request.text_bytes()
}

/// About how many bytes a payment takes as JSON where it stands.
pub(in crate::http) fn estimated_bytes_of(record: &PaymentRecord) -> usize {
    payment_at(&record.entry, record.item).map_or(0, |decided| estimated_bytes(decided.request))
}

/// A payment as it was decided. `None` for a repeated one of a batch, which is shown as its original.
pub(in crate::http) fn decided_payment<'entry>(
    entry: &Entry,
    decided: &DecidedPayment<'entry>,
) -> Option<Payment<'entry>> {
    let DecidedPayment { item, request, outcome, .. } = *decided;
    let (status, expires_at_ms, balances) = match outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            (PaymentStatus::Succeeded, None, Some(PaymentBalances::Posted { from: from_balance, to: to_balance }))
        }
        PaymentOutcome::Authorized { from_held, expires_at_ms } => {
            (PaymentStatus::Authorized, Some(expires_at_ms), Some(PaymentBalances::Held { from_held }))
        }
        PaymentOutcome::Rejected(_) => (PaymentStatus::Rejected, None, None),
        PaymentOutcome::Repeated { .. } => return None,
    };
    let amount_if = |is: bool| if is { request.amount } else { Default::default() };
    Some(Payment {
        id: PaymentId::derive(entry.stamp(), item),
        status: status.into(),
        rejection: outcome.rejection().map(Rejection::code).map(Cow::Borrowed),
        from: Cow::Borrowed(&request.from),
        to: Cow::Borrowed(&request.to),
        amount: request.amount,
        currency: request.currency,
        capture: request.capture.into(),
        captured: amount_if(status == PaymentStatus::Succeeded),
        refunded: Default::default(),
        held: amount_if(status == PaymentStatus::Authorized),
        expires_at: moment(expires_at_ms),
        order: request.order.as_deref().map(Into::into),
        description: request.description.as_deref().map(Cow::Borrowed),
        metadata: metadata(request),
        created_at: Rfc3339(entry.timestamp),
        index: entry.index,
        epoch: entry.epoch,
        balances,
    })
}

/// A payment by its number within its entry, as it was decided. `None` if the entry has none there.
pub(in crate::http) fn decided_at(entry: &Entry, item: u16) -> Option<Payment<'_>> {
    decided_payment(entry, &payment_at(entry, item)?)
}

fn payment_at(entry: &Entry, item: u16) -> Option<DecidedPayment<'_>> {
    match entry.operation()? {
        Operation::Batch(batch) => batch_item(batch, item),
        operation => operation.payments().find(|payment| payment.item == item),
    }
}

/// A payment of a batch, found without a walk through those before it.
fn batch_item(batch: &Batch, item: u16) -> Option<DecidedPayment<'_>> {
    let decided = batch.items.get(usize::from(item))?;
    let key = decided.key.as_ref().map(|(key, _)| key);
    Some(DecidedPayment { item, key, request: &decided.request, outcome: decided.outcome })
}

/// The payment that an entry holds under a key: its own, or one of a batch.
pub(in crate::http) fn decided_under<'entry>(
    entry: &'entry Entry,
    key: &IdempotencyKey,
) -> Option<DecidedPayment<'entry>> {
    entry.operation()?.payments().find(|payment| payment.key == Some(key))
}

/// A payment where it stands now, and what was asked for.
pub(in crate::http) fn payment_now(record: &PaymentRecord) -> Option<(DecidedPayment<'_>, Payment<'_>)> {
    let decided = payment_at(&record.entry, record.item)?;
    let payment = decided_payment(&record.entry, &decided)?;
    Some((decided, standing_at(payment, &record.state)))
}

fn standing_at<'entry>(payment: Payment<'entry>, state: &PaymentState) -> Payment<'entry> {
    Payment {
        status: state.status().into(),
        captured: state.captured,
        refunded: state.refunded,
        held: state.held,
        expires_at: moment(state.expires_at_ms),
        ..payment
    }
}

/// A moment in milliseconds since the Unix epoch.
pub(super) fn moment(milliseconds: Option<u64>) -> Option<Rfc3339> {
    milliseconds.map(|milliseconds| Rfc3339(Timestamp(milliseconds)))
}

/// The metadata of a payment, as the ledger holds them.
pub(super) fn metadata(request: &PaymentRequest) -> Option<Metadata<'_>> {
    request.metadata.as_deref().map(Metadata::Json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::{LogIndex, MinorUnits};

    fn shown(entry: &Entry, state: Option<&PaymentState>) -> serde_json::Value {
        let payment = decided_at(entry, 0).expect("no repeat");
        let payment = match state {
            Some(state) => standing_at(payment, state),
            None => payment,
        };
        samples::shown(&payment)
    }

    #[test]
    fn a_payment_shows_what_was_asked_for_and_what_it_left_behind() {
        let entry = samples::payment_entry(samples::request(), samples::succeeded());
        let expected = json!({
            "id": "018bcfe5-6805-7002-8000-000000000007", "status": "succeeded", "from": "external:card", "to": "shop",
            "amount": 1250, "currency": "EUR", "capture": "automatic", "captured": 1250, "refunded": 0, "held": 0,
            "order": {"id": "o \"7\"", "total": 2000}, "description": "tea \"black\"", "metadata": {"order": [1, 2.5]},
            "created_at": "2023-11-14T22:13:20.005Z", "index": 7, "epoch": 2, "balances": {"from": -1250, "to": 1250},
        });
        assert_eq!(shown(&entry, None), expected);
    }

    #[test]
    fn a_hold_shows_what_is_held_until_when_and_where_it_stands() {
        let request = samples::held_request();
        let outcome = samples::authorized();
        let entry = samples::payment_entry(request.clone(), outcome);
        let made = shown(&entry, None);
        assert_eq!((&made["status"], &made["capture"]), (&json!("authorized"), &json!("manual")));
        assert_eq!((&made["held"], &made["captured"]), (&json!(1250), &json!(0)));
        assert_eq!(
            (&made["expires_at"], &made["balances"]),
            (&json!("2023-11-14T22:14:20.005Z"), &json!({"from_held": 1250}))
        );
        let mut state = PaymentState::decided(&request, outcome).expect("no repeat");
        (state.held, state.captured) = (MinorUnits::new(250), MinorUnits::new(1_000));
        let later = shown(&entry, Some(&state));
        assert_eq!((&later["status"], &later["held"]), (&json!("partially_captured"), &json!(250)));
        assert_eq!((&later["id"], &later["captured"]), (&made["id"], &json!(1000)));
    }

    #[test]
    fn a_refused_payment_says_why_and_has_no_balances() {
        let rejected = PaymentOutcome::Rejected(Rejection::InsufficientFunds);
        let shown = shown(&samples::payment_entry(samples::request(), rejected), None);
        assert_eq!((&shown["status"], &shown["rejection"]), (&json!("rejected"), &json!("insufficient_funds")));
        assert_eq!((shown.get("balances"), &shown["captured"]), (None, &json!(0)));
    }

    #[test]
    fn a_payment_is_found_by_its_key_alone_or_in_a_batch() {
        let alone = samples::payment_entry(samples::request(), samples::succeeded());
        assert!(decided_under(&alone, &samples::key("order \"42\"")).is_some());
        let refused = PaymentOutcome::Rejected(Rejection::AccountFrozen);
        let batch = samples::batch_entry(false, &[samples::succeeded(), refused]);
        let second = decided_under(&batch, &samples::key("item 1")).expect("it is there");
        assert_eq!((second.item, second.outcome.rejection()), (1, Some(Rejection::AccountFrozen)));
        assert!(decided_under(&batch, &samples::key("batch")).is_none());
    }

    #[test]
    fn a_repeated_payment_of_a_batch_has_no_view_of_its_own() {
        let request = samples::request();
        let repeated = DecidedPayment {
            item: 0,
            key: None,
            request: &request,
            outcome: PaymentOutcome::Repeated { index: LogIndex(3) },
        };
        assert!(decided_payment(&samples::start_entry(), &repeated).is_none());
    }
}
