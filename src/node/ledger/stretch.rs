//! Reads consecutive entries as the bytes that copies of the ledger are made of.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteRow;

use super::error::LedgerError;
use super::reader::LedgerReader;
use super::row::{LIGHT_COLUMNS, column, index_of, is_left_out, read_entry, to_sql};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, Position, append_to_stretch};

/// Most rows of one stretch. A row takes ten times the memory of its entry.
const MAX_ROWS: usize = 512;

/// What a row without its detail counts for.
const ROW_BYTES: usize = 192;

/// Consecutive entries as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// As [`quorapay_core::replication::read_stretch`] reads them.
    pub bytes: Vec<u8>,
    /// The position of the last entry, as the ledger holds it.
    pub end: Position,
}

impl LedgerReader {
    /// Consecutive entries from `from` up to `to`, at least one and about `max_bytes` of them. They are decoded and
    /// written on another thread, and their chain is not checked: who receives them computes it anyway.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] if there is no entry at `from` or one cannot be read, [`LedgerError::Read`].
    pub async fn stretch(&self, from: LogIndex, to: LogIndex, max_bytes: usize) -> Result<Stretch, LedgerError> {
        let rows = self.light_rows(from, to, max_bytes).await?;
        let stretch = if rows.is_empty() {
            let entry = self.entry(from).await?;
            let entry = entry.ok_or_else(|| LedgerError::Damaged(format!("entry {from} is missing")))?;
            self.readers.blocking.run(move || write([Ok(entry)])).await?
        } else {
            self.readers.blocking.run(move || write(rows.iter().map(read_entry))).await?
        };
        Ok(stretch)
    }

    /// The rows up to the next one without its detail.
    async fn light_rows(&self, from: LogIndex, to: LogIndex, max_bytes: usize) -> Result<Vec<SqliteRow>, LedgerError> {
        let sql =
            format!("SELECT {LIGHT_COLUMNS} FROM entries WHERE log_index BETWEEN ? AND ? ORDER BY log_index LIMIT ?");
        let limit = i64::try_from(MAX_ROWS).unwrap_or(i64::MAX);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(to_sql(from.0)?).bind(to_sql(to.0)?).bind(limit);
        let mut rows = query.fetch(&self.readers);
        let (mut taken, mut bytes, mut next) = (Vec::new(), 0, from);
        while bytes < max_bytes
            && let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)?
            && !is_left_out(&row)?
        {
            if index_of(&row)? != next {
                return Err(LedgerError::Damaged(format!("entry {next} is missing")));
            }
            next = next.next();
            bytes += ROW_BYTES + column::<Option<&str>>(&row, 13)?.map_or(0, str::len);
            taken.push(row);
        }
        Ok(taken)
    }
}

fn write(entries: impl IntoIterator<Item = Result<Arc<Entry>, LedgerError>>) -> Result<Stretch, LedgerError> {
    let mut stretch = Stretch { bytes: Vec::new(), end: Position::default() };
    for entry in entries {
        let entry = entry?;
        append_to_stretch(&mut stretch.bytes, &entry);
        stretch.end = entry.position();
    }
    Ok(stretch)
}
