//! Errors of the client.

use super::Problem;
use quorapay_core::domain::LogIndex;

/// A call without a usable answer. For a write it also means that nothing moved: a write whose outcome is unknown is
/// [`super::Outcome::Unknown`] and not an error.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A base URL cannot be used.
    #[error("{url:?} is no base URL of a node: {reason}")]
    Url {
        /// The text given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No node answered within the deadline.
    #[error("no node answered within {deadline_ms} ms (tried {tried}): {last}")]
    Unreachable {
        /// The whole deadline, in milliseconds.
        deadline_ms: u64,
        /// The base URLs, separated by commas.
        tried: String,
        /// What went wrong the last time.
        last: String,
    },
    /// A read was refused.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The answer is not one of a Quorapay node.
    #[error("{url} did not answer as a Quorapay node does: {reason}")]
    Unexpected {
        /// The URL that answered.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// The node's ledger is not the one that a copy is to go on with.
    #[error("{url} holds another history: its entry {index} is not the one that was copied")]
    OtherHistory {
        /// The URL that answered.
        url: String,
        /// The last entry that was copied.
        index: LogIndex,
    },
    /// An export ended without its last line: what was received is only a part of it.
    #[error("{url} did not send all of it: {reason}")]
    Incomplete {
        /// The URL of the export.
        url: String,
        /// How it ended.
        reason: String,
    },
    /// A file with certificates or a key cannot be used.
    #[error("{file} cannot be used: {reason}")]
    Tls {
        /// The file.
        file: String,
        /// Why not.
        reason: String,
    },
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Setup(#[from] reqwest::Error),
}
