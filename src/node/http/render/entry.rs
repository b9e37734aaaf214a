//! Raw entries, whatever they hold.

use std::borrow::Cow;

use quorapay_api::{BatchedPayment, ChangeWord, EntryContent, EntryPayment, LedgerEntry, LedgerVoter, Rfc3339};
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, ApiKeyChange, ApiKeyChangeKind, Batch, DecidedPayment, Expiry, Operation,
    PaymentChange, PaymentChangeOutcome, PaymentId, PaymentOutcome, Rejection,
};
use quorapay_core::replication::{Configuration, Entry, EntryBody};

use super::payment::{metadata, moment};

/// A raw entry. Its timestamp is the number that the hash covers, in milliseconds.
pub(in crate::http) fn ledger_entry(entry: &Entry) -> LedgerEntry<'_> {
    let operation = entry.operation();
    LedgerEntry {
        index: entry.index,
        epoch: entry.epoch,
        timestamp: entry.timestamp,
        content: Some(match &entry.body {
            EntryBody::EpochStart { leader, rules } => {
                EntryContent::EpochStart { leader: Cow::Borrowed(leader), rule_version: *rules }
            }
            EntryBody::Configuration(configuration) => configuration_content(configuration),
            EntryBody::Operation(operation) => operation_content(entry, operation),
        }),
        rejection: operation.and_then(Operation::rejection).map(Rejection::code).map(Cow::Borrowed),
        principal: entry.principal,
        idempotency_key: operation.and_then(Operation::key).map(Cow::Borrowed),
        fingerprint: operation.and_then(Operation::fingerprint).map(|fingerprint| hex::encode(fingerprint.0)),
        hash: entry.hash.to_string(),
    }
}

fn configuration_content(configuration: &Configuration) -> EntryContent<'_> {
    let voters = configuration.voters.iter().map(|(node_id, voter)| LedgerVoter {
        node_id: Cow::Borrowed(node_id),
        store_id: voter.store_id,
        peer_url: Cow::Borrowed(&voter.peer_url),
    });
    EntryContent::Configuration { voters: voters.collect() }
}

fn operation_content<'entry>(entry: &Entry, operation: &'entry Operation) -> EntryContent<'entry> {
    match operation {
        Operation::Payment(payment) => {
            let (item, key, request, outcome) = (0, Some(&payment.key), &payment.request, payment.outcome);
            EntryContent::Payment(entry_payment(entry, &DecidedPayment { item, key, request, outcome }))
        }
        Operation::Account(change) => account_content(change),
        Operation::PaymentChange(change) => change_content(change),
        Operation::Expiry(expiry) => expiry_content(expiry),
        Operation::Batch(batch) => batch_content(entry, batch, operation),
        Operation::KeyFence(_) => EntryContent::Fence,
        Operation::ApiKey(change) => api_key_content(change),
    }
}

fn entry_payment<'entry>(entry: &Entry, decided: &DecidedPayment<'entry>) -> EntryPayment<'entry> {
    let DecidedPayment { item, request, outcome, .. } = *decided;
    let payment = EntryPayment {
        payment_id: PaymentId::derive(entry.stamp(), item),
        status: outcome.into(),
        from: Cow::Borrowed(&request.from),
        to: Cow::Borrowed(&request.to),
        amount: request.amount,
        currency: request.currency,
        capture: request.capture.into(),
        order: request.order.as_deref().map(Into::into),
        description: request.description.as_deref().map(Cow::Borrowed),
        metadata: metadata(request),
        from_balance: None,
        to_balance: None,
        from_held: None,
        expires_at: None,
        repeats_index: None,
    };
    match outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            EntryPayment { from_balance: Some(from_balance), to_balance: Some(to_balance), ..payment }
        }
        PaymentOutcome::Authorized { from_held, expires_at_ms } => {
            EntryPayment { from_held: Some(from_held), expires_at: moment(Some(expires_at_ms)), ..payment }
        }
        PaymentOutcome::Repeated { index } => EntryPayment { repeats_index: Some(index), ..payment },
        PaymentOutcome::Rejected(_) => payment,
    }
}

fn account_content(change: &AccountChange) -> EntryContent<'_> {
    let (asked, overdraft, account_status) = match change.change {
        AccountChangeKind::Open(overdraft) => (ChangeWord::Open, Some(overdraft), None),
        AccountChangeKind::Change { overdraft, status } => (ChangeWord::Change, overdraft, status),
    };
    let (status, account) = (change.outcome.into(), Cow::Borrowed(&change.account));
    EntryContent::Account { status, account, change: asked, overdraft, account_status }
}

fn change_content(change: &PaymentChange) -> EntryContent<'_> {
    let (amount, from_balance, to_balance) = match change.outcome {
        PaymentChangeOutcome::Applied { amount, from_balance, to_balance } => {
            (Some(amount), Some(from_balance), Some(to_balance))
        }
        PaymentChangeOutcome::Rejected(_) => (None, None, None),
    };
    let before = change.before.as_deref();
    EntryContent::PaymentChange {
        payment_id: change.payment,
        status: change.outcome.into(),
        change: change.change.into(),
        named_amount: change.change.named_amount(),
        amount,
        from_balance,
        to_balance,
        from: before.map(|before| Cow::Borrowed(&before.from)),
        to: before.map(|before| Cow::Borrowed(&before.to)),
        currency: before.map(|before| before.currency),
    }
}

fn api_key_content(change: &ApiKeyChange) -> EntryContent<'_> {
    let (secret_sha256, old_valid_for_s, grant) = match &change.change {
        ApiKeyChangeKind::Create { grant, secret } => (Some(*secret), None, Some(&**grant)),
        ApiKeyChangeKind::Rotate { secret, old_valid_for_s } => (Some(*secret), Some(*old_valid_for_s), None),
        ApiKeyChangeKind::Revoke => (None, None, None),
    };
    EntryContent::ApiKey {
        status: change.outcome.into(),
        api_key: change.id,
        change: Cow::Borrowed(change.change.name()),
        secret_sha256,
        old_valid_for_s,
        name: grant.map(|grant| Cow::Borrowed(&grant.name)),
        scopes: grant.map(|grant| grant.scopes.iter().map(|scope| scope.as_str().into()).collect()).unwrap_or_default(),
        debit_prefixes: grant.map(|grant| grant.debits.clone()).unwrap_or_default(),
        credit_prefixes: grant.map(|grant| grant.credits.clone()).unwrap_or_default(),
        limits: grant.map(|grant| grant.limits.clone()).unwrap_or_default(),
        expires_at: grant.and_then(|grant| grant.expires_at).map(Rfc3339),
    }
}

fn expiry_content(expiry: &Expiry) -> EntryContent<'_> {
    let Expiry { payment, before } = expiry;
    EntryContent::Expiry {
        payment_id: *payment,
        amount: before.held,
        from: Cow::Borrowed(&before.from),
        to: Cow::Borrowed(&before.to),
        currency: before.currency,
    }
}

fn batch_content<'entry>(entry: &Entry, batch: &Batch, operation: &'entry Operation) -> EntryContent<'entry> {
    let payment = |decided: DecidedPayment<'entry>| BatchedPayment {
        payment: entry_payment(entry, &decided),
        rejection: decided.outcome.rejection().map(Rejection::code).map(Cow::Borrowed),
        idempotency_key: decided.key.map(Cow::Borrowed),
    };
    let payments = operation.payments().map(payment).collect();
    EntryContent::Batch { status: batch.outcome().into(), atomic: batch.atomic, payments }
}

/// The value of `kind`.
pub(super) const fn kind(entry: &Entry) -> &'static str {
    match &entry.body {
        EntryBody::EpochStart { .. } => "epoch_start",
        EntryBody::Configuration(_) => "configuration",
        EntryBody::Operation(Operation::Payment(_)) => "payment",
        EntryBody::Operation(Operation::Account(_)) => "account",
        EntryBody::Operation(Operation::PaymentChange(_)) => "payment_change",
        EntryBody::Operation(Operation::Expiry(_)) => "expiry",
        EntryBody::Operation(Operation::Batch(_)) => "batch",
        EntryBody::Operation(Operation::KeyFence(_)) => "fence",
        EntryBody::Operation(Operation::ApiKey(_)) => "api_key",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::LogIndex;
    use quorapay_core::domain::{MinorUnits, Overdraft, PaymentChangeKind};

    fn shown(entry: &Entry) -> Value {
        let value = samples::shown(&ledger_entry(entry));
        assert_eq!((&value["index"], &value["epoch"]), (&json!(7), &json!(2)));
        assert_eq!(value["timestamp"], 1_700_000_000_005_u64);
        assert_eq!(value["hash"], entry.hash.to_string());
        assert_eq!(value["kind"], kind(entry));
        value
    }

    #[test]
    fn a_raw_entry_shows_its_kind_and_its_hash_whatever_it_holds() {
        let start = shown(&samples::start_entry());
        assert_eq!((&start["kind"], &start["leader"]), (&json!("epoch_start"), &json!("node1")));
        let configuration = shown(&samples::entry(EntryBody::Configuration(Configuration::default())));
        assert_eq!((&configuration["kind"], &configuration["voters"]), (&json!("configuration"), &json!([])));
        let opened = shown(&samples::account_entry("shop", AccountChangeKind::Open(Overdraft::None)));
        assert_eq!((&opened["kind"], &opened["change"]), (&json!("account"), &json!("open")));
        let fence = shown(&samples::fence_entry("k"));
        assert_eq!((&fence["kind"], &fence["idempotency_key"]), (&json!("fence"), &json!("k")));
        let expiry = shown(&samples::expiry_entry());
        assert_eq!((&expiry["kind"], &expiry["amount"]), (&json!("expiry"), &json!(1250)));
        assert_eq!(expiry.get("idempotency_key"), None, "nobody asked for it");
    }

    #[test]
    fn a_raw_payment_shows_its_key_and_its_balances() {
        let payment = shown(&samples::payment_entry(samples::request(), samples::succeeded()));
        assert_eq!((&payment["kind"], &payment["idempotency_key"]), (&json!("payment"), &json!("order \"42\"")));
        assert_eq!((&payment["to_balance"], &payment["status"]), (&json!(1250), &json!("succeeded")));
        let held = shown(&samples::payment_entry(samples::held_request(), samples::authorized()));
        assert_eq!((&held["capture"], &held["from_held"]), (&json!("manual"), &json!(1250)));
    }

    #[test]
    fn a_raw_change_names_its_payment_and_what_was_decided() {
        let capture = PaymentChangeKind::Capture(Some(MinorUnits::new(1_000)));
        let (entry, id) = samples::change_entry(capture, samples::applied(1_000));
        let change = shown(&entry);
        assert_eq!((&change["kind"], &change["change"]), (&json!("payment_change"), &json!("capture")));
        assert_eq!((&change["payment_id"], &change["amount"]), (&json!(id.to_string()), &json!(1000)));
    }

    #[test]
    fn a_raw_batch_shows_every_payment_with_its_own_outcome() {
        let outcomes = [
            samples::succeeded(),
            PaymentOutcome::Rejected(Rejection::AccountFrozen),
            PaymentOutcome::Repeated { index: LogIndex(3) },
        ];
        let batch = shown(&samples::batch_entry(false, &outcomes));
        assert_eq!(
            (&batch["kind"], &batch["status"], &batch["atomic"]),
            (&json!("batch"), &json!("decided"), &json!(false))
        );
        assert_eq!(batch["payments"][1]["rejection"], "account_frozen");
        assert_eq!(
            (&batch["payments"][2]["status"], &batch["payments"][2]["repeats_index"]),
            (&json!("repeated"), &json!(3))
        );
        let aborted = shown(&samples::batch_entry(true, &outcomes));
        assert_eq!(aborted["status"], "aborted");
    }
}
