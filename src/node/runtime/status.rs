//! The status of a node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use quorapay_core::domain::{Epoch, LogIndex, RuleVersion, Timestamp};
use quorapay_core::engine::Engine;
use quorapay_core::replication::{ClockView, Configuration, FollowerView, NodeId, Now, Replica, StoreId};

/// A node's part in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Leads and takes payments.
    Leader,
    /// Won an epoch and is recovering the log; takes no payments yet.
    Recovering,
    /// Follows a leader, or waits for one.
    Follower,
    /// Receives entries but does not vote: its store is not in the configuration.
    Learner,
    /// Its ledger is damaged: it neither votes nor answers.
    Quarantined,
}

/// The status of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's id.
    pub node_id: NodeId,
    /// The id of its ledger file.
    pub store_id: StoreId,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// Its part in the cluster.
    pub role: Role,
    /// The epoch that it leads or follows; 0 before the first.
    pub epoch: Epoch,
    /// The highest epoch that it has promised.
    pub promised_epoch: Epoch,
    /// The leader, as far as it knows, if one was heard within the heartbeat timeout.
    pub leader: Option<NodeId>,
    /// End of its log.
    pub last_index: LogIndex,
    /// Highest index known to be on a quorum.
    pub commit_index: LogIndex,
    /// Highest index that reads here show: committed and in this node's ledger.
    pub applied_index: LogIndex,
    /// Timestamp of the entry at `applied_index`.
    pub applied_timestamp: Timestamp,
    /// Highest index in the views; younger entries are answered from memory and the ledger.
    pub projected_index: LogIndex,
    /// Idempotency keys of the applied entries above `projected_index`.
    #[serde(default)]
    pub views_lag_keys: u64,
    /// The approximate size of these entries.
    #[serde(default)]
    pub views_lag_bytes: u64,
    /// How far the views are, if they are damaged and are made anew.
    #[serde(default)]
    pub views_rebuilding: Option<ViewsRebuilding>,
    /// Milliseconds since a leader confirmed this node's commit index: how old a local read may be. 0 at the leader.
    pub staleness_ms: u64,
    /// Whether the ZooKeeper session is connected.
    pub zookeeper_connected: bool,
    /// Elections that this node has won since it started.
    pub elections_won: u64,
    /// Why the node quarantined itself, if it did.
    pub quarantine: Option<String>,
    /// For how long the write to its ledger in flight has been so, if that is longer than a working disk takes.
    #[serde(default)]
    pub hung_write_ms: Option<u64>,
    /// Whether it stays in quarantine until an operator acts, because it has repaired itself within the last hour.
    #[serde(default)]
    pub stays_quarantined: bool,
    /// At the leader: each peer's progress.
    pub followers: BTreeMap<NodeId, FollowerStatus>,
    /// Who votes, as this node's log says; `None` before the first configuration.
    pub configuration: Option<Configuration>,
    /// What it knows of all nodes' wall clocks, its own among them.
    #[serde(default)]
    pub clocks: BTreeMap<NodeId, ClockStatus>,
    /// Its corrected clock, which follows what a majority of clocks shows and never goes back; `None` while no majority
    /// agrees.
    #[serde(default)]
    pub corrected_clock: Option<Timestamp>,
    /// How far the true time can be from the corrected clock, in milliseconds.
    #[serde(default)]
    pub corrected_clock_error_ms: Option<u64>,
    /// How far the true time can be from the stamps that the leader of the epoch gives, in milliseconds.
    #[serde(default)]
    pub time_error_ms: Option<u64>,
    /// Its wall clock at that moment.
    #[serde(default)]
    pub wall_clock: Timestamp,
    /// The rules in force at the end of its log.
    #[serde(default)]
    pub rule_version: RuleVersion,
    /// The newest rules that its program knows.
    #[serde(default)]
    pub newest_rule_version: RuleVersion,
    /// The URL at which clients reach the node.
    pub client_url: String,
    /// The URL at which its peers reach the node.
    pub peer_url: String,
    /// Version of the program.
    pub version: String,
}

/// What a node knows of a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// How far it is ahead of the time that a majority shows, in microseconds; `None` while no majority agrees.
    pub offset_us: Option<i64>,
    /// How far that can be from the offset from true time.
    pub error_us: Option<i64>,
    /// How much faster than the others it runs, in parts per billion; `None` until that is known.
    pub drift_ppb: Option<i64>,
    /// Whether it is judged false.
    pub falseticker: bool,
}

/// How far views are that are made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewsRebuilding {
    /// Highest index that they hold again.
    pub projected_index: LogIndex,
    /// Highest index that they held before: until they hold it again they are not read.
    pub until_index: LogIndex,
}

/// A follower as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerStatus {
    /// Highest index known to be durable there and equal to the leader's.
    pub matched_index: LogIndex,
    /// How many entries it is behind.
    pub lag: u64,
    /// Whether it answered within the heartbeat timeout.
    pub reachable: bool,
    /// Whether its store is in the configuration.
    pub voter: bool,
}

/// One row of `GET /v1/cluster`: a node with its status, if it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The node.
    pub node_id: NodeId,
    /// The URL at which its peers reach it.
    pub peer_url: String,
    /// Its status, if it answered in time.
    pub status: Option<NodeStatus>,
}

/// The part of a status that the engine does not have.
#[derive(Clone, Debug)]
pub(super) struct StatusBase {
    pub(super) node_id: NodeId,
    pub(super) cluster_id: String,
    pub(super) client_url: String,
    pub(super) peer_url: String,
    pub(super) zookeeper_connected: bool,
    pub(super) stays_quarantined: bool,
    pub(super) views_rebuilding: Option<ViewsRebuilding>,
}

/// The status as of now.
pub(super) fn describe(engine: &Engine, base: &StatusBase, now: Now) -> NodeStatus {
    let replica = engine.replica();
    let applied_index = engine.applied_index();
    let last_index = replica.last().index;
    let follower = |FollowerView { node, matched, reachable, votes, .. }: FollowerView| {
        let lag = last_index.0.saturating_sub(matched.0);
        (node, FollowerStatus { matched_index: matched, lag, reachable, voter: votes })
    };
    let clock = |ClockView { node, offset_us, error_us, drift_ppb, falseticker }: ClockView| {
        (node, ClockStatus { offset_us, error_us, drift_ppb, falseticker })
    };
    let cluster_time = replica.cluster_time(now);
    let heard_ago = |heard: u64| now.monotonic_ms.saturating_sub(heard);
    NodeStatus {
        node_id: base.node_id.clone(),
        store_id: replica.store_id(),
        cluster_id: base.cluster_id.clone(),
        role: role(replica),
        epoch: replica.promised_epoch(),
        promised_epoch: replica.promised_epoch(),
        leader: replica.leader(now).cloned(),
        last_index,
        commit_index: replica.commit_index(),
        applied_index,
        applied_timestamp: replica.cached_entry(applied_index).map_or(Timestamp(0), |entry| entry.timestamp),
        projected_index: engine.projected_index(),
        views_lag_keys: engine.views_lag().keys,
        views_lag_bytes: engine.views_lag().bytes,
        views_rebuilding: base.views_rebuilding,
        staleness_ms: if replica.is_open() { 0 } else { replica.confirmed_ms().map_or(now.monotonic_ms, heard_ago) },
        zookeeper_connected: base.zookeeper_connected,
        elections_won: replica.elections_won(),
        quarantine: replica.quarantine().map(str::to_owned),
        hung_write_ms: replica.hung_write_ms(now),
        stays_quarantined: base.stays_quarantined,
        followers: replica.followers(now).into_iter().map(follower).collect(),
        configuration: replica.configuration().cloned(),
        clocks: replica.clocks(now).into_iter().map(clock).collect(),
        corrected_clock: cluster_time.map(|time| time.corrected),
        corrected_clock_error_ms: cluster_time.map(|time| time.error_ms),
        time_error_ms: replica.time_error_ms(),
        wall_clock: Timestamp(now.unix_ms),
        rule_version: replica.rules(),
        newest_rule_version: replica.newest_rules(),
        client_url: base.client_url.clone(),
        peer_url: base.peer_url.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn role(replica: &Replica) -> Role {
    if replica.quarantine().is_some() {
        Role::Quarantined
    } else if replica.is_open() {
        Role::Leader
    } else if replica.is_leader() || replica.is_candidate() {
        Role::Recovering
    } else if replica.configuration().is_some() && replica.is_voter() {
        Role::Follower
    } else {
        Role::Learner
    }
}
