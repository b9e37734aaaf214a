//! The only writer of the ledger.
//!
//! It belongs to one task that nothing cancels. After any failure it rejects further writes: SQLite cannot say whether
//! a failed COMMIT is on the disk, and a connection that has failed once may report success for writes that it drops.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, ConnectOptions, Connection, Row};
use tokio::task::JoinHandle;

use super::error::LedgerError;
use super::files::checkpoint_options;
use super::row::{COLUMN_COUNT, bind_entry, to_sql};
use super::statements::{MAX_ROWS, Shape, Statements};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, Persist, Promise, ReplicaStart};

/// The size of SQLite's pages, and about what a page takes in the WAL.
const PAGE_BYTES: u64 = 4096;

/// The WAL is written back when it holds about this much: little disk space, and rarely.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// A WAL that readers kept from being written back until it reached this size is written back at once, while writes
/// wait.
const WAL_LIMIT_BYTES: u64 = 256 << 20;

/// See the module.
pub struct LedgerWriter {
    /// `None` after a write has failed or its future was dropped.
    connection: Option<SqliteConnection>,
    statements: Statements,
    last_index: LogIndex,
    promise: Option<Promise>,
    commit_index: LogIndex,
    /// About how many bytes of the WAL are not yet in the database file.
    wal_bytes: u64,
    path: PathBuf,
    /// Writes the WAL back while this writer continues.
    background: Option<JoinHandle<Result<(), sqlx::Error>>>,
}

/// The rows of one statement, bound.
struct Step {
    shape: Shape,
    arguments: SqliteArguments,
}

/// All statements of a call and the state after them, before any is executed.
struct WritePlan {
    /// Remove the entries above this index first.
    truncate_after: Option<LogIndex>,
    steps: Vec<Step>,
    last_index: LogIndex,
    promise: Option<Promise>,
    commit_index: LogIndex,
    bytes: u64,
}

impl LedgerWriter {
    pub(super) fn new(connection: SqliteConnection, path: &Path, start: &ReplicaStart) -> Self {
        Self {
            connection: Some(connection),
            statements: Statements::default(),
            last_index: start.last.index,
            promise: start.promise.clone(),
            commit_index: start.commit_index,
            wal_bytes: 0,
            path: path.to_owned(),
            background: None,
        }
    }

    /// The last index of the stored log.
    #[must_use]
    pub const fn last_index(&self) -> LogIndex {
        self.last_index
    }

    /// Makes writes durable, all in one transaction and in their order. When it returns, they survive a power cut.
    ///
    /// # Errors
    /// [`LedgerError::OutcomeUnknown`] if SQLite fails: the process must end, and every later call fails with
    /// [`LedgerError::Closed`]. [`LedgerError::NotConsecutive`], [`LedgerError::TakesBackCommitted`] and
    /// [`LedgerError::OutOfRange`] if the writes do not fit the log; nothing is stored then.
    pub async fn persist(&mut self, writes: &[Persist]) -> Result<(), LedgerError> {
        let plan = self.plan(writes)?;
        // Taken out during the write: if this future is dropped, the writer remains closed.
        let mut connection = self.connection.take().ok_or(LedgerError::Closed)?;
        if let Err(error) = Self::execute(&mut self.statements, &mut connection, plan.truncate_after, plan.steps).await
        {
            // What the connection reports from now on means nothing.
            let _ = connection.close_hard().await;
            return Err(LedgerError::OutcomeUnknown(error));
        }
        self.connection = Some(connection);
        self.last_index = plan.last_index;
        self.promise = plan.promise;
        self.commit_index = plan.commit_index;
        self.wal_bytes += plan.bytes;
        Ok(())
    }

    fn plan(&self, writes: &[Persist]) -> Result<WritePlan, LedgerError> {
        let mut plan = WritePlan {
            truncate_after: None,
            steps: Vec::new(),
            last_index: self.last_index,
            promise: self.promise.clone(),
            commit_index: self.commit_index,
            // The last page of the log, its parent and the row of `meta`.
            bytes: 3 * PAGE_BYTES,
        };
        let mut kept: Vec<&Entry> = Vec::with_capacity(writes.iter().map(|write| write.entries.len()).sum());
        for write in writes {
            if let Some(end) = write.truncate_after {
                if end < plan.commit_index {
                    return Err(LedgerError::TakesBackCommitted { after: end, commit_index: plan.commit_index });
                }
                // Entries that this call would store and remove again are not stored at all.
                kept.retain(|entry| entry.index <= end);
                if end < self.last_index {
                    plan.truncate_after = Some(plan.truncate_after.map_or(end, |earlier| earlier.min(end)));
                }
                plan.last_index = plan.last_index.min(end);
            }
            for entry in &write.entries {
                let expected = plan.last_index.next();
                if entry.index != expected {
                    return Err(LedgerError::NotConsecutive { expected, found: entry.index });
                }
                plan.last_index = expected;
                kept.push(entry);
            }
            if let Some(promise) = &write.promise {
                plan.promise = Some(promise.clone());
            }
            plan.commit_index = plan.commit_index.max(write.commit_index);
        }
        self.bind(&kept, &mut plan)?;
        Ok(plan)
    }

    fn bind(&self, entries: &[&Entry], plan: &mut WritePlan) -> Result<(), LedgerError> {
        let chunks = entries.len().div_ceil(MAX_ROWS).max(1);
        for at in 0..chunks {
            let rows = &entries[at * MAX_ROWS..entries.len().min((at + 1) * MAX_ROWS)];
            let shape =
                Shape { begins: at == 0 && plan.truncate_after.is_none(), rows: rows.len(), commits: at + 1 == chunks };
            let mut arguments = SqliteArguments::default();
            arguments.reserve(rows.len() * COLUMN_COUNT + 5, 0);
            for entry in rows {
                plan.bytes += bind_entry(&mut arguments, entry)?;
            }
            if shape.commits {
                bind_meta(&mut arguments, plan.promise.as_ref(), plan.commit_index)?;
            }
            plan.steps.push(Step { shape, arguments });
        }
        Ok(())
    }

    async fn execute(
        statements: &mut Statements,
        connection: &mut SqliteConnection,
        truncate_after: Option<LogIndex>,
        steps: Vec<Step>,
    ) -> Result<(), sqlx::Error> {
        if let Some(end) = truncate_after {
            let end = i64::try_from(end.0).unwrap_or(i64::MAX);
            sqlx::query("BEGIN IMMEDIATE; DELETE FROM entries WHERE log_index > ?")
                .bind(end)
                .execute(&mut *connection)
                .await?;
        }
        for Step { shape, arguments } in steps {
            sqlx::query_with(statements.text(shape), arguments).execute(&mut *connection).await?;
        }
        Ok(())
    }

    /// Writes the WAL back into the database file when it is large enough. Call it after the write was reported
    /// durable, so that no caller waits for it. Readers are not disturbed and do not delay it for long.
    ///
    /// Writing 16 MiB back takes a tenth of a second, so another connection does it while this one continues to write.
    /// What is written meanwhile is little; this connection writes it back itself, and then the WAL begins anew.
    ///
    /// # Errors
    /// [`LedgerError::OutcomeUnknown`] if SQLite fails to write or sync: the process must end, as after a failed write.
    pub async fn checkpoint_if_due(&mut self) -> Result<(), LedgerError> {
        match self.background.take() {
            None if self.wal_bytes < CHECKPOINT_BYTES => return Ok(()),
            None => {
                self.background = Some(tokio::spawn(write_back(self.path.clone())));
                return Ok(());
            }
            Some(running) if !running.is_finished() => {
                self.background = Some(running);
                return Ok(());
            }
            Some(finished) => {
                finished.await.expect("writing back does not panic").map_err(LedgerError::OutcomeUnknown)?;
            }
        }
        let (size, left) = self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)").await?;
        self.wal_bytes = left;
        if size > WAL_LIMIT_BYTES {
            self.wal_bytes = self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)").await?.1;
        }
        Ok(())
    }

    /// Runs a checkpoint. Returns how many bytes the WAL holds and how many of them are not yet written back.
    async fn checkpoint(&mut self, pragma: &'static str) -> Result<(u64, u64), LedgerError> {
        let mut connection = self.connection.take().ok_or(LedgerError::Closed)?;
        let row = sqlx::query(pragma).fetch_one(&mut connection).await.map_err(LedgerError::OutcomeUnknown)?;
        self.connection = Some(connection);
        let frames: (i64, i64) = (row.get(1), row.get(2));
        let bytes = |frames: i64| u64::try_from(frames).unwrap_or(0) * PAGE_BYTES;
        Ok((bytes(frames.0), bytes(frames.0 - frames.1)))
    }

    /// Makes SQLite report a full disk once the file has this many pages.
    #[cfg(test)]
    pub(super) async fn limit_pages(&mut self, pages: u32) {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        let connection = self.connection.as_mut().expect("open");
        sqlx::query(sql).execute(connection).await.expect("the pragma is understood");
    }

    /// Closes the file.
    ///
    /// # Errors
    /// [`LedgerError::Closed`] after a failed write, [`LedgerError::OutcomeUnknown`] if closing fails.
    pub async fn close(mut self) -> Result<(), LedgerError> {
        if let Some(running) = self.background.take() {
            running.await.expect("writing back does not panic").map_err(LedgerError::OutcomeUnknown)?;
        }
        // Readers may keep the WAL file from being removed; the database file is complete without it.
        self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)").await?;
        let connection = self.connection.take().ok_or(LedgerError::Closed)?;
        connection.close().await.map_err(LedgerError::OutcomeUnknown)
    }
}

/// Writes the WAL back over its own connection, without blocking readers or the writer.
async fn write_back(path: PathBuf) -> Result<(), sqlx::Error> {
    let mut connection = checkpoint_options(&path).connect().await?;
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut connection).await?;
    connection.close().await
}

fn bind_meta(
    arguments: &mut SqliteArguments,
    promise: Option<&Promise>,
    commit_index: LogIndex,
) -> Result<(), LedgerError> {
    let epoch = promise.map(|promise| to_sql(promise.epoch.0)).transpose()?;
    let leader = promise.map(|promise| promise.leader.as_str());
    let commit_index = to_sql(commit_index.0)?;
    let bound = arguments
        .add(epoch)
        .and_then(|()| arguments.add(leader))
        .and_then(|()| arguments.add(commit_index))
        .and_then(|()| arguments.add(epoch))
        .and_then(|()| arguments.add(commit_index));
    bound.expect("numbers and texts always bind");
    Ok(())
}
