//! The faults of a run, drawn from its seed.

use quorapay_lab::random::Random;

use crate::network::{Host, Weather};
use crate::world::World;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A process is killed and started again.
    Kill,
    /// All processes are killed at once.
    KillAll,
    /// A node is told to stop, and is started again.
    Restart,
    /// The threads of a process stand still.
    Pause,
    /// Nothing passes between a node and all others.
    Isolate,
    /// Nothing passes in one direction between two nodes.
    CutOneWay,
    /// Messages are lost or slow.
    Weather,
    /// ZooKeeper is away for a node.
    ZooKeeperUnreachable,
    /// ZooKeeper is away for all.
    ZooKeeperDown,
    /// The session of a node ends though the node lives.
    SessionEnds,
    /// The writes of a disk do not end.
    DiskHangs,
    /// A wall clock is set.
    ClockStep,
    /// A disk is replaced while its node is down.
    DiskWiped,
    /// A row of a ledger is damaged while its node is down.
    RowDamaged,
}

const ALL: [Fault; 14] = [
    Fault::Kill,
    Fault::KillAll,
    Fault::Restart,
    Fault::Pause,
    Fault::Isolate,
    Fault::CutOneWay,
    Fault::Weather,
    Fault::ZooKeeperUnreachable,
    Fault::ZooKeeperDown,
    Fault::SessionEnds,
    Fault::DiskHangs,
    Fault::ClockStep,
    Fault::DiskWiped,
    Fault::RowDamaged,
];

/// Longest time of a fault that ends by itself.
const LONGEST_MS: u64 = 2_500;
/// Longest time between two faults.
const LONGEST_CALM_MS: u64 = 900;

/// The kinds of faults of a run: most runs have only a few of them.
pub(crate) fn draw(random: &mut Random) -> Vec<Fault> {
    let share = 1 + random.below(4);
    ALL.into_iter().filter(|_| random.below(5) < share).collect()
}

/// What ends later.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Cure {
    Start(Host),
    Network,
    ZooKeeper,
    Disk(Host),
}

/// Makes a fault. Returns what ends it, and how long to wait before the next.
pub(crate) fn strike(world: &mut World, fault: Fault) {
    let node = world.random.index(world.nodes.len());
    let lasts = 100 + world.random.below(LONGEST_MS);
    world.note(format_args!("{fault:?} at node{} for {lasts} ms", node + 1));
    match fault {
        Fault::Kill => world.kill(node, lasts),
        Fault::KillAll => (0..world.nodes.len()).for_each(|node| world.kill(node, lasts)),
        Fault::Restart => world.nodes[node].stop(),
        Fault::Pause => {
            let until = world.now_ms + lasts;
            world.nodes[node].pause_until(until);
        }
        Fault::Isolate => {
            for other in (0..world.nodes.len()).filter(|other| *other != node) {
                world.network.cut(node, other);
                world.network.cut(other, node);
            }
            world.cure_in(lasts, Cure::Network);
        }
        Fault::CutOneWay => {
            let other = (node + 1 + world.random.index(world.nodes.len() - 1)) % world.nodes.len();
            world.network.cut(node, other);
            world.cure_in(lasts, Cure::Network);
        }
        Fault::Weather => {
            let (loss_per_mille, delay_ms) = (world.random.below(150), 1 + world.random.below(60));
            world.network.set_weather(Weather { loss_per_mille, delay_ms });
            world.cure_in(lasts, Cure::Network);
        }
        Fault::ZooKeeperUnreachable => {
            world.zookeeper.set_reachable(node, false);
            world.cure_in(lasts, Cure::ZooKeeper);
        }
        Fault::ZooKeeperDown => {
            world.zookeeper.stop();
            world.cure_in(lasts, Cure::ZooKeeper);
        }
        Fault::SessionEnds => world.zookeeper.expire(node),
        Fault::DiskHangs => {
            world.nodes[node].disk.set_hangs(true);
            world.cure_in(lasts, Cure::Disk(node));
        }
        Fault::ClockStep => {
            let skew = i64::try_from(world.random.below(20_000)).expect("small") - 10_000;
            world.nodes[node].set_skew(skew);
        }
        Fault::DiskWiped | Fault::RowDamaged => world.destroy(node, fault, lasts),
    }
    world.calm_until_ms = world.now_ms + world.random.below(LONGEST_CALM_MS);
}

/// Ends a fault.
pub(crate) fn heal(world: &mut World, cure: Cure) {
    match cure {
        Cure::Start(node) => world.start(node),
        Cure::Network => world.network.heal(),
        Cure::ZooKeeper => {
            world.zookeeper.start();
            (0..world.nodes.len()).for_each(|node| world.zookeeper.set_reachable(node, true));
        }
        Cure::Disk(node) => world.nodes[node].disk.set_hangs(false),
    }
}
