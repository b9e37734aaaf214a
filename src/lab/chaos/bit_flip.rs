//! Flips a bit of a ledger so that it makes a difference: pages also hold free space, where it would not.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::local::LocalError;
use crate::random::Random;
use quorapay_node::verify;

/// Only the end of the file is touched: there are the entries that a node checks when it starts.
const END_BYTES: u64 = 64 * 1024;
/// Each try reads the whole ledger.
const TRIES: u32 = 12;

/// Flips a bit in the ledger of a node that does not run. Says whether one was found that the audit notices.
pub(super) async fn flip(data_dir: &Path, luck: u64) -> Result<bool, LocalError> {
    let path = data_dir.join("ledger.db");
    let failed = || LocalError::io(path.display().to_string());
    let file = File::options().read(true).write(true).open(&path).map_err(failed())?;
    let length = file.metadata().map_err(failed())?.len();
    let mut luck = Random::new(luck);
    for _ in 0..TRIES {
        let at = luck.between(length.saturating_sub(END_BYTES), length.saturating_sub(1));
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).map_err(failed())?;
        let flipped = byte[0] ^ (1 << luck.between(0, 7));
        file.write_all_at(&[flipped], at).map_err(failed())?;
        let noticed = verify::verify(data_dir, |_, _| {}).await.map_or(true, |report| !report.findings.is_empty());
        if noticed {
            return file.sync_all().map_err(failed()).map(|()| true);
        }
        file.write_all_at(&byte, at).map_err(failed())?;
    }
    Ok(false)
}

/// How many damaged ledgers a node has put aside.
pub(super) fn put_aside(data_dir: &Path) -> usize {
    let names = std::fs::read_dir(data_dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_ledger =
        |name: &str| name.starts_with("ledger.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm");
    names.filter(|name| is_ledger(&name.to_string_lossy())).count()
}
