//! Values that several tests of this layer share.

use crate::replication::{Epoch, LogIndex, NodeId, StoreId, Timestamp};
use crate::runtime::{FollowerStatus, NodeStatus, Role};

pub(super) fn node(id: &str) -> NodeId {
    NodeId::parse(id).expect("valid")
}

/// A healthy leader with one follower.
pub(super) fn status() -> NodeStatus {
    let follower = FollowerStatus { matched_index: LogIndex(37), lag: 5, reachable: true, voter: true };
    NodeStatus {
        node_id: node("node1"),
        store_id: StoreId(1),
        cluster_id: "quorapay".to_owned(),
        role: Role::Leader,
        epoch: Epoch(3),
        promised_epoch: Epoch(3),
        leader: Some(node("node1")),
        last_index: LogIndex(42),
        commit_index: LogIndex(41),
        applied_index: LogIndex(41),
        applied_timestamp: Timestamp(1_700_000_000_000),
        projected_index: LogIndex(10),
        staleness_ms: 0,
        zookeeper_connected: true,
        elections_won: 2,
        quarantine: None,
        followers: [(node("node2"), follower)].into(),
        configuration: None,
        client_url: "http://127.0.0.1:7101".to_owned(),
        peer_url: "http://127.0.0.1:7201".to_owned(),
        version: "0.1.0".to_owned(),
    }
}
