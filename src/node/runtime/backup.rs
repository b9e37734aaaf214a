//! Reads of the ledger for copies of it.

use crate::ledger::{LedgerError, Stretch};
use crate::query::ReadError;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::Position;

use super::handle::NodeHandle;

impl NodeHandle {
    /// Some consecutive entries from `from` up to `to`, at least one and about `max_bytes`, as bytes. Both must be
    /// committed.
    ///
    /// # Errors
    /// [`ReadError::Quarantined`] and [`ReadError::Storage`].
    pub async fn stretch(&self, from: LogIndex, to: LogIndex, max_bytes: usize) -> Result<Stretch, ReadError> {
        if self.shared.progress.borrow().quarantined {
            return Err(ReadError::Quarantined);
        }
        self.shared.copies.stretch(from, to, max_bytes).await.map_err(|error| unreadable(&error))
    }

    /// The position of a committed entry; the beginning for index zero.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub async fn position(&self, index: LogIndex) -> Result<Position, ReadError> {
        let position = self.shared.copies.position(index).await.map_err(|error| unreadable(&error))?;
        position.ok_or_else(|| unreadable(&LedgerError::Damaged(format!("entry {index} is missing"))))
    }
}

/// Logs why the ledger could not be read; the client only learns that it could not.
fn unreadable(error: &LedgerError) -> ReadError {
    tracing::error!(%error, "this node could not read its ledger for a backup");
    ReadError::Storage
}
