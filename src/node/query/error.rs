//! Why a read fails.

use quorapay_core::domain::LogIndex;

/// Why a read cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed a read index within the deadline.
    #[error("no leader confirmed the read within the deadline")]
    NoLeader,
    /// The index was not applied here within the deadline.
    #[error("index {wanted} was not applied within the deadline; this node has applied {reached}")]
    NotApplied {
        /// The index asked for.
        wanted: LogIndex,
        /// The index that this node has applied.
        reached: LogIndex,
    },
    /// This node's ledger is damaged; ask another.
    #[error("this node is quarantined")]
    Quarantined,
    /// The node's queue is full.
    #[error("the node's queue is full")]
    Overloaded,
    /// This node could not read its own files; another node can answer.
    #[error("this node could not read its ledger")]
    Storage,
}

/// Logs why a file could not be read; the client only learns that it could not.
pub(super) fn unreadable(error: impl std::fmt::Display) -> ReadError {
    tracing::error!(%error, "this node could not read its files");
    ReadError::Storage
}
