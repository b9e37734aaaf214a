//! The offline audit of a node's ledger: the hash chain entry by entry, the bank replayed from nothing, double entry,
//! and the views compared with all of it. Also rebuilds the views.
//!
//! An audit changes nothing and needs no running node; if one runs, it audits what is committed. This module knows the
//! files of a data directory and nothing of the event loop.
//!
//! [`verify`] and [`rebuild_views`] return boxed futures, so that they are compiled here and not again in each crate that
//! awaits them.

mod audit;
mod finding;
mod orders;
mod rebuild;
mod report;
mod source;
#[cfg(test)]
mod tests;

pub use audit::{verify, verify_entries};
pub use finding::Finding;
pub use rebuild::rebuild_views;
pub use report::{AuditError, AuditReport};
pub use source::EntrySource;
