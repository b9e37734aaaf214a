//! What the coordination reports to the runtime, and why it may end.

use quorapay_core::replication::{CoordinationEvent, NodeId};

/// A report to the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinationNotice {
    /// An event for the replica.
    Event(CoordinationEvent),
    /// Whether there is a connected session; for readiness and metrics.
    Connected(bool),
    /// The coordination has ended because retrying cannot help. No notice follows.
    Fatal(CoordinationError),
}

/// Why this node cannot take part in elections until an operator acts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinationError {
    /// Another process uses the node id.
    #[error("another process runs as {node} at {url}; stop it or choose another node_id")]
    DuplicateNode {
        /// The node id.
        node: NodeId,
        /// The peer URL of the other process.
        url: String,
    },
    /// ZooKeeper does not accept the credential, or the znodes belong to another one.
    #[error("ZooKeeper refuses access to {path}: it belongs to another credential, or none is set")]
    AccessRefused {
        /// The znode.
        path: String,
    },
    /// The chroot in the list of servers does not exist.
    #[error("the chroot of the ZooKeeper servers '{servers}' does not exist; create it or leave it out")]
    NoChroot {
        /// The setting.
        servers: String,
    },
    /// The list of servers cannot be read.
    #[error("the ZooKeeper servers '{servers}' are not host:port,host:port with an optional /chroot: {reason}")]
    BadServers {
        /// The setting.
        servers: String,
        /// What is wrong with it.
        reason: String,
    },
}
