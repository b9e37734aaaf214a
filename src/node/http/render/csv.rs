//! The ledger and statements as CSV (RFC 4180), one row per payment or change, so that spreadsheets can add them up.

use std::fmt::Display;
use std::io::Write;

use crate::runtime::StatementLine;
use quorapay_api::{ChangeKind, ChangeWord, Decision, ExportTrailer, Rfc3339, StatementEntryKind};
use quorapay_core::domain::{
    AccountChangeKind, Capture, DecidedPayment, Expiry, IdempotencyKey, MinorUnits, Operation, PaymentChange,
    PaymentChangeOutcome, PaymentId, Rejection,
};
use quorapay_core::replication::{Entry, EntryBody};

use super::entry::kind;

/// The columns of an exported ledger.
pub(in crate::http) const LEDGER_COLUMNS: [&str; 18] = [
    "index",
    "item",
    "epoch",
    "created_at",
    "kind",
    "status",
    "rejection",
    "payment_id",
    "from",
    "to",
    "amount",
    "currency",
    "type",
    "account",
    "order_id",
    "idempotency_key",
    "principal",
    "hash",
];

/// The columns of an exported statement.
pub(in crate::http) const STATEMENT_COLUMNS: [&str; 8] =
    ["index", "payment_id", "type", "created_at", "amount", "currency", "balance", "counterparty"];

/// Writes one row. By hand, because a writer of the `csv` crate owns its output, and rows of an export are written one
/// by one into the buffer of the next chunk.
pub(in crate::http) fn row<'a>(out: &mut Vec<u8>, fields: impl IntoIterator<Item = &'a str>) {
    for (at, field) in fields.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let guard = if is_formula(field) { "'" } else { "" };
        if field.contains([',', '"', '\r', '\n']) {
            write!(out, "\"{guard}{}\"", field.replace('"', "\"\"")).expect("writing to memory does not fail");
        } else {
            out.extend_from_slice(guard.as_bytes());
            out.extend_from_slice(field.as_bytes());
        }
    }
    out.push(b'\n');
}

/// Whether a spreadsheet would take a field for a formula and run it. Callers choose keys and the ids of orders. The
/// guard in front of such a field makes it text. A number is none, so negative amounts stay as they are.
fn is_formula(field: &str) -> bool {
    field.starts_with(['=', '+', '-', '@', '\t', '\r']) && field.parse::<i64>().is_err()
}

/// Writes the last row of a complete export: `complete`, the number of rows before it, and the index as of which it was
/// made. It has as many fields as the others.
pub(in crate::http) fn complete_row(out: &mut Vec<u8>, columns: usize, trailer: &ExportTrailer) {
    let (rows, as_of) = (trailer.rows.to_string(), trailer.as_of_index.to_string());
    row(out, ["complete", &rows, &as_of].into_iter().chain(std::iter::repeat("")).take(columns));
}

/// Writes a line of a statement.
pub(in crate::http) fn statement_row(out: &mut Vec<u8>, line: &StatementLine) {
    let fields = [
        line.cursor.index.to_string(),
        line.payment.to_string(),
        StatementEntryKind::from(line.kind).to_string(),
        Rfc3339(line.timestamp).to_string(),
        line.amount.to_string(),
        line.currency.to_string(),
        line.balance.to_string(),
        line.counterparty.to_string(),
    ];
    row(out, fields.iter().map(String::as_str));
}

/// The fields of a row of the ledger besides those of its entry. Empty where it has none.
#[derive(Default)]
struct LedgerRow<'entry> {
    item: Option<u16>,
    status: &'static str,
    rejection: Option<Rejection>,
    payment: Option<PaymentId>,
    from: &'entry str,
    to: &'entry str,
    amount: Option<MinorUnits>,
    currency: &'entry str,
    /// What was asked for.
    kind: &'static str,
    account: &'entry str,
    order: &'entry str,
    key: Option<&'entry IdempotencyKey>,
}

/// Writes the rows of an entry: one, or for a batch one per payment. Returns how many.
pub(in crate::http) fn ledger_rows(out: &mut Vec<u8>, entry: &Entry) -> u64 {
    let EntryBody::Operation(operation) = &entry.body else {
        write_ledger_row(out, entry, &LedgerRow::default());
        return 1;
    };
    let mut rows = 0;
    for payment in operation.payments() {
        write_ledger_row(out, entry, &payment_row(entry, &payment));
        rows += 1;
    }
    if rows == 0 {
        write_ledger_row(out, entry, &other_row(operation));
        rows = 1;
    }
    rows
}

fn write_ledger_row(out: &mut Vec<u8>, entry: &Entry, given: &LedgerRow<'_>) {
    let text = |value: Option<&dyn Display>| value.map(ToString::to_string).unwrap_or_default();
    let fields = [
        &*entry.index.to_string(),
        &text(given.item.as_ref().map(|item| item as _)),
        &entry.epoch.to_string(),
        &Rfc3339(entry.timestamp).to_string(),
        kind(entry),
        given.status,
        given.rejection.map_or("", Rejection::code),
        &text(given.payment.as_ref().map(|payment| payment as _)),
        given.from,
        given.to,
        &text(given.amount.as_ref().map(|amount| amount as _)),
        given.currency,
        given.kind,
        given.account,
        given.order,
        given.key.map_or("", IdempotencyKey::as_str),
        &text(entry.principal.as_ref().map(|principal| principal as _)),
        &entry.hash.to_string(),
    ];
    row(out, fields);
}

fn payment_row<'entry>(entry: &Entry, payment: &DecidedPayment<'entry>) -> LedgerRow<'entry> {
    LedgerRow {
        item: Some(payment.item),
        status: Decision::from(payment.outcome).as_str(),
        rejection: payment.outcome.rejection(),
        payment: Some(PaymentId::derive(entry.stamp(), payment.item)),
        from: payment.request.from.as_str(),
        to: payment.request.to.as_str(),
        amount: Some(payment.request.amount),
        currency: payment.request.currency.code(),
        kind: match payment.request.capture {
            Capture::Automatic => "payment",
            Capture::Manual { .. } => "authorization",
        },
        order: payment.request.order.as_ref().map_or("", |order| order.id.as_str()),
        key: payment.key,
        ..LedgerRow::default()
    }
}

fn other_row(operation: &Operation) -> LedgerRow<'_> {
    let (key, rejection) = (operation.key(), operation.rejection());
    let row = match operation {
        Operation::Account(change) => LedgerRow {
            status: Decision::from(change.outcome).as_str(),
            account: change.account.as_str(),
            kind: match change.change {
                AccountChangeKind::Open(_) => ChangeWord::Open.as_str(),
                AccountChangeKind::Change { .. } => ChangeWord::Change.as_str(),
            },
            ..LedgerRow::default()
        },
        Operation::PaymentChange(change) => change_row(change),
        Operation::Expiry(expiry) => expiry_row(expiry),
        Operation::ApiKey(change) => LedgerRow {
            status: Decision::from(change.outcome).as_str(),
            kind: change.change.name(),
            ..LedgerRow::default()
        },
        Operation::Payment(_) | Operation::Batch(_) | Operation::KeyFence(_) => LedgerRow::default(),
    };
    LedgerRow { key, rejection, ..row }
}

/// A refund is shown in the direction in which the money moved.
fn change_row(change: &PaymentChange) -> LedgerRow<'_> {
    let before = change.before.as_deref();
    let (mut from, mut to) = before.map_or(("", ""), |before| (before.from.as_str(), before.to.as_str()));
    if let Some(posting) = change.posting() {
        (from, to) = (posting.from.as_str(), posting.to.as_str());
    }
    LedgerRow {
        status: Decision::from(change.outcome).as_str(),
        payment: Some(change.payment),
        from,
        to,
        amount: match change.outcome {
            PaymentChangeOutcome::Applied { amount, .. } => Some(amount),
            PaymentChangeOutcome::Rejected(_) => change.change.named_amount(),
        },
        currency: before.map_or("", |before| before.currency.code()),
        kind: ChangeWord::from(change.change).as_str(),
        ..LedgerRow::default()
    }
}

fn expiry_row(expiry: &Expiry) -> LedgerRow<'_> {
    LedgerRow {
        payment: Some(expiry.payment),
        from: expiry.before.from.as_str(),
        to: expiry.before.to.as_str(),
        amount: Some(expiry.before.held),
        currency: expiry.before.currency.code(),
        kind: ChangeKind::Expiry.as_str(),
        ..LedgerRow::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::{LogIndex, PaymentChangeKind, PaymentOutcome};

    fn rows(entry: &Entry) -> Vec<String> {
        let mut out = Vec::new();
        let rows = ledger_rows(&mut out, entry);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(text.lines().count() as u64, rows);
        text.lines().map(|line| line.replace(&entry.hash.to_string(), "#")).collect()
    }

    #[test]
    fn a_field_with_a_comma_a_quote_or_a_line_break_is_quoted() {
        let mut out = Vec::new();
        row(&mut out, ["plain", "", "a,b", "say \"x\"", "two\nlines"]);
        assert_eq!(String::from_utf8(out).expect("text"), "plain,,\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\n");
    }

    #[test]
    fn a_field_that_a_spreadsheet_would_run_is_text() {
        let mut out = Vec::new();
        row(&mut out, ["=1+1", "+a", "-a", "@a", "=\"a\",b", "-12", "a=b", ""]);
        assert_eq!(String::from_utf8(out).expect("text"), "'=1+1,'+a,'-a,'@a,\"'=\"\"a\"\",b\",-12,a=b,\n");
    }

    #[test]
    fn a_batch_has_a_row_per_payment_and_any_other_entry_has_one() {
        let outcomes = [samples::succeeded(), PaymentOutcome::Rejected(Rejection::AccountFrozen)];
        let batch = rows(&samples::batch_entry(false, &outcomes));
        assert_eq!(batch.len(), 2);
        assert_eq!(
            batch[1],
            "7,1,2,2023-11-14T22:13:20.005Z,batch,rejected,account_frozen,018bcfe5-6805-7002-8001-000000000007,\
             external:card,shop,1250,EUR,payment,,\"o \"\"7\"\"\",item 1,,#"
        );
        assert_eq!(rows(&samples::start_entry()), ["7,,2,2023-11-14T22:13:20.005Z,epoch_start,,,,,,,,,,,,,#"]);
        assert_eq!(rows(&samples::fence_entry("k")), ["7,,2,2023-11-14T22:13:20.005Z,fence,,,,,,,,,,,k,,#"]);
        assert_eq!(rows(&samples::expiry_entry()).len(), 1);
    }

    #[test]
    fn a_refund_goes_back_the_way_that_the_payment_came() {
        let (entry, _) = samples::change_entry(PaymentChangeKind::Refund(None), samples::applied(5));
        assert!(rows(&entry)[0].contains(",shop,external:card,5,EUR,refund,"), "{:?}", rows(&entry));
    }

    #[test]
    fn every_row_is_as_wide_as_the_header_and_the_last_one_says_that_nothing_is_missing() {
        let mut out = Vec::new();
        let trailer = ExportTrailer { complete: true, rows: 12, as_of_index: LogIndex(345) };
        complete_row(&mut out, STATEMENT_COLUMNS.len(), &trailer);
        assert_eq!(String::from_utf8(out).expect("text"), "complete,12,345,,,,,\n");
        let commas = rows(&samples::start_entry())[0].matches(',').count();
        assert_eq!(commas + 1, LEDGER_COLUMNS.len());
    }
}
