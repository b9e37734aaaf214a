//! Reads entries, concurrently with the writer and without blocking it.
//!
//! Every call is one statement on a read-only connection, so no snapshot is held between two calls. What it returns is
//! durable here but not necessarily committed: callers request only indexes that they know to be committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteRow;

use super::error::LedgerError;
use super::row::{
    COLUMNS, LIGHT_COLUMNS, column, from_sql, index_of, is_large, is_left_out, parsed, read_entry, to_sql,
};
use crate::blocking::Blocking;
use crate::sqlite::Readers;
use quorapay_core::domain::PaymentId;
use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{Entry, EntryBody, Hash, NodeId, Position};

/// Most indexes looked up by one statement.
const LOOKUP_ROWS: usize = 256;

/// Bytes of the entries of one read: a read ends when it reaches them. A single entry may be larger.
const READ_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of entries that are decoded before other tasks of the thread get their turn.
const DECODE_CHUNK_BYTES: usize = 1 << 20;

/// Entries that are collected up to a number, or to what they are worth together, and up to a size.
pub(super) struct EntryBuffer {
    pub(super) entries: Vec<Arc<Entry>>,
    /// What they are worth together.
    held: usize,
    wanted: usize,
    bytes: usize,
    max_bytes: usize,
}

impl EntryBuffer {
    pub(super) const fn within(wanted: usize, max_bytes: usize) -> Self {
        Self { entries: Vec::new(), held: 0, wanted, bytes: 0, max_bytes }
    }

    /// Adds an entry that is worth so much.
    pub(super) fn push(&mut self, entry: Arc<Entry>, worth: usize) {
        self.bytes += entry.encoded_len();
        self.held += worth;
        self.entries.push(entry);
    }

    /// Takes rows up to the next one without its detail and returns the index of that one; `None` if the buffer is full
    /// or the rows end before.
    pub(super) async fn take(
        &mut self,
        mut rows: impl Stream<Item = sqlx::Result<SqliteRow>> + Unpin,
        worth: impl Fn(&Entry) -> usize,
    ) -> Result<Option<LogIndex>, LedgerError> {
        let mut rested = self.bytes;
        // Row by row: a row takes ten times the memory of its entry.
        while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
            if is_left_out(&row)? {
                return Ok(Some(index_of(&row)?));
            }
            let entry = read_entry(&row)?;
            let worth = worth(&entry);
            self.push(entry, worth);
            if self.is_full() {
                break;
            }
            if self.bytes - rested >= DECODE_CHUNK_BYTES {
                // Rows may come without a pause, and the event loop may run on this thread.
                tokio::task::yield_now().await;
                rested = self.bytes;
            }
        }
        Ok(None)
    }

    pub(super) fn is_full(&self) -> bool {
        self.held >= self.wanted || self.bytes >= self.max_bytes
    }

    pub(super) fn room(&self) -> i64 {
        i64::try_from(self.wanted.saturating_sub(self.held)).unwrap_or(i64::MAX)
    }
}

/// An entry as a read of many finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredEntry {
    /// The entry.
    Whole(Arc<Entry>),
    /// The entry is a batch whose payments take tens of kilobytes or more; [`LedgerReader::entry`] reads it.
    Large,
}

/// A pool of read connections; clones share it.
#[derive(Clone, Debug)]
pub struct LedgerReader {
    pub(super) readers: Readers,
}

impl LedgerReader {
    pub(super) const fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// Reads the same file through connections of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { readers: self.readers.apart() }
    }

    /// Opens all connections, so that no read has to wait for one to be opened.
    ///
    /// # Errors
    /// [`LedgerError::Read`] or [`LedgerError::Damaged`] if the file cannot be opened.
    pub async fn connect(&self) -> Result<(), LedgerError> {
        self.readers.connect().await.map_err(LedgerError::from_read)
    }

    /// The same connections, whose reads are awaited like this.
    #[must_use]
    pub fn awaited(mut self, blocking: &Blocking) -> Self {
        self.readers.blocking = blocking.clone();
        self
    }

    /// One entry.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entry(&self, index: LogIndex) -> Result<Option<Arc<Entry>>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE log_index = ?");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(to_sql(index.0)?).fetch_optional(&self.readers).await;
        let Some(row) = row.map_err(LedgerError::from_read)? else { return Ok(None) };
        let entry = if is_large(&row)? {
            // Thousands of payments take longer to decode than the event loop, which may run on this thread, may wait.
            self.readers.blocking.run(move || read_entry(&row)).await
        } else {
            read_entry(&row)
        };
        entry.map(Some)
    }

    /// Consecutive entries from `from` up to `to`, both included, at most `max_entries`. Fewer, but at least one if
    /// there is one, if they are large: the read ends at 32 MiB.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entries(
        &self,
        from: LogIndex,
        to: LogIndex,
        max_entries: usize,
    ) -> Result<Vec<Arc<Entry>>, LedgerError> {
        self.entries_within(from, to, max_entries, READ_BYTES).await
    }

    /// The same with the caller's own bound on the bytes of the entries together; a single entry may be larger.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entries_within(
        &self,
        from: LogIndex,
        to: LogIndex,
        max_entries: usize,
        max_bytes: usize,
    ) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let mut buffer = EntryBuffer::within(max_entries, max_bytes.min(READ_BYTES));
        let mut next = from;
        while !buffer.is_full()
            && let Some(batch) = self.collect_upwards(next, to, &mut buffer).await?
            // A new leader may have truncated it between the two statements.
            && let Some(entry) = self.entry(batch).await?
        {
            buffer.push(entry, 1);
            next = batch.next();
        }
        Ok(buffer.entries)
    }

    /// Collects entries up to the next large batch and returns the index of that; `None` as [`EntryBuffer::take`].
    async fn collect_upwards(
        &self,
        from: LogIndex,
        to: LogIndex,
        buffer: &mut EntryBuffer,
    ) -> Result<Option<LogIndex>, LedgerError> {
        let sql =
            format!("SELECT {LIGHT_COLUMNS} FROM entries WHERE log_index BETWEEN ? AND ? ORDER BY log_index LIMIT ?");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(to_sql(from.0)?).bind(to_sql(to.0)?).bind(buffer.room());
        buffer.take(query.fetch(&self.readers), |_| 1).await
    }

    /// Those of the entries that exist, in the order of `indexes`. Large ones end the read early, after at least one:
    /// read again from the one after the last.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entries_of(&self, indexes: &[LogIndex]) -> Result<Vec<Arc<Entry>>, LedgerError> {
        self.entries_worth(indexes, usize::MAX, |_| 1).await
    }

    /// The same, but the read ends too when the entries are worth `wanted` together.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entries_worth(
        &self,
        indexes: &[LogIndex],
        wanted: usize,
        worth: impl Fn(&Entry) -> usize,
    ) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let mut buffer = EntryBuffer::within(wanted, READ_BYTES);
        for chunk in indexes.chunks(LOOKUP_ROWS) {
            for row in self.lookup(chunk).await? {
                let alone = is_left_out(&row)?;
                let entry = if alone { self.entry(index_of(&row)?).await? } else { Some(read_entry(&row)?) };
                if let Some(entry) = entry {
                    let worth = worth(&entry);
                    buffer.push(entry, worth);
                }
                if buffer.is_full() {
                    return Ok(buffer.entries);
                }
            }
        }
        Ok(buffer.entries)
    }

    /// Those of the entries that exist, each by its index, in no particular order. A row that is damaged spoils no other.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`] if the statement fails.
    pub async fn stored_entries(
        &self,
        indexes: &[LogIndex],
    ) -> Result<Vec<(LogIndex, Result<StoredEntry, LedgerError>)>, LedgerError> {
        let stored = |row: &SqliteRow| match is_left_out(row)? {
            true => Ok(StoredEntry::Large),
            false => read_entry(row).map(StoredEntry::Whole),
        };
        let mut found = Vec::with_capacity(indexes.len());
        for chunk in indexes.chunks(LOOKUP_ROWS) {
            for row in self.lookup(chunk).await? {
                found.push((index_of(&row)?, stored(&row)));
            }
        }
        Ok(found)
    }

    async fn lookup(&self, indexes: &[LogIndex]) -> Result<Vec<SqliteRow>, LedgerError> {
        let wanted = serde_json::to_string(indexes).expect("indexes are numbers");
        let sql = format!(
            "SELECT {LIGHT_COLUMNS} FROM json_each(?) AS wanted JOIN entries ON log_index = wanted.value \
                           ORDER BY wanted.key"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(wanted).fetch_all(&self.readers).await;
        rows.map_err(LedgerError::from_read)
    }

    /// The payments that the entries above `above` and up to `upto` changed, in no particular order, with repetitions.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn changed_payments(&self, above: LogIndex, upto: LogIndex) -> Result<Vec<PaymentId>, LedgerError> {
        let sql = "SELECT detail ->> 'payment' FROM entries WHERE log_index > ? AND log_index <= ? \
                   AND +kind IN ('capture', 'void', 'refund', 'expiry')";
        let mut rows = sqlx::query(sql).bind(to_sql(above.0)?).bind(to_sql(upto.0)?).fetch(&self.readers);
        let mut payments = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
            payments.push(parsed(column(&row, 0)?, PaymentId::parse)?);
        }
        Ok(payments)
    }

    /// How many payments the entries above `above` and up to `upto` decided, rejected ones included.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn count_payments(&self, above: LogIndex, upto: LogIndex) -> Result<u64, LedgerError> {
        let sql = "SELECT (SELECT COUNT(*) FROM entries WHERE log_index > ?1 AND log_index <= ?2 \
                   AND +kind IN ('payment', 'authorization', 'payment_rejected')) \
                   + (SELECT COUNT(*) FROM entries JOIN json_each(detail, '$.items') AS items \
                   WHERE log_index > ?1 AND log_index <= ?2 AND +kind = 'batch' \
                   AND items.value ->> '$.detail.repeats' IS NULL)";
        let row = sqlx::query(sql).bind(to_sql(above.0)?).bind(to_sql(upto.0)?).fetch_one(&self.readers).await;
        from_sql(column(&row.map_err(LedgerError::from_read)?, 0)?)
    }

    /// The entries up to `upto` that changed an API key, oldest first.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn api_key_changes(&self, upto: LogIndex) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE kind = 'api_key' AND log_index <= ? ORDER BY log_index");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(to_sql(upto.0)?).fetch_all(&self.readers).await;
        rows.map_err(LedgerError::from_read)?.iter().map(read_entry).collect()
    }

    /// The leaders of the epochs from `first` to `last` whose first entries are here.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn leaders(&self, first: Epoch, last: Epoch) -> Result<BTreeMap<Epoch, NodeId>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE kind = 'epoch_start' AND epoch BETWEEN ? AND ?");
        let mut rows =
            sqlx::query(AssertSqlSafe(sql)).bind(to_sql(first.0)?).bind(to_sql(last.0)?).fetch(&self.readers);
        let mut leaders = BTreeMap::new();
        while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
            let entry = read_entry(&row)?;
            if let EntryBody::EpochStart { leader, .. } = &entry.body {
                leaders.insert(entry.epoch, leader.clone());
            }
        }
        Ok(leaders)
    }

    /// The position after the entry at `index`; the beginning for index zero.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn position(&self, index: LogIndex) -> Result<Option<Position>, LedgerError> {
        if index == LogIndex::default() {
            return Ok(Some(Position::default()));
        }
        let row = sqlx::query("SELECT epoch, hash FROM entries WHERE log_index = ?")
            .bind(to_sql(index.0)?)
            .fetch_optional(&self.readers)
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
        // All entries before `low` are older; the one at `high` and all after it are not.
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
            .fetch_optional(&self.readers)
            .await
            .map_err(LedgerError::from_read)?;
        let row = row.ok_or_else(|| LedgerError::Damaged(format!("entry {index} is missing")))?;
        Ok(Timestamp(from_sql(column(&row, 0)?)?))
    }

    /// Closes the read connections when those in use are returned.
    pub async fn close(&self) {
        self.readers.close().await;
    }
}

/// Reads a position from a row of epoch and hash.
pub(super) fn decode_position(index: LogIndex, row: &SqliteRow) -> Result<Position, LedgerError> {
    let hash: &[u8] = column(row, 1)?;
    let hash = hash.try_into().map_err(|_| LedgerError::Damaged(format!("entry {index}: its hash is cut")))?;
    Ok(Position { index, epoch: Epoch(from_sql(column(row, 0)?)?), hash: Hash(hash) })
}
