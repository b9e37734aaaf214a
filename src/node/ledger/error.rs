//! Errors of the ledger.

use std::path::PathBuf;

use crate::sqlite::is_damage;
use quorapay_core::domain::{LogIndex, RuleVersion};

/// Why the ledger could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process uses the ledger; two would destroy it.
    #[error("another process uses the data directory {}", .0.display())]
    Locked(PathBuf),
    /// Another program keeps the database file open, so what is in it cannot be made durable.
    #[error(
        "{} is open in {holders}: close it there and start this node again. A node that starts makes durable what it \
         finds, and needs the file for itself to do so", .path.display()
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// The programs, as far as the system names them.
        holders: String,
    },
    /// The data directory was used in another cluster.
    #[error("the ledger in {} belongs to cluster {found:?}, but this node is configured for cluster {expected:?}", .data_dir.display())]
    OtherCluster {
        /// The directory of the ledger.
        data_dir: PathBuf,
        /// The id in the file.
        found: String,
        /// The configured id.
        expected: String,
    },
    /// The data directory was used by another node.
    #[error("the ledger in {} belongs to node {found:?}, but this node is {expected:?}", .data_dir.display())]
    OtherNode {
        /// The directory of the ledger.
        data_dir: PathBuf,
        /// The id in the file.
        found: String,
        /// The configured id.
        expected: String,
    },
    /// The schema is not one that this program knows.
    #[error("the ledger in {} was made by another version of this program: {reason}", .data_dir.display())]
    OtherVersion {
        /// The directory of the ledger.
        data_dir: PathBuf,
        /// What differs.
        reason: String,
    },
    /// Entries are decided by rules that this program does not know. Nothing is damaged.
    #[error(
        "entry {index} and those after it are decided by rule version {rules}, and this program knows rule versions up \
         to {newest}: install a newer program on this node; its data is in order", newest = RuleVersion::NEWEST
    )]
    UnknownRules {
        /// The start of an epoch that names the rules.
        index: LogIndex,
        /// Those rules.
        rules: RuleVersion,
    },
    /// A directory for a new ledger holds one already.
    #[error("{} already holds a ledger; name an empty data directory", .0.display())]
    NotEmpty(PathBuf),
    /// A file could not be created, read, moved or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The content is not what this program writes.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// A write failed: whether its entries are stored is unknown until the ledger is opened again.
    #[error("writing the ledger failed, so whether the last entries are stored is unknown: {0}")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// An earlier write failed or was abandoned; nothing more may be written by this process.
    #[error("the ledger takes no more writes, because an earlier write had an unknown outcome")]
    Closed,
    /// A write that would leave a hole in the log or fork it. Nothing was stored.
    #[error("invariant broken: entry {found} cannot be stored where entry {expected} belongs")]
    NotConsecutive {
        /// The index that comes next.
        expected: LogIndex,
        /// The index that was given.
        found: LogIndex,
    },
    /// A write that would remove committed entries. Nothing was stored.
    #[error("invariant broken: entries after {after} cannot be taken back, {commit_index} is committed")]
    TakesBackCommitted {
        /// The last entry that would remain.
        after: LogIndex,
        /// The stored commit index.
        commit_index: LogIndex,
    },
    /// A number that the file format cannot hold. Nothing was stored.
    #[error("{0} is too large a number to be stored")]
    OutOfRange(u64),
    /// A read failed.
    #[error("reading the ledger failed: {0}")]
    Read(#[source] sqlx::Error),
}

impl LedgerError {
    /// The error of a failed read: a damaged file is distinguished from a disk that cannot be read now.
    pub(super) fn from_read(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if is_damage(&error) => Self::Damaged(inner.to_string()),
            _ if is_damage(&error) => Self::Damaged(error.to_string()),
            _ => Self::Read(error),
        }
    }

    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
