//! Payments for people.

use quorapay_client::{
    ChangeByKey, ChangedPayment, HistoryStep, KeyLookup, KeyState, Payment, PaymentBalances, PaymentWithHistory,
    Rfc3339,
};
use quorapay_core::domain::{Currency, MinorUnits};

/// A payment in its current state.
pub(in crate::cli) fn describe(payment: &Payment) -> String {
    let Payment { id, status, from, to, currency, created_at, index, epoch, .. } = payment;
    let (of_from, of_to) = balances(payment.balances.as_ref(), *currency);
    let mut lines = vec![
        format!("payment     {id}  {status}"),
        format!("amount      {} {currency}", currency.format(payment.amount)),
        format!("from        {from}{of_from}"),
        format!("to          {to}{of_to}"),
        format!("ledger      index {index}, epoch {epoch}, {created_at}"),
    ];
    lines.extend(parts(*currency, payment.captured, payment.refunded, payment.held, payment.expires_at));
    let order = payment.order.as_ref();
    lines.extend(order.map(|order| format!("order       {} (total {})", order.id, currency.format(order.total))));
    lines.extend(payment.rejection.iter().map(|code| format!("refused     {code}")));
    lines.extend(payment.description.iter().map(|text| format!("description {text}")));
    lines.extend(payment.metadata.iter().map(|json| format!("metadata    {json}")));
    lines.join("\n")
}

/// A payment where it stands, with what was done to it.
pub(super) fn describe_with_history(shown: &PaymentWithHistory) -> String {
    let steps = shown.history.iter().map(|step| describe_step(step, shown.currency));
    std::iter::once(describe(&shown.payment)).chain(steps).collect::<Vec<_>>().join("\n")
}

fn describe_step(step: &HistoryStep, currency: Currency) -> String {
    let HistoryStep { kind, status, created_at, index, .. } = step;
    format!("{kind:<11} {} {currency}, then {status} (index {index}, {created_at})", currency.format(step.amount))
}

/// A payment after a capture, a void or a refund.
pub(super) fn describe_change(changed: &ChangedPayment) -> String {
    let ChangedPayment { id, status, from, to, currency, index, .. } = changed;
    let (of_from, of_to) = balances(changed.balances.as_ref(), *currency);
    let mut lines = vec![format!("payment     {id}  {status}")];
    let done = changed.change.as_ref();
    lines.extend(done.map(|done| format!("{:<11} {} {currency}", done.kind, currency.format(done.amount))));
    lines.push(format!("from        {from}{of_from}"));
    lines.push(format!("to          {to}{of_to}"));
    lines.push(format!("ledger      index {index}"));
    lines.extend(parts(*currency, changed.captured, changed.refunded, changed.held, changed.expires_at));
    lines.extend(changed.order_id.iter().map(|order| format!("order       {order}")));
    lines.extend(changed.rejection.iter().map(|code| format!("refused     {code}")));
    lines.join("\n")
}

/// Captured, refunded and held amounts. `None` for a payment that was captured at once and not refunded.
fn parts(
    currency: Currency,
    captured: MinorUnits,
    refunded: MinorUnits,
    held: MinorUnits,
    expires_at: Option<Rfc3339>,
) -> Option<String> {
    if expires_at.is_none() && refunded == MinorUnits::ZERO {
        return None;
    }
    let [captured, refunded, of_hold] = [captured, refunded, held].map(|units| currency.format(units));
    let until = expires_at.filter(|_| held > MinorUnits::ZERO).map(|time| format!(" until {time}"));
    Some(format!("parts       captured {captured}, refunded {refunded}, held {of_hold}{}", until.unwrap_or_default()))
}

/// The balances to write after the paying and the receiving account.
fn balances(balances: Option<&PaymentBalances>, currency: Currency) -> (String, String) {
    match balances {
        Some(PaymentBalances::Posted { from, to }) => {
            let written = |units| format!("  (balance {})", currency.format(units));
            (written(*from), written(*to))
        }
        Some(PaymentBalances::Held { from_held }) => {
            (format!("  (held in all {})", currency.format(*from_held)), String::new())
        }
        None => (String::new(), String::new()),
    }
}

/// The state of a key.
pub(super) fn describe_lookup(lookup: &KeyLookup) -> String {
    let as_of = lookup.as_of_index.or(lookup.index).map(|index| format!(" as of index {index}")).unwrap_or_default();
    match lookup.state {
        KeyState::Committed => describe_committed(lookup),
        KeyState::InFlight => format!("in flight{as_of}: ask again"),
        KeyState::Unknown => format!("unknown{as_of}: nothing was done under this key until then"),
        KeyState::Fenced => format!("fenced{as_of}: nothing was done under this key, and nothing ever will be"),
    }
}

fn describe_committed(lookup: &KeyLookup) -> String {
    if let Some(payment) = &lookup.payment {
        return describe(payment);
    }
    if let Some(change) = &lookup.change {
        return match change {
            ChangeByKey::Payment(changed) => describe_change(changed),
            ChangeByKey::NoPayment(refused) => format!("refused     {:?}", refused.rejection),
        };
    }
    if let Some(batch) = &lookup.batch {
        let (status, index) = (&batch.status, batch.index);
        return format!("batch {status}: {} made, {} refused (index {index})", batch.succeeded, batch.rejected);
    }
    match &lookup.account {
        Some(account) => format!("account {} was opened or changed (index {})", account.id, account.index),
        None => "committed".to_owned(),
    }
}
