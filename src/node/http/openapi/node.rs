//! The cluster and its nodes as callers see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::NodeIdText;

/// Who is to lead.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TransferWish {
    /// Whoever is fit if absent.
    pub(super) to: Option<NodeIdText>,
}

/// Who leads now.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TransferDone {
    pub(super) leader: NodeIdText,
}

/// What a node is doing.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum RoleWord {
    /// Leads and takes payments.
    Leader,
    /// Won an epoch and is recovering the log; takes no payments yet.
    Recovering,
    /// Follows a leader, or waits for one.
    Follower,
    /// Receives entries but does not vote.
    Learner,
    /// Its ledger is damaged: it neither votes nor answers.
    Quarantined,
}

/// What the leader knows of another node.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FollowerView {
    /// Highest index known to be durable there and equal to the leader's.
    pub(super) matched_index: u64,
    /// How many entries it is behind.
    pub(super) lag: u64,
    pub(super) reachable: bool,
    pub(super) voter: bool,
}

/// A store that votes.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct VoterView {
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(super) store_id: String,
    pub(super) peer_url: String,
}

/// Who votes.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConfigurationView {
    pub(super) voters: BTreeMap<String, VoterView>,
}

/// A node's account of itself.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NodeView {
    pub(super) node_id: NodeIdText,
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(super) store_id: String,
    pub(super) cluster_id: String,
    pub(super) role: RoleWord,
    /// The epoch that it leads or follows; 0 before the first.
    pub(super) epoch: u64,
    pub(super) promised_epoch: u64,
    pub(super) leader: Option<NodeIdText>,
    /// End of its log.
    pub(super) last_index: u64,
    /// Highest index known to be on a quorum.
    pub(super) commit_index: u64,
    /// Highest index that reads here show.
    pub(super) applied_index: u64,
    /// Milliseconds since the Unix epoch.
    pub(super) applied_timestamp: u64,
    /// Highest index in the views; younger entries are answered from memory and the ledger.
    pub(super) projected_index: u64,
    /// How old a local read may be.
    pub(super) staleness_ms: u64,
    pub(super) zookeeper_connected: bool,
    /// Since it started.
    pub(super) elections_won: u64,
    /// Why the node quarantined itself, if it did.
    pub(super) quarantine: Option<String>,
    /// At the leader: each other node's progress.
    pub(super) followers: BTreeMap<String, FollowerView>,
    pub(super) configuration: Option<ConfigurationView>,
    /// What its wall clock said at that moment, in milliseconds since the Unix epoch.
    pub(super) wall_clock: u64,
    pub(super) client_url: String,
    pub(super) peer_url: String,
    pub(super) version: String,
}

/// A node as it answered, or did not.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ClusterNode {
    pub(super) node_id: NodeIdText,
    pub(super) peer_url: String,
    pub(super) reachable: bool,
    pub(super) status: Option<NodeView>,
}

/// All nodes.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ClusterView {
    /// The node that answers.
    pub(super) node_id: NodeIdText,
    pub(super) leader: Option<NodeIdText>,
    pub(super) epoch: u64,
    pub(super) nodes: Vec<ClusterNode>,
}

/// The metrics as numbers by name.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Numbers {
    pub(super) node_id: NodeIdText,
    /// What only grows, with the route and the status of the requests counted.
    pub(super) counters: BTreeMap<String, u64>,
    /// What goes up and down.
    pub(super) gauges: BTreeMap<String, f64>,
    /// How long requests took, by route.
    pub(super) timers: BTreeMap<String, Timer>,
}

/// How long requests took, in seconds, read from a histogram.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Timer {
    pub(super) count: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
}

/// The process answers.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Alive {
    #[schema(example = "alive")]
    pub(super) status: String,
    pub(super) node_id: NodeIdText,
}

/// A write or a linearizable read sent to this node now would be answered.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Ready {
    #[schema(example = "ready")]
    pub(super) status: String,
    pub(super) node_id: NodeIdText,
    pub(super) role: RoleWord,
    pub(super) leader: Option<NodeIdText>,
    /// `connected` or `disconnected`. Without ZooKeeper elections stop, payments do not.
    pub(super) zookeeper: String,
}
