//! Faults that stay: payments must flow again while they do, within a bound of the run's time.

use quorapay_lab::chaos::clients::RunningLoad;
use quorapay_node::runtime::Role;

use crate::network::Host;
use crate::world::{SETTLING_MS, World};

/// How long a fault stays.
const STAYS_MS: u64 = 6_000;
/// The longest time without a committed payment meanwhile.
const LONGEST_GAP_MS: u64 = 3_000;
/// If a link of the leader is broken, the leadership has moved to a node without a broken link after this time: 0.75 s until
/// a node notices, 1.1 s until that counts, and an election. A link that breaks just after it was mended takes longer: the
/// nodes first notice that they reach each other again.
const MOVED_MS: u64 = 3_000;

/// A fault that stays.
#[derive(Clone, Copy, Debug)]
enum Lasting {
    LeaderDead,
    FollowerDead,
    LeaderDiskHangs,
    ZooKeeperDown,
    /// No other node can open a connection to the leader.
    LeaderNotReached,
    /// One follower cannot.
    LeaderNotReachedByOne,
    /// The leader can open no connection to one follower.
    LeaderDoesNotReachOne,
    /// Nothing passes from the leader to one follower.
    NothingFromLeaderToOne,
    /// Nothing passes from one follower to the leader.
    NothingFromOneToLeader,
}

const ALL: [Lasting; 9] = [
    Lasting::LeaderDead,
    Lasting::FollowerDead,
    Lasting::LeaderDiskHangs,
    Lasting::ZooKeeperDown,
    Lasting::LeaderNotReached,
    Lasting::LeaderNotReachedByOne,
    Lasting::LeaderDoesNotReachOne,
    Lasting::NothingFromLeaderToOne,
    Lasting::NothingFromOneToLeader,
];

/// Makes a fault in a cluster that is well, and requires payments while it stays.
pub(crate) fn endure(world: &mut World, load: &RunningLoad) {
    world.await_within(SETTLING_MS, "one node leads and all others follow", |world| leader(world).is_some());
    let leader = leader(world).expect("just seen");
    let follower = (leader + 1) % world.nodes.len();
    let fault = ALL[world.random.index(ALL.len())];
    world.note(format_args!("{fault:?} stays; node{} leads", leader + 1));
    match fault {
        Lasting::LeaderDead => world.kill(leader, STAYS_MS),
        Lasting::FollowerDead => world.kill(follower, STAYS_MS),
        Lasting::LeaderDiskHangs => world.nodes[leader].disk.set_hangs(true),
        Lasting::ZooKeeperDown => world.zookeeper.stop(),
        Lasting::LeaderNotReached => {
            (0..world.nodes.len()).filter(|node| *node != leader).for_each(|node| world.network.close(node, leader));
        }
        Lasting::LeaderNotReachedByOne => world.network.close(follower, leader),
        Lasting::LeaderDoesNotReachOne => world.network.close(leader, follower),
        Lasting::NothingFromLeaderToOne => world.network.cut(leader, follower),
        Lasting::NothingFromOneToLeader => world.network.cut(follower, leader),
    }
    let moved = |world: &World| self::leader(world).is_some_and(|successor| successor != leader);
    if fault.breaks_a_link() {
        require_payments(world, load, fault, MOVED_MS);
        assert!(moved(world), "the leadership has not moved under {fault:?}\n{}", world.describe());
    }
    require_payments(world, load, fault, STAYS_MS);
    let stays = moved(world) || !fault.breaks_a_link();
    assert!(stays, "the leadership is not where all nodes follow under {fault:?}\n{}", world.describe());
}

impl Lasting {
    /// Whether the leader cannot serve all nodes while another one could.
    const fn breaks_a_link(self) -> bool {
        match self {
            Self::LeaderDead | Self::FollowerDead | Self::LeaderDiskHangs | Self::ZooKeeperDown => false,
            // The old leader cannot be reached from the new one either.
            Self::LeaderNotReached => false,
            Self::LeaderNotReachedByOne
            | Self::LeaderDoesNotReachOne
            | Self::NothingFromLeaderToOne
            | Self::NothingFromOneToLeader => true,
        }
    }
}

/// Runs for this time and requires payments meanwhile.
fn require_payments(world: &mut World, load: &RunningLoad, fault: Lasting, for_ms: u64) {
    let end = world.now_ms + for_ms;
    let (mut committed, mut since) = (load.progress().committed, world.now_ms);
    while world.now_ms < end {
        world.step();
        let now = load.progress().committed;
        if now > committed {
            (committed, since) = (now, world.now_ms);
        }
        let gap = world.now_ms - since;
        assert!(gap <= LONGEST_GAP_MS, "{gap} ms without a payment under {fault:?}\n{}", world.describe());
    }
}

/// The node that leads all others.
fn leader(world: &World) -> Option<Host> {
    let roles: Option<Vec<_>> = world.nodes.iter().map(|node| Some(node.status()?.role)).collect();
    let roles = roles?;
    let leads = roles.iter().position(|role| *role == Role::Leader)?;
    let follows = |(node, role): (Host, &Role)| node == leads || *role == Role::Follower;
    roles.iter().enumerate().all(follows).then_some(leads)
}
