//! What a replica is made from: its settings and what its ledger holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::entry::Entry;
use super::message::EpochSpan;
use super::types::{Configuration, NodeId, Position, Promise, StoreId};
use crate::domain::LogIndex;

/// Who a replica is and how it behaves.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This node.
    pub node_id: NodeId,
    /// All nodes of the cluster with their peer URLs, this one included. They are the voters of a new cluster; in an
    /// older one the log says who votes.
    pub peers: BTreeMap<NodeId, String>,
    /// Waits.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
}

/// How long the replica waits for what, in milliseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A leader speaks to each follower at least this often.
    pub heartbeat_ms: u64,
    /// Silence of the leader after which a node asks the others whether they hear it.
    pub heartbeat_timeout_ms: u64,
    /// A leader that no quorum has answered for this long steps down.
    pub step_down_ms: u64,
    /// A candidacy that has not led to an open epoch after this long is given up, after the piece of the best log that is
    /// on its way.
    pub candidacy_ms: u64,
    /// After a false alarm or a failed candidacy a node waits this long before it tries again.
    pub backoff_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 50, heartbeat_timeout_ms: 400, step_down_ms: 1_000, candidacy_ms: 2_000, backoff_ms: 100 }
    }
}

/// What bounds the replica's batches and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries in one batch, on the wire and in one transaction.
    pub batch_entries: usize,
    /// Entries above the commit index at which a leader takes no more proposals.
    pub tail_entries: usize,
    /// Committed entries kept in memory for followers that are a little behind and for repeated requests.
    pub cached_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { batch_entries: 4_096, tail_entries: 16_384, cached_entries: 8_192 }
    }
}

/// What a node's ledger holds when it starts.
#[derive(Clone, Debug)]
pub struct ReplicaStart {
    /// The ledger file.
    pub store_id: StoreId,
    /// The highest promise.
    pub promise: Option<Promise>,
    /// Durable lower bound of the commit index; at most `last.index`.
    pub commit_index: LogIndex,
    /// End of the log.
    pub last: Position,
    /// Every epoch in the log with its first index, oldest first.
    pub spans: Vec<EpochSpan>,
    /// Every configuration in the log with its index, oldest first.
    pub configurations: Vec<(LogIndex, Configuration)>,
    /// The last entries of the log, consecutive up to `last`: at least the last one and all above `commit_index`.
    pub tail: Vec<Arc<Entry>>,
}
