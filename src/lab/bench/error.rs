//! Why a run did not start or end.

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A URL cannot be used; one line that says why.
    #[error("{0}")]
    Url(String),
    /// No node accepts a connection.
    #[error("no node accepts a connection (tried {})", .urls.join(", "))]
    Unreachable {
        /// All URLs of the plan.
        urls: Vec<String>,
    },
    /// What the run was to read could not be made.
    #[error("what is to be read could not be made: {0}")]
    NotPrepared(String),
    /// A thread of the generator panicked.
    #[error("a thread of the generator broke down")]
    Panicked,
}
