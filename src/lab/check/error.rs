//! Why a check could not be made.

use crate::history::{OperationError, ReadFailure};
use quorapay_node::ledger::LedgerError;

/// The files could not be checked. This says nothing about the cluster.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is nothing to check against.
    #[error("at least one ledger is needed to check against")]
    NoLedger,
    /// No ledger has an intact chain.
    #[error("no ledger can be read well enough to check against: {0}")]
    NoTruth(String),
    /// A ledger cannot be opened or read.
    #[error("{ledger}: {source}")]
    Ledger {
        /// The ledger.
        ledger: String,
        /// Why not.
        source: LedgerError,
    },
    /// A history cannot be read.
    #[error(transparent)]
    History(#[from] ReadFailure),
    /// A history is inconsistent.
    #[error(transparent)]
    Operations(#[from] OperationError),
}
