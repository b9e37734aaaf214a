//! Why a fault could not be made or healed.

use crate::local::LocalError;

/// Why a fault could not be made or healed. Its text is one line for people, which says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// A process, a file or a command of the system failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// This cannot be made on this cluster, as it is now.
    #[error("{0}")]
    Impossible(String),
}

impl FaultError {
    pub(crate) fn impossible(why: impl Into<String>) -> Self {
        Self::Impossible(why.into())
    }
}
