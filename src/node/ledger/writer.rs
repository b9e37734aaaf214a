//! The only writer of the ledger.
//!
//! It belongs to one task that nothing cancels. After any failure it rejects further writes: SQLite cannot say whether
//! a failed COMMIT is on the disk, and a connection that has failed once may report success for writes that it drops.
//! If it was the disk that failed, the ledger is condemned before the failure is reported.

use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, Connection, Executor};

use super::checkpoint::{Checkpoint, Checkpoints, Due};
use super::error::LedgerError;
use super::files::condemn_after;
use super::row::{BOUND_COLUMNS, bind_entry, to_sql};
use super::statements::{MAX_ROWS, Part, Shape, Statements};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, Persist, Promise, ReplicaStart};

/// The size of SQLite's pages, and about what a page takes in the WAL.
pub(super) const PAGE_BYTES: u64 = 4096;

/// How far `meta` may be behind what the rows say is committed. A file that has lost more rows than this at its end is seen to be
/// damaged even if its watermark is lost too.
const MAX_META_LAG: u64 = 4_096;

/// See the module.
pub struct LedgerWriter {
    /// `None` after a write has failed or its future was dropped.
    connection: Option<SqliteConnection>,
    statements: Statements,
    last_index: LogIndex,
    promise: Option<Promise>,
    commit_index: LogIndex,
    /// What `meta` says, at least.
    meta_commit_index: LogIndex,
    checkpoints: Checkpoints,
    data_dir: PathBuf,
}

/// One statement text, bound.
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
    /// Whether promise and commit index are stored in `meta`.
    meta: bool,
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
            meta_commit_index: LogIndex(0),
            checkpoints: Checkpoints::of(path),
            data_dir: path.parent().unwrap_or(path).to_owned(),
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
        if let Err(error) = Self::execute(&mut self.statements, &mut connection, plan.steps).await {
            self.connection = Some(connection);
            return Err(self.fail(error).await);
        }
        self.connection = Some(connection);
        self.last_index = plan.last_index;
        self.promise = plan.promise;
        self.commit_index = plan.commit_index;
        if plan.meta {
            self.meta_commit_index = plan.commit_index;
        }
        self.checkpoints.written(plan.bytes);
        Ok(())
    }

    fn plan(&self, writes: &[Persist]) -> Result<WritePlan, LedgerError> {
        let mut plan = WritePlan {
            truncate_after: None,
            steps: Vec::new(),
            last_index: self.last_index,
            promise: self.promise.clone(),
            commit_index: self.commit_index,
            meta: false,
            // The last page of the log.
            bytes: PAGE_BYTES,
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
        let truncates = plan.truncate_after;
        plan.meta = self.needs_meta(entries, plan);
        let alone = truncates.is_none() && (entries.is_empty() || !plan.meta);
        if plan.meta {
            let mut arguments = SqliteArguments::default();
            if let Some(end) = truncates {
                arguments.add(to_sql(end.0)?).expect("a number always binds");
            }
            bind_meta(&mut arguments, plan.promise.as_ref(), plan.commit_index)?;
            plan.bytes += PAGE_BYTES;
            let shape = if alone { Shape::Meta } else { Shape::Opening { truncates: truncates.is_some() } };
            plan.steps.push(Step { shape, arguments });
        }
        if entries.is_empty() && !alone {
            plan.steps.push(Step { shape: Shape::Commit, arguments: SqliteArguments::default() });
        }
        let chunks = entries.len().div_ceil(MAX_ROWS);
        for (at, rows) in entries.chunks(MAX_ROWS).enumerate() {
            let mut arguments = SqliteArguments::default();
            arguments.reserve(rows.len() * BOUND_COLUMNS, 0);
            for entry in rows {
                plan.bytes += bind_entry(&mut arguments, entry, plan.commit_index)?;
            }
            let part = Part::of(alone && at == 0, at + 1 == chunks);
            plan.steps.push(Step { shape: Shape::Rows { rows: rows.len(), part }, arguments });
        }
        Ok(())
    }

    /// Whether `meta` is written. The commit index alone is in the rows, which touch no other page; but rows that are removed
    /// say nothing any more.
    fn needs_meta(&self, entries: &[&Entry], plan: &WritePlan) -> bool {
        let behind = plan.commit_index.0 - self.meta_commit_index.0;
        let in_rows = !entries.is_empty() && behind < MAX_META_LAG;
        plan.truncate_after.is_some()
            || plan.promise != self.promise
            || (plan.commit_index != self.commit_index && !in_rows)
    }

    async fn execute(
        statements: &mut Statements,
        connection: &mut SqliteConnection,
        steps: Vec<Step>,
    ) -> Result<(), sqlx::Error> {
        for Step { shape, arguments } in steps {
            let query = sqlx::query_with(statements.text(shape), arguments);
            if shape.is_whole() {
                // Its result comes when its transaction is durable. The end of the results, for which `execute` waits,
                // comes when SQLite has reset the statement, and would wake this thread a second time.
                connection.fetch_many(query).next().await.ok_or(sqlx::Error::WorkerCrashed)??;
            } else {
                connection.execute(query).await?;
            }
        }
        Ok(())
    }

    /// Writes the WAL back into the database file when it is large enough. Call it after the write was reported
    /// durable, so that no caller waits for it. It waits for nobody: what a reader keeps from being written back stays
    /// in the WAL until later. Returns whether a checkpoint began or ended: then the WAL's size is worth a look.
    ///
    /// # Errors
    /// [`LedgerError::OutcomeUnknown`] if SQLite fails to write or sync: the process must end, as after a failed write.
    pub async fn checkpoint_if_due(&mut self) -> Result<bool, LedgerError> {
        match self.checkpoints.due().await {
            Ok(Due::Nothing) => Ok(false),
            Ok(Due::Progress) => Ok(true),
            Ok(Due::Rest) => self.checkpoint().await.map(|()| true),
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// The size of the WAL's file.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        self.checkpoints.file_bytes()
    }

    /// Writes back over this connection what is left.
    async fn checkpoint(&mut self) -> Result<(), LedgerError> {
        // Taken out as for a write.
        let mut connection = self.connection.take().ok_or(LedgerError::Closed)?;
        let result = Checkpoint::run(&mut connection).await;
        self.connection = Some(connection);
        match result {
            Ok(checkpoint) => {
                self.checkpoints.finished(checkpoint);
                Ok(())
            }
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// Ends this writer after an error of SQLite.
    async fn fail(&mut self, error: sqlx::Error) -> LedgerError {
        let data_dir = self.data_dir.clone();
        // The mark is synced, which must not hold up the event loop on this thread.
        let condemning = move || (condemn_after(&data_dir, &error), error);
        let (condemned, error) = tokio::task::spawn_blocking(condemning).await.expect("condemning does not panic");
        match self.connection.take() {
            // Its close could write the WAL back, with a sync that succeeds without what the failed one lost, and
            // remove it. Without a close all frames stay, and the next opening finds them.
            Some(connection) if condemned => std::mem::forget(connection),
            // What the connection reports from now on means nothing.
            Some(connection) => drop(connection.close_hard().await),
            None => {}
        }
        LedgerError::OutcomeUnknown(error)
    }

    /// Makes SQLite report a full disk once the file has this many pages.
    #[cfg(test)]
    pub(super) async fn limit_pages(&mut self, pages: u32) {
        let sql = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        let connection = self.connection.as_mut().expect("open");
        sqlx::query(sql).execute(connection).await.expect("the pragma is understood");
    }

    /// Stores in `meta` what only the last row says.
    async fn complete_meta(&mut self) -> Result<(), LedgerError> {
        if self.meta_commit_index == self.commit_index {
            return Ok(());
        }
        let mut arguments = SqliteArguments::default();
        bind_meta(&mut arguments, self.promise.as_ref(), self.commit_index)?;
        let mut connection = self.connection.take().ok_or(LedgerError::Closed)?;
        let steps = vec![Step { shape: Shape::Meta, arguments }];
        let result = Self::execute(&mut self.statements, &mut connection, steps).await;
        self.connection = Some(connection);
        match result {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// Closes the file.
    ///
    /// # Errors
    /// [`LedgerError::Closed`] after a failed write, [`LedgerError::OutcomeUnknown`] if closing fails.
    pub async fn close(mut self) -> Result<(), LedgerError> {
        if let Err(error) = self.checkpoints.end().await {
            return Err(self.fail(error).await);
        }
        self.complete_meta().await?;
        // Readers may keep the WAL file from being removed; the database file is complete without it.
        self.checkpoint().await?;
        let connection = self.connection.take().ok_or(LedgerError::Closed)?;
        match connection.close().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error).await),
        }
    }
}

fn bind_meta(
    arguments: &mut SqliteArguments,
    promise: Option<&Promise>,
    commit_index: LogIndex,
) -> Result<(), LedgerError> {
    let epoch = promise.map(|promise| to_sql(promise.epoch.0)).transpose()?;
    let leader = promise.map(|promise| promise.leader.as_str());
    let commit_index = to_sql(commit_index.0)?;
    let bound = arguments.add(epoch).and_then(|()| arguments.add(leader)).and_then(|()| arguments.add(commit_index));
    bound.expect("numbers and texts always bind");
    Ok(())
}
