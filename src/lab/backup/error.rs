//! Why a backup was not taken.

use std::io;
use std::path::PathBuf;

use quorapay_client::ClientError;
use quorapay_node::backup::BackupError;

/// Why a backup was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// No node gave the rest of the ledger.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// A file cannot be read or written.
    #[error("{0}")]
    File(#[from] BackupError),
    /// The node that answered said nothing of itself.
    #[error("the node that answered does not say to which cluster it belongs")]
    NoReport,
    /// The output took no more.
    #[error("writing the backup: {0}")]
    Output(#[source] io::Error),
    /// A directory of backups cannot be read or cleared.
    #[error("{}: {source}", .path.display())]
    Directory {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The earlier backup is of another cluster.
    #[error("{} is a backup of cluster {found:?}, and this is cluster {asked:?}", .path.display())]
    OtherCluster {
        /// The earlier backup.
        path: PathBuf,
        /// The cluster in it.
        found: String,
        /// The cluster that answers.
        asked: String,
    },
}
