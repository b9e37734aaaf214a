//! The last resort after a majority of the disks was lost: a new cluster from one surviving ledger.
//!
//! No majority knows every acknowledged payment any more, so the old cluster rightly refuses to go on. An operator may
//! decide to continue without what only the lost disks had. The new cluster has a new id: no node of the old one can join
//! it by mistake. Every entry of the surviving ledger is kept, and with it every idempotency key and balance.
//!
//! This module verifies the ledger and decides what can be said about it; the files are the ledger's business.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::ledger::{self, FirstVoter, Identity, LedgerError, inspect};
use crate::settings::Settings;
use crate::verify::{AuditError, Finding, verify};
use quorapay_api::Rfc3339;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Position, StoreId};

/// A surviving ledger that was verified.
#[derive(Clone, Debug, Serialize)]
pub struct Survivor {
    /// Its data directory.
    pub data_dir: PathBuf,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// Its last entry. Whatever the other nodes acknowledged after it is not in this ledger.
    pub last: Position,
    /// The ledger's time at that entry.
    pub last_time: Rfc3339,
    /// Entries up to this index are known to be committed. Those above it may or may not have been acknowledged.
    pub commit_index: LogIndex,
    /// Accounts.
    pub accounts: u64,
    /// Payments, rejected ones included.
    pub payments: u64,
    /// Why its node had given this ledger up, if it had.
    pub condemned: Option<String>,
}

/// Why a cluster cannot be recovered from a ledger.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger cannot be audited.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The ledger does not verify.
    #[error("the ledger in {} does not verify: {finding}; recover from another surviving ledger", .data_dir.display())]
    Damaged {
        /// Its directory.
        data_dir: PathBuf,
        /// The first finding.
        finding: Box<Finding>,
    },
    /// There is nothing to recover.
    #[error("the ledger in {} is empty; start a new cluster instead", .0.display())]
    Empty(PathBuf),
    /// The settings name the lost cluster.
    #[error("cluster_id = {0:?} is the lost cluster's; choose a new one, so that no node of the lost cluster can join")]
    SameCluster(String),
}

/// Verifies a surviving ledger. `progress` is called with the number of entries done and their total.
///
/// # Errors
/// [`RecoverError`] says why nothing can be recovered from it.
pub async fn examine(data_dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Survivor, RecoverError> {
    let report = verify(data_dir, progress).await?;
    if let Some(finding) = report.findings.into_iter().next() {
        return Err(RecoverError::Damaged { data_dir: data_dir.to_owned(), finding: Box::new(finding) });
    }
    let ledger = inspect(data_dir).await?;
    let last = ledger.reader.entry(ledger.last_index).await?;
    ledger.reader.close().await;
    let last = last.ok_or_else(|| RecoverError::Empty(data_dir.to_owned()))?;
    Ok(Survivor {
        data_dir: data_dir.to_owned(),
        cluster_id: ledger.cluster_id,
        last: last.position(),
        last_time: Rfc3339(last.timestamp),
        commit_index: ledger.commit_index,
        accounts: report.accounts,
        payments: report.payments,
        condemned: ledger::condemned(data_dir)?,
    })
}

impl Survivor {
    /// Writes the ledger of the new cluster's first node, as its settings say. `store_id` is the random id of the new
    /// ledger. Returns the position of its last entry.
    ///
    /// # Errors
    /// [`RecoverError::SameCluster`], and [`RecoverError::Ledger`] if a node uses one of the directories, the target holds
    /// a ledger, or a disk fails.
    pub async fn found_cluster(&self, settings: &Settings, store_id: StoreId) -> Result<Position, RecoverError> {
        if settings.cluster_id == self.cluster_id {
            return Err(RecoverError::SameCluster(self.cluster_id.clone()));
        }
        let identity = Identity { cluster_id: settings.cluster_id.clone(), node_id: settings.node_id.clone() };
        let first = FirstVoter { identity, peer_url: settings.peer_url.clone(), store_id };
        Ok(ledger::recover(&self.data_dir, &settings.data_dir, &first).await?)
    }
}
