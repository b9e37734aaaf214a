//! Entries, payments, accounts and nodes as types of the contract, and as CSV.
//!
//! ```text
//! payment   payments as they were decided and where they stand
//! change    captures, voids, refunds and expiries
//! account   accounts, changes of them, lines of statements
//! api_key   API keys without their secrets
//! key       what holds an idempotency key
//! entry     raw entries
//! node      a node's status
//! csv       raw entries and lines of statements as rows
//! ```
//!
//! What a write is answered with is made from its entry alone, so that a repeat gets the same bytes from any node at
//! any later time. The types borrow from the entries.

mod account;
mod api_key;
mod change;
mod csv;
mod entry;
mod key;
mod node;
mod payment;

pub(super) use account::{account, applied_overdraft, changed_account, statement_entry};
pub(super) use api_key::{api_key, changed_api_key};
pub(super) use change::{change_by_key, history_step, unchanged};
pub(super) use csv::{LEDGER_COLUMNS, STATEMENT_COLUMNS, complete_row, ledger_rows, row, statement_row};
pub(super) use entry::ledger_entry;
pub(super) use key::{batch_counts, lookup};
pub(super) use node::{node_role, node_view};
pub(super) use payment::{
    decided_at, decided_payment, decided_under, estimated_bytes, estimated_bytes_of, payment_now,
};
