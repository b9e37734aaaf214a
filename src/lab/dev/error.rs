//! What can fail in a development cluster.

use std::path::PathBuf;

use crate::fault::FaultError;
use crate::local::LocalError;
use quorapay_client::{ClientError, Problem};

/// Why something could not be done with a development cluster. Its text is one line for people.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// A process, a file or a port failed.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// The cluster gave no usable answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The cluster refused a payment.
    #[error("refused: {0}")]
    Refused(Box<Problem>),
    /// A payment may or may not have been made.
    #[error("the outcome is unknown: {by_key_url}")]
    OutcomeUnknown {
        /// Where it can be looked up; empty if unknown.
        by_key_url: String,
    },
    /// Another development cluster has its files in the same directory.
    #[error("another quorapay dev runs in {}; stop it or choose another --data-dir", .data_dir.display())]
    DirectoryInUse {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The nodes did not become ready in time.
    #[error("not ready after {seconds} s; the logs are in {}", .logs.display())]
    NotReady {
        /// The timeout.
        seconds: u64,
        /// Where the logs are.
        logs: PathBuf,
    },
    /// A fault could not be made or healed.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// No development cluster runs with its files in a directory.
    #[error("no quorapay dev runs in {}; start one there, or name its folder with --data-dir", .data_dir.display())]
    NotRunning {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The cluster refuses what another program asks of it.
    #[error("{0}")]
    OrderRefused(String),
    /// The cluster did not say what became of an order.
    #[error("quorapay dev did not answer; its own terminal says why, and quorapay heal --list what lasts")]
    NoAnswer,
    /// A node that was started again has not caught up.
    #[error("{node} has not caught up {seconds} s after its start")]
    Behind {
        /// The node.
        node: String,
        /// The timeout.
        seconds: u64,
    },
    /// No node leads.
    #[error("there is no leader")]
    NoLeader,
    /// A node did not answer with its ledger.
    #[error("{node} did not show its ledger: {source}")]
    LedgerUnread {
        /// The node.
        node: String,
        /// Why not.
        source: reqwest::Error,
    },
    /// A node lacks an entry that is committed.
    #[error("{node} has no entry {index}")]
    EntryMissing {
        /// The node.
        node: String,
        /// The index of the entry.
        index: u64,
    },
    /// Two nodes have different entries at the same index.
    #[error("the ledgers differ at index {index}: {node}")]
    LedgersDiffer {
        /// The node that differs from the first one.
        node: String,
        /// The index of the entry.
        index: u64,
    },
    /// There is nothing to compare.
    #[error("there are no nodes")]
    NoNodes,
    /// The HTTP client could not be set up.
    #[error("no HTTP client: {0}")]
    Http(#[source] reqwest::Error),
}
