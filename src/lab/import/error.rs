//! Why an import stopped before its end.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// Why an import did not come to its summary. Refused and invalid rows are no error.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A CSV file without a header.
    #[error("{} is empty", .file.display())]
    Empty {
        /// The file.
        file: PathBuf,
    },
    /// The header of a CSV file cannot be used.
    #[error("{}: {reason}", .file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// One line that says why.
        reason: String,
    },
    /// The file is not the one whose import was interrupted.
    #[error(
        "{} was changed since an import of it stopped behind row {rows}; put it back as it was, or remove {} to \
         import it as another file, which pays its rows without keys of their own again",
        .file.display(), .checkpoint.display()
    )]
    Changed {
        /// The file.
        file: PathBuf,
        /// The file that says how far the import was.
        checkpoint: PathBuf,
        /// How many rows were decided.
        rows: u64,
    },
    /// A node answered a batch with another number of results than it has rows.
    #[error("{rows} rows were sent, {results} results came back")]
    ResultCount {
        /// Rows of the batch.
        rows: usize,
        /// Results of the answer.
        results: usize,
    },
    /// Not every row is known to be decided. To run the same import again is safe and continues it.
    #[error("{reason}; the same command goes on where this one stopped")]
    Stopped {
        /// One line that says why.
        reason: String,
        /// What kind of failure it was.
        cause: StopCause,
    },
}

/// What stopped an import between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// The outcome of the last batch is unknown.
    OutcomeUnknown,
    /// No node could be reached.
    Unreachable,
    /// A node refused the batch, or its answer cannot be used.
    Failed,
}

impl ImportError {
    pub(super) fn io(action: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { what: format!("{action} {}", path.display()), source }
    }

    pub(super) fn stopped(reason: &dyn Display, cause: StopCause) -> Self {
        Self::Stopped { reason: reason.to_string(), cause }
    }
}
