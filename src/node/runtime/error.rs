//! Why a node cannot start, or had to stop.

use crate::coordination::CoordinationError;
use crate::ledger::LedgerError;
use crate::query::LookupError;
use crate::views::ViewsError;
use quorapay_core::domain::{Divergence, LogIndex};

/// Why a node cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The views failed.
    #[error(transparent)]
    Views(#[from] ViewsError),
    /// An entry of the ledger contradicts the balances that the entries before it give.
    #[error("at index {index} {divergence}; stop this node, move its data directory away and start it again")]
    Diverged {
        /// The entry.
        index: LogIndex,
        /// The contradiction.
        divergence: Divergence,
    },
    /// ZooKeeper failed in a way that waiting does not mend.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
    /// An invariant of the protocol is broken.
    #[error("{0}; this node has stopped so that the damage does not spread")]
    Halted(String),
    /// The peers' port stopped working.
    #[error("the peers' port failed: {0}")]
    PeerPort(std::io::Error),
}

impl From<LookupError> for NodeError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Ledger(error) => Self::Ledger(error),
            LookupError::Views(error) => Self::Views(error),
            LookupError::Contradiction(_) => Self::Halted(error.to_string()),
        }
    }
}
