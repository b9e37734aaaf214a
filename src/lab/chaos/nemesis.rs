//! What is done to the cluster, drawn from the seed. Pure: it decides, others act.
//!
//! Kinds are dealt like cards from a shuffled pack, so that each comes up before any comes up again. What a draw hits is
//! decided when its moment comes, because only then it is known who leads.

use std::collections::BTreeSet;
use std::time::Duration;

use super::kind::FaultKind;
use super::network::Place;
use crate::random::Random;

/// How often two faults come at once, out of a thousand draws.
const TWO_AT_ONCE_PER_MILLE: u64 = 200;

/// How long a fault lasts, where it does not last for as long as it takes.
const HOLD_MS: (u64, u64) = (1_200, 3_000);
/// How long no node runs when all are started again.
const RESTART: Duration = Duration::from_millis(300);
/// How long the cluster is left alone afterwards: long enough for a payer to notice that all is well.
const CALM_MS: (u64, u64) = (400, 1_000);

/// A card of the pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) kind: FaultKind,
    /// Decides everything about the fault that is left open until its moment.
    pub(super) luck: u64,
    pub(super) hold: Duration,
}

/// What comes next: one fault, or two at once, and then a rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) first: Draw,
    pub(super) second: Option<Draw>,
    pub(super) calm: Duration,
}

/// Deals faults for ever.
pub(super) struct Nemesis {
    random: Random,
    kinds: Vec<FaultKind>,
    pack: Vec<FaultKind>,
}

impl Nemesis {
    /// A nemesis that knows these kinds, at least one.
    pub(super) fn new(seed: u64, kinds: Vec<FaultKind>) -> Self {
        assert!(!kinds.is_empty(), "there is nothing to draw from");
        Self { random: Random::new(seed), kinds, pack: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Turn {
        let first = self.draw();
        let second = self.random.chance(TWO_AT_ONCE_PER_MILLE).then(|| self.draw());
        let calm = Duration::from_millis(self.random.between(CALM_MS.0, CALM_MS.1));
        Turn { first, second, calm }
    }

    fn draw(&mut self) -> Draw {
        if self.pack.is_empty() {
            self.pack.clone_from(&self.kinds);
            self.random.shuffle(&mut self.pack);
        }
        let kind = self.pack.pop().expect("the pack was just filled");
        let hold = Duration::from_millis(self.random.between(HOLD_MS.0, HOLD_MS.1));
        Draw { kind, luck: self.random.next(), hold }
    }
}

/// The cluster at the moment of a draw.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    pub(super) nodes: usize,
    pub(super) zookeepers: usize,
    pub(super) leader: usize,
}

/// What a fault will do, now that it is known who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// Kill these nodes.
    Kill(Vec<usize>),
    /// Stop these nodes in their tracks.
    Pause(Vec<usize>),
    /// Change what happens on some links.
    Links(Storm),
    /// Fill a node's disk.
    FillDisk(usize),
    /// Let a node's syncs fail.
    FailSync(usize),
    /// Set a node's wall clock off by this many seconds, at once.
    StepClock(usize, i64),
    /// Let a node's wall clock gain this many milliseconds in each second.
    DriftClock(usize, i64),
    /// Kill these ZooKeeper servers.
    KillZooKeeper(Vec<usize>),
    /// Kill all ZooKeeper servers and take away what they know.
    WipeZooKeeper,
    /// Kill a node and take away its disk.
    WipeDisk(usize),
    /// Stop a node and flip a bit of its ledger.
    FlipBit(usize, u64),
}

/// Bad weather on some links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storm {
    /// Each in one direction.
    pub(super) links: Vec<(Place, Place)>,
    pub(super) weather: Weather,
    /// The nodes that the others cannot count on meanwhile.
    lost: Vec<usize>,
    /// Whom it hits, for people.
    target: String,
}

/// What happens to what travels over a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Weather {
    /// Nothing.
    #[default]
    Clear,
    /// Nothing arrives until this ends.
    Cut,
    /// Everything arrives this much later, and up to as much again.
    Delayed(Duration),
    /// Of a thousand packets this many get lost.
    Lossy(u16),
}

impl Aim {
    /// Decides the rest of a draw. `session` is how long ZooKeeper waits for a node that it does not hear.
    pub(super) fn take(draw: &Draw, now: Situation, session: Duration) -> (Self, Duration) {
        let mut luck = Random::new(draw.luck);
        let any = luck.index(now.nodes);
        let follower = (now.leader + 1 + luck.index(now.nodes.max(2) - 1)) % now.nodes;
        let aim = match draw.kind {
            FaultKind::KillLeader => Self::Kill(vec![now.leader]),
            FaultKind::KillFollower => Self::Kill(vec![follower]),
            FaultKind::PauseLeader => Self::Pause(vec![now.leader]),
            FaultKind::PauseFollower => Self::Pause(vec![follower]),
            FaultKind::RestartAll => Self::Kill((0..now.nodes).collect()),
            FaultKind::PartitionLeader => Self::isolate(&[now.leader], now, luck.chance(500)),
            FaultKind::PartitionMinority => Self::isolate(&minority(&mut luck, now), now, luck.chance(250)),
            FaultKind::PartitionOneWay => Self::one_way(any, now, luck.chance(500)),
            FaultKind::PartitionZookeeper => Self::from_zookeeper(mostly_leader(&mut luck, now), now),
            FaultKind::SessionExpiry => Self::from_zookeeper(any, now),
            FaultKind::Delay => Self::delay(luck.between(5, 40), now),
            FaultKind::Loss => Self::lose(u16::try_from(luck.between(10, 80)).expect("at most 80"), now),
            FaultKind::DiskFull => Self::FillDisk(mostly_leader(&mut luck, now)),
            FaultKind::FsyncError => Self::FailSync(mostly_leader(&mut luck, now)),
            FaultKind::ClockStep => Self::StepClock(mostly_leader(&mut luck, now), signed(&mut luck, 30, 7_200)),
            FaultKind::ClockDrift => Self::DriftClock(mostly_leader(&mut luck, now), signed(&mut luck, 50, 500)),
            FaultKind::ZookeeperServer => Self::KillZooKeeper(vec![luck.index(now.zookeepers)]),
            FaultKind::ZookeeperAll => Self::KillZooKeeper((0..now.zookeepers).collect()),
            FaultKind::ZookeeperWiped => Self::WipeZooKeeper,
            FaultKind::DiskWiped => Self::WipeDisk(any),
            FaultKind::BitFlip => Self::FlipBit(any, luck.next()),
        };
        let hold = match draw.kind {
            // A session is over a third later than its timeout by the client's clock; some more makes it certain.
            FaultKind::SessionExpiry => session * 8 / 5,
            // While no node runs there is nothing to be seen.
            FaultKind::RestartAll => RESTART,
            _ => draw.hold,
        };
        (aim, hold)
    }

    fn isolate(group: &[usize], now: Situation, from_zookeeper_too: bool) -> Self {
        let rest: Vec<usize> = (0..now.nodes).filter(|node| !group.contains(node)).collect();
        let mut links = Vec::new();
        for &inside in group {
            links.extend(rest.iter().flat_map(|&outside| both_ways(Place::Node(inside), Place::Node(outside))));
            if from_zookeeper_too {
                links.extend(zookeeper_links(inside, now));
            }
        }
        let how = if from_zookeeper_too { "alone, without ZooKeeper" } else { "alone" };
        let target = format!("{} {how}", names("node", group));
        Self::Links(Storm { links, weather: Weather::Cut, lost: group.to_vec(), target })
    }

    fn one_way(number: usize, now: Situation, outwards: bool) -> Self {
        let others = (0..now.nodes).filter(|other| *other != number).map(Place::Node);
        let node = Place::Node(number);
        let links = others.map(|other| if outwards { (node, other) } else { (other, node) }).collect();
        let how = if outwards { "is not heard" } else { "hears nobody" };
        let target = format!("{} {how}", names("node", &[number]));
        Self::Links(Storm { links, weather: Weather::Cut, lost: vec![number], target })
    }

    fn from_zookeeper(node: usize, now: Situation) -> Self {
        let target = format!("{} from ZooKeeper", names("node", &[node]));
        Self::Links(Storm { links: zookeeper_links(node, now), weather: Weather::Cut, lost: Vec::new(), target })
    }

    fn delay(least_ms: u64, now: Situation) -> Self {
        let target = format!("all links, {least_ms} to {} ms", 2 * least_ms);
        Self::between_nodes(now, Weather::Delayed(Duration::from_millis(least_ms)), target)
    }

    fn lose(per_mille: u16, now: Situation) -> Self {
        let target = format!("all links, {}.{} %", per_mille / 10, per_mille % 10);
        Self::between_nodes(now, Weather::Lossy(per_mille), target)
    }

    fn between_nodes(now: Situation, weather: Weather, target: String) -> Self {
        let nodes = || (0..now.nodes).map(Place::Node);
        let links = nodes().flat_map(|from| nodes().map(move |to| (from, to))).filter(|(from, to)| from != to);
        Self::Links(Storm { links: links.collect(), weather, lost: Vec::new(), target })
    }

    /// The nodes that are of no use meanwhile.
    pub(super) fn lost_nodes(&self) -> BTreeSet<usize> {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) => nodes.iter().copied().collect(),
            Self::FillDisk(node) | Self::FailSync(node) | Self::WipeDisk(node) | Self::FlipBit(node, _) => {
                [*node].into()
            }
            Self::Links(storm) => storm.lost.iter().copied().collect(),
            Self::StepClock(..) | Self::DriftClock(..) | Self::KillZooKeeper(_) | Self::WipeZooKeeper => {
                BTreeSet::new()
            }
        }
    }

    /// Whether a node forgets what it acknowledged.
    pub(super) fn loses_memory(&self) -> bool {
        matches!(self, Self::WipeDisk(_) | Self::FlipBit(..))
    }

    /// Whether a node's process may end by itself for this.
    pub(super) fn may_end_a_node(&self) -> bool {
        matches!(self, Self::FillDisk(_) | Self::FailSync(_))
    }

    /// Whether the second of two may come while the first lasts. Together they must leave a majority at work, so that
    /// nothing acknowledged depends on a node that has forgotten it, and must not meet at one node or at ZooKeeper.
    pub(super) fn goes_with(&self, other: &Self, now: Situation) -> bool {
        let (mine, theirs) = (self.lost_nodes(), other.lost_nodes());
        let tolerated = (now.nodes - 1) / 2;
        let on_links = |aim: &Self| matches!(aim, Self::Links(_));
        let at_zookeeper = |aim: &Self| matches!(aim, Self::KillZooKeeper(_) | Self::WipeZooKeeper);
        let at_clock = |aim: &Self| matches!(aim, Self::StepClock(..) | Self::DriftClock(..));
        mine.is_disjoint(&theirs)
            && mine.len() + theirs.len() <= tolerated
            && !(on_links(self) && on_links(other))
            && !(at_zookeeper(self) && at_zookeeper(other))
            && !(at_clock(self) && at_clock(other))
            && !(self.loses_memory() && other.loses_memory())
    }

    /// Whom it hits, for people.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Kill(nodes) | Self::Pause(nodes) => names("node", nodes),
            Self::Links(storm) => storm.target.clone(),
            Self::FillDisk(node) | Self::FailSync(node) | Self::WipeDisk(node) | Self::FlipBit(node, _) => {
                names("node", &[*node])
            }
            Self::StepClock(node, seconds) => format!("{} by {seconds:+} s", names("node", &[*node])),
            Self::DriftClock(node, by) => format!("{} by {by:+} ms/s", names("node", &[*node])),
            Self::KillZooKeeper(servers) => names("zookeeper", servers),
            Self::WipeZooKeeper => "all servers".to_owned(),
        }
    }
}

fn both_ways(one: Place, other: Place) -> [(Place, Place); 2] {
    [(one, other), (other, one)]
}

fn zookeeper_links(node: usize, now: Situation) -> Vec<(Place, Place)> {
    (0..now.zookeepers).flat_map(|server| both_ways(Place::Node(node), Place::ZooKeeper(server))).collect()
}

fn minority(luck: &mut Random, now: Situation) -> Vec<usize> {
    let mut nodes: Vec<usize> = (0..now.nodes).collect();
    luck.shuffle(&mut nodes);
    nodes.truncate(1 + luck.index(((now.nodes - 1) / 2).max(1)));
    nodes
}

/// Where the leader is the one that matters: its clock stamps the entries, its disk counts first, its session holds the
/// leadership.
fn mostly_leader(luck: &mut Random, now: Situation) -> usize {
    let any = luck.index(now.nodes);
    if luck.chance(700) { now.leader } else { any }
}

fn signed(luck: &mut Random, low: u64, high: u64) -> i64 {
    let size = i64::try_from(luck.between(low, high)).expect("the bounds are small");
    if luck.chance(500) { size } else { -size }
}

fn names(prefix: &str, numbers: &[usize]) -> String {
    numbers.iter().map(|number| format!("{prefix}{}", number + 1)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(3);
    const THREE: Situation = Situation { nodes: 3, zookeepers: 3, leader: 1 };
    const FIVE: Situation = Situation { nodes: 5, zookeepers: 3, leader: 4 };

    fn aim(kind: FaultKind, luck: u64, now: Situation) -> Aim {
        Aim::take(&Draw { kind, luck, hold: Duration::ZERO }, now, SESSION).0
    }

    #[test]
    fn the_same_seed_draws_the_same_faults_and_another_does_not() {
        let turns = |seed| {
            let mut nemesis = Nemesis::new(seed, FaultKind::ALL.to_vec());
            (0..100).map(|_| nemesis.next()).collect::<Vec<_>>()
        };
        assert_eq!(turns(7), turns(7));
        assert_ne!(turns(7), turns(8));
    }

    #[test]
    fn every_kind_comes_up_before_any_comes_up_again() {
        let mut nemesis = Nemesis::new(3, FaultKind::ALL.to_vec());
        let dealt: Vec<FaultKind> = (0..FaultKind::ALL.len()).map(|_| nemesis.draw().kind).collect();
        assert_eq!(dealt.into_iter().collect::<BTreeSet<_>>(), FaultKind::ALL.into());
    }

    #[test]
    fn a_fault_that_names_the_leader_hits_it_and_one_that_names_a_follower_does_not() {
        for luck in 0..200 {
            for now in [THREE, FIVE] {
                assert_eq!(aim(FaultKind::KillLeader, luck, now), Aim::Kill(vec![now.leader]));
                assert_eq!(aim(FaultKind::PartitionLeader, luck, now).lost_nodes(), [now.leader].into());
                let Aim::Pause(paused) = aim(FaultKind::PauseFollower, luck, now) else { panic!("a pause") };
                assert!(!paused.contains(&now.leader) && paused.iter().all(|node| *node < now.nodes));
            }
        }
    }

    #[test]
    fn a_partition_leaves_a_majority_together() {
        for luck in 0..500 {
            for now in [THREE, FIVE] {
                for kind in [FaultKind::PartitionMinority, FaultKind::PartitionOneWay, FaultKind::PartitionLeader] {
                    let lost = aim(kind, luck, now).lost_nodes();
                    assert!(!lost.is_empty() && lost.len() <= (now.nodes - 1) / 2, "{kind} loses {lost:?}");
                }
            }
        }
    }

    #[test]
    fn two_faults_at_once_leave_a_majority_and_never_two_disks_lost() {
        let mut together = 0;
        for luck in 0..40 {
            for now in [THREE, FIVE] {
                for first in FaultKind::ALL.map(|kind| aim(kind, luck, now)) {
                    for second in FaultKind::ALL.map(|kind| aim(kind, luck + 1, now)) {
                        if first.goes_with(&second, now) {
                            together += 1;
                            let lost = first.lost_nodes().len() + second.lost_nodes().len();
                            assert!(lost <= (now.nodes - 1) / 2, "{first:?} with {second:?}");
                            assert!(!(first.loses_memory() && second.loses_memory()));
                        }
                    }
                }
            }
        }
        assert!(together > 1_000, "some faults do go together: {together}");
    }

    #[test]
    fn a_session_expires_only_if_it_is_silent_for_longer_than_its_timeout() {
        let draw = Draw { kind: FaultKind::SessionExpiry, luck: 1, hold: Duration::from_secs(1) };
        let (_, hold) = Aim::take(&draw, THREE, SESSION);
        assert!(hold > SESSION.mul_f64(1.4), "{hold:?}");
    }

    #[test]
    fn a_target_says_whom_a_fault_hits() {
        assert_eq!(Aim::Kill(vec![0, 2]).target(), "node1 node3");
        assert_eq!(Aim::isolate(&[1], THREE, false).target(), "node2 alone");
        assert_eq!(Aim::isolate(&[0, 3], FIVE, true).target(), "node1 node4 alone, without ZooKeeper");
        assert_eq!(Aim::one_way(2, THREE, true).target(), "node3 is not heard");
        assert_eq!(Aim::one_way(2, THREE, false).target(), "node3 hears nobody");
        assert_eq!(Aim::from_zookeeper(0, THREE).target(), "node1 from ZooKeeper");
    }
}
