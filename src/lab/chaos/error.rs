//! Why a run could not be made or judged. What is wrong with the cluster is no error but a finding.

use std::path::PathBuf;

use crate::chaos::clients::LoadError;
use crate::check::CheckError;
use crate::history::{ReadFailure, RecordError};
use crate::local::LocalError;

/// See the module.
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
    /// The load could not be made.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The histories and ledgers could not be judged.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The history does not make sense.
    #[error("{} is not a history that this program writes: {reason}", .path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What was asked for cannot be done on this machine.
    #[error("{0}")]
    Impossible(String),
    /// Ended by a signal, before there was anything to judge.
    #[error("interrupted; every process was ended and nothing was judged")]
    Interrupted,
}
