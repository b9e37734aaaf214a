//! What a drawn fault does to which process or link. Pure: it decides, others act.

use std::collections::BTreeSet;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::kind::FaultKind;
use super::link_fault::{LinkFault, LinkState};
use super::nemesis::DrawnFault;
use crate::random::Random;

/// Time between the kill and the start of all nodes.
const RESTART_DURATION: Duration = Duration::from_millis(300);

/// The cluster at the moment when a fault is injected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topology {
    pub(super) nodes: usize,
    pub(super) zookeepers: usize,
    pub(super) leader: usize,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FaultAction {
    /// Kill these nodes.
    Kill(Vec<usize>),
    /// Stop these nodes with SIGSTOP.
    Pause(Vec<usize>),
    /// Change the state of some links.
    Links(LinkFault),
    /// Fill a node's disk.
    FillDisk(usize),
    /// Make a node's fsync calls fail.
    FailSync(usize),
    /// Set a node's wall clock off by this many seconds.
    StepClock(usize, i64),
    /// Make a node's wall clock gain this many milliseconds per second.
    DriftClock(usize, i64),
    /// Kill these ZooKeeper servers.
    KillZooKeeper(Vec<usize>),
    /// Kill all ZooKeeper servers and delete their data.
    WipeZooKeeper,
    /// Kill a node and delete its files.
    WipeDisk(usize),
    /// Stop a node and flip a bit of its ledger.
    FlipBit(usize, u64),
}

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
            FaultKind::PartitionZookeeper => Self::from_zookeeper(leader_or_any(&mut random, topology), topology),
            FaultKind::SessionExpiry => Self::from_zookeeper(any, topology),
            FaultKind::Delay => Self::delay(random.between(5, 40), topology),
            FaultKind::Loss => Self::lose(u16::try_from(random.between(10, 80)).expect("at most 80"), topology),
            FaultKind::DiskFull => Self::FillDisk(leader_or_any(&mut random, topology)),
            FaultKind::FsyncError => Self::FailSync(leader_or_any(&mut random, topology)),
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
            // Nothing can be observed while no node runs.
            FaultKind::RestartAll => RESTART_DURATION,
            _ => draw.duration,
        };
        (action, duration)
    }

    fn isolate(group: &[usize], topology: Topology, from_zookeeper_too: bool) -> Self {
        let rest: Vec<usize> = (0..topology.nodes).filter(|node| !group.contains(node)).collect();
        let mut links = Vec::new();
        for &inside in group {
            links.extend(rest.iter().flat_map(|&outside| both_ways(Endpoint::Node(inside), Endpoint::Node(outside))));
            if from_zookeeper_too {
                links.extend(zookeeper_links(inside, topology));
            }
        }
        let how = if from_zookeeper_too { "alone, without ZooKeeper" } else { "alone" };
        let target = format!("{} {how}", describe_all("node", group));
        Self::Links(LinkFault { links, state: LinkState::Cut, isolated: group.to_vec(), target })
    }

    fn one_way(number: usize, topology: Topology, outwards: bool) -> Self {
        let others = (0..topology.nodes).filter(|other| *other != number).map(Endpoint::Node);
        let node = Endpoint::Node(number);
        let links = others.map(|other| if outwards { (node, other) } else { (other, node) }).collect();
        let how = if outwards { "is not heard" } else { "hears nobody" };
        let target = format!("{} {how}", describe_all("node", &[number]));
        Self::Links(LinkFault { links, state: LinkState::Cut, isolated: vec![number], target })
    }

    fn from_zookeeper(node: usize, topology: Topology) -> Self {
        let target = format!("{} from ZooKeeper", describe_all("node", &[node]));
        Self::Links(LinkFault {
            links: zookeeper_links(node, topology),
            state: LinkState::Cut,
            isolated: Vec::new(),
            target,
        })
    }

    fn delay(min_ms: u64, topology: Topology) -> Self {
        let target = format!("all links, {min_ms} to {} ms", 2 * min_ms);
        Self::between_nodes(topology, LinkState::Delayed(Duration::from_millis(min_ms)), target)
    }

    fn lose(per_mille: u16, topology: Topology) -> Self {
        let target = format!("all links, {}.{} %", per_mille / 10, per_mille % 10);
        Self::between_nodes(topology, LinkState::Lossy(per_mille), target)
    }

    fn between_nodes(topology: Topology, state: LinkState, target: String) -> Self {
        let nodes = || (0..topology.nodes).map(Endpoint::Node);
        let links = nodes().flat_map(|from| nodes().map(move |to| (from, to))).filter(|(from, to)| from != to);
        Self::Links(LinkFault { links: links.collect(), state, isolated: Vec::new(), target })
    }

    /// The nodes that a majority cannot count on meanwhile.
    pub(super) fn unavailable_nodes(&self) -> BTreeSet<usize> {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) => nodes.iter().copied().collect(),
            Self::FillDisk(node) | Self::FailSync(node) | Self::WipeDisk(node) | Self::FlipBit(node, _) => {
                [*node].into()
            }
            Self::Links(fault) => fault.isolated.iter().copied().collect(),
            Self::StepClock(..) | Self::DriftClock(..) | Self::KillZooKeeper(_) | Self::WipeZooKeeper => {
                BTreeSet::new()
            }
        }
    }

    /// Whether a node loses entries that it acknowledged. After a failed sync it gives up its ledger.
    pub(super) fn loses_data(&self) -> bool {
        matches!(self, Self::WipeDisk(_) | Self::FlipBit(..) | Self::FailSync(_))
    }

    /// Whether it may make a node's process exit.
    pub(super) fn may_end_node(&self) -> bool {
        matches!(self, Self::FillDisk(_) | Self::FailSync(_))
    }

    /// Whether two actions may overlap. Together they must leave a majority of working nodes, so that no acknowledged entry
    /// depends on a node that lost it, and they must not affect the same node or both affect ZooKeeper.
    pub(super) fn is_compatible_with(&self, other: &Self, topology: Topology) -> bool {
        let (mine, theirs) = (self.unavailable_nodes(), other.unavailable_nodes());
        let tolerated = (topology.nodes - 1) / 2;
        let on_links = |action: &Self| matches!(action, Self::Links(_));
        let at_zookeeper = |action: &Self| matches!(action, Self::KillZooKeeper(_) | Self::WipeZooKeeper);
        let at_clock = |action: &Self| matches!(action, Self::StepClock(..) | Self::DriftClock(..));
        mine.is_disjoint(&theirs)
            && mine.len() + theirs.len() <= tolerated
            && !(on_links(self) && on_links(other))
            && !(at_zookeeper(self) && at_zookeeper(other))
            && !(at_clock(self) && at_clock(other))
            && !(self.loses_data() && other.loses_data())
    }

    /// The affected processes, for people.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) => describe_all("node", nodes),
            Self::Links(fault) => fault.target.clone(),
            Self::FillDisk(node) | Self::FailSync(node) | Self::WipeDisk(node) | Self::FlipBit(node, _) => {
                describe_all("node", &[*node])
            }
            Self::StepClock(node, seconds) => format!("{} by {seconds:+} s", describe_all("node", &[*node])),
            Self::DriftClock(node, by) => format!("{} by {by:+} ms/s", describe_all("node", &[*node])),
            Self::KillZooKeeper(servers) => describe_all("zookeeper", servers),
            Self::WipeZooKeeper => "all servers".to_owned(),
        }
    }
}

fn both_ways(one: Endpoint, other: Endpoint) -> [(Endpoint, Endpoint); 2] {
    [(one, other), (other, one)]
}

fn zookeeper_links(node: usize, topology: Topology) -> Vec<(Endpoint, Endpoint)> {
    (0..topology.zookeepers).flat_map(|server| both_ways(Endpoint::Node(node), Endpoint::ZooKeeper(server))).collect()
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

fn describe_all(prefix: &str, numbers: &[usize]) -> String {
    numbers.iter().map(|number| format!("{prefix}{}", number + 1)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(3);
    const THREE: Topology = Topology { nodes: 3, zookeepers: 3, leader: 1 };
    const FIVE: Topology = Topology { nodes: 5, zookeepers: 3, leader: 4 };

    fn action(kind: FaultKind, seed: u64, topology: Topology) -> FaultAction {
        FaultAction::choose(&DrawnFault { kind, seed, duration: Duration::ZERO }, topology, SESSION).0
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
                            assert!(lost <= (topology.nodes - 1) / 2, "{first:?} with {second:?}");
                            assert!(!(first.loses_data() && second.loses_data()));
                        }
                    }
                }
            }
        }
        assert!(together > 1_000, "some faults do go together: {together}");
    }

    #[test]
    fn a_session_expiry_lasts_longer_than_the_session_timeout() {
        let draw = DrawnFault { kind: FaultKind::SessionExpiry, seed: 1, duration: Duration::from_secs(1) };
        let (_, duration) = FaultAction::choose(&draw, THREE, SESSION);
        assert!(duration > SESSION.mul_f64(1.4), "{duration:?}");
    }

    #[test]
    fn a_target_names_the_affected_processes() {
        assert_eq!(FaultAction::Kill(vec![0, 2]).target(), "node1 node3");
        assert_eq!(FaultAction::isolate(&[1], THREE, false).target(), "node2 alone");
        assert_eq!(FaultAction::isolate(&[0, 3], FIVE, true).target(), "node1 node4 alone, without ZooKeeper");
        assert_eq!(FaultAction::one_way(2, THREE, true).target(), "node3 is not heard");
        assert_eq!(FaultAction::one_way(2, THREE, false).target(), "node3 hears nobody");
        assert_eq!(FaultAction::from_zookeeper(0, THREE).target(), "node1 from ZooKeeper");
    }
}
