//! A client of a cluster: any of several base URLs, one answer per intent.
//!
//! A write is repeated under the *same* idempotency key at the next URL until its outcome is known or the deadline has
//! passed; an outcome that stays open is looked up by its key before the caller is told [`Outcome::Unknown`].
//! It knows the HTTP surface only: nothing of a node's runtime or of the handlers that answer it.

mod call;
mod error;
mod model;
mod problem;
mod retry;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

pub use call::{Client, Done, Outcome};
pub use error::ClientError;
pub use model::{
    Account, AccountBalance, AccountPage, ClusterView, FollowerProgress, KeyLookup, KeyState, NewPayment, NodeReport,
    NodeRole, NodeView, Page, Payment, PaymentBalances, PaymentFilter, PaymentPage, PaymentStatus, PolicyChange,
    Readiness, Statement, StatementEntry,
};
pub use problem::{Problem, ReportedOutcome};
