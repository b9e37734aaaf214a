//! Reads from the ledger, beside the writer and never in its way.
//!
//! Every call is one statement on a connection that can only read, so no snapshot is held between two calls. What it
//! returns is durable here but not necessarily committed: callers ask only for indexes that they know to be.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::error::LedgerError;
use super::row::{COLUMNS, column, from_sql, read_entry, to_sql};
use crate::replication::{Entry, Epoch, Hash, LogIndex, Position, Timestamp};

/// Most indexes looked up by one statement.
const LOOKUP_ROWS: usize = 256;

/// A handle on the read connections; clones share them.
#[derive(Clone, Debug)]
pub struct LedgerReader {
    pub(super) pool: SqlitePool,
}

impl LedgerReader {
    pub(super) const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// One entry.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entry(&self, index: LogIndex) -> Result<Option<Arc<Entry>>, LedgerError> {
        Ok(self.entries(index, index, 1).await?.pop())
    }

    /// Consecutive entries from `from` up to `to`, both included, at most `max_entries`.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entries(
        &self,
        from: LogIndex,
        to: LogIndex,
        max_entries: usize,
    ) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE log_index BETWEEN ? AND ? ORDER BY log_index LIMIT ?");
        let mut rows = sqlx::query(AssertSqlSafe(sql))
            .bind(to_sql(from.0)?)
            .bind(to_sql(to.0)?)
            .bind(i64::try_from(max_entries).unwrap_or(i64::MAX))
            .fetch(&self.pool);
        // Row by row: a row takes ten times the memory of its entry.
        let mut entries = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
            entries.push(read_entry(&row)?);
        }
        Ok(entries)
    }

    /// Those of the given entries that are there, in the order of the indexes given.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entries_of(&self, indexes: &[LogIndex]) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let mut found = Vec::with_capacity(indexes.len());
        for chunk in indexes.chunks(LOOKUP_ROWS) {
            found.extend(self.lookup(chunk).await?);
        }
        Ok(found)
    }

    async fn lookup(&self, indexes: &[LogIndex]) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let wanted = serde_json::to_string(indexes).expect("indexes are numbers");
        let sql = format!("SELECT {COLUMNS} FROM json_each(?) JOIN entries ON log_index = value ORDER BY key");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(wanted).fetch_all(&self.pool).await;
        rows.map_err(LedgerError::from_read)?.iter().map(read_entry).collect()
    }

    /// Where the log stands after the entry at `index`; the beginning for index zero.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn position(&self, index: LogIndex) -> Result<Option<Position>, LedgerError> {
        if index == LogIndex::default() {
            return Ok(Some(Position::default()));
        }
        let row = sqlx::query("SELECT epoch, hash FROM entries WHERE log_index = ?")
            .bind(to_sql(index.0)?)
            .fetch_optional(&self.pool)
            .await
            .map_err(LedgerError::from_read)?;
        row.map(|row| decode_position(index, &row)).transpose()
    }

    /// The first entry up to `upto` that is not older than `moment`; the index after `upto` if all are older.
    /// Timestamps never decrease along the log, so a binary search finds it.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn first_at_or_after(&self, moment: Timestamp, upto: LogIndex) -> Result<LogIndex, LedgerError> {
        // All before `low` are older; the one at `high`, and all after it, are not.
        let (mut low, mut high) = (1, upto.0.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            if self.timestamp(LogIndex(middle)).await? < moment { low = middle + 1 } else { high = middle }
        }
        Ok(LogIndex(low))
    }

    async fn timestamp(&self, index: LogIndex) -> Result<Timestamp, LedgerError> {
        let row = sqlx::query("SELECT timestamp_ms FROM entries WHERE log_index = ?")
            .bind(to_sql(index.0)?)
            .fetch_optional(&self.pool)
            .await
            .map_err(LedgerError::from_read)?;
        let row = row.ok_or_else(|| LedgerError::Damaged(format!("entry {index} is missing")))?;
        Ok(Timestamp(from_sql(column(&row, 0)?)?))
    }

    /// Closes the read connections, once those that are in use have come back.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn decode_position(index: LogIndex, row: &SqliteRow) -> Result<Position, LedgerError> {
    let hash: &[u8] = column(row, 1)?;
    let hash = hash.try_into().map_err(|_| LedgerError::Damaged(format!("entry {index}: its hash is cut")))?;
    Ok(Position { index, epoch: Epoch(from_sql(column(row, 0)?)?), hash: Hash(hash) })
}
