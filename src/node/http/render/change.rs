//! Captures, voids, refunds and expiries.

use std::borrow::Cow;

use quorapay_api::{
    ChangeByKey, ChangeKind, ChangeOfNoPayment, ChangedPayment, HistoryStep, PaymentBalances, PaymentChange, Rfc3339,
};
use quorapay_core::domain::{self, MinorUnits, Operation, PaymentChangeOutcome, PaymentId, PaymentState, Rejection};
use quorapay_core::replication::Entry;

use super::payment::moment;

/// A change as its call is answered: the payment after it, and what was done or why nothing was.
pub(in crate::http) fn change_by_key(entry: &Entry, change: &domain::PaymentChange) -> ChangeByKey<'static> {
    let rejection = match change.outcome {
        PaymentChangeOutcome::Applied { .. } => None,
        PaymentChangeOutcome::Rejected(rejection) => Some(Cow::Borrowed(rejection.code())),
    };
    let Some(after) = change.after(entry.stamp()) else {
        let rejection = rejection.unwrap_or(Cow::Borrowed(Rejection::PaymentNotFound.code()));
        let (index, epoch) = (entry.index, entry.epoch);
        return ChangeByKey::NoPayment(ChangeOfNoPayment { id: change.payment, rejection, index, epoch });
    };
    let stands = unchanged(entry, change.payment, after);
    ChangeByKey::Payment(match applied(entry, change) {
        None => ChangedPayment { rejection, ..stands },
        Some((done, balances)) => ChangedPayment { change: Some(done), balances: Some(balances), ..stands },
    })
}

/// A payment where it stands, with nothing about a change.
pub(in crate::http) fn unchanged(entry: &Entry, id: PaymentId, state: PaymentState) -> ChangedPayment<'static> {
    ChangedPayment {
        id,
        status: state.status().into(),
        from: Cow::Owned(state.from),
        to: Cow::Owned(state.to),
        amount: state.amount,
        currency: state.currency,
        captured: state.captured,
        refunded: state.refunded,
        held: state.held,
        expires_at: moment(state.expires_at_ms),
        order_id: state.order,
        change: None,
        balances: None,
        rejection: None,
        index: entry.index,
        epoch: entry.epoch,
    }
}

fn applied(entry: &Entry, change: &domain::PaymentChange) -> Option<(PaymentChange, PaymentBalances)> {
    let PaymentChangeOutcome::Applied { amount, from_balance, to_balance } = change.outcome else { return None };
    let balances = PaymentBalances::Posted { from: from_balance, to: to_balance };
    Some((done(entry, change.change.into(), amount), balances))
}

fn done(entry: &Entry, kind: ChangeKind, amount: MinorUnits) -> PaymentChange {
    PaymentChange { kind, amount, created_at: Rfc3339(entry.timestamp), index: entry.index }
}

/// One step of a payment's history: an applied change or an expiry. `None` for any other entry.
pub(in crate::http) fn history_step(entry: &Entry) -> Option<HistoryStep> {
    let (done, after, balances) = match entry.operation()? {
        Operation::PaymentChange(change) => {
            let (done, balances) = applied(entry, change)?;
            (done, change.after(entry.stamp())?, Some(balances))
        }
        Operation::Expiry(expiry) => {
            (done(entry, ChangeKind::Expiry, expiry.before.held), expiry.after(entry.stamp()), None)
        }
        _ => return None,
    };
    let PaymentChange { kind, amount, created_at, index } = done;
    Some(HistoryStep { kind, amount, created_at, index, status: after.status().into(), balances })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::PaymentChangeKind;

    #[test]
    fn a_change_shows_the_payment_after_it_and_what_was_done() {
        let applied = samples::applied(1_000);
        let (entry, before) = samples::change_entry(PaymentChangeKind::Capture(Some(MinorUnits::new(1_000))), applied);
        let shown = samples::shown(&change_by_key(&entry, samples::payment_change_of(&entry)));
        let expected = json!({
            "id": before.to_string(), "status": "partially_captured", "from": "external:card", "to": "shop",
            "amount": 1250, "currency": "EUR", "captured": 1000, "refunded": 0, "held": 250,
            "expires_at": "2023-11-14T22:14:20.005Z", "order_id": "o \"7\"",
            "change": {"type": "capture", "amount": 1000, "created_at": "2023-11-14T22:13:20.005Z", "index": 7},
            "balances": {"from": -1000, "to": 1000}, "index": 7, "epoch": 2,
        });
        assert_eq!(shown, expected);
        let step = samples::shown(&history_step(&entry));
        let expected = json!({
            "type": "capture", "amount": 1000, "created_at": "2023-11-14T22:13:20.005Z", "index": 7,
            "status": "partially_captured", "balances": {"from": -1000, "to": 1000},
        });
        assert_eq!(step, expected);
    }

    #[test]
    fn an_expiry_is_a_step_of_the_history_too() {
        let shown = samples::shown(&history_step(&samples::expiry_entry()));
        assert_eq!(
            (&shown["type"], &shown["amount"], &shown["status"]),
            (&json!("expiry"), &json!(1250), &json!("expired"))
        );
    }

    #[test]
    fn a_refused_change_is_no_step_of_the_history() {
        let refused = PaymentChangeOutcome::Rejected(Rejection::AmountExceedsHeld);
        let (entry, _) = samples::change_entry(PaymentChangeKind::Capture(Some(MinorUnits::new(5_000))), refused);
        assert_eq!(history_step(&entry), None);
    }
}
