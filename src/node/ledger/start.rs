//! Loads what a replica starts from, and verifies what can be verified quickly: the chain over the tail, and that
//! nothing is missing up to the commit index and the watermark. The audit verifies the whole chain.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::error::LedgerError;
use super::reader::decode_position;
use super::row::{COLUMNS, column, from_sql, read_entry, to_sql};
use quorapay_core::domain::{Epoch, LogIndex, RuleVersion};
use quorapay_core::replication::{
    Configuration, Entry, EntryBody, EpochSpan, NodeId, Position, Promise, ReplicaStart, StoreId,
};

/// At least this many entries are loaded and verified, if there are as many: repeated requests and followers that are a
/// little behind need them.
const MIN_TAIL_ENTRIES: u64 = 4_096;

/// Fewer are loaded if the details of those are larger than this: memory keeps no more of them.
const TAIL_BYTES: i64 = 32 * 1024 * 1024;

/// The row of `meta`, with what this file knows as committed.
pub(super) struct Meta {
    pub(super) cluster_id: String,
    pub(super) node_id: String,
    pub(super) store_id: StoreId,
    promise: Option<Promise>,
    pub(super) commit_index: LogIndex,
}

impl Meta {
    /// The metadata of a new ledger.
    pub(super) fn new(cluster_id: String, node_id: String, store_id: StoreId) -> Self {
        Self { cluster_id, node_id, store_id, promise: None, commit_index: LogIndex::default() }
    }
}

/// Reads the row of `meta`; `None` in a file whose creation was interrupted.
pub(super) async fn read_meta(connection: &mut SqliteConnection) -> Result<Option<Meta>, LedgerError> {
    let sql = "SELECT cluster_id, node_id, store_id, promised_epoch, promised_leader, committed.commit_index \
               FROM meta, committed";
    let row = sqlx::query(sql).fetch_optional(connection).await.map_err(LedgerError::from_read)?;
    row.as_ref().map(decode_meta).transpose()
}

fn decode_meta(row: &SqliteRow) -> Result<Meta, LedgerError> {
    let store_id: &str = column(row, 2)?;
    let store_id = StoreId::parse(store_id).ok_or_else(|| damaged("its store id is none"))?;
    let promise = match (column::<Option<i64>>(row, 3)?, column::<Option<&str>>(row, 4)?) {
        (Some(epoch), Some(leader)) => {
            let leader = NodeId::parse(leader).map_err(|_| damaged("it promised an epoch to no node"))?;
            Some(Promise { epoch: Epoch(from_sql(epoch)?), leader })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(damaged("its promise is half there")),
    };
    Ok(Meta {
        cluster_id: column(row, 0)?,
        node_id: column(row, 1)?,
        store_id,
        promise,
        commit_index: LogIndex(from_sql(column(row, 5)?)?),
    })
}

fn damaged(reason: &str) -> LedgerError {
    LedgerError::Damaged(reason.to_owned())
}

/// Loads and verifies what the replica starts from.
///
/// # Errors
/// [`LedgerError::Damaged`] for anything that this program cannot have left behind.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    meta: Meta,
    watermark: Option<Position>,
) -> Result<ReplicaStart, LedgerError> {
    // Before any other entry is read: this program may be unable to read those that newer rules decided.
    let spans = spans(connection).await?;
    let last_index = last_index(connection).await?;
    check_end(last_index, meta.commit_index, watermark)?;
    let tail_start = meta.commit_index.min(min_tail_start(connection, last_index).await?);
    let before = position(connection, tail_start).await?;
    let tail = tail_after(connection, before, None).await?;
    let last = tail.last().map_or(before, |entry| entry.position());
    if let Some(mark) = watermark
        && position(connection, mark.index).await? != mark
    {
        return Err(LedgerError::Damaged(format!("entry {} is not the one that its watermark names", mark.index)));
    }
    Ok(ReplicaStart {
        store_id: meta.store_id,
        promise: meta.promise,
        commit_index: meta.commit_index,
        last,
        spans,
        configurations: configurations(connection).await?,
        tail,
    })
}

fn check_end(last: LogIndex, commit_index: LogIndex, watermark: Option<Position>) -> Result<(), LedgerError> {
    if commit_index > last {
        return Err(LedgerError::Damaged(format!("it ends at {last}, below its commit index {commit_index}")));
    }
    match watermark {
        Some(mark) if mark.index > last => {
            Err(LedgerError::Damaged(format!("it ends at {last}, below its watermark {}", mark.index)))
        }
        Some(_) | None => Ok(()),
    }
}

pub(super) async fn last_index(connection: &mut SqliteConnection) -> Result<LogIndex, LedgerError> {
    let sql = "SELECT COALESCE(MAX(log_index), 0) FROM entries";
    let row = sqlx::query(sql).fetch_one(connection).await.map_err(LedgerError::from_read)?;
    Ok(LogIndex(from_sql(column(&row, 0)?)?))
}

async fn position(connection: &mut SqliteConnection, index: LogIndex) -> Result<Position, LedgerError> {
    if index == LogIndex::default() {
        return Ok(Position::default());
    }
    let sql = "SELECT epoch, hash FROM entries WHERE log_index = ?";
    let row = sqlx::query(sql).bind(to_sql(index.0)?).fetch_optional(connection).await;
    let row = row.map_err(LedgerError::from_read)?;
    let row = row.ok_or_else(|| LedgerError::Damaged(format!("entry {index} is missing")))?;
    decode_position(index, &row)
}

/// The index before the first entry of a tail that is long enough and not too large.
async fn min_tail_start(connection: &mut SqliteConnection, last: LogIndex) -> Result<LogIndex, LedgerError> {
    let first = LogIndex(last.0.saturating_sub(MIN_TAIL_ENTRIES));
    // Sums the lengths from the end and keeps the entries that fit. SQLite has a text's length without reading the
    // text.
    let sql = "SELECT COALESCE(MIN(log_index) - 1, ?2) FROM (SELECT log_index, SUM(octet_length(detail)) \
               OVER (ORDER BY log_index DESC) AS bytes FROM entries WHERE log_index > ?1) \
               WHERE COALESCE(bytes, 0) <= ?3";
    let row = sqlx::query(sql).bind(to_sql(first.0)?).bind(to_sql(last.0)?).bind(TAIL_BYTES).fetch_one(connection);
    let start = LogIndex(from_sql(column(&row.await.map_err(LedgerError::from_read)?, 0)?)?);
    // The last entry is needed, however large it is.
    Ok(start.min(last.previous()))
}

async fn tail_after(
    connection: &mut SqliteConnection,
    before: Position,
    to: Option<LogIndex>,
) -> Result<Vec<Arc<Entry>>, LedgerError> {
    let sql = format!("SELECT {COLUMNS} FROM entries WHERE log_index > ? AND log_index <= ? ORDER BY log_index");
    let to = to.map_or(Ok(i64::MAX), |to| to_sql(to.0))?;
    let mut rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(to_sql(before.index.0)?).bind(to).fetch(connection);
    let mut previous = before;
    let mut tail = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(LedgerError::from_read)? {
        let entry = read_entry(&row)?;
        if !entry.follows(&previous) {
            return Err(LedgerError::Damaged(format!(
                "the chain of hashes breaks between entries {} and {}",
                previous.index, entry.index
            )));
        }
        previous = entry.position();
        tail.push(entry);
    }
    Ok(tail)
}

/// Every epoch in the log, oldest first.
///
/// # Errors
/// [`LedgerError::UnknownRules`] if one begins by rules that this program does not know.
pub(super) async fn spans(connection: &mut SqliteConnection) -> Result<Vec<EpochSpan>, LedgerError> {
    let sql = "SELECT log_index, epoch, detail ->> 'rules' FROM entries WHERE kind = 'epoch_start' ORDER BY log_index";
    let rows = sqlx::query(sql).fetch_all(&mut *connection).await.map_err(LedgerError::from_read)?;
    let span = |row: &SqliteRow| {
        let start = LogIndex(from_sql(column(row, 0)?)?);
        let rules = u32::try_from(column::<i64>(row, 2)?).map_err(|_| damaged("a rule version is out of range"))?;
        Ok(EpochSpan { epoch: Epoch(from_sql(column(row, 1)?)?), start, rules: RuleVersion(rules) })
    };
    let spans = rows.iter().map(span).collect::<Result<Vec<_>, LedgerError>>()?;
    if !spans.is_sorted_by(|earlier, later| earlier.epoch < later.epoch && earlier.rules <= later.rules) {
        return Err(damaged("its epochs or their rules do not grow"));
    }
    if let Some(unknown) = spans.iter().find(|span| span.rules > RuleVersion::NEWEST) {
        // A flipped bit must not pass for newer rules: the entry has to follow in the chain.
        let before = position(connection, unknown.start.previous()).await?;
        tail_after(connection, before, Some(unknown.start)).await?;
        return Err(LedgerError::UnknownRules { index: unknown.start, rules: unknown.rules });
    }
    Ok(spans)
}

async fn configurations(connection: &mut SqliteConnection) -> Result<Vec<(LogIndex, Configuration)>, LedgerError> {
    let sql =
        sqlx::AssertSqlSafe(format!("SELECT {COLUMNS} FROM entries WHERE kind = 'configuration' ORDER BY log_index"));
    let rows = sqlx::query(sql).fetch_all(connection).await.map_err(LedgerError::from_read)?;
    let mut configurations = Vec::with_capacity(rows.len());
    for row in rows {
        let entry = read_entry(&row)?;
        if let EntryBody::Configuration(configuration) = &entry.body {
            configurations.push((entry.index, configuration.clone()));
        }
    }
    Ok(configurations)
}
