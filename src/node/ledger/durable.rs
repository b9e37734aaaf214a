//! Makes durable what a ledger file holds, before anything is said of it.
//!
//! What a process reads after a restart is not yet on the disk. A process that was killed between the write of a frame
//! of the WAL and its sync leaves a frame that is read back from memory. After a sync that failed, the kernel may take
//! the pages for clean: they are read back, a later sync succeeds, and they were never written. A node that takes such
//! an entry or promise for durable acknowledges what the next power cut removes.
//!
//! So an opening writes everything again. It opens the file alone and runs `wal_checkpoint(TRUNCATE)`:
//!
//! - Alone, with SQLite's exclusive locking mode, because the state of a checkpoint is in the memory that connections
//!   share (`-shm`). An earlier checkpoint may have copied some frames into the database file without syncing it, which
//!   SQLite does while a reader uses older ones. A connection that shares that memory would not copy them again. A
//!   connection that is alone builds it from the WAL, so it copies every frame.
//! - The checkpoint writes the pages of all frames into the database file and syncs that. These are new writes, so it
//!   does not matter what the kernel dropped of the old ones. Only then is the WAL emptied.
//! - An empty WAL means that everything is in the database file. A WAL is emptied, removed or begun anew only after a
//!   checkpoint that has copied it to its end and synced the database file, so that file is durable. A checkpoint whose
//!   sync fails leaves the WAL as it was, with every frame. The writer's connection is then not closed (see `writer.rs`):
//!   its close would try again, copy only the frames after the last success, and remove the WAL.
//! - What is written from then on is synced by its own COMMIT.
//!
//! A failed write or sync also condemns the ledger (see `files.rs`): the node comes back with a new store, as a learner.
//! The opening protects where that mark could not be written either. A full disk does not condemn. SQLite reports it
//! before it writes, so no sync has failed, and the opening makes durable whatever is there. If full disks condemned, a
//! cluster whose disks fill up together would lose everything.
//!
//! If another program has the file open, even without reading, the opening waits for a moment and then refuses.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, Row};
use tokio::time::Instant;

use super::error::LedgerError;
use super::files::exclusive_options;
use crate::sqlite::is_busy;

/// How long an opening waits for other programs to close the file: longer than a query of a person or a backup's last
/// step, and short enough that whoever starts the node sees why it does not start.
pub(super) const HELD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it tries meanwhile.
const HELD_RETRY: Duration = Duration::from_millis(20);

/// Writes everything that the database at `path` holds again and syncs it. Waits so long for other programs to close it.
///
/// # Errors
/// [`LedgerError::Held`] if another program keeps it open, [`LedgerError::Damaged`] if SQLite did not write it,
/// [`LedgerError::Read`] if the disk fails.
pub(super) async fn make_durable(path: &Path, patience: Duration) -> Result<(), LedgerError> {
    let deadline = Instant::now() + patience;
    let mut waiting = false;
    loop {
        match rewrite(path).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) if is_busy(&error) => {}
            Err(error) => return Err(LedgerError::from_read(error)),
        }
        if Instant::now() >= deadline {
            return Err(LedgerError::Held { path: path.to_owned(), holders: holders(path) });
        }
        if !std::mem::replace(&mut waiting, true) {
            tracing::info!(file = %path.display(), "waiting until no other program has the ledger open");
        }
        tokio::time::sleep(HELD_RETRY).await;
    }
}

/// Whether everything could be written.
async fn rewrite(path: &Path) -> Result<bool, sqlx::Error> {
    let mut connection = exclusive_options(path).connect().await?;
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(row.get::<i64, _>(0) == 0)
}

/// The programs that have locks on a file, as far as the system tells.
fn holders(path: &Path) -> String {
    let inode = std::fs::metadata(path).map_or(0, |metadata| metadata.ino());
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut found: Vec<String> = locks.lines().filter_map(|line| holder(line, inode)).collect();
    found.sort();
    found.dedup();
    if found.is_empty() { "another program".to_owned() } else { found.join(", ") }
}

/// The process of a line of `/proc/locks`, if its lock is on the file with this inode:
/// `1: POSIX ADVISORY READ 4711 fd:01:1835012 1073741826 1073742335`.
fn holder(line: &str, inode: u64) -> Option<String> {
    let mut fields = line.split_ascii_whitespace().skip(4);
    let process: u32 = fields.next()?.parse().ok()?;
    let locked: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
    if locked != inode {
        return None;
    }
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    Some(format!("{} (process {process})", if name.is_empty() { "a program" } else { name.trim_end() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let me = std::process::id();
        let line = format!("1: POSIX  ADVISORY  READ {me} fd:01:1835012 1073741826 1073742335");
        assert!(holder(&line, 1_835_012).is_some_and(|named| named.contains(&format!("(process {me})"))));
        assert_eq!(holder(&line, 7), None);
        assert_eq!(holder("nonsense", 7), None);
    }
}
