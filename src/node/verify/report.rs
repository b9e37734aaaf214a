//! The result of an audit.

use serde::Serialize;

use super::finding::Finding;
use crate::ledger::LedgerError;
use crate::views::ViewsError;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::Position;

/// The result of an audit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The last entry that was checked and is in the chain.
    pub verified: Position,
    /// Accounts in the replayed bank.
    pub accounts: u64,
    /// Payments, rejected ones included.
    pub payments: u64,
    /// The projected index of the views; `None` if there are none.
    pub projected: Option<LogIndex>,
    /// What is wrong, at most the first hundred findings; empty for an intact ledger.
    pub findings: Vec<Finding>,
}

/// Why an audit or a rebuild could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger cannot be opened or read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The views cannot be opened or written.
    #[error(transparent)]
    Views(#[from] ViewsError),
    /// Views are only built from a ledger that verifies.
    #[error("the views were not rebuilt: {0}")]
    Unverified(Finding),
}
