//! Reads stretches of the ledger and checks the hash chain over them.

use std::sync::Arc;

use super::error::LedgerError;
use super::reader::LedgerReader;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, Position};

/// Bytes of entries that are hashed before other tasks of the thread get their turn.
const HASH_CHUNK_BYTES: usize = 1 << 20;

impl LedgerReader {
    /// The position at `previous` and the entries after it up to `to`, checked to be an unbroken chain. At most
    /// `max_entries`; fewer, but at least one if there is one, where they are large.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] if an entry is missing or the chain breaks, otherwise as [`Self::entries`].
    pub async fn chain(
        &self,
        previous: LogIndex,
        to: LogIndex,
        max_entries: usize,
    ) -> Result<(Position, Vec<Arc<Entry>>), LedgerError> {
        self.chain_within(previous, to, max_entries, usize::MAX).await
    }

    /// [`Self::chain`] with the caller's own bound on the bytes of the entries together.
    ///
    /// # Errors
    /// As [`Self::chain`].
    pub async fn chain_within(
        &self,
        previous: LogIndex,
        to: LogIndex,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<(Position, Vec<Arc<Entry>>), LedgerError> {
        let begin = self.position(previous).await?;
        let begin = begin.ok_or_else(|| LedgerError::Damaged(format!("entry {previous} is missing")))?;
        let entries = self.entries_within(previous.next(), to, max_entries, max_bytes).await?;
        let (mut end, mut hashed) = (begin, 0);
        for entry in &entries {
            hashed += entry.encoded_len();
            if hashed >= HASH_CHUNK_BYTES {
                // The event loop may run on this thread, and a few batches take longer to hash than it may wait.
                tokio::task::yield_now().await;
                hashed = 0;
            }
            if !entry.follows(&end) {
                return Err(LedgerError::Damaged(format!("the hash chain breaks at index {}", entry.index)));
            }
            end = entry.position();
        }
        Ok((begin, entries))
    }
}
