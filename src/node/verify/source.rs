//! Where the entries of an audit come from.

use std::sync::Arc;

use crate::ledger::{LedgerError, LedgerReader};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::Entry;

/// Something that holds the entries of a ledger. What it returns is not believed.
pub trait EntrySource {
    /// Consecutive entries from `from` up to `upto`, both included, at least one if there is one and at most
    /// `max_entries`.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] if they cannot be read as entries, otherwise if the disk fails.
    fn entries(
        &mut self,
        from: LogIndex,
        upto: LogIndex,
        max_entries: usize,
    ) -> impl Future<Output = Result<Vec<Arc<Entry>>, LedgerError>>;

    /// One entry, if it is there.
    ///
    /// # Errors
    /// As [`Self::entries`].
    fn entry(&mut self, index: LogIndex) -> impl Future<Output = Result<Option<Arc<Entry>>, LedgerError>>;
}

impl EntrySource for LedgerReader {
    async fn entries(
        &mut self,
        from: LogIndex,
        upto: LogIndex,
        max_entries: usize,
    ) -> Result<Vec<Arc<Entry>>, LedgerError> {
        LedgerReader::entries(self, from, upto, max_entries).await
    }

    async fn entry(&mut self, index: LogIndex) -> Result<Option<Arc<Entry>>, LedgerError> {
        LedgerReader::entry(self, index).await
    }
}
