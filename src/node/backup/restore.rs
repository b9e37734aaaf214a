//! A data directory for the first node of a new cluster, from backups.
//!
//! The ledger is written in a folder of the data directory and verified there; then its file is moved to its place. An
//! interruption at any moment leaves no ledger that a node would start from, and the next attempt begins anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::chain::BackupChain;
use super::error::BackupError;
use super::format::Moment;
use crate::ledger::{self, DirectoryLock, FirstVoter, FoundingLedger, Identity, LOCK_FILE};
use crate::settings::Settings;
use crate::verify::verify;
use quorapay_api::Rfc3339;
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::replication::{Position, StoreId};

/// The folder in which the ledger is made.
const UNFINISHED: &str = "restore.unfinished";

/// Frames of a backup that are written in one transaction: about 16 MiB of entries.
const FRAMES_PER_TRANSACTION: usize = 16;

/// How much of a backup is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// All of it.
    End,
    /// Entries up to this one.
    Index(LogIndex),
    /// Entries that are older.
    Before(Timestamp),
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The cluster that was backed up.
    pub from_cluster_id: String,
    /// The last entry of the backup that was restored.
    pub restored: Position,
    /// The ledger's time there.
    pub restored_time: Rfc3339,
    /// The last entry of the new ledger, after the first epoch of the new cluster.
    pub written: Position,
    /// Accounts.
    pub accounts: u64,
    /// Payments, rejected ones included.
    pub payments: u64,
}

/// Writes the ledger of a new cluster's first node, as its settings say, and verifies it. `store_id` is the random id of
/// the new ledger; `keep_cluster_id` allows the settings to name the cluster that was backed up. `progress` is called with
/// what is done (writing, then verifying), the number of entries done and their total.
///
/// # Errors
/// [`BackupError`]; nothing is left of the new ledger then.
pub async fn restore(
    chain: &mut BackupChain,
    limit: Limit,
    settings: &Settings,
    store_id: StoreId,
    keep_cluster_id: bool,
    progress: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<Restored, BackupError> {
    if settings.cluster_id == chain.cluster_id() && !keep_cluster_id {
        return Err(BackupError::SameCluster(settings.cluster_id.clone()));
    }
    let upto = resolve(chain, limit)?;
    let data_dir = &settings.data_dir;
    require_empty(data_dir)?;
    let _lock = DirectoryLock::take(data_dir)?;
    let made = data_dir.join(UNFINISHED);
    remove(&made)?;
    let identity = Identity { cluster_id: settings.cluster_id.clone(), node_id: settings.node_id.clone() };
    let first = FirstVoter { identity, peer_url: settings.peer_url.clone(), store_id };
    let result = match write(chain, upto, &made, first, progress).await {
        Ok((end, written)) => place(&made, data_dir, progress).await.map(|(accounts, payments)| Restored {
            data_dir: data_dir.clone(),
            from_cluster_id: chain.cluster_id().to_owned(),
            restored: end.position,
            restored_time: end.shown_time(),
            written,
            accounts,
            payments,
        }),
        Err(error) => Err(error),
    };
    let removed = remove(&made);
    result.and_then(|restored| removed.map(|()| restored))
}

/// The last entry to restore.
fn resolve(chain: &mut BackupChain, limit: Limit) -> Result<LogIndex, BackupError> {
    let end = chain.end().position.index;
    let (upto, wanted) = match limit {
        Limit::End => (end, "at all".to_owned()),
        Limit::Index(index) => (index, format!("with index {index}")),
        Limit::Before(moment) => (chain.last_before(moment)?, format!("before {}", Rfc3339(moment))),
    };
    if upto > end || upto == LogIndex(0) { Err(BackupError::OutOfRange { end, wanted }) } else { Ok(upto) }
}

/// A new disk may have a folder for what its repair finds; an interrupted restore leaves its own folder and the lock.
fn require_empty(data_dir: &Path) -> Result<(), BackupError> {
    let entries = match fs::read_dir(data_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(BackupError::file(data_dir)(error)),
    };
    for entry in entries {
        let name = entry.map_err(BackupError::file(data_dir))?.file_name();
        if ![UNFINISHED, LOCK_FILE, "lost+found"].iter().any(|known| name == *known) {
            let found = name.to_string_lossy().into_owned();
            return Err(BackupError::NotEmpty { data_dir: data_dir.to_owned(), found });
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<(), BackupError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::file(directory)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes the ledger to a directory. Returns the last entry of the backup and the last one of the new ledger.
async fn write(
    chain: &mut BackupChain,
    upto: LogIndex,
    made: &Path,
    first: FirstVoter,
    progress: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<(Moment, Position), BackupError> {
    let mut founding = FoundingLedger::begin(made, first).await?;
    let mut end = Moment::default();
    while founding.last().index < upto {
        let (mut entries, mut next) = (Vec::new(), founding.last().index.next());
        for _ in 0..FRAMES_PER_TRANSACTION {
            entries.extend(chain.entries_from(next, upto)?);
            if let Some(last) = entries.last() {
                next = last.index.next();
                end = Moment { position: last.position(), time: last.timestamp };
            }
        }
        founding.append(entries).await?;
        progress("entries written", end.position.index.0, upto.0);
    }
    Ok((end, founding.finish().await?))
}

/// Verifies the new ledger and moves it to its place. Returns how many accounts and payments it has.
async fn place(
    made: &Path,
    data_dir: &Path,
    progress: &mut dyn FnMut(&'static str, u64, u64),
) -> Result<(u64, u64), BackupError> {
    let report = verify(made, &mut |done, total| progress("entries checked", done, total)).await?;
    if let Some(finding) = report.findings.into_iter().next() {
        return Err(BackupError::Unverified(Box::new(finding)));
    }
    ledger::move_ledger(made, data_dir)?;
    Ok((report.accounts, report.payments))
}
