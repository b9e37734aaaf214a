//! Raw entries of the ledger as JSON, whatever they hold.

use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountOutcome, Batch, BatchOutcome, DecidedPayment, Expiry, Operation,
    PaymentChange, PaymentChangeOutcome, PaymentId, PaymentOutcome, Rejection,
};
use quorapay_core::replication::{Configuration, Entry, EntryBody};

use super::super::json::{ObjectWriter, write_object};
use super::Hex;
use super::payment::{expiry_field, free_text_fields, request_fields};

/// Writes a raw entry. Its timestamp is the number that the hash covers, in milliseconds.
pub(in crate::http) fn ledger_entry(out: &mut Vec<u8>, entry: &Entry) {
    write_object(out, |object| {
        object.field("index", &entry.index).field("epoch", &entry.epoch).field("timestamp", &entry.timestamp);
        match &entry.body {
            EntryBody::EpochStart { leader } => {
                object.text("kind", kind(entry)).text("leader", leader);
            }
            EntryBody::Configuration(configuration) => configuration_fields(object, entry, configuration),
            EntryBody::Operation(operation) => {
                object.text("kind", kind(entry));
                operation_fields(object, entry, operation);
            }
        }
        object.text("hash", entry.hash);
    });
}

/// The word for what an entry holds.
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
    }
}

fn configuration_fields(object: &mut ObjectWriter<'_>, entry: &Entry, configuration: &Configuration) {
    object.text("kind", kind(entry));
    object.array("voters", &configuration.voters, |out, (node, voter)| {
        write_object(out, |object| {
            object.text("node_id", node).text("store_id", voter.store_id).field("peer_url", &voter.peer_url);
        });
    });
}

fn operation_fields(object: &mut ObjectWriter<'_>, entry: &Entry, operation: &Operation) {
    match operation {
        Operation::Payment(_) => {
            for payment in operation.payments() {
                payment_fields(object, entry, &payment);
            }
        }
        Operation::Account(change) => account_fields(object, change),
        Operation::PaymentChange(change) => change_fields(object, change),
        Operation::Expiry(expiry) => expiry_fields(object, expiry),
        Operation::Batch(batch) => batch_fields(object, entry, batch, operation),
        Operation::KeyFence(_) => {}
    }
    object.optional("rejection", operation.rejection().map(Rejection::code));
    object.optional("idempotency_key", operation.key());
    if let Some(fingerprint) = operation.fingerprint() {
        object.text("fingerprint", Hex(&fingerprint.0));
    }
}

fn payment_fields(object: &mut ObjectWriter<'_>, entry: &Entry, payment: &DecidedPayment<'_>) {
    let id = PaymentId::derive(entry.stamp(), payment.item);
    object.text("payment_id", id).text("status", outcome_word(payment.outcome));
    request_fields(object, payment);
    free_text_fields(object, payment);
    match payment.outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            object.field("from_balance", &from_balance).field("to_balance", &to_balance);
        }
        PaymentOutcome::Authorized { from_held, expires_at_ms } => {
            object.field("from_held", &from_held);
            expiry_field(object, Some(expires_at_ms));
        }
        PaymentOutcome::Repeated { index } => {
            object.field("repeats_index", &index);
        }
        PaymentOutcome::Rejected(_) => {}
    }
}

/// The word for a payment's outcome.
pub(super) const fn outcome_word(outcome: PaymentOutcome) -> &'static str {
    match outcome {
        PaymentOutcome::Succeeded { .. } => "succeeded",
        PaymentOutcome::Authorized { .. } => "authorized",
        PaymentOutcome::Rejected(_) => "rejected",
        PaymentOutcome::Repeated { .. } => "repeated",
    }
}

fn account_fields(object: &mut ObjectWriter<'_>, change: &AccountChange) {
    object.text("status", account_outcome_word(change.outcome)).text("account", &change.account);
    match change.change {
        AccountChangeKind::Open(overdraft) => {
            object.field("change", "open").text("overdraft", overdraft);
        }
        AccountChangeKind::Change { overdraft, status } => {
            object.field("change", "change").optional("overdraft", overdraft).optional("account_status", status);
        }
    }
}

/// The word for whether an account was changed.
pub(super) const fn account_outcome_word(outcome: AccountOutcome) -> &'static str {
    match outcome {
        AccountOutcome::Applied => "applied",
        AccountOutcome::Rejected(_) => "rejected",
    }
}

fn change_fields(object: &mut ObjectWriter<'_>, change: &PaymentChange) {
    object.text("payment_id", change.payment).text("status", change_outcome_word(change.outcome));
    object.text("change", change.change.name()).optional("named_amount", change.change.named_amount());
    if let PaymentChangeOutcome::Applied { amount, from_balance, to_balance } = change.outcome {
        object.field("amount", &amount).field("from_balance", &from_balance).field("to_balance", &to_balance);
    }
    if let Some(before) = &change.before {
        object.text("from", &before.from).text("to", &before.to).text("currency", before.currency);
    }
}

/// The word for whether a payment was changed.
pub(super) const fn change_outcome_word(outcome: PaymentChangeOutcome) -> &'static str {
    match outcome {
        PaymentChangeOutcome::Applied { .. } => "applied",
        PaymentChangeOutcome::Rejected(_) => "rejected",
    }
}

fn expiry_fields(object: &mut ObjectWriter<'_>, expiry: &Expiry) {
    object.text("payment_id", expiry.payment).field("amount", &expiry.before.held);
    object.text("from", &expiry.before.from).text("to", &expiry.before.to).text("currency", expiry.before.currency);
}

fn batch_fields(object: &mut ObjectWriter<'_>, entry: &Entry, batch: &Batch, operation: &Operation) {
    let status = match batch.outcome() {
        BatchOutcome::Decided => "decided",
        BatchOutcome::Aborted => "aborted",
    };
    object.field("status", status).field("atomic", &batch.atomic);
    object.array("payments", operation.payments(), |out, payment| {
        write_object(out, |object| {
            payment_fields(object, entry, &payment);
            object.optional("rejection", payment.outcome.rejection().map(Rejection::code));
            object.optional("idempotency_key", payment.key);
        });
    });
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::LogIndex;
    use quorapay_core::domain::{MinorUnits, Overdraft, PaymentChangeKind};

    fn shown(entry: &Entry) -> Value {
        let value = samples::rendered(|out| ledger_entry(out, entry));
        assert_eq!((&value["index"], &value["epoch"]), (&json!(7), &json!(2)));
        assert_eq!(value["timestamp"], 1_700_000_000_005_u64);
        assert_eq!(value["hash"], entry.hash.to_string());
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
