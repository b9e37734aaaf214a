//! How far an import is, in a small file beside the imported one, so that an interrupted import continues.
//!
//! It only saves time. What keeps a row from being paid twice is its idempotency key.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ImportError;
use super::records::FilePosition;
use super::source::ContentDigest;

/// Outcomes of the rows that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Paid or held, by this import or before it.
    pub succeeded: u64,
    /// Of all rows sent, those that were in the ledger before.
    pub replayed: u64,
    /// Refused by the bank, or by the node for their form.
    pub refused: u64,
}

/// How far an import is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// Of the file that is imported.
    pub(super) digest: ContentDigest,
    /// Bytes of the file whose rows are decided.
    pub(super) offset: u64,
    /// The same in lines.
    pub(super) lines: u64,
    /// The same in rows.
    pub(super) rows: u64,
    /// Outcomes of these rows.
    pub(super) counts: Counts,
    /// Length of the report of refused rows at that moment.
    pub(super) report_bytes: u64,
}

impl Checkpoint {
    /// The one of an import that has sent nothing.
    pub(super) fn start(digest: ContentDigest) -> Self {
        Self { digest, offset: 0, lines: 0, rows: 0, counts: Counts::default(), report_bytes: 0 }
    }

    /// Where to continue, and how many rows are before it.
    pub(super) const fn position(&self) -> (FilePosition, u64) {
        (FilePosition { offset: self.offset, lines: self.lines }, self.rows)
    }
}

/// The file that holds the checkpoint.
#[derive(Debug)]
pub(super) struct CheckpointFile(PathBuf);

impl CheckpointFile {
    /// The one of this imported file.
    pub(super) fn of(import: &Path) -> Self {
        let mut name = import.as_os_str().to_owned();
        name.push(".resume");
        Self(name.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads it; `None` if it does not exist.
    pub(super) fn load(&self) -> Result<Option<Checkpoint>, ImportError> {
        let failed = |source| ImportError::io("reading", &self.0, source);
        match std::fs::read(&self.0) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    /// Replaces the file atomically, so that a crash leaves no half-written one.
    pub(super) fn save(&self, checkpoint: &Checkpoint) -> Result<(), ImportError> {
        let replace = || {
            let mut new = self.0.clone().into_os_string();
            new.push(".new");
            let mut file = std::fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec(checkpoint)?)?;
            std::fs::rename(&new, &self.0)
        };
        replace().map_err(|error| ImportError::io("writing", &self.0, error))
    }

    /// Removes the file once the import is done.
    pub(super) fn remove(&self) -> Result<(), ImportError> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(ImportError::io("removing", &self.0, error)),
            _ => Ok(()),
        }
    }
}
