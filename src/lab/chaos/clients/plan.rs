//! The parameters and results of a load.

use std::time::Duration;

use serde::Serialize;

/// A node to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name in the history.
    pub name: String,
    /// Its base URL for clients.
    pub url: String,
}

/// What the clients do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadPlan {
    /// Prefix of every key and order, so that runs against one cluster do not share them.
    pub run: String,
    /// Seed of the operations, their order and the nodes they are sent to.
    pub seed: u64,
    /// Operations per second of all processes together, at least 1, not counting retries.
    pub rate: u32,
    /// Number of processes that share the schedule, at least 1.
    pub processes: u32,
    /// Maximum number of operations in flight of one process, at least 1.
    pub outstanding: u32,
    /// Number of accounts, at least 2. The fewer, the more payments are refused for insufficient funds.
    pub accounts: u32,
    /// Deadline that each request gives the node. The client itself waits a quarter longer.
    pub deadline: Duration,
}

impl LoadPlan {
    /// A mixed load that two CPU cores can sustain beside a cluster of three or five nodes.
    #[must_use]
    pub fn standard(seed: u64) -> Self {
        let run = uuid::Uuid::new_v4().simple().to_string()[..8].to_owned();
        Self { run, seed, rate: 200, processes: 8, outstanding: 64, accounts: 12, deadline: Duration::from_secs(4) }
    }
}

/// The counts of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadProgress {
    /// Requests sent.
    pub sent: u64,
    /// Writes that were answered as committed, including rejections of the bank.
    pub committed: u64,
    /// Reads that were answered.
    pub read: u64,
    /// Requests that were definitely not applied, without rejections of the bank.
    pub refused: u64,
    /// Requests whose outcome was unknown when they ended.
    pub unknown: u64,
    /// Requests of the schedule that were not sent, because too many were in flight.
    pub late: u64,
}

/// The result of a load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadSummary {
    /// All counts, including final reads.
    pub progress: LoadProgress,
    /// Keys whose outcome was unknown when the schedule ended.
    pub open_keys: u64,
    /// Those of them that were resolved: found committed, or unknown as of an index.
    pub settled_keys: u64,
    /// Keys that were not resolved within the deadline.
    pub unsettled: Vec<String>,
    /// Final reads of an account at a node that were not answered within the deadline, as `account at node`.
    pub unread: Vec<String>,
}
