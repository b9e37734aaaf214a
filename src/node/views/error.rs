//! Errors of the views. None of them affects a payment: views can be rebuilt from the ledger.

use std::path::PathBuf;

use crate::sqlite::is_damage;
use quorapay_core::domain::LogIndex;

/// Why the views could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    /// A file could not be removed.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The content is not what this program writes.
    #[error("the views are damaged and must be rebuilt: {0}")]
    Damaged(String),
    /// The chunk does not begin where the views end.
    #[error("entry {found} cannot be projected where entry {expected} belongs")]
    NotConsecutive {
        /// The index that comes next.
        expected: LogIndex,
        /// The index that was given.
        found: LogIndex,
    },
    /// SQLite failed. A failed write may or may not be there: ask for the projected position again.
    #[error("the views could not be read or written: {0}")]
    Sql(#[source] sqlx::Error),
}

impl From<sqlx::Error> for ViewsError {
    fn from(error: sqlx::Error) -> Self {
        if is_damage(&error) { Self::Damaged(error.to_string()) } else { Self::Sql(error) }
    }
}

pub(super) fn damaged(reason: impl Into<String>) -> ViewsError {
    ViewsError::Damaged(reason.into())
}
