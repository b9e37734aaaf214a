//! Why nothing could be checked.

use crate::history::{OperationError, ReadFailure};
use quorapay_node::ledger::LedgerError;

/// The files could not be judged. Says nothing of the cluster.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is nothing to check against.
    #[error("at least one ledger is needed to check against")]
    NoLedger,
    /// None of the ledgers has a whole chain.
    #[error("no ledger can be read well enough to check against: {0}")]
    NoTruth(String),
    /// A ledger cannot be opened or read.
    #[error("{ledger}: {source}")]
    Ledger {
        /// The ledger.
        ledger: String,
        /// Why.
        source: LedgerError,
    },
    /// A history cannot be read.
    #[error(transparent)]
    History(#[from] ReadFailure),
    /// A history contradicts itself.
    #[error(transparent)]
    Operations(#[from] OperationError),
}
