//! Queries: what clients read of the past, and what the engine needs of it to decide.
//!
//! | file | what |
//! |---|---|
//! | `queries.rs` | [`Queries`]: the readers that a query uses, and single entries |
//! | `payments.rs` | a payment with its state and its history |
//! | `payment_list.rs` | pages of payments, newest first |
//! | `statement.rs` | pages of an account's statement, newest first |
//! | `pages.rs` | cursors and pages |
//! | `newest.rs` | the entries that a page is made of, found with bounded work |
//! | `export.rs` | streams of entries and of statement lines |
//! | `recent.rs` | what is in memory: the newest applied entries, and older ones that were read lately |
//! | `payment_reads.rs` | single payments that memory does not hold, read many at a time |
//! | `decisions.rs` | the engine's queries: keys, payments and orders that its memory no longer holds |
//! | `error.rs` | why a read fails |
//!
//! The views say where to look, the ledger says what is there, and the engine, behind [`EngineMemory`], knows what is
//! too young for the views. This module knows neither the event loop nor HTTP, and never waits for an index: callers
//! ask for nothing above the applied index.

mod decisions;
mod error;
mod export;
mod newest;
mod pages;
mod payment_list;
mod payment_reads;
mod payments;
mod queries;
mod recent;
mod statement;

pub(crate) use decisions::{LookupError, look_up, state_after};
pub use error::ReadError;
pub use pages::{Cursor, Page};
pub use payment_list::PaymentFilter;
pub use payments::PaymentRecord;
pub(crate) use queries::count_payments;
pub use queries::{EngineMemory, Queries, QueryFiles};
pub use recent::Recent;
pub use statement::{StatementFilter, StatementLine};
