//! What the two SQLite files of a node have in common: how they are opened, which files belong to them, which errors
//! mean that one is damaged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::{self, BoxStream, StreamExt};
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteQueryResult, SqliteRow,
    SqliteStatement, SqliteTypeInfo,
};
use sqlx::{ConnectOptions, Either, Execute, Executor, SqlStr, Sqlite, Transaction};

use crate::blocking::Blocking;
use crate::read_gate::{Pass, ReadGate};

/// Connections of one pool. The machine that runs a node rarely has more cores to spare.
const MAX_READERS: u32 = 4;
/// How long a read waits for one of them. Reads are short: a longer wait means that the disk fails.
const READER_TIMEOUT: Duration = Duration::from_secs(5);
/// Temporary data stay in memory: the system's folder for them may be missing, read-only or full, and no write of a
/// node should fail for that.
const TEMP_STORE: &str = "memory";

/// SQLite's primary result codes for a file that SQLite did not write.
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_NOTADB: i32 = 26;
/// SQLite's primary result code for a lock that somebody else has.
const SQLITE_BUSY: i32 = 5;
/// SQLite's extended result codes for a failed write and a failed sync, of a file or its directory. A full disk has
/// another code, `SQLITE_FULL`.
const SQLITE_IOERR_WRITE: i32 = 778;
const SQLITE_IOERR_FSYNC: i32 = 1_034;
const SQLITE_IOERR_DIR_FSYNC: i32 = 1_290;

/// What a database file and the files of its write-ahead log append to its name.
pub(crate) const FILE_SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];

/// A path with something appended to its last part.
pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A connection that may write, in WAL mode. SQLite gets a thread of this name.
pub(crate) fn writer_options(path: &Path, thread: &'static str) -> SqliteConnectOptions {
    options(path, thread).create_if_missing(true).journal_mode(SqliteJournalMode::Wal)
}

/// A connection that can only read. SQLite gets a thread of this name.
pub(crate) fn reader_options(path: &Path, thread: &'static str) -> SqliteConnectOptions {
    options(path, thread).read_only(true).pragma("query_only", "on")
}

fn options(path: &Path, thread: &'static str) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .pragma("temp_store", TEMP_STORE)
        .thread_name(move |_| thread.to_owned())
        .disable_statement_logging()
}

/// A pool of connections that can only read; clones share it. It runs statements like a connection.
#[derive(Clone, Debug)]
pub(crate) struct Readers {
    pool: SqlitePool,
    /// All pools for this file, this one among them.
    pools: Arc<Mutex<Vec<SqlitePool>>>,
    pub(crate) blocking: Blocking,
    pub(crate) gate: ReadGate,
}

impl Readers {
    /// Connections that are opened when they are needed, and kept.
    pub(crate) fn new(options: SqliteConnectOptions) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_READERS)
            .acquire_timeout(READER_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        let pools = Arc::new(Mutex::new(vec![pool.clone()]));
        Self { pool, pools, blocking: Blocking::default(), gate: ReadGate::default() }
    }

    /// As many other connections to the same file, behind the same gate: readers that must not wait for each other do not
    /// share connections.
    pub(crate) fn apart(&self) -> Self {
        let Self { pool, .. } = Self::new((*self.pool.connect_options()).clone());
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
        Self { pool, ..self.clone() }
    }

    /// Opens all connections.
    pub(crate) async fn connect(&self) -> Result<(), sqlx::Error> {
        let open = async { try_join_all((0..MAX_READERS).map(|_| self.pool.acquire())).await.map(drop) };
        self.blocking.settle(open).await
    }

    /// One of the connections.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
        self.enter()?;
        self.pool.acquire().await
    }

    /// A snapshot.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.enter()?;
        self.pool.begin().await
    }

    /// Closes every connection to the file, also those in use, once they are returned.
    pub(crate) async fn reconnect(&self) -> Result<(), sqlx::Error> {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = Vec::new();
        for pool in pools {
            for _ in 0..MAX_READERS {
                all.push(pool.acquire().await?);
            }
        }
        for connection in all {
            connection.close().await?;
        }
        Ok(())
    }

    /// Begins a read of several statements, or over one of the connections.
    pub(crate) fn enter(&self) -> Result<Pass, sqlx::Error> {
        self.gate.enter().ok_or_else(made_anew)
    }

    /// Fails if the file was made anew since the read began.
    pub(crate) fn held_open(&self, pass: Pass) -> Result<(), sqlx::Error> {
        if self.gate.held_open(pass) { Ok(()) } else { Err(made_anew()) }
    }

    /// What a read gave, unless the file was made anew meanwhile. Damage is reported.
    fn leave<T>(gate: &ReadGate, pass: Pass, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if !gate.held_open(pass) {
            return Err(made_anew());
        }
        result.inspect_err(|error| {
            if is_damage(error) {
                gate.report(error.to_string());
            }
        })
    }

    /// Closes the connections when those in use are returned.
    pub(crate) async fn close(&self) {
        self.blocking.settle(self.pool.close()).await;
    }
}

impl<'p> Executor<'p> for &'_ Readers {
    type Database = Sqlite;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<SqliteQueryResult, SqliteRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        let pass = match self.enter() {
            Ok(pass) => pass,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let (gate, ending) = (self.gate.clone(), self.gate.clone());
        let rows = self.pool.fetch_many(query).map(move |row| Readers::leave(&gate, pass, row));
        // A read without rows says something too.
        let end = stream::once(async move { Readers::leave(&ending, pass, Ok(())).err().map(Err) });
        self.blocking.settle_stream(rows.chain(end.filter_map(std::future::ready)).boxed())
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<SqliteRow>, sqlx::Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Sqlite>,
    {
        let (pass, gate, blocking) = (self.enter(), self.gate.clone(), self.blocking.clone());
        let row = self.pool.fetch_optional(query);
        Box::pin(async move {
            let pass = pass?;
            Readers::leave(&gate, pass, blocking.settle(row).await)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [SqliteTypeInfo],
    ) -> BoxFuture<'e, Result<SqliteStatement, sqlx::Error>>
    where
        'p: 'e,
    {
        self.pool.prepare_with(sql, parameters)
    }
}

/// The error of a read of a file that is being made anew.
fn made_anew() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::other("the file is being made anew"))
}

/// Whether an error means that the file is damaged, and not that it cannot be read right now.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(_) => {
            extended_code(error).is_some_and(|code| matches!(code & 0xff, SQLITE_CORRUPT | SQLITE_NOTADB))
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
        _ => false,
    }
}

/// Whether an error means that somebody else has a lock that the statement needs.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    extended_code(error).is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

/// Whether the disk failed to write or to sync. The kernel may have dropped what it could not write, and a later sync
/// may succeed without it.
pub(crate) fn is_failed_write(error: &sqlx::Error) -> bool {
    let failed = [SQLITE_IOERR_WRITE, SQLITE_IOERR_FSYNC, SQLITE_IOERR_DIR_FSYNC];
    extended_code(error).is_some_and(|code| failed.contains(&code))
}

fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}
