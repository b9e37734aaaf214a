//! A node's status as its API shows it.

use crate::runtime::{ClockStatus, FollowerStatus, NodeStatus, PeerStatus, Role};
use quorapay_api::{ClockReport, ConfigurationView, FollowerProgress, NodeReport, NodeRole, NodeView, VoterView};
use quorapay_core::replication::{Configuration, Voter};

/// What a node is doing.
pub(in crate::http) const fn node_role(role: Role) -> NodeRole {
    match role {
        Role::Leader => NodeRole::Leader,
        Role::Recovering => NodeRole::Recovering,
        Role::Follower => NodeRole::Follower,
        Role::Learner => NodeRole::Learner,
        Role::Quarantined => NodeRole::Quarantined,
    }
}

/// A node as it answered, or did not.
pub(in crate::http) fn node_view(peer: PeerStatus) -> NodeView {
    let PeerStatus { node_id, peer_url, status } = peer;
    NodeView { node_id, peer_url, reachable: status.is_some(), status: status.map(node_report) }
}

fn node_report(status: NodeStatus) -> NodeReport {
    NodeReport {
        node_id: status.node_id,
        store_id: status.store_id,
        cluster_id: status.cluster_id,
        role: node_role(status.role),
        epoch: status.epoch,
        promised_epoch: status.promised_epoch,
        leader: status.leader,
        last_index: status.last_index,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        applied_timestamp: status.applied_timestamp,
        projected_index: status.projected_index,
        staleness_ms: status.staleness_ms,
        zookeeper_connected: status.zookeeper_connected,
        elections_won: status.elections_won,
        quarantine: status.quarantine,
        followers: status.followers.into_iter().map(|(node, follower)| (node, progress(&follower))).collect(),
        configuration: status.configuration.map(configuration_view),
        clocks: status.clocks.into_iter().map(|(node, clock)| (node, clock_report(clock))).collect(),
        corrected_clock: status.corrected_clock,
        corrected_clock_error_ms: status.corrected_clock_error_ms,
        time_error_ms: status.time_error_ms,
        wall_clock: status.wall_clock,
        rule_version: status.rule_version,
        newest_rule_version: status.newest_rule_version,
        client_url: status.client_url,
        peer_url: status.peer_url,
        version: status.version,
    }
}

const fn progress(follower: &FollowerStatus) -> FollowerProgress {
    let FollowerStatus { matched_index, lag, reachable, voter } = *follower;
    FollowerProgress { matched_index, lag, reachable, voter }
}

const fn clock_report(clock: ClockStatus) -> ClockReport {
    let ClockStatus { offset_us, error_us, drift_ppb, falseticker } = clock;
    ClockReport { offset_us, error_us, drift_ppb, falseticker }
}

fn configuration_view(configuration: Configuration) -> ConfigurationView {
    let view = |voter: Voter| VoterView { store_id: voter.store_id, peer_url: voter.peer_url };
    ConfigurationView { voters: configuration.voters.into_iter().map(|(node, voter)| (node, view(voter))).collect() }
}
