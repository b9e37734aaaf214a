//! Rebuilds the views from the ledger.

use std::path::Path;

use futures_util::future::LocalBoxFuture;

use super::finding::Finding;
use super::report::AuditError;
use crate::ledger::{DirectoryLock, inspect};
use crate::views;
use quorapay_core::replication::Position;

/// Entries projected at a time: the larger, the cheaper each; about 30 MiB of memory.
const REBUILD_ENTRIES: usize = 65_536;

/// Rebuilds the views in `data_dir` from the committed part of the ledger, verifying the chain on the way. The node
/// must be stopped. `progress` is called with the number of entries done and their total. Returns the projected
/// position.
///
/// # Errors
/// [`AuditError::Ledger`] with [`Locked`](crate::ledger::LedgerError::Locked) if a node runs;
/// [`AuditError::Unverified`] if the ledger does not verify; otherwise if the disk fails.
pub fn rebuild_views<'a>(
    data_dir: &'a Path,
    progress: &'a mut dyn FnMut(u64, u64),
) -> LocalBoxFuture<'a, Result<Position, AuditError>> {
    Box::pin(rebuild(data_dir, progress))
}

async fn rebuild(data_dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Position, AuditError> {
    let _lock = DirectoryLock::take(data_dir)?;
    let ledger = inspect(data_dir).await?;
    let mut opened = views::open(data_dir, &ledger.cluster_id, ledger.store_id).await?;
    opened.writer.reset().await?;
    let upto = ledger.commit_index;
    while opened.writer.projected().index < upto {
        let before = opened.writer.projected();
        let entries = ledger.reader.entries(before.index.next(), upto, REBUILD_ENTRIES).await?;
        if entries.is_empty() {
            return Err(AuditError::Unverified(Finding::Missing { index: before.index.next() }));
        }
        let mut end = before;
        for entry in &entries {
            if !entry.follows(&end) {
                return Err(AuditError::Unverified(Finding::ChainBroken { index: entry.index }));
            }
            end = entry.position();
        }
        opened.writer.project(&entries).await?;
        while opened.writer.merge_step().await? {}
        progress(end.index.0, upto.0);
    }
    let projected = opened.writer.projected();
    ledger.reader.close().await;
    opened.reader.close().await;
    opened.writer.close().await?;
    Ok(projected)
}
