//! The ledger's files: their names, how SQLite opens them, the lock over them, and moving damaged ones aside.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnectOptions, SqliteLockingMode, SqliteSynchronous};

use super::error::LedgerError;
use super::statements::CACHED_STATEMENTS;
use super::watermark::Watermark;
use crate::durable_file;
use crate::sqlite::{self, FILE_SUFFIXES, Readers, is_failed_write, suffixed};

const LEDGER_FILE: &str = "ledger.db";
/// The file whose lock says that a process uses the directory.
pub const LOCK_FILE: &str = "ledger.lock";
const CONDEMNED: &str = "ledger.condemned";

/// Mode of a data directory.
const PRIVATE: u32 = 0o700;
/// The bits of a mode that are not the owner's.
const OTHERS: u32 = 0o077;

/// Rows that SQLite's thread may read ahead: fewer wake-ups in long reads.
const ROWS_AHEAD: usize = 512;

/// Bytes of the WAL's file that are kept for its next use: 64 MiB, more than it holds if no reader holds it up.
const WAL_KEPT_BYTES: &str = "67108864";

/// The lock of a data directory. It is released when the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks the data directory, which is created if it is missing. Only this user may look into it afterwards: payments
    /// and their accounts are nobody else's business.
    ///
    /// # Errors
    /// [`LedgerError::Locked`] if another process has it; [`LedgerError::File`] if it cannot be created or locked.
    pub fn take(data_dir: &Path) -> Result<Self, LedgerError> {
        create_private(data_dir).map_err(LedgerError::file(data_dir))?;
        let path = data_dir.join(LOCK_FILE);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(LedgerError::file(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LedgerError::Locked(data_dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(LedgerError::file(&path)(error)),
        }
    }
}

/// Creates a directory that only this user can enter, or makes an existing one such.
fn create_private(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE).create(directory)?;
    if fs::metadata(directory)?.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(directory, Permissions::from_mode(PRIVATE))
}

/// The database file of a data directory.
pub(super) fn ledger_path(data_dir: &Path) -> PathBuf {
    data_dir.join(LEDGER_FILE)
}

/// How the writer opens the file. Checkpoints are its own business: SQLite would run them inside a COMMIT.
pub(super) fn writer_options(path: &Path) -> SqliteConnectOptions {
    sqlite::writer_options(path, "ledger-writer")
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "0")
        // The file shrinks to this when the WAL begins anew after it had grown.
        .pragma("journal_size_limit", WAL_KEPT_BYTES)
        .pragma("cell_size_check", "on")
        .statement_cache_capacity(CACHED_STATEMENTS)
}

/// How the file is opened to make durable what is in it: without company, or not at all.
pub(super) fn exclusive_options(path: &Path) -> SqliteConnectOptions {
    writer_options(path)
        .create_if_missing(false)
        .locking_mode(SqliteLockingMode::Exclusive)
        .busy_timeout(Duration::ZERO)
        .thread_name(|_| "ledger-sync".to_owned())
}

/// How the file is opened to write the WAL back while the writer continues.
pub(super) fn checkpoint_options(path: &Path) -> SqliteConnectOptions {
    let options = writer_options(path).create_if_missing(false).busy_timeout(Duration::ZERO);
    options.thread_name(|_| "ledger-wal".to_owned())
}

/// How the file is opened for reading.
pub(super) fn reader_options(path: &Path) -> SqliteConnectOptions {
    sqlite::reader_options(path, "ledger-reader").row_buffer_size(ROWS_AHEAD)
}

/// Connections that can only read.
pub(super) fn readers(path: &Path) -> Readers {
    Readers::new(reader_options(path))
}

/// Renames a damaged ledger and its watermark, with the Unix time of the last write to any of them. They are kept for
/// operators to inspect.
pub(super) fn move_aside(path: &Path, watermark: &Watermark) -> Result<(), LedgerError> {
    let files = FILE_SUFFIXES.map(|suffix| (suffixed(path, suffix), suffix));
    let written = |file: &Path| fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
    let last_write = files.iter().map(|(file, _)| file.as_path()).chain([watermark.path()]).filter_map(written).max();
    let unix_seconds = last_write.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map_or(0, |age| age.as_secs());
    let is_free = |seconds: &u64| !suffixed(path, &format!(".damaged-{seconds}")).exists();
    let name = (unix_seconds..).find(is_free).expect("a directory has fewer files than there are numbers");
    for (file, suffix) in files {
        rename_if_there(&file, &suffixed(path, &format!(".damaged-{name}{suffix}")))?;
    }
    rename_if_there(watermark.path(), &suffixed(watermark.path(), &format!(".damaged-{name}")))?;
    // The mark of a condemned ledger is removed next. It must not be gone after a power cut while the ledger is back.
    sync_directory(path.parent().unwrap_or(path))
}

/// Marks the ledger as damaged for the next start, even if it could be opened: its chain differs from the cluster's, the
/// scrubber found it broken, or a write or a sync of it failed. The next start moves it aside. Blocks for two syncs.
///
/// # Errors
/// [`LedgerError::File`]; the mark may be there all the same, but a power cut may take it away.
pub fn condemn(data_dir: &Path, reason: &str) -> Result<(), LedgerError> {
    let path = data_dir.join(CONDEMNED);
    durable_file::replace(&path, reason.as_bytes()).map_err(LedgerError::file(&path))?;
    sync_directory(data_dir)
}

/// Condemns the ledger if this error means that the disk failed to write or to sync it. Returns whether it does.
pub(super) fn condemn_after(data_dir: &Path, error: &sqlx::Error) -> bool {
    let failed = is_failed_write(error);
    if failed {
        let reason = format!("its disk failed to write or to sync it: {error}");
        match condemn(data_dir, &reason) {
            Ok(()) => tracing::error!(%reason, "the ledger is condemned: the next start begins anew as a learner"),
            // The opening makes durable what it finds (`durable.rs`), so the node may go on with this ledger.
            Err(unmarked) => tracing::error!(
                %reason,
                %unmarked,
                "the disk does not take the mark that condemns this ledger either: the next start writes it again before it \
                 trusts it"
            ),
        }
    }
    failed
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), LedgerError> {
    durable_file::sync_directory(directory).map_err(LedgerError::file(directory))
}

/// Why the ledger was condemned, if it was.
pub(crate) fn condemned(data_dir: &Path) -> Result<Option<String>, LedgerError> {
    let path = data_dir.join(CONDEMNED);
    match fs::read_to_string(&path) {
        Ok(reason) => Ok(Some(reason)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::file(path)(error)),
    }
}

/// Removes the mark after the condemned ledger was moved aside.
pub(super) fn clear_condemned(data_dir: &Path) -> Result<(), LedgerError> {
    let path = data_dir.join(CONDEMNED);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LedgerError::file(path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn rename_if_there(from: &Path, to: &Path) -> Result<(), LedgerError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LedgerError::file(from)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
