//! Named hazards, each driven step by step while the oracle checks all invariants. `docs/TESTING.md` lists which
//! scenarios cover which hazard of the protocol.
//!
//! ```text
//! forwarding  writes and read points of a follower's clients
//! elections   who leads, and what a deposed leader can still do
//! logs        entries that are not committed, and answers that depend on them
//! disks       disks that are full, fail to sync, rot, lose their end or are wiped
//! messages    messages that are late, duplicated or reordered
//! clocks      wrong wall clocks
//! callers     API keys that are created and revoked while their holders ask
//! versions    programs that know different rules
//! views       views that cannot be brought up to date, or not be read
//! zookeeper   ZooKeeper down, wiped or restored; a second process with one node's id
//! ```

mod callers;
mod clocks;
mod disks;
mod elections;
mod forwarding;
mod logs;
mod messages;
mod versions;
mod views;
mod zookeeper;

use std::collections::BTreeSet;

use super::SETTLING_TIME;
use super::knobs::{Knobs, MILLI, SECOND};
use super::world::World;

/// A condition that a scenario waits for must hold within this virtual time.
const SCENARIO_TIMEOUT: u64 = 20 * SECOND;

fn short_client_timeouts(seed: u64) -> Knobs {
    Knobs { client_timeout: SECOND / 4, ..Knobs::calm(seed, 3) }
}

/// A cluster of three without faults that has taken payments for a while, and its leader.
fn three_at_work(seed: u64) -> (World, usize) {
    at_work(short_client_timeouts(seed))
}

/// A cluster with these settings that has taken payments for a while, and its leader.
fn at_work(knobs: Knobs) -> (World, usize) {
    let mut world = World::new(knobs, std::env::var_os("TRACE").is_some());
    world.run_until(3 * SECOND);
    assert!(world.clients.settled() > 20, "a cluster without faults takes payments");
    let leader = leader_of(&world);
    (world, leader)
}

/// Many clients with short pauses: any point between two payments is hit.
fn busy_clients(seed: u64) -> Knobs {
    Knobs { clients: 6, think: 5 * MILLI, reads: 0, ..short_client_timeouts(seed) }
}

/// Isolates the leader and waits until it has appended this number of entries that no other node has.
fn append_alone(world: &mut World, leader: usize, entries: u64) {
    isolate(world, leader);
    let shared = world.nodes[leader].disk.last_index().0;
    until(world, "the leader appends alone", |world| world.nodes[leader].disk.last_index().0 >= shared + entries);
}

/// Waits for a leader and returns it.
fn next_leader(world: &mut World) -> usize {
    until(world, "a node leads", |world| world.oracle.leader(world.now).is_some());
    leader_of(world)
}

fn leader_of(world: &World) -> usize {
    world.oracle.leader(world.now).expect("a node leads")
}

/// The two other nodes, in their order after the leader.
fn followers_of(leader: usize) -> (usize, usize) {
    ((leader + 1) % 3, (leader + 2) % 3)
}

/// Runs for this time and returns how many writes were answered.
fn answered_during(world: &mut World, length: u64) -> usize {
    let before = world.clients.settled();
    world.run_until(world.now + length);
    world.clients.settled() - before
}

/// Runs in small steps until a condition holds; false if it does not in time.
fn becomes(world: &mut World, condition: impl Fn(&World) -> bool) -> bool {
    let end = world.now + SCENARIO_TIMEOUT;
    while !condition(world) {
        if world.now >= end {
            return false;
        }
        world.run_until(world.now + MILLI / 10);
    }
    true
}

/// Runs in small steps until a condition holds, which it must in time.
fn until(world: &mut World, what: &str, condition: impl Fn(&World) -> bool) {
    assert!(becomes(world, condition), "not in time: {what}");
}

/// Cuts all links of a node, in both directions.
fn isolate(world: &mut World, node: usize) {
    for other in (0..world.nodes.len()).filter(|other| *other != node) {
        world.links.cut(node, other);
        world.links.cut(other, node);
    }
}

fn leads(world: &World, node: usize) -> bool {
    world.nodes[node].process.as_ref().is_some_and(|process| process.engine.replica().is_leader())
}

fn epoch_of(world: &World, node: usize) -> u64 {
    world.nodes[node].process.as_ref().map_or(0, |process| process.engine.replica().promised_epoch().0)
}

fn is_quarantined(world: &World, node: usize) -> bool {
    world.nodes[node].process.as_ref().is_some_and(|process| process.quarantined)
}

/// Whether the node's store votes.
fn votes(world: &World, node: usize) -> bool {
    world.oracle.votes(&world.nodes[node].id, world.nodes[node].disk.store_id)
}

fn finish(mut world: World) {
    world.heal();
    world.settle(SETTLING_TIME);
    world.release_held_back();
    world.run_until(world.now + 2 * SECOND);
    world.settle(SETTLING_TIME);
}

#[test]
fn the_documentation_names_every_scenario_and_no_other() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("the file is there");
    let document = read("docs/TESTING.md");
    let (_, table) = document.split_once("### The hazards").expect("there is such a heading");
    let (table, _) = table.split_once("###").expect("another heading follows");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let named = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).map(str::to_owned);
    let files =
        ["callers", "clocks", "disks", "elections", "forwarding", "logs", "messages", "versions", "views", "zookeeper"];
    let code = files.map(|file| read(&format!("tests/sim/scenarios/{file}.rs"))).concat();
    let tests = code.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()).map(str::to_owned);
    assert_eq!(named.collect::<BTreeSet<_>>(), tests.collect::<BTreeSet<_>>());
}
