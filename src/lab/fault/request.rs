//! A fault as a person asks for it, with names instead of numbers. Pure: it is checked and becomes an action.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::action::{FailedSyncs, FaultAction};
use super::endpoint::Endpoint;
use super::error::FaultError;
use super::link_fault::{LinkFault, LinkState};

/// A kind of fault by the name that `quorapay fault` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultName {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Pause,
    /// Links that let nothing pass.
    Partition,
    /// Links that are slow.
    Delay,
    /// Links that lose packets.
    Loss,
    /// Writes that fail for want of space.
    DiskFull,
    /// Syncs that take long.
    SlowSync,
    /// Syncs that fail.
    FsyncError,
    /// A wall clock that jumps.
    ClockStep,
    /// A wall clock that runs too fast or too slow.
    ClockDrift,
    /// A node killed and its files deleted.
    DiskWiped,
    /// A bit of a ledger that flips.
    BitFlip,
    /// One ZooKeeper server killed.
    ZookeeperServer,
    /// All of them killed.
    ZookeeperAll,
    /// All of them killed and their data deleted.
    ZookeeperWiped,
}

impl FaultName {
    /// All names.
    pub const ALL: [Self; 15] = [
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::Delay,
        Self::Loss,
        Self::DiskFull,
        Self::SlowSync,
        Self::FsyncError,
        Self::ClockStep,
        Self::ClockDrift,
        Self::DiskWiped,
        Self::BitFlip,
        Self::ZookeeperServer,
        Self::ZookeeperAll,
        Self::ZookeeperWiped,
    ];

    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::DiskFull => "disk-full",
            Self::SlowSync => "slow-sync",
            Self::FsyncError => "fsync-error",
            Self::ClockStep => "clock-step",
            Self::ClockDrift => "clock-drift",
            Self::DiskWiped => "disk-wiped",
            Self::BitFlip => "bit-flip",
            Self::ZookeeperServer => "zookeeper-server",
            Self::ZookeeperAll => "zookeeper-all",
            Self::ZookeeperWiped => "zookeeper-wiped",
        }
    }

    /// Reads a name.
    ///
    /// # Errors
    /// A line that lists all names.
    pub fn parse(word: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|name| name.name() == word)
            .ok_or_else(|| format!("there is no fault {word}; there are {}", names()))
    }

    /// Whether it affects links.
    const fn is_of_links(self) -> bool {
        matches!(self, Self::Partition | Self::Delay | Self::Loss)
    }

    /// Whether it affects ZooKeeper servers and no node.
    #[must_use]
    pub const fn is_of_zookeeper(self) -> bool {
        matches!(self, Self::ZookeeperServer | Self::ZookeeperAll | Self::ZookeeperWiped)
    }

    /// Whether it is over as soon as it is made.
    pub(crate) const fn is_momentary(self) -> bool {
        matches!(self, Self::BitFlip)
    }
}

impl fmt::Display for FaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The other ends of the links that a fault affects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// All other nodes and all ZooKeeper servers.
    #[default]
    All,
    /// All other nodes.
    Peers,
    /// All ZooKeeper servers.
    Zookeeper,
    /// One other node.
    Node(String),
}

/// The direction in which links fail, as the node sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Both.
    #[default]
    Both,
    /// What others send to the node.
    In,
    /// What the node sends to others.
    Out,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// Milliseconds; negative for a clock that is behind.
    Ms(i64),
    /// Thousandths of all packets.
    PerMille(u16),
}

/// A fault that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRequest {
    /// The kind.
    pub name: FaultName,
    /// A node or a ZooKeeper server by its name, `leader` or `follower`; the leader, or the first server, if absent.
    pub node: Option<String>,
    /// The other ends, for faults of links.
    pub from: Option<Ends>,
    /// The direction, for faults of links.
    #[serde(default)]
    pub direction: Direction,
    /// How much; a value of its own for each kind if absent.
    pub by: Option<Amount>,
}

impl FaultRequest {
    /// A fault with what is usual for its kind.
    #[must_use]
    pub const fn new(name: FaultName, node: Option<String>) -> Self {
        Self { name, node, from: None, direction: Direction::Both, by: None }
    }
}

/// Which faults are to be healed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealRequest {
    /// Only this kind.
    pub name: Option<FaultName>,
    /// Only at this node or ZooKeeper server.
    pub node: Option<String>,
}

impl HealRequest {
    /// Whether everything is to be healed.
    pub(crate) const fn is_all(&self) -> bool {
        self.name.is_none() && self.node.is_none()
    }
}

/// What was done, for people, and how it is undone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReply {
    /// What was done, a line for each fault.
    pub lines: Vec<String>,
    /// What heals a fault that was made, if it lasts.
    pub heal: Option<HealRequest>,
}

/// The processes of a cluster by name, and who leads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) nodes: Vec<String>,
    /// Empty if the ZooKeeper servers do not belong to the cluster.
    pub(crate) zookeepers: Vec<String>,
    pub(crate) leader: Option<usize>,
}

/// A request in terms of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedFault {
    pub(crate) name: FaultName,
    /// The node or the server that it is about, by name; none if it is about all servers.
    pub(crate) at: Option<String>,
    pub(crate) action: FaultAction,
    /// What happens, for people.
    pub(crate) line: String,
}

/// What a slow link adds at least, and what a slow sync adds.
const USUAL_DELAY_MS: i64 = 40;
const USUAL_SYNC_MS: i64 = 500;
const USUAL_LOSS_PER_MILLE: u16 = 50;
const USUAL_STEP_MS: i64 = 3_600_000;
const USUAL_DRIFT_MS: i64 = 100;
/// The longest delay of a link or a sync.
const MAX_DELAY_MS: i64 = 60_000;

impl FaultRequest {
    /// What is asked for, as an action on this cluster.
    ///
    /// # Errors
    /// [`FaultError::Impossible`] with what to write instead.
    pub(crate) fn plan(&self, names: &Names, seed: u64) -> Result<PlannedFault, FaultError> {
        let Self { name, .. } = *self;
        if !name.is_of_links() && (self.from.is_some() || self.direction != Direction::Both) {
            return Err(FaultError::Impossible(format!("{name} has no links; leave --from and --one-way out")));
        }
        if name.is_of_zookeeper() {
            return self.plan_zookeeper(names);
        }
        let node = names.node(self.node.as_deref())?;
        let id = names.nodes[node].clone();
        let (action, line) = match name {
            FaultName::Kill => (FaultAction::Kill(vec![node]), format!("{id} is killed")),
            FaultName::Pause => (FaultAction::Pause(vec![node]), format!("{id} is paused")),
            FaultName::Partition | FaultName::Delay | FaultName::Loss => self.plan_links(node, names)?,
            FaultName::DiskFull => (FaultAction::FillDisk(node), format!("the disk of {id} is full")),
            FaultName::SlowSync => {
                let by_ms = self.milliseconds(USUAL_SYNC_MS, 1, MAX_DELAY_MS)?;
                let by = Duration::from_millis(by_ms.unsigned_abs());
                (FaultAction::SlowSync(node, by), format!("every sync of {id} takes {by_ms} ms longer"))
            }
            FaultName::FsyncError => {
                (FaultAction::FailSync(node, FailedSyncs::All), format!("every sync of {id} fails"))
            }
            FaultName::ClockStep => {
                let off_s = self.milliseconds(USUAL_STEP_MS, i64::MIN, i64::MAX)? / 1_000;
                (FaultAction::StepClock(node, off_s), format!("the clock of {id} is off by {off_s:+} s"))
            }
            FaultName::ClockDrift => {
                let by_ms = self.milliseconds(USUAL_DRIFT_MS, -900, 10_000)?;
                (FaultAction::DriftClock(node, by_ms), format!("the clock of {id} gains {by_ms:+} ms a second"))
            }
            FaultName::DiskWiped => (FaultAction::WipeDisk(node), format!("{id} is killed and its disk is empty")),
            FaultName::BitFlip => (FaultAction::FlipBit(node, seed), format!("a bit of the ledger of {id} is flipped")),
            FaultName::ZookeeperServer | FaultName::ZookeeperAll | FaultName::ZookeeperWiped => {
                unreachable!("these were planned above")
            }
        };
        if !self.takes_amount() && self.by.is_some() {
            return Err(FaultError::Impossible(format!("{name} has no amount; leave --by out")));
        }
        Ok(PlannedFault { name, at: Some(id), action, line })
    }

    const fn takes_amount(&self) -> bool {
        use FaultName::{ClockDrift, ClockStep, Delay, Loss, SlowSync};
        matches!(self.name, Delay | Loss | SlowSync | ClockStep | ClockDrift)
    }

    fn plan_zookeeper(&self, names: &Names) -> Result<PlannedFault, FaultError> {
        let name = self.name;
        if names.zookeepers.is_empty() {
            return Err(FaultError::impossible(
                "the ZooKeeper of this cluster is run by somebody else, who must break it",
            ));
        }
        if self.by.is_some() {
            return Err(FaultError::Impossible(format!("{name} has no amount; leave --by out")));
        }
        if name != FaultName::ZookeeperServer && self.node.is_some() {
            return Err(FaultError::Impossible(format!("{name} is about all servers; leave --node out")));
        }
        let all = 0..names.zookeepers.len();
        let (at, action, line) = match name {
            FaultName::ZookeeperServer => {
                let server = names.zookeeper(self.node.as_deref())?;
                let id = names.zookeepers[server].clone();
                let line = format!("{id}, a ZooKeeper server, is killed");
                (Some(id), FaultAction::KillZooKeeper(vec![server]), line)
            }
            FaultName::ZookeeperAll => {
                (None, FaultAction::KillZooKeeper(all.collect()), "all of ZooKeeper is killed".to_owned())
            }
            _ => (None, FaultAction::WipeZooKeeper, "all of ZooKeeper is killed and its data are deleted".to_owned()),
        };
        Ok(PlannedFault { name, at, action, line })
    }

    fn plan_links(&self, node: usize, names: &Names) -> Result<(FaultAction, String), FaultError> {
        let usual = if self.name == FaultName::Partition { Ends::All } else { Ends::Peers };
        let ends = self.from.clone().unwrap_or(usual);
        let peers = || (0..names.nodes.len()).filter(|other| *other != node).map(Endpoint::Node);
        let servers = || (0..names.zookeepers.len()).map(Endpoint::ZooKeeper);
        let (others, whom): (Vec<Endpoint>, String) = match &ends {
            Ends::All if names.zookeepers.is_empty() => (peers().collect(), "all other nodes".to_owned()),
            Ends::All => (peers().chain(servers()).collect(), "all other nodes and ZooKeeper".to_owned()),
            Ends::Peers => (peers().collect(), "all other nodes".to_owned()),
            Ends::Zookeeper if names.zookeepers.is_empty() => {
                let why =
                    "the links to a ZooKeeper that somebody else runs cannot fail; leave --zookeeper out at the start";
                return Err(FaultError::impossible(why));
            }
            Ends::Zookeeper => (servers().collect(), "ZooKeeper".to_owned()),
            Ends::Node(id) => {
                let other = names.node(Some(id))?;
                if other == node {
                    return Err(FaultError::Impossible(format!(
                        "{id} has no link to itself; name another node with --from"
                    )));
                }
                (vec![Endpoint::Node(other)], names.nodes[other].clone())
            }
        };
        if others.is_empty() {
            return Err(FaultError::impossible("there is no other node"));
        }
        let links = others.iter().flat_map(|&other| match self.direction {
            Direction::Both => vec![(Endpoint::Node(node), other), (other, Endpoint::Node(node))],
            Direction::In => vec![(other, Endpoint::Node(node))],
            Direction::Out => vec![(Endpoint::Node(node), other)],
        });
        let (state, how) = self.link_state()?;
        let id = &names.nodes[node];
        let line = match self.direction {
            Direction::Both => format!("between {id} and {whom} {how}"),
            Direction::In => format!("from {whom} to {id} {how}"),
            Direction::Out => format!("from {id} to {whom} {how}"),
        };
        let isolated =
            if matches!(ends, Ends::All | Ends::Peers) && state == LinkState::Cut { vec![node] } else { Vec::new() };
        let links = links.collect();
        let fault = LinkFault { links, state, isolated, target: line.clone(), form: None, cut_off: None };
        Ok((FaultAction::Links(fault), line))
    }

    fn link_state(&self) -> Result<(LinkState, String), FaultError> {
        match (self.name, self.by) {
            (FaultName::Loss, by) => match by.unwrap_or(Amount::PerMille(USUAL_LOSS_PER_MILLE)) {
                Amount::PerMille(lost @ 1..=1_000) => {
                    Ok((LinkState::Lossy(lost), format!("{}.{} % of the packets are lost", lost / 10, lost % 10)))
                }
                _ => Err(FaultError::impossible("how many packets are lost is a share; write --by 5%")),
            },
            (FaultName::Delay, _) => {
                let by_ms = self.milliseconds(USUAL_DELAY_MS, 1, MAX_DELAY_MS)?;
                let by = Duration::from_millis(by_ms.unsigned_abs());
                Ok((LinkState::Delayed(by), format!("everything takes {by_ms} to {} ms longer", 2 * by_ms)))
            }
            (_, Some(_)) => {
                Err(FaultError::impossible("a partition has no amount; leave --by out, or ask for delay or loss"))
            }
            (_, None) => Ok((LinkState::Cut, "nothing passes".to_owned())),
        }
    }

    fn milliseconds(&self, usual: i64, least: i64, most: i64) -> Result<i64, FaultError> {
        match self.by {
            None => Ok(usual),
            Some(Amount::Ms(by)) if (least..=most).contains(&by) => Ok(by),
            Some(Amount::Ms(_)) => {
                Err(FaultError::Impossible(format!("--by is {least} to {most} ms for {}", self.name)))
            }
            Some(Amount::PerMille(_)) => {
                Err(FaultError::Impossible(format!("--by is a time for {}; write --by 500ms", self.name)))
            }
        }
    }
}

impl Names {
    fn node(&self, wanted: Option<&str>) -> Result<usize, FaultError> {
        let listed = || self.nodes.join(", ");
        let leader = || {
            let nobody = || FaultError::Impossible(format!("nobody leads now; name a node with --node: {}", listed()));
            self.leader.ok_or_else(nobody)
        };
        match wanted {
            None | Some("leader") => leader(),
            Some("follower") if self.nodes.len() > 1 => Ok((leader()? + 1) % self.nodes.len()),
            Some(id) => self.nodes.iter().position(|node| node == id).ok_or_else(|| {
                FaultError::Impossible(format!(
                    "there is no node {id}; there are {}, and leader and follower",
                    listed()
                ))
            }),
        }
    }

    fn zookeeper(&self, wanted: Option<&str>) -> Result<usize, FaultError> {
        let Some(id) = wanted else { return Ok(0) };
        self.zookeepers.iter().position(|server| server == id).ok_or_else(|| {
            FaultError::Impossible(format!(
                "there is no ZooKeeper server {id}; there are {}",
                self.zookeepers.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let numbered = |prefix: &str| (1..=3).map(|number| format!("{prefix}{number}")).collect();
        Names { nodes: numbered("node"), zookeepers: numbered("zk"), leader: Some(1) }
    }

    fn planned(request: &FaultRequest) -> PlannedFault {
        request.plan(&names(), 7).expect("it can be made")
    }

    fn refused(request: &FaultRequest) -> String {
        request.plan(&names(), 7).expect_err("it cannot be made").to_string()
    }

    #[test]
    fn without_a_node_a_fault_is_about_the_leader() {
        assert_eq!(planned(&FaultRequest::new(FaultName::Kill, None)).action, FaultAction::Kill(vec![1]));
        let follower = FaultRequest::new(FaultName::Pause, Some("follower".to_owned()));
        assert_eq!(planned(&follower).action, FaultAction::Pause(vec![2]));
        let nobody = Names { leader: None, ..names() };
        let error = FaultRequest::new(FaultName::Kill, None).plan(&nobody, 7).expect_err("nobody leads");
        assert!(error.to_string().contains("name a node with --node: node1, node2, node3"), "{error}");
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_does() {
        let unknown = FaultRequest::new(FaultName::Kill, Some("node9".to_owned()));
        assert_eq!(refused(&unknown), "there is no node node9; there are node1, node2, node3, and leader and follower");
        let unknown = FaultRequest::new(FaultName::ZookeeperServer, Some("zk9".to_owned()));
        assert_eq!(refused(&unknown), "there is no ZooKeeper server zk9; there are zk1, zk2, zk3");
        assert!(FaultName::parse("love").is_err_and(|error| error.contains("kill, pause, partition")));
    }

    #[test]
    fn an_option_that_a_fault_does_not_have_is_refused() {
        let kill = FaultRequest::new(FaultName::Kill, None);
        assert!(refused(&FaultRequest { by: Some(Amount::Ms(1)), ..kill.clone() }).contains("leave --by out"));
        assert!(
            refused(&FaultRequest { direction: Direction::In, ..kill.clone() })
                .contains("leave --from and --one-way out")
        );
        assert!(refused(&FaultRequest { from: Some(Ends::Peers), ..kill }).contains("leave --from and --one-way out"));
        let step = FaultRequest { by: Some(Amount::PerMille(5)), ..FaultRequest::new(FaultName::ClockStep, None) };
        assert!(refused(&step).contains("--by is a time"));
        let all = FaultRequest::new(FaultName::ZookeeperAll, Some("zk1".to_owned()));
        assert!(refused(&all).contains("leave --node out"));
    }

    #[test]
    fn a_partition_is_from_all_from_peers_from_zookeeper_or_from_one_node_in_one_direction_or_both() {
        let links = |from: Option<Ends>, direction| {
            let partition = FaultRequest::new(FaultName::Partition, Some("node1".to_owned()));
            match planned(&FaultRequest { from, direction, ..partition }).action {
                FaultAction::Links(fault) => fault.links,
                other => panic!("{other:?}"),
            }
        };
        let [node1, node2, node3] = [0, 1, 2].map(Endpoint::Node);
        assert_eq!(links(None, Direction::Both).len(), 10);
        assert_eq!(links(Some(Ends::Peers), Direction::Both).len(), 4);
        assert_eq!(links(Some(Ends::Peers), Direction::In), [(node2, node1), (node3, node1)]);
        assert_eq!(links(Some(Ends::Zookeeper), Direction::Both).len(), 6);
        assert_eq!(links(Some(Ends::Node("node3".to_owned())), Direction::Out), [(node1, node3)]);
        let itself = FaultRequest {
            from: Some(Ends::Node("node1".to_owned())),
            ..FaultRequest::new(FaultName::Partition, Some("node1".to_owned()))
        };
        assert!(refused(&itself).contains("no link to itself"));
    }
}
