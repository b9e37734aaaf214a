//! What a fault does to which process or link. Pure: it describes, others act.

use std::collections::BTreeSet;
use std::time::Duration;

use super::endpoint::Endpoint;
use super::link_fault::{LinkFault, LinkState};

/// The cluster at the moment when a fault is injected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topology {
    pub(crate) nodes: usize,
    pub(crate) zookeepers: usize,
    pub(crate) leader: usize,
}

impl Topology {
    /// How many nodes may be unavailable while the rest is a majority.
    pub(crate) const fn tolerated(self) -> usize {
        (self.nodes - 1) / 2
    }
}

/// Which of the syncs from now on fail, counted from 1 in each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailedSyncs {
    All,
    /// Only this one: a disk that fails once and seems sound later.
    One(u64),
}

/// The sync that is not made when a node is killed at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncToDieAt {
    /// This one, counted from 1 in each thread: the node ends as the sync begins.
    Next(u64),
    /// The first one: it is held back, while the rest of the node goes on, until the fault ends with the node's death.
    Held,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FaultAction {
    /// Kill these nodes.
    Kill(Vec<usize>),
    /// Stop these nodes with SIGSTOP.
    Pause(Vec<usize>),
    /// Change the state of some links.
    Links(LinkFault),
    /// Fill a node's disk.
    FillDisk(usize),
    /// Make each of a node's fsync calls take this much longer.
    SlowSync(usize, Duration),
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
    pub(crate) fn isolate(group: &[usize], topology: Topology, from_zookeeper_too: bool) -> Self {
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

    pub(crate) fn one_way(number: usize, topology: Topology, outwards: bool) -> Self {
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

    pub(crate) fn from_zookeeper(node: usize, topology: Topology) -> Self {
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

    pub(crate) fn delay(min_ms: u64, topology: Topology) -> Self {
        let target = format!("all links, {min_ms} to {} ms", 2 * min_ms);
        Self::between_nodes(topology, LinkState::Delayed(Duration::from_millis(min_ms)), target)
    }

    pub(crate) fn lose(per_mille: u16, topology: Topology) -> Self {
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
    pub(crate) fn unavailable_nodes(&self) -> BTreeSet<usize> {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) | Self::PowerLoss(nodes) => nodes.iter().copied().collect(),
            Self::FillDisk(node)
            | Self::FailSync(node, _)
            | Self::KillAtSync(node, ..)
            | Self::WipeDisk(node)
            | Self::FlipBit(node, _) => [*node].into(),
            Self::Links(fault) => fault.isolated.iter().copied().collect(),
            Self::SlowSync(..)
            | Self::StepClock(..)
            | Self::DriftClock(..)
            | Self::KillZooKeeper(_)
            | Self::WipeZooKeeper => BTreeSet::new(),
        }
    }

    /// Whether a node loses entries that it acknowledged. After a failed sync it gives up its ledger.
    pub(crate) fn loses_data(&self) -> bool {
        matches!(self, Self::WipeDisk(_) | Self::FlipBit(..) | Self::FailSync(..))
    }

    /// Whether it should make a node's process exit, sooner or later.
    pub(crate) fn ends_node(&self) -> Option<usize> {
        match self {
            Self::FillDisk(node) | Self::FailSync(node, _) | Self::KillAtSync(node, ..) => Some(*node),
            _ => None,
        }
    }

    /// Whether it hits nodes whose data it does not destroy, and is over as soon as they are started again.
    pub(crate) fn keeps_what_was_synced(&self) -> bool {
        matches!(self, Self::PowerLoss(_))
    }

    /// What the interruptions of several such actions are summed up under.
    pub(crate) fn form(&self) -> Option<&'static str> {
        if let Self::Links(fault) = self { fault.form } else { None }
    }

    /// A node with which no majority can exchange messages in both directions.
    pub(crate) fn cut_off(&self) -> Option<usize> {
        if let Self::Links(fault) = self { fault.cut_off } else { None }
    }

    /// The affected processes, for people.
    pub(crate) fn target(&self) -> String {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) | Self::PowerLoss(nodes) => describe_all("node", nodes),
            Self::Links(fault) => fault.target.clone(),
            Self::FillDisk(node) | Self::WipeDisk(node) | Self::FlipBit(node, _) => describe_all("node", &[*node]),
            Self::SlowSync(node, by) => format!("{}, {} ms each", describe_all("node", &[*node]), by.as_millis()),
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

pub(crate) fn describe_all(prefix: &str, numbers: &[usize]) -> String {
    numbers.iter().map(|number| format!("{prefix}{}", number + 1)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Topology = Topology { nodes: 3, zookeepers: 3, leader: 1 };
    const FIVE: Topology = Topology { nodes: 5, zookeepers: 3, leader: 4 };

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
