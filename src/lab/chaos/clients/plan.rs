//! What a load is made from, and what it came to.

use std::time::Duration;

use serde::Serialize;

/// A node to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, as it stands in the history.
    pub name: String,
    /// Its base URL for clients.
    pub url: String,
}

/// What the clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// What is asked, of whom and in which order follows from it.
    pub seed: u64,
    /// Operations per second on the schedule, of all processes together, at least 1. Retries come on top.
    pub rate: u32,
    /// How many processes share the schedule, at least 1.
    pub processes: u32,
    /// How many operations of one process may be under way at once, at least 1.
    pub outstanding: u32,
    /// Among how many accounts the money goes round, at least 2. The fewer, the more payments are refused for funds.
    pub accounts: u32,
    /// What each request gives the node to answer. The client itself waits a quarter longer.
    pub deadline: Duration,
}

impl LoadPlan {
    /// A mixed load that two cores carry beside a cluster of three or five.
    #[must_use]
    pub fn usual(seed: u64) -> Self {
        Self { seed, rate: 200, processes: 8, outstanding: 64, accounts: 12, deadline: Duration::from_secs(4) }
    }
}

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadProgress {
    /// Requests sent.
    pub sent: u64,
    /// Payments and other writes that a node said are committed, refusals of the bank included.
    pub committed: u64,
    /// Reads that were answered.
    pub read: u64,
    /// Requests that were definitely not done, other than by a decision of the bank.
    pub refused: u64,
    /// Requests whose outcome was unknown when they ended.
    pub unknown: u64,
    /// Requests of the schedule that were not sent, because too many were under way.
    pub late: u64,
}

/// What a load came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadSummary {
    /// Everything sent, final reads included.
    pub progress: LoadProgress,
    /// Keys whose outcome was open when the load ended.
    pub open_keys: u64,
    /// Those of them that were settled: found committed, or unknown as of an index.
    pub settled_keys: u64,
    /// Keys that nobody could settle within the deadline.
    pub unsettled: Vec<String>,
    /// Final reads of an account at a node that were not answered within the deadline, as `account at node`.
    pub unread: Vec<String>,
}
