//! What the coordination is started with.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use quorapay_core::replication::{NodeId, StoreId};

/// Where ZooKeeper is, and this node's identity and addresses.
#[derive(Clone, Debug)]
pub struct CoordinationConfig {
    /// `host:port,host:port`, with an optional `/chroot` at the end. The chroot must exist.
    pub servers: String,
    /// How long ZooKeeper keeps this node's znodes without hearing from it. The servers may negotiate another value.
    pub session_timeout: Duration,
    /// The parent of all znodes of this cluster.
    pub cluster_id: String,
    /// This node's id.
    pub node_id: NodeId,
    /// All nodes that this one knows by its settings, itself included. Places of others in the queue do not count.
    pub nodes: BTreeSet<NodeId>,
    /// The id of its ledger file.
    pub store_id: StoreId,
    /// The URL at which its peers reach it. The caller must be listening there before it starts the coordination:
    /// another process that registered the same address is taken to be dead, because the port is ours.
    pub peer_url: String,
    /// The URL at which clients reach it.
    pub client_url: String,
    /// If set, only clients with this credential may change the znodes; all nodes of a cluster share it.
    pub credential: Option<Credential>,
}

/// A name and a password for ZooKeeper's digest scheme.
#[derive(Clone)]
pub struct Credential {
    /// The name, without a colon.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("user", &self.user).finish_non_exhaustive()
    }
}
