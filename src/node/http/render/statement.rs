//! Lines of statements as JSON.

use crate::runtime::StatementLine;

use super::super::json::write_object;
use super::Rfc3339;

/// Writes a line of a statement.
pub(in crate::http) fn statement_line(out: &mut Vec<u8>, line: &StatementLine) {
    write_object(out, |object| {
        object.field("index", &line.cursor.index).text("payment_id", line.payment).text("type", line.kind.as_str());
        object.text("created_at", Rfc3339(line.timestamp)).field("amount", &line.amount);
        object.text("currency", line.currency).field("balance", &line.balance);
        object.text("counterparty", &line.counterparty);
    });
}
