//! Entries, payments and accounts as JSON.
//!
//! What a write is answered with is rendered from its entry alone, so that a repeat gets the same bytes from any node
//! at any later time.

use std::fmt;

use crate::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, AccountState, Operation, Payment, PaymentId,
    PaymentOutcome, Rejection,
};
use crate::replication::{Body, Configuration, Entry, Timestamp};
use crate::runtime::AccountSnapshot;

use super::json::{ObjectWriter, write_object};

/// The payment that an entry holds, if it holds one.
pub(super) fn payment_of(entry: &Entry) -> Option<&Payment> {
    match entry.operation()? {
        Operation::Payment(payment) => Some(payment),
        Operation::Account(_) => None,
    }
}

/// The id of the payment in an entry.
pub(super) fn payment_id(entry: &Entry) -> PaymentId {
    PaymentId::derive(entry.timestamp.0, entry.epoch.0, entry.index.0)
}

/// Writes a payment as `POST /v1/payments` answers it.
pub(super) fn payment(out: &mut Vec<u8>, entry: &Entry, payment: &Payment) {
    write_object(out, |object| payment_fields(object, entry, payment));
}

fn payment_fields(object: &mut ObjectWriter<'_>, entry: &Entry, payment: &Payment) {
    object.text("id", payment_id(entry)).field("status", status(payment));
    request_fields(object, payment);
    object.text("created_at", Rfc3339(entry.timestamp)).field("index", &entry.index).field("epoch", &entry.epoch);
    match payment.outcome {
        PaymentOutcome::Succeeded { from_balance, to_balance } => {
            object.object("balances", |balances| {
                balances.field("from", &from_balance).field("to", &to_balance);
            });
        }
        PaymentOutcome::Rejected(rejection) => {
            object.field("rejection", rejection.code());
        }
    }
}

fn request_fields(object: &mut ObjectWriter<'_>, payment: &Payment) {
    let request = &payment.request;
    object.text("from", &request.from).text("to", &request.to);
    object.field("amount", &request.amount).text("currency", request.currency);
    object.optional("description", request.description.as_deref());
    if let Some(metadata) = &request.metadata {
        object.raw("metadata", metadata.as_bytes());
    }
}

fn status(payment: &Payment) -> &'static str {
    match payment.outcome {
        PaymentOutcome::Succeeded { .. } => "succeeded",
        PaymentOutcome::Rejected(_) => "rejected",
    }
}

/// Why the bank refused, in a sentence.
pub(super) fn reason(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::InsufficientFunds => "the paying account would fall below what its overdraft policy allows",
        Rejection::AccountNotFound => "the account does not exist: it was neither opened nor ever credited",
        Rejection::AccountExists => "the account exists already",
        Rejection::BalanceOverflow => "a balance would leave the range of a signed 64-bit integer",
        Rejection::OverdraftInUse => "the account's balance is already below what the new policy would allow",
    }
}

/// Writes the fields of an account as of an index. `available` is what is posted and not held; what an overdraft would
/// add on top is said by `overdraft`.
pub(super) fn account_fields(object: &mut ObjectWriter<'_>, id: &AccountId, state: &AccountState) {
    object.text("id", id).text("overdraft", state.overdraft);
    object.array("balances", state.balances.iter(), |out, (currency, posted)| {
        write_object(out, |balance| {
            balance.text("currency", currency).field("posted", &posted);
            balance.field("held", &0).field("available", &posted);
        });
    });
}

/// Writes an account in a list.
pub(super) fn account(out: &mut Vec<u8>, snapshot: &AccountSnapshot) {
    write_object(out, |object| account_fields(object, &snapshot.id, &snapshot.state));
}

/// Writes one entry of an account's statement; the payment must be a successful one of that account.
pub(super) fn statement_entry(out: &mut Vec<u8>, entry: &Entry, payment: &Payment, account: &AccountId) {
    let PaymentOutcome::Succeeded { from_balance, to_balance } = payment.outcome else {
        unreachable!("a refused payment moves no money, so no statement shows it");
    };
    let request = &payment.request;
    let pays = request.from == *account;
    let amount = if pays { -request.amount.get() } else { request.amount.get() };
    let (balance, counterparty) = if pays { (from_balance, &request.to) } else { (to_balance, &request.from) };
    write_object(out, |object| {
        object.field("index", &entry.index).text("payment_id", payment_id(entry));
        object.text("created_at", Rfc3339(entry.timestamp)).field("amount", &amount);
        object.text("currency", request.currency).field("balance", &balance).text("counterparty", counterparty);
    });
}

/// Writes a raw entry of the ledger. Its timestamp is the number that the hash covers, in milliseconds.
pub(super) fn ledger_entry(out: &mut Vec<u8>, entry: &Entry) {
    write_object(out, |object| {
        object.field("index", &entry.index).field("epoch", &entry.epoch).field("timestamp", &entry.timestamp);
        match &entry.body {
            Body::EpochStart { leader } => {
                object.field("kind", "epoch_start").text("leader", leader);
            }
            Body::Configuration(configuration) => configuration_fields(object, configuration),
            Body::Operation(operation) => {
                operation_fields(object, entry, operation);
            }
        }
        object.text("hash", entry.hash);
    });
}

fn configuration_fields(object: &mut ObjectWriter<'_>, configuration: &Configuration) {
    object.field("kind", "configuration");
    object.array("voters", &configuration.voters, |out, (node, voter)| {
        write_object(out, |object| {
            object.text("node_id", node).text("store_id", voter.store_id).field("peer_url", &voter.peer_url);
        });
    });
}

fn operation_fields(object: &mut ObjectWriter<'_>, entry: &Entry, operation: &Operation) {
    match operation {
        Operation::Payment(payment) => {
            object.field("kind", "payment").text("payment_id", payment_id(entry)).field("status", status(payment));
            request_fields(object, payment);
            if let PaymentOutcome::Succeeded { from_balance, to_balance } = payment.outcome {
                object.field("from_balance", &from_balance).field("to_balance", &to_balance);
            }
        }
        Operation::Account(change) => account_change_fields(object, change),
    }
    object.optional("rejection", operation.rejection().map(Rejection::code));
    object.field("idempotency_key", operation.key()).text("fingerprint", Hex(&operation.fingerprint().0));
}

fn account_change_fields(object: &mut ObjectWriter<'_>, change: &AccountChange) {
    let (kind, overdraft) = match change.change {
        AccountChangeKind::Open(overdraft) => ("account_open", overdraft),
        AccountChangeKind::SetOverdraft(overdraft) => ("account_set_overdraft", overdraft),
    };
    let status = match change.outcome {
        AccountOutcome::Applied => "applied",
        AccountOutcome::Rejected(_) => "rejected",
    };
    object.field("kind", kind).field("status", status);
    object.text("account", &change.account).text("overdraft", overdraft);
}

/// A ledger timestamp as RFC 3339 in UTC with milliseconds.
struct Rfc3339(Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The calendar ends in the year 9999. A ledger whose clock was further off still has to be shown.
        let milliseconds = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        let moment = jiff::Timestamp::from_millisecond(milliseconds).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{moment:.3}")
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{Currency, IdempotencyKey, MinorUnits, OperationRequest, Overdraft, PaymentRequest};
    use crate::replication::{Epoch, Hash, LogIndex, NodeId, UnchainedEntry};

    fn account_id(text: &str) -> AccountId {
        AccountId::parse(text).expect("valid")
    }

    fn entry(body: Body) -> Entry {
        let timestamp = Timestamp(1_700_000_000_005);
        UnchainedEntry { index: LogIndex(7), epoch: Epoch(2), timestamp, body }.chain(&Hash::default())
    }

    fn payment_entry(outcome: PaymentOutcome) -> Entry {
        let request = PaymentRequest {
            from: account_id("external:card"),
            to: account_id("shop"),
            amount: MinorUnits::new(1_250),
            currency: Currency::parse("EUR").expect("valid"),
            description: Some("tea \"black\"".into()),
            metadata: Some(r#"{"order":[1,2.5]}"#.into()),
        };
        let key = IdempotencyKey::parse("order \"42\"").expect("valid");
        let fingerprint = OperationRequest::Payment(request.clone()).fingerprint();
        entry(Body::Operation(Operation::Payment(Payment { key, fingerprint, request, outcome })))
    }

    fn succeeded() -> Entry {
        let (from_balance, to_balance) = (MinorUnits::new(-1_250), MinorUnits::new(1_250));
        payment_entry(PaymentOutcome::Succeeded { from_balance, to_balance })
    }

    fn rendered(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).expect("JSON")
    }

    #[test]
    fn a_payment_shows_what_was_asked_for_and_what_it_left_behind() {
        let entry = succeeded();
        let shown = rendered(|out| payment(out, &entry, payment_of(&entry).expect("a payment")));
        let expected = json!({
            "id": payment_id(&entry).to_string(), "status": "succeeded", "from": "external:card", "to": "shop",
            "amount": 1250, "currency": "EUR", "description": "tea \"black\"", "metadata": {"order": [1, 2.5]},
            "created_at": "2023-11-14T22:13:20.005Z", "index": 7, "epoch": 2, "balances": {"from": -1250, "to": 1250},
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_refused_payment_says_why_and_has_no_balances() {
        let entry = payment_entry(PaymentOutcome::Rejected(Rejection::InsufficientFunds));
        let shown = rendered(|out| payment(out, &entry, payment_of(&entry).expect("a payment")));
        assert_eq!((&shown["status"], &shown["rejection"]), (&json!("rejected"), &json!("insufficient_funds")));
        assert_eq!(shown.get("balances"), None);
    }

    #[test]
    fn a_statement_shows_each_side_its_own_sign_balance_and_counterparty() {
        let entry = succeeded();
        let side = |account: &str| {
            let payment = payment_of(&entry).expect("a payment");
            rendered(|out| statement_entry(out, &entry, payment, &account_id(account)))
        };
        let payer = side("external:card");
        assert_eq!((&payer["amount"], &payer["balance"]), (&json!(-1250), &json!(-1250)));
        assert_eq!(payer["counterparty"], "shop");
        let payee = side("shop");
        assert_eq!((&payee["amount"], &payee["balance"]), (&json!(1250), &json!(1250)));
        assert_eq!(payee["counterparty"], "external:card");
    }

    #[test]
    fn a_raw_entry_shows_its_kind_and_its_hash() {
        let start = entry(Body::EpochStart { leader: NodeId::parse("node1").expect("valid") });
        let shown = rendered(|out| ledger_entry(out, &start));
        assert_eq!((&shown["kind"], &shown["leader"]), (&json!("epoch_start"), &json!("node1")));
        assert_eq!(shown["hash"], start.hash.to_string());
        assert_eq!(shown["timestamp"], 1_700_000_000_005_u64);

        let shown = rendered(|out| ledger_entry(out, &succeeded()));
        assert_eq!((&shown["kind"], &shown["idempotency_key"]), (&json!("payment"), &json!("order \"42\"")));
        assert_eq!(shown["to_balance"], 1250);

        let configuration = entry(Body::Configuration(Configuration::default()));
        assert_eq!(rendered(|out| ledger_entry(out, &configuration))["voters"], json!([]));
    }

    #[test]
    fn an_account_shows_its_policy_and_its_balances_by_currency() {
        let mut state = AccountState { overdraft: Overdraft::Limit(MinorUnits::new(100)), ..AccountState::default() };
        state.balances.set(Currency::parse("USD").expect("valid"), MinorUnits::new(-40));
        let shown = rendered(|out| account(out, &AccountSnapshot { id: account_id("shop"), state }));
        let balance = json!({"currency": "USD", "posted": -40, "held": 0, "available": -40});
        assert_eq!(shown, json!({"id": "shop", "overdraft": "limit:100", "balances": [balance]}));
    }

    #[test]
    fn a_timestamp_beyond_the_calendar_is_still_shown() {
        assert!(Rfc3339(Timestamp(u64::MAX)).to_string().starts_with("9999-12-"));
    }
}
