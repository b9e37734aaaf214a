//! Payments as JSON.

use crate::runtime::PaymentRecord;
use quorapay_core::domain::Timestamp;
use quorapay_core::domain::{
    Batch, Capture, DecidedPayment, IdempotencyKey, MinorUnits, Operation, PaymentId, PaymentOutcome, PaymentState,
    PaymentStatus, Rejection,
};
use quorapay_core::replication::Entry;

use super::super::json::{ObjectWriter, write_object};
use super::Rfc3339;

/// Room for a payment without free text, so that an answer is allocated once.
const USUAL_PAYMENT_BYTES: usize = 448;

/// A payment as it is shown: as it was decided, or where it stands now.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct ShownPayment<'entry> {
    entry: &'entry Entry,
    payment: DecidedPayment<'entry>,
    standing: Standing,
}

/// How far a payment is captured and refunded.
#[derive(Clone, Copy, Debug)]
struct Standing {
    status: PaymentStatus,
    captured: MinorUnits,
    refunded: MinorUnits,
    held: MinorUnits,
    expires_at_ms: Option<u64>,
}

impl<'entry> ShownPayment<'entry> {
    /// A payment as it was decided. `None` for a repeated one of a batch, which is shown as its original.
    pub(in crate::http) fn decided(entry: &'entry Entry, payment: DecidedPayment<'entry>) -> Option<Self> {
        let nothing = MinorUnits::ZERO;
        let amount = payment.request.amount;
        let (status, captured, held, expires_at_ms) = match payment.outcome {
            PaymentOutcome::Succeeded { .. } => (PaymentStatus::Succeeded, amount, nothing, None),
            PaymentOutcome::Authorized { expires_at_ms, .. } => {
                (PaymentStatus::Authorized, nothing, amount, Some(expires_at_ms))
            }
            PaymentOutcome::Rejected(_) => (PaymentStatus::Rejected, nothing, nothing, None),
            PaymentOutcome::Repeated { .. } => return None,
        };
        let standing = Standing { status, captured, refunded: nothing, held, expires_at_ms };
        Some(Self { entry, payment, standing })
    }

    /// A payment by its number within its entry, as it was decided. `None` if the entry has none there.
    pub(in crate::http) fn decided_at(entry: &'entry Entry, item: u16) -> Option<Self> {
        let payment = match entry.operation()? {
            Operation::Batch(batch) => batch_item(batch, item)?,
            operation => operation.payments().find(|payment| payment.item == item)?,
        };
        Self::decided(entry, payment)
    }

    /// The payment that an entry holds under a key, as it was decided: its own, or one of a batch.
    pub(in crate::http) fn decided_under(entry: &'entry Entry, key: &IdempotencyKey) -> Option<Self> {
        let payment = entry.operation()?.payments().find(|payment| payment.key == Some(key))?;
        Self::decided(entry, payment)
    }

    /// Why the bank refused it, if it did.
    pub(in crate::http) fn rejection(&self) -> Option<Rejection> {
        self.payment.outcome.rejection()
    }

    /// What was asked for and decided.
    pub(in crate::http) const fn payment(&self) -> &DecidedPayment<'entry> {
        &self.payment
    }

    /// A payment where it stands now.
    pub(in crate::http) fn now(view: &'entry PaymentRecord) -> Option<Self> {
        Self::decided_at(&view.entry, view.item).map(|shown| shown.standing_at(&view.state))
    }

    /// The same payment where it stands now.
    fn standing_at(mut self, state: &PaymentState) -> Self {
        self.standing = Standing {
            status: state.status(),
            captured: state.captured,
            refunded: state.refunded,
            held: state.held,
            expires_at_ms: state.expires_at_ms,
        };
        self
    }

    /// Its id.
    pub(in crate::http) fn id(&self) -> PaymentId {
        PaymentId::derive(self.entry.stamp(), self.payment.item)
    }

    /// About how many bytes it takes as JSON.
    pub(in crate::http) fn estimated_bytes(&self) -> usize {
        USUAL_PAYMENT_BYTES + self.payment.request.text_bytes()
    }
}

/// A payment of a batch, found without a walk through those before it.
fn batch_item(batch: &Batch, item: u16) -> Option<DecidedPayment<'_>> {
    let decided = batch.items.get(usize::from(item))?;
    let key = decided.key.as_ref().map(|(key, _)| key);
    Some(DecidedPayment { item, key, request: &decided.request, outcome: decided.outcome })
}

/// Writes a payment.
pub(in crate::http) fn payment(out: &mut Vec<u8>, view: &ShownPayment<'_>) {
    write_object(out, |object| payment_fields(object, view));
}

/// Writes the fields of a payment.
pub(in crate::http) fn payment_fields(object: &mut ObjectWriter<'_>, view: &ShownPayment<'_>) {
    let ShownPayment { entry, payment, standing } = view;
    object.text("id", view.id()).text("status", standing.status);
    if let PaymentOutcome::Rejected(rejection) = payment.outcome {
        object.text("rejection", rejection.code());
    }
    request_fields(object, payment);
    object.field("captured", &standing.captured).field("refunded", &standing.refunded);
    object.field("held", &standing.held);
    expiry_field(object, standing.expires_at_ms);
    free_text_fields(object, payment);
    object.text("created_at", Rfc3339(entry.timestamp)).field("index", &entry.index).field("epoch", &entry.epoch);
    match payment.outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            balances(object, from_balance, to_balance);
        }
        PaymentOutcome::Authorized { from_held, .. } => {
            object.object("balances", |balances| {
                balances.field("from_held", &from_held);
            });
        }
        PaymentOutcome::Rejected(_) | PaymentOutcome::Repeated { .. } => {}
    }
}

/// Writes who pays whom how much, and how.
pub(super) fn request_fields(object: &mut ObjectWriter<'_>, payment: &DecidedPayment<'_>) {
    let request = payment.request;
    object.text("from", &request.from).text("to", &request.to);
    object.field("amount", &request.amount).text("currency", request.currency);
    object.text("capture", capture_word(request.capture));
}

/// Writes what the caller said about a payment.
pub(super) fn free_text_fields(object: &mut ObjectWriter<'_>, payment: &DecidedPayment<'_>) {
    let request = payment.request;
    if let Some(order) = &request.order {
        object.object("order", |object| {
            object.field("id", &order.id).field("total", &order.total);
        });
    }
    object.optional("description", request.description.as_deref());
    if let Some(metadata) = &request.metadata {
        object.raw("metadata", metadata.as_bytes());
    }
}

/// Writes when a hold expires.
pub(super) fn expiry_field(object: &mut ObjectWriter<'_>, expires_at_ms: Option<u64>) {
    if let Some(expires_at_ms) = expires_at_ms {
        object.text("expires_at", Rfc3339(Timestamp(expires_at_ms)));
    }
}

/// Writes the posted balances of both sides.
pub(super) fn balances(object: &mut ObjectWriter<'_>, from: MinorUnits, to: MinorUnits) {
    object.object("balances", |balances| {
        balances.field("from", &from).field("to", &to);
    });
}

const fn capture_word(capture: Capture) -> &'static str {
    match capture {
        Capture::Automatic => "automatic",
        Capture::Manual { .. } => "manual",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::LogIndex;

    fn shown(entry: &Entry, state: Option<&PaymentState>) -> serde_json::Value {
        let decided = entry.operation().and_then(|operation| operation.payments().next()).expect("a payment");
        let view = ShownPayment::decided(entry, decided).expect("no repeat");
        let view = state.map_or(view, |state| view.standing_at(state));
        samples::rendered(|out| payment(out, &view))
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
        assert!(ShownPayment::decided_under(&alone, &samples::key("order \"42\"")).is_some());
        let refused = PaymentOutcome::Rejected(Rejection::AccountFrozen);
        let batch = samples::batch_entry(false, &[samples::succeeded(), refused]);
        let second = ShownPayment::decided_under(&batch, &samples::key("item 1")).expect("it is there");
        assert_eq!((second.id().item(), second.rejection()), (1, Some(Rejection::AccountFrozen)));
        assert!(ShownPayment::decided_under(&batch, &samples::key("batch")).is_none());
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
        assert!(ShownPayment::decided(&samples::start_entry(), repeated).is_none());
    }
}
