//! Copies of the ledger: entries in their canonical bytes, verified hash by hash as they arrive.

use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::Response;

use super::call::{Call, root_cause};
use super::error::ClientError;
use super::send::Client;
use quorapay_api::{BACKUP_HASH_BYTES, BACKUP_LENGTH_BYTES, MAX_BACKUP_PIECE_BYTES, headers, query};
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::replication::{Hash, Position, read_stretch};

/// Consecutive entries whose hashes were computed and found to be those of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedStretch {
    /// As [`read_stretch`] reads them.
    pub bytes: Vec<u8>,
    /// How many.
    pub entries: u64,
    /// The position of the last one.
    pub end: Position,
    /// The ledger's time there.
    pub end_time: Timestamp,
}

/// A copy of the ledger that is being received.
#[derive(Debug)]
pub struct LedgerCopy {
    response: Response,
    /// How long the node may send nothing.
    timeout: Duration,
    /// What came and was not taken yet: at most a piece and what came with its end.
    received: Vec<u8>,
    last: Position,
    upto: LogIndex,
}

impl Client {
    /// Starts a copy of the ledger after an entry whose position is known; of the whole ledger after the default. It ends
    /// at `upto`, or at the last entry that is committed now. The copy as a whole has no deadline, only the time between
    /// two pieces has.
    ///
    /// # Errors
    /// [`ClientError::OtherHistory`] if the node's ledger does not hold that entry, and as any call.
    pub async fn copy_ledger(&self, after: Position, upto: Option<LogIndex>) -> Result<LedgerCopy, ClientError> {
        let mut range = vec![(query::FROM_INDEX, after.index.next().to_string())];
        range.extend(upto.map(|upto| (query::TO_INDEX, upto.to_string())));
        let response = self.open_stream(&Call::read(&["v1", "ledger", "backup"], range)).await?;
        let index = response.headers().get(headers::INDEX.lower).and_then(|index| index.to_str().ok()?.parse().ok());
        let applied = index.map(LogIndex).ok_or_else(|| ClientError::Unexpected {
            url: response.url().to_string(),
            reason: format!("no {} header", headers::INDEX.name),
        })?;
        let upto = upto.map_or(applied, |upto| upto.min(applied));
        let mut copy = LedgerCopy { response, timeout: self.deadline, received: Vec::new(), last: after, upto };
        let before = copy.take::<BACKUP_HASH_BYTES>().await?;
        if before == after.hash.0 {
            Ok(copy)
        } else {
            Err(ClientError::OtherHistory { url: copy.response.url().to_string(), index: after.index })
        }
    }

    /// Begins the next call at another URL than the last one, if there is one.
    pub fn prefer_another(&self) {
        let at = self.preferred.load(Ordering::Relaxed);
        self.preferred.store((at + 1) % self.urls.len(), Ordering::Relaxed);
    }
}

impl LedgerCopy {
    /// The last entry of the copy.
    #[must_use]
    pub const fn upto(&self) -> LogIndex {
        self.upto
    }

    /// The next entries; `None` after the last.
    ///
    /// # Errors
    /// [`ClientError::Incomplete`] if the connection was closed early, timed out, or sent what is not the ledger's chain.
    /// What was returned before is good: another copy can go on after it.
    pub async fn next(&mut self) -> Result<Option<VerifiedStretch>, ClientError> {
        let length = self.take::<BACKUP_LENGTH_BYTES>().await?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length == 0 {
            let whole = self.last.index >= self.upto;
            return if whole { Ok(None) } else { Err(self.incomplete(format!("it ended at {}", self.last.index))) };
        }
        if length > MAX_BACKUP_PIECE_BYTES {
            return Err(self.incomplete(format!("a piece of {length} bytes is none")));
        }
        self.receive(length).await?;
        let bytes: Vec<u8> = self.received.drain(..length).collect();
        let hash = Hash(self.take::<BACKUP_HASH_BYTES>().await?);
        let entries = read_stretch(&bytes, &self.last).map_err(|error| self.incomplete(error.to_string()))?;
        let last = entries.last().ok_or_else(|| self.incomplete("a piece has no entry".to_owned()))?;
        if last.hash != hash {
            let reason = format!("the chain of hashes breaks between entries {} and {}", self.last.index, last.index);
            return Err(self.incomplete(reason));
        }
        let (end, end_time) = (last.position(), last.timestamp);
        self.last = end;
        let entries = u64::try_from(entries.len()).expect("a usize fits into 64 bits");
        Ok(Some(VerifiedStretch { bytes, entries, end, end_time }))
    }

    async fn take<const N: usize>(&mut self) -> Result<[u8; N], ClientError> {
        self.receive(N).await?;
        let taken = *self.received.first_chunk::<N>().expect("so many were received");
        self.received.drain(..N);
        Ok(taken)
    }

    /// Waits until so many bytes are there.
    async fn receive(&mut self, bytes: usize) -> Result<(), ClientError> {
        while self.received.len() < bytes {
            match tokio::time::timeout(self.timeout, self.response.chunk()).await {
                Ok(Ok(Some(more))) => self.received.extend_from_slice(&more),
                Ok(Ok(None)) => return Err(self.incomplete("it ended without its end mark".to_owned())),
                Ok(Err(error)) => return Err(self.incomplete(root_cause(&error))),
                Err(_) => return Err(self.incomplete(format!("nothing came for {} ms", self.timeout.as_millis()))),
            }
        }
        Ok(())
    }

    fn incomplete(&self, reason: String) -> ClientError {
        ClientError::Incomplete { url: self.response.url().to_string(), reason }
    }
}
