//! Flips a bit of a ledger so that the content changes: in the free space of a page it would have no effect.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

use crate::local::LocalError;
use crate::random::Random;
use quorapay_node::verify;

/// Bits are flipped in this much of the file's end, where the entries are that a node checks when it starts.
const END_BYTES: u64 = 64 * 1024;
/// Maximum number of bits that are tried. Each try reads the whole ledger; in a small one many are needed, and it is quickly
/// read.
const MAX_TRIES: u32 = 200;
/// From this try on they are flipped anywhere: the end of a small ledger may be free space only.
const TRIES_AT_THE_END: u32 = 40;

/// Flips a bit in the ledger of a stopped node. Returns whether a bit was found whose flip the audit detects.
///
/// # Errors
/// [`LocalError::Io`] if the ledger cannot be read or written.
pub async fn flip(data_dir: &Path, seed: u64) -> Result<bool, LocalError> {
    let path = data_dir.join("ledger.db");
    let failed = || LocalError::io(path.display().to_string());
    empty_wal(&path).await.map_err(std::io::Error::other).map_err(failed())?;
    let file = File::options().read(true).write(true).open(&path).map_err(failed())?;
    let length = file.metadata().map_err(failed())?.len();
    let mut random = Random::new(seed);
    for number in 0..MAX_TRIES {
        let from = if number < TRIES_AT_THE_END { length.saturating_sub(END_BYTES) } else { 0 };
        let at = random.between(from, length.saturating_sub(1));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).map_err(failed())?;
        let flipped = byte[0] ^ (1 << random.between(0, 7));
        file.write_all_at(&[flipped], at).map_err(failed())?;
        let detected =
            verify::verify(data_dir, &mut |_, _| {}).await.map_or(true, |report| !report.findings.is_empty());
        if detected {
            return file.sync_all().map_err(failed()).map(|()| true);
        }
        file.write_all_at(&byte, at).map_err(failed())?;
    }
    Ok(false)
}

/// Moves everything from the WAL into the file: pages in the WAL are read instead of those in the file.
async fn empty_wal(ledger: &Path) -> Result<(), sqlx::Error> {
    let mut connection = SqliteConnectOptions::new().filename(ledger).connect().await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await
}

/// How many damaged ledgers a node has renamed.
pub(crate) fn count_damaged_ledgers(data_dir: &Path) -> usize {
    let names = std::fs::read_dir(data_dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_ledger =
        |name: &str| name.starts_with("ledger.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm");
    names.filter(|name| is_ledger(&name.to_string_lossy())).count()
}
