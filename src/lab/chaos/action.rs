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

/// How long one direction fails: longer than the payments should take to succeed again meanwhile.
const ONE_WAY_DURATION: Duration = Duration::from_secs(8);

/// The last of the next syncs at which a node is killed or fails. Under the standard load it comes within a second.
const LAST_SYNC: u64 = 40;

/// The cluster at the moment when a fault is injected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topology {
    pub(super) nodes: usize,
    pub(super) zookeepers: usize,
    pub(super) leader: usize,
}

impl Topology {
    /// How many nodes may be unavailable while the rest is a majority.
    const fn tolerated(self) -> usize {
        (self.nodes - 1) / 2
    }
}

/// Which of the syncs from now on fail, counted from 1 in each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailedSyncs {
    All,
    /// Only this one: a disk that fails once and seems sound later.
    One(u64),
}

/// The sync that is not made when a node is killed at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncToDieAt {
    /// This one, counted from 1 in each thread: the node ends as the sync begins.
    Next(u64),
    /// The first one: it is held back, while the rest of the node goes on, until the fault ends with the node's death.
    Held,
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
    FailSync(usize, FailedSyncs),
    /// Kill a node between a write and its sync.
    KillAtSync(usize, SyncToDieAt),
    /// Stop these nodes' disks so that nothing unsynced is left, and kill their processes.
    PowerLoss(Vec<usize>),
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
        Self::Links(LinkFault {
            links,
            state: LinkState::Cut,
            isolated: group.to_vec(),
            target,
            form: None,
            cut_off: None,
        })
    }

    fn one_way(number: usize, topology: Topology, outwards: bool) -> Self {
        let others = (0..topology.nodes).filter(|other| *other != number).map(Endpoint::Node);
        let node = Endpoint::Node(number);
        let links = others.map(|other| if outwards { (node, other) } else { (other, node) }).collect();
        let how = if outwards { "is not heard" } else { "hears nobody" };
        let target = format!("{} {how}", describe_all("node", &[number]));
        Self::Links(LinkFault {
            links,
            state: LinkState::Cut,
            isolated: vec![number],
            target,
            form: None,
            cut_off: None,
        })
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

    fn from_zookeeper(node: usize, topology: Topology) -> Self {
        let target = format!("{} from ZooKeeper", describe_all("node", &[node]));
        Self::Links(LinkFault {
            links: zookeeper_links(node, topology),
            state: LinkState::Cut,
            isolated: Vec::new(),
            target,
            form: None,
            cut_off: None,
        })
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
        Self::Links(LinkFault {
            links: links.collect(),
            state,
            isolated: Vec::new(),
            target,
            form: None,
            cut_off: None,
        })
    }

    /// The nodes that a majority cannot count on meanwhile.
    pub(super) fn unavailable_nodes(&self) -> BTreeSet<usize> {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) | Self::PowerLoss(nodes) => nodes.iter().copied().collect(),
            Self::FillDisk(node)
            | Self::FailSync(node, _)
            | Self::KillAtSync(node, ..)
            | Self::WipeDisk(node)
            | Self::FlipBit(node, _) => [*node].into(),
            Self::Links(fault) => fault.isolated.iter().copied().collect(),
            Self::StepClock(..) | Self::DriftClock(..) | Self::KillZooKeeper(_) | Self::WipeZooKeeper => {
                BTreeSet::new()
            }
        }
    }

    /// Whether a node loses entries that it acknowledged. After a failed sync it gives up its ledger.
    pub(super) fn loses_data(&self) -> bool {
        matches!(self, Self::WipeDisk(_) | Self::FlipBit(..) | Self::FailSync(..))
    }

    /// Whether it should make a node's process exit, sooner or later.
    pub(super) fn ends_node(&self) -> Option<usize> {
        match self {
            Self::FillDisk(node) | Self::FailSync(node, _) | Self::KillAtSync(node, ..) => Some(*node),
            _ => None,
        }
    }

    /// Whether it hits nodes whose data it does not destroy, and is over as soon as they are started again.
    fn keeps_what_was_synced(&self) -> bool {
        matches!(self, Self::PowerLoss(_))
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

    /// What the interruptions of several such actions are summed up under.
    pub(super) fn form(&self) -> Option<&'static str> {
        if let Self::Links(fault) = self { fault.form } else { None }
    }

    /// A node with which no majority can exchange messages in both directions.
    pub(super) fn cut_off(&self) -> Option<usize> {
        if let Self::Links(fault) = self { fault.cut_off } else { None }
    }

    /// The affected processes, for people.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) | Self::PowerLoss(nodes) => describe_all("node", nodes),
            Self::Links(fault) => fault.target.clone(),
            Self::FillDisk(node) | Self::WipeDisk(node) | Self::FlipBit(node, _) => describe_all("node", &[*node]),
            Self::FailSync(node, FailedSyncs::All) => format!("{}, every sync", describe_all("node", &[*node])),
            Self::FailSync(node, FailedSyncs::One(at)) => format!("{}, sync {at}", describe_all("node", &[*node])),
            Self::KillAtSync(node, SyncToDieAt::Next(at)) => format!("{}, sync {at}", describe_all("node", &[*node])),
            Self::KillAtSync(node, SyncToDieAt::Held) => format!("{}, held back", describe_all("node", &[*node])),
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
