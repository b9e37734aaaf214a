//! Why a run could not be made or checked. Failures of the cluster are findings of the report and no errors.

use std::path::PathBuf;

use crate::chaos::clients::LoadError;
use crate::check::CheckError;
use crate::fault::FaultError;
use crate::history::{ReadFailure, RecordError};
use crate::local::LocalError;

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// A process, a file or a command of the system failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The history could not be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The history could not be read.
    #[error(transparent)]
    Read(#[from] ReadFailure),
    /// The load could not be started.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The histories and ledgers could not be checked.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The history is inconsistent.
    #[error("{} is not a history that this program writes: {reason}", .path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The plan cannot be carried out on this machine.
    #[error("{0}")]
    Impossible(String),
    /// Ended by a signal before the check.
    #[error("interrupted: what was started has ended, what was broken is healed, and nothing was judged")]
    Interrupted,
}

impl From<FaultError> for ChaosError {
    fn from(error: FaultError) -> Self {
        match error {
            FaultError::Local(error) => Self::Local(error),
            FaultError::Impossible(why) => Self::Impossible(why),
        }
    }
}
