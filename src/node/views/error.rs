//! What can go wrong with the views. None of it harms a payment: views are rebuilt from the ledger.

use std::path::PathBuf;

use quorapay_core::domain::LogIndex;

/// Why the views could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum ViewsError {
    /// A file could not be removed.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is stored is not what was written.
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

/// SQLite's primary result codes for a file that is not what SQLite wrote.
const SQLITE_CORRUPT: i32 = 11;
const SQLITE_NOTADB: i32 = 26;

impl From<sqlx::Error> for ViewsError {
    fn from(error: sqlx::Error) -> Self {
        let damaged = match &error {
            sqlx::Error::Database(inner) => {
                let extended: Option<i32> = inner.code().and_then(|code| code.parse().ok());
                extended.is_some_and(|code| matches!(code & 0xff, SQLITE_CORRUPT | SQLITE_NOTADB))
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => true,
            _ => false,
        };
        if damaged { Self::Damaged(error.to_string()) } else { Self::Sql(error) }
    }
}

pub(super) fn damaged(reason: impl Into<String>) -> ViewsError {
    ViewsError::Damaged(reason.into())
}
