//! Captures, voids, refunds and expiries as JSON.

use quorapay_core::domain::{MinorUnits, Operation, PaymentChange, PaymentChangeOutcome, PaymentId, PaymentState};
use quorapay_core::replication::Entry;

use super::super::json::{ObjectWriter, write_object};
use super::Rfc3339;
use super::payment::{balances, expiry_field};

/// Writes a change as its call is answered: the payment after it, and what was done or why nothing was.
pub(in crate::http) fn change(out: &mut Vec<u8>, entry: &Entry, change: &PaymentChange) {
    write_object(out, |object| {
        match change.after(entry.stamp()) {
            Some(after) => state_fields(object, change.payment, &after),
            None => {
                object.text("id", change.payment);
            }
        }
        match change.outcome {
            PaymentChangeOutcome::Applied { amount, from_balance, to_balance } => {
                object.object("change", |object| done_fields(object, entry, change.change.name(), amount));
                balances(object, from_balance, to_balance);
            }
            PaymentChangeOutcome::Rejected(rejection) => {
                object.text("rejection", rejection.code());
            }
        }
        object.field("index", &entry.index).field("epoch", &entry.epoch);
    });
}

/// Writes a payment where it stands after a change, with nothing about the change.
pub(in crate::http) fn payment_after(out: &mut Vec<u8>, entry: &Entry, id: PaymentId, after: &PaymentState) {
    write_object(out, |object| {
        state_fields(object, id, after);
        object.field("index", &entry.index).field("epoch", &entry.epoch);
    });
}

fn state_fields(object: &mut ObjectWriter<'_>, id: PaymentId, state: &PaymentState) {
    object.text("id", id).text("status", state.status()).text("from", &state.from).text("to", &state.to);
    object.field("amount", &state.amount).text("currency", state.currency);
    object.field("captured", &state.captured).field("refunded", &state.refunded).field("held", &state.held);
    expiry_field(object, state.expires_at_ms);
    object.optional("order_id", state.order.as_ref());
}

fn done_fields(object: &mut ObjectWriter<'_>, entry: &Entry, kind: &'static str, amount: MinorUnits) {
    object.text("type", kind).field("amount", &amount);
    object.text("created_at", Rfc3339(entry.timestamp)).field("index", &entry.index);
}

/// Writes one step of a payment's history: an applied change or an expiry. An entry that holds neither writes nothing.
pub(in crate::http) fn history_step(out: &mut Vec<u8>, entry: &Entry) {
    match entry.operation() {
        Some(Operation::PaymentChange(change)) => {
            let PaymentChangeOutcome::Applied { amount, from_balance, to_balance } = change.outcome else { return };
            let Some(after) = change.after(entry.stamp()) else { return };
            write_object(out, |object| {
                done_fields(object, entry, change.change.name(), amount);
                object.text("status", after.status());
                balances(object, from_balance, to_balance);
            });
        }
        Some(Operation::Expiry(expiry)) => write_object(out, |object| {
            done_fields(object, entry, "expiry", expiry.before.held);
            object.text("status", expiry.after(entry.stamp()).status());
        }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::{PaymentChangeKind, Rejection};

    #[test]
    fn a_change_shows_the_payment_after_it_and_what_was_done() {
        let applied = samples::applied(1_000);
        let (entry, before) = samples::change_entry(PaymentChangeKind::Capture(Some(MinorUnits::new(1_000))), applied);
        let shown = samples::rendered(|out| change(out, &entry, samples::payment_change_of(&entry)));
        let expected = json!({
            "id": before.to_string(), "status": "partially_captured", "from": "external:card", "to": "shop",
            "amount": 1250, "currency": "EUR", "captured": 1000, "refunded": 0, "held": 250,
            "expires_at": "2023-11-14T22:14:20.005Z", "order_id": "o \"7\"",
            "change": {"type": "capture", "amount": 1000, "created_at": "2023-11-14T22:13:20.005Z", "index": 7},
            "balances": {"from": -1000, "to": 1000}, "index": 7, "epoch": 2,
        });
        assert_eq!(shown, expected);
        let step = samples::rendered(|out| history_step(out, &entry));
        let expected = json!({
            "type": "capture", "amount": 1000, "created_at": "2023-11-14T22:13:20.005Z", "index": 7,
            "status": "partially_captured", "balances": {"from": -1000, "to": 1000},
        });
        assert_eq!(step, expected);
    }

    #[test]
    fn an_expiry_is_a_step_of_the_history_too() {
        let shown = samples::rendered(|out| history_step(out, &samples::expiry_entry()));
        assert_eq!(
            (&shown["type"], &shown["amount"], &shown["status"]),
            (&json!("expiry"), &json!(1250), &json!("expired"))
        );
    }

    #[test]
    fn a_refused_change_is_no_step_of_the_history() {
        let refused = PaymentChangeOutcome::Rejected(Rejection::AmountExceedsHeld);
        let (entry, _) = samples::change_entry(PaymentChangeKind::Capture(Some(MinorUnits::new(5_000))), refused);
        let mut out = Vec::new();
        history_step(&mut out, &entry);
        assert!(out.is_empty());
    }
}
