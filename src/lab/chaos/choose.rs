//! What a drawn fault does to which process or link. Pure: it decides, others act.

use std::time::Duration;

use super::kind::FaultKind;
use super::nemesis::DrawnFault;
use crate::fault::{Endpoint, FailedSyncs, FaultAction, LinkFault, LinkState, SyncToDieAt, Topology, describe_all};
use crate::random::Random;

/// Time between the kill and the start of all nodes.
const RESTART_DURATION: Duration = Duration::from_millis(300);

/// How long one direction fails: longer than the payments should take to succeed again meanwhile.
const ONE_WAY_DURATION: Duration = Duration::from_secs(8);

/// The last of the next syncs at which a node is killed or fails. Under the standard load it comes within a second.
const LAST_SYNC: u64 = 40;

impl FaultAction {
    /// Chooses the target and the duration of a drawn fault. `session` is the timeout of the nodes' ZooKeeper sessions.
    pub(super) fn choose(draw: &DrawnFault, topology: Topology, session: Duration) -> (Self, Duration) {
        let mut random = Random::new(draw.seed);
        let any = random.index(topology.nodes);
        let follower = (topology.leader + 1 + random.index(topology.nodes.max(2) - 1)) % topology.nodes;
        let action = match draw.kind {
            FaultKind::KillLeader => Self::Kill(vec![topology.leader]),
            FaultKind::KillFollower => Self::Kill(vec![follower]),
            FaultKind::PauseLeader => Self::Pause(vec![topology.leader]),
            FaultKind::PauseFollower => Self::Pause(vec![follower]),
            FaultKind::RestartAll => Self::Kill((0..topology.nodes).collect()),
            FaultKind::PartitionLeader => Self::isolate(&[topology.leader], topology, random.chance(500)),
            FaultKind::PartitionMinority => {
                Self::isolate(&minority(&mut random, topology), topology, random.chance(250))
            }
            FaultKind::PartitionOneWay => Self::one_way(any, topology, random.chance(500)),
            FaultKind::PartitionLink => Self::link(draw.turn, topology),
            FaultKind::PartitionZookeeper => Self::from_zookeeper(leader_or_any(&mut random, topology), topology),
            FaultKind::SessionExpiry => Self::from_zookeeper(any, topology),
            FaultKind::Delay => Self::delay(random.between(5, 40), topology),
            FaultKind::Loss => Self::lose(u16::try_from(random.between(10, 80)).expect("at most 80"), topology),
            FaultKind::DiskFull => Self::FillDisk(leader_or_any(&mut random, topology)),
            FaultKind::FsyncError => Self::FailSync(leader_or_any(&mut random, topology), failed_syncs(&mut random)),
            FaultKind::KillAtSync => Self::kill_at_sync(leader_or_any(&mut random, topology), &mut random),
            FaultKind::PowerLoss => Self::power_loss(draw.turn, &mut random, topology),
            FaultKind::ClockStep => {
                Self::StepClock(leader_or_any(&mut random, topology), signed(&mut random, 30, 7_200))
            }
            FaultKind::ClockDrift => {
                Self::DriftClock(leader_or_any(&mut random, topology), signed(&mut random, 50, 500))
            }
            FaultKind::ZookeeperServer => Self::KillZooKeeper(vec![random.index(topology.zookeepers)]),
            FaultKind::ZookeeperAll => Self::KillZooKeeper((0..topology.zookeepers).collect()),
            FaultKind::ZookeeperWiped => Self::WipeZooKeeper,
            FaultKind::DiskWiped => Self::WipeDisk(any),
            FaultKind::BitFlip => Self::FlipBit(any, random.next()),
        };
        let duration = match draw.kind {
            // The client's clock counts a session as expired a third after its timeout; the rest is a margin.
            FaultKind::SessionExpiry => session * 8 / 5,
            FaultKind::PartitionLink => ONE_WAY_DURATION,
            // Nothing can be observed while no node runs, or no majority.
            FaultKind::RestartAll => RESTART_DURATION,
            FaultKind::PowerLoss if action.unavailable_nodes().len() > topology.tolerated() => RESTART_DURATION,
            _ => draw.duration,
        };
        (action, duration)
    }

    /// In turn: every ordered pair of nodes for packets, then for connections, then all connections to the leader, then all
    /// from it.
    fn link(turn: usize, topology: Topology) -> Self {
        let Topology { nodes, leader, .. } = topology;
        // In the order of their distance from the leader, so that the turns mean the same whoever leads.
        let node = |distance: usize| (leader + distance) % nodes;
        let followers: Vec<usize> = (1..nodes).map(node).collect();
        let pairs: Vec<(usize, usize)> = (0..nodes)
            .flat_map(|from| (0..nodes).map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
            .map(|(from, to)| (node(from), node(to)))
            .collect();
        let forms = 2 * pairs.len() + 2;
        match turn % forms {
            turn if turn == forms - 2 => {
                Self::one_direction(&followers, &[leader], LinkState::Unconnectable, "nobody connects to the leader")
            }
            turn if turn == forms - 1 => {
                Self::one_direction(&[leader], &followers, LinkState::Unconnectable, "the leader connects to nobody")
            }
            turn => {
                let (from, to) = pairs[turn % pairs.len()];
                let packets = turn < pairs.len();
                let form = match (packets, from == leader, to == leader) {
                    (true, true, _) => "packets, leader to follower",
                    (true, _, true) => "packets, follower to leader",
                    (true, ..) => "packets, follower to follower",
                    (false, true, _) => "connections, leader to follower",
                    (false, _, true) => "connections, follower to leader",
                    (false, ..) => "connections, follower to follower",
                };
                let state = if packets { LinkState::Cut } else { LinkState::Unconnectable };
                Self::one_direction(&[from], &[to], state, form)
            }
        }
    }

    fn one_direction(from: &[usize], to: &[usize], state: LinkState, form: &'static str) -> Self {
        let ends = from.iter().flat_map(|from| to.iter().map(|to| (Endpoint::Node(*from), Endpoint::Node(*to))));
        let target = format!("{form}: {} to {}", describe_all("node", from), describe_all("node", to));
        // One side is a single node; without it the others are a majority.
        let isolated = if from.len() == 1 { from } else { to };
        // A node with one broken link has links with the others. If no other was left, it would be cut off.
        let cut_off = (from.len() != to.len()).then(|| isolated[0]);
        let (links, isolated, form) = (ends.collect(), isolated.to_vec(), Some(form));
        Self::Links(LinkFault { links, state, isolated, target, form, cut_off })
    }

    fn kill_at_sync(node: usize, random: &mut Random) -> Self {
        let at = random.between(1, LAST_SYNC);
        Self::KillAtSync(node, if random.chance(300) { SyncToDieAt::Held } else { SyncToDieAt::Next(at) })
    }

    /// One node, then two, and so on up to all.
    fn power_loss(turn: usize, random: &mut Random, topology: Topology) -> Self {
        let mut nodes: Vec<usize> = (0..topology.nodes).collect();
        random.shuffle(&mut nodes);
        nodes.truncate(1 + turn % topology.nodes);
        nodes.sort_unstable();
        Self::PowerLoss(nodes)
    }

    /// Whether two actions may overlap. Together they must leave a majority of working nodes, so that no acknowledged entry
    /// depends on a node that lost it, and they must not affect the same node or both affect ZooKeeper. A power loss may
    /// take the majority away for a moment, also while another node's disk fails: every other copy is as good as before.
    pub(super) fn is_compatible_with(&self, other: &Self, topology: Topology) -> bool {
        let (mine, theirs) = (self.unavailable_nodes(), other.unavailable_nodes());
        let working = mine.len() + theirs.len() <= topology.tolerated();
        let disk_and_power = |one: &Self, two: &Self| one.keeps_what_was_synced() && two.ends_node().is_some();
        let on_links = |action: &Self| matches!(action, Self::Links(_));
        let at_zookeeper = |action: &Self| matches!(action, Self::KillZooKeeper(_) | Self::WipeZooKeeper);
        let at_clock = |action: &Self| matches!(action, Self::StepClock(..) | Self::DriftClock(..));
        mine.is_disjoint(&theirs)
            && (working || disk_and_power(self, other) || disk_and_power(other, self))
            && !(on_links(self) && on_links(other))
            && !(at_zookeeper(self) && at_zookeeper(other))
            && !(at_clock(self) && at_clock(other))
            && !(self.loses_data() && other.loses_data())
    }
}

fn failed_syncs(random: &mut Random) -> FailedSyncs {
    let at = random.between(1, LAST_SYNC);
    if random.chance(300) { FailedSyncs::All } else { FailedSyncs::One(at) }
}

fn minority(random: &mut Random, topology: Topology) -> Vec<usize> {
    let mut nodes: Vec<usize> = (0..topology.nodes).collect();
    random.shuffle(&mut nodes);
    nodes.truncate(1 + random.index(((topology.nodes - 1) / 2).max(1)));
    nodes
}

/// The leader in 700 of 1,000 cases, else any node. The leader matters most: its clock stamps the entries, its disk is
/// written first, its session holds the leadership.
fn leader_or_any(random: &mut Random, topology: Topology) -> usize {
    let any = random.index(topology.nodes);
    if random.chance(700) { topology.leader } else { any }
}

fn signed(random: &mut Random, low: u64, high: u64) -> i64 {
    let size = i64::try_from(random.between(low, high)).expect("the bounds are small");
    if random.chance(500) { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(3);
    const THREE: Topology = Topology { nodes: 3, zookeepers: 3, leader: 1 };
    const FIVE: Topology = Topology { nodes: 5, zookeepers: 3, leader: 4 };

    fn action(kind: FaultKind, seed: u64, topology: Topology) -> FaultAction {
        FaultAction::choose(&DrawnFault { kind, seed, turn: 0, duration: Duration::ZERO }, topology, SESSION).0
    }

    #[test]
    fn a_fault_of_the_leader_hits_it_and_a_fault_of_a_follower_does_not() {
        for seed in 0..200 {
            for topology in [THREE, FIVE] {
                assert_eq!(action(FaultKind::KillLeader, seed, topology), FaultAction::Kill(vec![topology.leader]));
                assert_eq!(
                    action(FaultKind::PartitionLeader, seed, topology).unavailable_nodes(),
                    [topology.leader].into()
                );
                let FaultAction::Pause(paused) = action(FaultKind::PauseFollower, seed, topology) else {
                    panic!("a pause")
                };
                assert!(!paused.contains(&topology.leader) && paused.iter().all(|node| *node < topology.nodes));
            }
        }
    }

    #[test]
    fn a_partition_leaves_a_majority_together() {
        for seed in 0..500 {
            for topology in [THREE, FIVE] {
                for kind in [FaultKind::PartitionMinority, FaultKind::PartitionOneWay, FaultKind::PartitionLeader] {
                    let lost = action(kind, seed, topology).unavailable_nodes();
                    assert!(!lost.is_empty() && lost.len() <= (topology.nodes - 1) / 2, "{kind} loses {lost:?}");
                }
            }
        }
    }

    #[test]
    fn two_faults_at_once_leave_a_majority_and_at_most_one_lost_disk() {
        let mut together = 0;
        for seed in 0..40 {
            for topology in [THREE, FIVE] {
                for first in FaultKind::ALL.map(|kind| action(kind, seed, topology)) {
                    for second in FaultKind::ALL.map(|kind| action(kind, seed + 1, topology)) {
                        if first.is_compatible_with(&second, topology) {
                            together += 1;
                            let lost = first.unavailable_nodes().len() + second.unavailable_nodes().len();
                            let power_loss = [&first, &second].into_iter().any(FaultAction::keeps_what_was_synced);
                            assert!(lost <= (topology.nodes - 1) / 2 || power_loss, "{first:?} with {second:?}");
                            assert!(!(first.loses_data() && second.loses_data()));
                        }
                    }
                }
            }
        }
        assert!(together > 1_000, "some faults do go together: {together}");
    }

    #[test]
    fn every_direction_of_every_pair_fails_in_turn_for_packets_and_for_connections() {
        let link = |turn| match FaultAction::link(turn, THREE) {
            FaultAction::Links(fault) => (fault.links, fault.state),
            other => panic!("{other:?}"),
        };
        let all: Vec<_> = (0..14).map(link).collect();
        for state in [LinkState::Cut, LinkState::Unconnectable] {
            let single: Vec<_> = all.iter().filter(|(links, of)| *of == state && links.len() == 1).collect();
            assert_eq!(single.len(), 6, "{state:?}");
        }
        let [node1, node2, node3] = [0, 1, 2].map(Endpoint::Node);
        assert_eq!(all[12].0, [(node3, node2), (node1, node2)], "node2 leads");
        assert_eq!(all[13].0, [(node2, node3), (node2, node1)]);
        assert_eq!(link(14), all[0]);
        assert_eq!(FaultAction::link(0, THREE).target(), "packets, leader to follower: node2 to node3");
    }

    #[test]
    fn the_power_fails_for_one_node_then_for_two_and_so_on_up_to_all() {
        let lost = |turn| FaultAction::power_loss(turn, &mut Random::new(9), FIVE).unavailable_nodes().len();
        assert_eq!((0..7).map(lost).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 1, 2]);
    }

    #[test]
    fn a_disk_may_fail_while_the_power_of_other_nodes_does_but_not_on_the_same_node() {
        let failed = FaultAction::FailSync(0, FailedSyncs::One(3));
        assert!(failed.is_compatible_with(&FaultAction::PowerLoss(vec![1, 2]), THREE));
        assert!(FaultAction::PowerLoss(vec![2]).is_compatible_with(&failed, THREE));
        assert!(!failed.is_compatible_with(&FaultAction::PowerLoss(vec![0]), THREE));
        assert!(!FaultAction::PowerLoss(vec![1]).is_compatible_with(&FaultAction::WipeDisk(0), THREE));
    }

    #[test]
    fn a_session_expiry_lasts_longer_than_the_session_timeout() {
        let draw = DrawnFault { kind: FaultKind::SessionExpiry, seed: 1, turn: 0, duration: Duration::from_secs(1) };
        let (_, duration) = FaultAction::choose(&draw, THREE, SESSION);
        assert!(duration > SESSION.mul_f64(1.4), "{duration:?}");
    }
}
