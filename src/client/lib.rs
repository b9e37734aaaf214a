//! A client of a cluster: several base URLs, and one outcome per idempotency key.
//!
//! A write is repeated under the *same* idempotency key at the next URL until its outcome is known or the deadline has
//! passed. If the outcome is still open then, it is looked up by its key before the client returns
//! [`Outcome::Unknown`]; it is never guessed. [`ClientError`] means that nothing changed.
//!
//! It knows only the contract, whose types it returns: nothing of a node's runtime or handlers.
//!
//! ```text
//! payments     calls that concern payments and keys
//! api_keys     calls that concern API keys
//! accounts     calls that concern accounts
//! cluster      calls that concern the ledger and the nodes
//! export       exports, row by row
//! backup       copies of the ledger, verified as they arrive
//! batch_lines  a batch as newline-delimited JSON
//! pages        lists, page after page
//! send         the client: repeats a call until its outcome is known
//! call         one request, and the result of one attempt to send it
//! retry        how long a call may take, and pauses between attempts
//! access       how a client reaches nodes and shows who it is
//! tls          whom a client trusts, and the certificate that it shows
//! error        errors
//! fake         a server for tests (feature `fake`)
//! ```
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

mod access;
mod accounts;
mod api_keys;
mod backup;
mod batch_lines;
mod call;
mod cluster;
mod error;
mod export;
mod pages;
mod payments;
mod retry;
mod send;
mod tls;

#[cfg(any(test, feature = "fake"))]
pub mod fake;
#[cfg(test)]
mod tests;

pub use access::Access;
pub use backup::{LedgerCopy, VerifiedStretch};
pub use batch_lines::{BatchLines, BatchLinesFull};
pub use error::ClientError;
pub use export::Export;
pub use quorapay_api::query::{Page, PaymentFilter, StatementFilter};
pub use quorapay_api::{
    Account, AccountAtIndex, AccountBalance, AccountPage, AccountSettings, ApiKeyList, ApiKeyRotation, ApiKeyView,
    BatchItem, BatchStatus, BatchSummary, Capture, ChangeKind, ChangedAccount, ChangedApiKey, ClockReport, ClusterView,
    Code, ExportFormat, FollowerProgress, HistoryStep, KeyState, NewAccount, NewApiKey, NewPayment, NodeReport,
    NodeRole, NodeView, Order, PaymentBalances, PaymentChange, PaymentStatus, Readiness, ReportedOutcome, Rfc3339,
    StatementEntryKind, limits,
};
pub use send::{Client, Done, Outcome};
pub use tls::{Tls, TlsFiles};

/// A payment as the ledger holds it: as it was decided in the answer to a write, in its current state in a read.
pub type Payment = quorapay_api::Payment<'static>;

/// A payment in its current state, with what was done to it.
pub type PaymentWithHistory = quorapay_api::PaymentWithHistory<'static>;

/// One page of payments, newest first.
pub type PaymentPage = quorapay_api::PaymentPage<'static>;

/// A payment right after a capture, a void or a refund, or as a refused one left it.
pub type ChangedPayment = quorapay_api::ChangedPayment<'static>;

/// What became of one payment of a batch.
pub type ItemResult = quorapay_api::ItemResult<'static>;

/// The answer to a batch.
pub type DecidedBatch = quorapay_api::DecidedBatch<'static>;

/// What is known of an idempotency key.
pub type KeyLookup = quorapay_api::KeyLookup<'static>;

/// A capture, a void or a refund under its idempotency key.
pub type ChangeByKey = quorapay_api::ChangeByKey<'static>;

/// One line of a statement.
pub type StatementEntry = quorapay_api::StatementEntry<'static>;

/// One page of an account's statement, newest first.
pub type Statement = quorapay_api::Statement<'static>;

/// One entry of the ledger.
pub type LedgerEntry = quorapay_api::LedgerEntry<'static>;

/// A page of the ledger, oldest first.
pub type LedgerPage = quorapay_api::LedgerPage<'static>;

/// A problem document.
pub type Problem = quorapay_api::Problem<'static>;

/// The payment that a problem is about.
pub type ProblemPayment = quorapay_api::ProblemPayment<'static>;
