//! Errors of backups. Each is one line that says which file, where and what.

use std::io;
use std::path::{Path, PathBuf};

use super::format::VERSION;
use crate::ledger::LedgerError;
use crate::verify::{AuditError, Finding};
use quorapay_core::domain::LogIndex;

/// Why a backup could not be written, read or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, and nothing is written over it.
    #[error("{} exists already: name another file", .0.display())]
    Exists(PathBuf),
    /// Another process writes the file.
    #[error("another process writes {}", .0.display())]
    InUse(PathBuf),
    /// The file is something else.
    #[error("{} is no backup of Quorapay", .0.display())]
    NoBackup(PathBuf),
    /// The file was written by another version of this program.
    #[error("{} is a backup in format {found}, and this program reads format {VERSION}", .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file ends before its trailer.
    #[error("{} is cut short: it ends at byte {at}, after entry {last}, without its end mark", .path.display())]
    CutShort {
        /// The file.
        path: PathBuf,
        /// Where the whole blocks end.
        at: u64,
        /// The last entry that is whole.
        last: LogIndex,
    },
    /// Bytes of the file are not those that were written.
    #[error("{} is damaged at byte {at}, after entry {last}: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The block that is wrong.
        at: u64,
        /// The last entry before it.
        last: LogIndex,
        /// What is wrong.
        reason: String,
    },
    /// What is there of the file belongs to another backup.
    #[error("{} is the beginning of another backup: remove it, or name another file", .0.display())]
    OtherPart(PathBuf),
    /// Two files do not join.
    #[error("{} does not go on where {} ends, at entry {end}: name all files of one series", .next.display(), .path.display())]
    Gap {
        /// The earlier file.
        path: PathBuf,
        /// Its last entry.
        end: LogIndex,
        /// The later file.
        next: PathBuf,
    },
    /// The first file is an incremental one.
    #[error("{} begins after entry {after}: name the backups before it too", .path.display())]
    NotFull {
        /// The file.
        path: PathBuf,
        /// What it begins after.
        after: LogIndex,
    },
    /// What is to be restored is not in the backup.
    #[error("the backup holds entries 1 to {end}, and none {wanted}")]
    OutOfRange {
        /// Its last entry.
        end: LogIndex,
        /// What was asked for.
        wanted: String,
    },
    /// The settings name the cluster of the backup.
    #[error(
        "cluster_id = {0:?} is the id of the cluster that was backed up; choose a new one, so that none of its nodes can \
         join by mistake, or add --keep-cluster-id if all of them are gone for good"
    )]
    SameCluster(String),
    /// A directory for the new data holds something.
    #[error("{} is not empty: it holds {found}; name an empty data directory", .data_dir.display())]
    NotEmpty {
        /// The directory.
        data_dir: PathBuf,
        /// Something that it holds.
        found: String,
    },
    /// The restored ledger does not verify; it was removed again.
    #[error("nothing was restored, the backup does not verify: {0}")]
    Unverified(Box<Finding>),
    /// The ledger cannot be written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The audit could not be done.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

impl BackupError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
