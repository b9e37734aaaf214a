//! A client of a cluster: any of several base URLs, one answer per intent.
//!
//! A write is repeated under the *same* idempotency key at the next URL until its outcome is known or the deadline has
//! passed; an outcome that stays open is looked up by its key before the caller is told [`Outcome::Unknown`]. It is
//! never assumed. [`ClientError`] is left for calls that changed nothing.
//!
//! It knows the HTTP surface only: nothing of a node's runtime or of the handlers that answer it.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use quorapay_client::{Client, NewPayment, Outcome};
//! use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits};
//!
//! # async fn charge() -> Result<(), Box<dyn std::error::Error>> {
//! let urls = ["http://127.0.0.1:7101".to_owned(), "http://127.0.0.1:7102".to_owned()];
//! let client = Client::new(&urls, Duration::from_secs(5))?;
//!
//! // Made when the customer presses the button and stored with the order, before anything is sent.
//! let key = IdempotencyKey::parse("order-1001-charge-1")?;
//! let payment = NewPayment::new(
//!     AccountId::parse("external:card")?,
//!     AccountId::parse("shop:42")?,
//!     MinorUnits::new(15_075),
//!     Currency::parse("USD")?,
//! );
//! match client.pay(&key, &payment).await? {
//!     Outcome::Committed(done) => println!("paid: {}", done.value.id),
//!     Outcome::Refused(problem) => println!("not paid: {}", problem.code),
//!     Outcome::Unknown { key, .. } => println!("ask again under {key}"),
//! }
//! # Ok(())
//! # }
//! ```

mod accounts;
mod call;
mod cluster;
mod error;
mod export;
mod model;
mod pages;
mod payments;
mod problem;
mod retry;
mod send;

#[cfg(any(test, feature = "fake"))]
pub mod fake;
#[cfg(test)]
mod tests;

pub use error::ClientError;
pub use export::{Export, ExportFormat};
pub use model::{
    Account, AccountBalance, AccountChanged, AccountPage, AccountSettings, BatchItem, BatchLines, BatchLinesFull,
    BatchResult, BatchSummary, Capture, ChangedPayment, ClusterView, FollowerProgress, HistoryStep, ItemResult,
    KeyLookup, KeyState, LedgerEntry, LedgerPage, NewPayment, NodeReport, NodeRole, NodeView, Order, Page, Payment,
    PaymentBalances, PaymentChange, PaymentFilter, PaymentPage, PaymentStatus, Readiness, Statement, StatementEntry,
    StatementFilter,
};
pub use problem::{Problem, ReportedOutcome};
pub use send::{Client, Done, Outcome};
