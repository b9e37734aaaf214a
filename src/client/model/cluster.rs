//! Nodes as they answer for themselves and for the cluster.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::NodeId;

/// What a node is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// Leads and takes payments.
    Leader,
    /// Won an epoch and is recovering the log.
    Recovering,
    /// Follows a leader, or waits for one.
    Follower,
    /// Receives entries but does not vote.
    Learner,
    /// Its ledger is damaged.
    Quarantined,
    /// A role that this client does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leader => "leader",
            Self::Recovering => "recovering",
            Self::Follower => "follower",
            Self::Learner => "learner",
            Self::Quarantined => "quarantined",
            Self::Other => "other",
        })
    }
}

/// What the leader knows of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerProgress {
    /// Highest index known to be durable there and equal to the leader's.
    pub matched_index: LogIndex,
    /// How many entries it is behind.
    pub lag: u64,
}

/// A node's account of itself, as far as clients show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// What it is doing.
    pub role: NodeRole,
    /// The epoch that it leads or follows.
    pub epoch: Epoch,
    /// End of its log.
    pub last_index: LogIndex,
    /// Highest index known to be on a quorum.
    pub commit_index: LogIndex,
    /// Highest index that reads there show.
    pub applied_index: LogIndex,
    /// Whether its ZooKeeper session is connected.
    pub zookeeper_connected: bool,
    /// Why it quarantined itself, if it did.
    #[serde(default)]
    pub quarantine: Option<String>,
    /// At the leader: each peer's progress.
    #[serde(default)]
    pub followers: BTreeMap<NodeId, FollowerProgress>,
    /// Where clients reach it.
    pub client_url: String,
    /// Version of its program.
    pub version: String,
}

/// One node of `GET /v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    pub node_id: NodeId,
    /// Where its peers reach it.
    pub peer_url: String,
    /// Whether it answered the node that was asked.
    pub reachable: bool,
    /// Its own account, if it answered.
    pub status: Option<NodeReport>,
}

/// The answer of `GET /readyz` from a node that can serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Always `ready`; a node that is not answers with a problem.
    pub status: String,
    /// The node that answered.
    pub node_id: NodeId,
    /// What it is doing.
    pub role: NodeRole,
    /// The leader that it follows, or itself.
    pub leader: NodeId,
    /// `connected` or `disconnected`.
    pub zookeeper: String,
}

/// The answer of `GET /v1/cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterView {
    /// The node that answered.
    pub node_id: NodeId,
    /// The leader, as far as it knows.
    pub leader: Option<NodeId>,
    /// The epoch that it follows.
    pub epoch: Epoch,
    /// Every node.
    pub nodes: Vec<NodeView>,
}
