//! How far an import is, in a small file beside its own, so that one that was interrupted does not begin again.
//!
//! It only saves time. What keeps a row from being paid twice is its idempotency key.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::records::Place;
use super::source::ContentDigest;
use crate::cli::CliError;

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Paid or held by this import, or found so in the ledger.
    pub(super) succeeded: u64,
    /// Of all rows sent, those that were in the ledger before.
    pub(super) replayed: u64,
    /// Refused by the bank, or by the node for their form.
    pub(super) refused: u64,
}

/// How far an import is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Of the file that is imported.
    pub(super) digest: ContentDigest,
    /// Everything before it is decided: bytes of the file.
    pub(super) offset: u64,
    /// The same in lines.
    pub(super) lines: u64,
    /// The same in rows.
    pub(super) rows: u64,
    /// What became of them.
    pub(super) counts: Counts,
    /// How long the report of refused rows was then.
    pub(super) report_bytes: u64,
}

impl Progress {
    /// Where to go on.
    pub(super) const fn place(&self) -> (Place, u64) {
        (Place { offset: self.offset, lines: self.lines }, self.rows)
    }
}

/// The file with the progress.
#[derive(Debug)]
pub(super) struct ResumeFile(PathBuf);

impl ResumeFile {
    /// The one of this import.
    pub(super) fn of(import: &Path) -> Self {
        let mut name = import.as_os_str().to_owned();
        name.push(".resume");
        Self(name.into())
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What it says; `None` if it is not there.
    pub(super) fn load(&self) -> Result<Option<Progress>, CliError> {
        match std::fs::read(&self.0) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| self.failed("reading", error.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("reading", error)),
        }
    }

    /// Replaces it as a whole: a half-written one would be none.
    pub(super) fn save(&self, progress: &Progress) -> Result<(), CliError> {
        let replace = || {
            let mut new = self.0.clone().into_os_string();
            new.push(".new");
            let mut file = std::fs::File::create(&new)?;
            file.write_all(&serde_json::to_vec(progress)?)?;
            std::fs::rename(&new, &self.0)
        };
        replace().map_err(|error| self.failed("writing", error))
    }

    /// Removes it: the import is done.
    pub(super) fn remove(&self) -> Result<(), CliError> {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed("removing", error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &str, source: io::Error) -> CliError {
        CliError::Io { what: format!("{what} {}", self.0.display()), source }
    }
}
