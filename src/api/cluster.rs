//! The nodes: what each says of itself, and the hand-over of leadership.

use std::borrow::Cow;
use std::collections::BTreeMap;

use quorapay_core::domain::{Epoch, LogIndex, RuleVersion, Timestamp};
use quorapay_core::replication::{NodeId, StoreId};
use serde::{Deserialize, Serialize};

#[cfg(feature = "openapi")]
use crate::schema::NodeIdText;
use crate::wire_enum::wire_enum;

/// Who is to lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TransferWish))]
pub struct LeadershipTransfer {
    /// Whoever is fit if absent.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<NodeIdText>))]
    pub to: Option<NodeId>,
}

/// Who leads now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TransferDone))]
pub struct NewLeader {
    /// The node that leads.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub leader: NodeId,
}

wire_enum! {
    /// What a node is doing.
    NodeRole as "RoleWord" {
        /// Leads and takes payments.
        Leader = "leader",
        /// Won an epoch and is recovering the log; takes no payments yet.
        Recovering = "recovering",
        /// Follows a leader, or waits for one.
        Follower = "follower",
        /// Receives entries but does not vote.
        Learner = "learner",
        /// Its ledger is damaged: it neither votes nor answers.
        Quarantined = "quarantined",
    }
}

/// What the leader knows of another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = FollowerView))]
pub struct FollowerProgress {
    /// Highest index known to be durable there and equal to the leader's.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub matched_index: LogIndex,
    /// How many entries it is behind.
    pub lag: u64,
    /// Whether it answered within the heartbeat timeout.
    pub reachable: bool,
    /// Whether its store is in the configuration.
    pub voter: bool,
}

/// What a node knows of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClockReport {
    /// How far it is ahead of the time that a majority shows, in microseconds; `null` while no majority agrees.
    pub offset_us: Option<i64>,
    /// How far that can be from the offset from true time, in microseconds.
    pub error_us: Option<i64>,
    /// How much faster than the others it runs, in parts per billion; `null` until that is known.
    pub drift_ppb: Option<i64>,
    /// Whether it is judged false: a majority of clocks contradicts it.
    pub falseticker: bool,
}

/// A store that votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VoterView {
    /// The ledger file that counts.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{32}$"))]
    pub store_id: StoreId,
    /// Where its peers reach it.
    pub peer_url: String,
}

/// Who votes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ConfigurationView {
    /// The voters by node id.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, VoterView>))]
    pub voters: BTreeMap<NodeId, VoterView>,
}

/// A node's account of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = NodeView))]
pub struct NodeReport {
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: NodeId,
    /// Its ledger file.
    #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[0-9a-f]{32}$"))]
    pub store_id: StoreId,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// What it is doing.
    pub role: NodeRole,
    /// The epoch that it leads or follows; 0 before the first.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// The highest epoch that it has promised.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub promised_epoch: Epoch,
    /// The leader, as far as it knows.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<NodeIdText>))]
    pub leader: Option<NodeId>,
    /// End of its log.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub last_index: LogIndex,
    /// Highest index known to be on a quorum.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub commit_index: LogIndex,
    /// Highest index that reads here show.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub applied_index: LogIndex,
    /// Milliseconds since the Unix epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub applied_timestamp: Timestamp,
    /// Highest index in the views; younger entries are answered from memory and the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub projected_index: LogIndex,
    /// How old a local read may be.
    pub staleness_ms: u64,
    /// Whether its ZooKeeper session is connected.
    pub zookeeper_connected: bool,
    /// Since it started.
    pub elections_won: u64,
    /// Why the node quarantined itself, if it did.
    pub quarantine: Option<String>,
    /// At the leader: each other node's progress.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, FollowerProgress>))]
    pub followers: BTreeMap<NodeId, FollowerProgress>,
    /// Who votes, as its log says.
    pub configuration: Option<ConfigurationView>,
    /// What it knows of all nodes' wall clocks, its own among them.
    #[cfg_attr(feature = "openapi", schema(value_type = BTreeMap<String, ClockReport>))]
    pub clocks: BTreeMap<NodeId, ClockReport>,
    /// Its corrected clock, in milliseconds since the Unix epoch: it follows what a majority of clocks shows and never goes
    /// back. `null` while no majority agrees.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>))]
    pub corrected_clock: Option<Timestamp>,
    /// How far the true time can be from the corrected clock, in milliseconds, while a majority of clocks is right.
    pub corrected_clock_error_ms: Option<u64>,
    /// How far the true time can be from the timestamps that the leader gives now, in milliseconds.
    pub time_error_ms: Option<u64>,
    /// What its wall clock said at that moment, in milliseconds since the Unix epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub wall_clock: Timestamp,
    /// The version of the rules by which entries are decided at the end of its log.
    #[cfg_attr(feature = "openapi", schema(value_type = u32))]
    pub rule_version: RuleVersion,
    /// The newest rules that its program knows.
    #[cfg_attr(feature = "openapi", schema(value_type = u32))]
    pub newest_rule_version: RuleVersion,
    /// Where clients reach it.
    pub client_url: String,
    /// Where its peers reach it.
    pub peer_url: String,
    /// Version of its program.
    pub version: String,
}

/// A node as it answered, or did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ClusterNode))]
pub struct NodeView {
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: NodeId,
    /// Where its peers reach it.
    pub peer_url: String,
    /// Whether it answered the node that was asked.
    pub reachable: bool,
    /// What it said of itself, if it answered.
    pub status: Option<NodeReport>,
}

/// All nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterView {
    /// The node that answers.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: NodeId,
    /// The leader, as far as it knows.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<NodeIdText>))]
    pub leader: Option<NodeId>,
    /// The epoch that it leads or follows.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// Every node.
    pub nodes: Vec<NodeView>,
}

/// The process answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alive {
    /// Always `alive`.
    #[cfg_attr(feature = "openapi", schema(example = "alive"))]
    pub status: Cow<'static, str>,
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: NodeId,
}

/// A write or a linearizable read sent to this node now would be answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Ready))]
pub struct Readiness {
    /// Always `ready`; a node that is not answers with a problem.
    #[cfg_attr(feature = "openapi", schema(example = "ready"))]
    pub status: Cow<'static, str>,
    /// The node.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub node_id: NodeId,
    /// What it is doing.
    pub role: NodeRole,
    /// The leader that it follows, or itself.
    #[cfg_attr(feature = "openapi", schema(value_type = NodeIdText))]
    pub leader: NodeId,
    /// `connected` or `disconnected`. Without ZooKeeper elections stop, payments do not.
    pub zookeeper: Cow<'static, str>,
}
