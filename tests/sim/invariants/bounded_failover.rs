//! Invariant: after the leader's death payments wait for no ZooKeeper session, not even if the first candidate dies right
//! after it has taken an epoch, when only ZooKeeper knows of that epoch.

use crate::knobs::{MILLI, SECOND};
use crate::world::World;

/// A new leader must be open this long after the second death: half of the session timeout of the runs that are checked.
const BOUND: u64 = 2 * SECOND;

/// The time in which a candidate takes an epoch after the leader's death. If a node has taken one in vain while the leader
/// lived, the next in the queue leaves it its turn once.
const ELECTION_BOUND: u64 = 1_200 * MILLI;

/// Kills the leader of a settled cluster and the candidate that takes the next epoch. Runs whose sessions end within the
/// bound prove nothing and are left as they are. Until `last_straggler`, messages arrive that were sent while the network was slow:
/// those of the dead leader look as if it lived, so the time of the election begins after them.
pub(crate) fn check(world: &mut World, last_straggler: u64) {
    let leader = world.oracle.leader(world.now).filter(|leader| *leader < world.knobs.nodes);
    let Some(leader) = leader.filter(|_| world.knobs.nodes > 1 && world.knobs.session_timeout >= 2 * BOUND) else {
        return;
    };
    let (before, _) = world.zookeeper.newest_epoch();
    let replica = world.nodes[leader].process.as_ref().map(|process| process.engine.replica());
    if replica.is_none_or(|replica| !replica.is_open() || replica.promised_epoch() < before) {
        // It is handing over: its successor has its epoch already.
        return;
    }
    world.crash(leader);
    let by = world.now.max(last_straggler) + ELECTION_BOUND;
    while world.zookeeper.newest_epoch().0 <= before {
        assert!(world.now < by, "no candidate took an epoch after the leader's death");
        world.run_until(world.now + MILLI / 10);
    }
    let (_, taker) = world.zookeeper.newest_epoch();
    let taker = taker.expect("a new epoch has a taker");
    world.crash(taker);
    if world.knobs.nodes == 3 {
        world.restart(leader);
    }
    let by = world.now + BOUND;
    while !has_open_leader(world) {
        assert!(world.now < by, "no leader {} s after the candidate's death", BOUND / SECOND);
        world.run_until(world.now + MILLI);
    }
    world.restart(leader);
    world.restart(taker);
}

fn has_open_leader(world: &World) -> bool {
    let mut processes = world.members().iter().filter_map(|node| node.process.as_ref());
    processes.any(|process| process.engine.replica().is_open())
}
