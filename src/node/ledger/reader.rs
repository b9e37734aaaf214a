//! Reads from the ledger, beside the writer and never in its way.
//!
//! Every call is one statement on a connection that can only read, so no snapshot is held between two calls. What it
//! returns is durable here but not necessarily committed: callers ask only for indexes that they know to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::error::LedgerError;
use super::row::{
    COLUMNS, LIGHT_COLUMNS, column, from_sql, index_of, is_heavy, is_left_out, parsed, read_entry, to_sql,
};
use quorapay_core::domain::PaymentId;
use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{Entry, EntryBody, Hash, NodeId, Position};

/// Most indexes looked up by one statement.
const LOOKUP_ROWS: usize = 256;

/// What the entries of one read weigh together: once this is reached, the read ends. One entry alone may weigh more.
const READ_BYTES: usize = 32 * 1024 * 1024;

/// Bytes of entries that are decoded before others get their turn.
const READ_AT_ONCE: usize = 1 << 20;

/// Entries that are being gathered, up to a number and a weight.
pub(super) struct Gathered {
    pub(super) entries: Vec<Arc<Entry>>,
    most: usize,
    weight: usize,
    most_bytes: usize,
}

impl Gathered {
    pub(super) const fn new(most: usize) -> Self {
        Self::within(most, READ_BYTES)
    }

    const fn within(most: usize, most_bytes: usize) -> Self {
        Self { entries: Vec::new(), most, weight: 0, most_bytes }
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        self.weight += entry.encoded_len();
        self.entries.push(entry);
    }

    /// Takes light rows up to the next one without its detail and says where that stands; `None` if none came before there
    /// was enough.
    pub(super) async fn take(
        &mut self,
        mut rows: impl Stream<Item = sqlx::Result<SqliteRow>> + Unpin,
    ) -> Result<Option<LogIndex>, LedgerError> {
        let mut rested = self.weight;
        // Row by row: a row takes ten times the memory of its entry.
        while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
            if is_left_out(&row)? {
                return Ok(Some(index_of(&row)?));
            }
            self.push(read_entry(&row)?);
            if self.is_full() {
                break;
            }
            if self.weight - rested >= READ_AT_ONCE {
                // Rows may come without a pause, and the event loop has this thread too.
                tokio::task::yield_now().await;
                rested = self.weight;
            }
        }
        Ok(None)
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.most || self.weight >= self.most_bytes
    }

    pub(super) fn room(&self) -> i64 {
        i64::try_from(self.most.saturating_sub(self.entries.len())).unwrap_or(i64::MAX)
    }
}

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
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE log_index = ?");
        let row = sqlx::query(AssertSqlSafe(sql)).bind(to_sql(index.0)?).fetch_optional(&self.pool).await;
        let Some(row) = row.map_err(LedgerError::from_read)? else { return Ok(None) };
        let entry = if is_heavy(&row)? {
            // Thousands of payments take longer to read than the event loop, which has this thread too, may be kept
            // waiting.
            let read = tokio::task::spawn_blocking(move || read_entry(&row)).await;
            read.expect("reading a row never panics, and nobody aborts it")
        } else {
            read_entry(&row)
        };
        entry.map(Some)
    }

    /// Consecutive entries from `from` up to `to`, both included, at most `max_entries`. Fewer, but at least one if there is
    /// one, where they are heavy: 32 MiB of them end the read.
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

    /// The same with a bound of the caller's own on what they weigh together; one entry alone may weigh more.
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
        let mut gathered = Gathered::within(max_entries, max_bytes.min(READ_BYTES));
        let mut next = from;
        while !gathered.is_full()
            && let Some(batch) = self.gather_upwards(next, to, &mut gathered).await?
            // A new leader may have taken it back between the two statements.
            && let Some(entry) = self.entry(batch).await?
        {
            gathered.push(entry);
            next = batch.next();
        }
        Ok(gathered.entries)
    }

    /// Gathers entries up to the next big batch and says where that stands; `None` if none came before there was enough.
    async fn gather_upwards(
        &self,
        from: LogIndex,
        to: LogIndex,
        gathered: &mut Gathered,
    ) -> Result<Option<LogIndex>, LedgerError> {
        let sql =
            format!("SELECT {LIGHT_COLUMNS} FROM entries WHERE log_index BETWEEN ? AND ? ORDER BY log_index LIMIT ?");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(to_sql(from.0)?).bind(to_sql(to.0)?).bind(gathered.room());
        gathered.take(query.fetch(&self.pool)).await
    }

    /// Those of the given entries that are there, in the order of the indexes given. Heavy ones end the read early, after
    /// at least one: ask again for those that follow the last one found.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn entries_of(&self, indexes: &[LogIndex]) -> Result<Vec<Arc<Entry>>, LedgerError> {
        let mut gathered = Gathered::new(usize::MAX);
        for chunk in indexes.chunks(LOOKUP_ROWS) {
            for row in self.lookup(chunk).await? {
                let alone = is_left_out(&row)?;
                let entry = if alone { self.entry(index_of(&row)?).await? } else { Some(read_entry(&row)?) };
                if let Some(entry) = entry {
                    gathered.push(entry);
                }
                if gathered.is_full() {
                    return Ok(gathered.entries);
                }
            }
        }
        Ok(gathered.entries)
    }

    async fn lookup(&self, indexes: &[LogIndex]) -> Result<Vec<SqliteRow>, LedgerError> {
        let wanted = serde_json::to_string(indexes).expect("indexes are numbers");
        let sql = format!(
            "SELECT {LIGHT_COLUMNS} FROM json_each(?) AS wanted JOIN entries ON log_index = wanted.value \
                           ORDER BY wanted.key"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(wanted).fetch_all(&self.pool).await;
        rows.map_err(LedgerError::from_read)
    }

    /// The payments that entries above `above` and up to `upto` changed, in no particular order, some of them repeatedly.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn changed_payments(&self, above: LogIndex, upto: LogIndex) -> Result<Vec<PaymentId>, LedgerError> {
        let sql = "SELECT detail ->> 'payment' FROM entries WHERE log_index > ? AND log_index <= ? \
                   AND +kind IN ('capture', 'void', 'refund', 'expiry')";
        let mut rows = sqlx::query(sql).bind(to_sql(above.0)?).bind(to_sql(upto.0)?).fetch(&self.pool);
        let mut payments = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
            payments.push(parsed(column(&row, 0)?, PaymentId::parse)?);
        }
        Ok(payments)
    }

    /// How many payments entries above `above` and up to `upto` decided, refused ones too.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn count_payments(&self, above: LogIndex, upto: LogIndex) -> Result<u64, LedgerError> {
        let sql = "SELECT (SELECT COUNT(*) FROM entries WHERE log_index > ?1 AND log_index <= ?2 \
                   AND +kind IN ('payment', 'authorization', 'payment_rejected')) \
                   + (SELECT COUNT(*) FROM entries JOIN json_each(detail, '$.items') AS items \
                   WHERE log_index > ?1 AND log_index <= ?2 AND +kind = 'batch' \
                   AND items.value ->> '$.detail.repeats' IS NULL)";
        let row = sqlx::query(sql).bind(to_sql(above.0)?).bind(to_sql(upto.0)?).fetch_one(&self.pool).await;
        from_sql(column(&row.map_err(LedgerError::from_read)?, 0)?)
    }

    /// Who led in the epochs from `first` to `last`, as far as their first entries are here.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn leaders(&self, first: Epoch, last: Epoch) -> Result<BTreeMap<Epoch, NodeId>, LedgerError> {
        let sql = format!("SELECT {COLUMNS} FROM entries WHERE kind = 'epoch_start' AND epoch BETWEEN ? AND ?");
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(to_sql(first.0)?).bind(to_sql(last.0)?).fetch(&self.pool);
        let mut leaders = BTreeMap::new();
        while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
            let entry = read_entry(&row)?;
            if let EntryBody::EpochStart { leader } = &entry.body {
                leaders.insert(entry.epoch, leader.clone());
            }
        }
        Ok(leaders)
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

/// Reads a position from a row of epoch and hash.
pub(super) fn decode_position(index: LogIndex, row: &SqliteRow) -> Result<Position, LedgerError> {
    let hash: &[u8] = column(row, 1)?;
    let hash = hash.try_into().map_err(|_| LedgerError::Damaged(format!("entry {index}: its hash is cut")))?;
    Ok(Position { index, epoch: Epoch(from_sql(column(row, 0)?)?), hash: Hash(hash) })
}
