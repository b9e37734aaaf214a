//! Hazards with a name, each driven step by step; the oracle watches as in every run. `docs/TESTING.md` says which
//! scenario stands for which hazard of the protocol.

mod clocks;
mod disks;
mod elections;
mod logs;
mod messages;
mod zookeeper;

use std::collections::BTreeSet;

use super::SETTLING_TIME;
use super::knobs::{Knobs, MILLI, SECOND};
use super::world::World;

/// Longest that a scenario waits for what must happen.
const PATIENCE: u64 = 20 * SECOND;

fn impatient_clients(seed: u64) -> Knobs {
    Knobs { client_timeout: SECOND / 4, ..Knobs::calm(seed, 3) }
}

/// A calm cluster of three that has taken payments for a while, and its leader.
fn three_at_work(seed: u64) -> (World, usize) {
    at_work(impatient_clients(seed))
}

/// A cluster with these settings that has taken payments for a while, and its leader.
fn at_work(knobs: Knobs) -> (World, usize) {
    let mut world = World::new(knobs, std::env::var_os("TRACE").is_some());
    world.run_until(3 * SECOND);
    assert!(world.clients.settled() > 20, "a calm cluster takes payments");
    let leader = leader_of(&world);
    (world, leader)
}

/// Many clients that hardly pause: whatever can go wrong between two payments does.
fn busy_clients(seed: u64) -> Knobs {
    Knobs { clients: 6, think: 5 * MILLI, reads: 0, ..impatient_clients(seed) }
}

/// Isolates the leader and waits until it has appended so many entries that nobody else has.
fn append_alone(world: &mut World, leader: usize, entries: u64) {
    isolate(world, leader);
    let shared = world.nodes[leader].disk.last_index().0;
    until(world, "the leader appends alone", |world| world.nodes[leader].disk.last_index().0 >= shared + entries);
}

/// Waits for a leader and says who it is.
fn next_leader(world: &mut World) -> usize {
    until(world, "somebody leads", |world| world.oracle.leader(world.now).is_some());
    leader_of(world)
}

fn leader_of(world: &World) -> usize {
    world.oracle.leader(world.now).expect("somebody leads")
}

/// The two nodes that do not lead, in their order after the leader.
fn followers_of(leader: usize) -> (usize, usize) {
    ((leader + 1) % 3, (leader + 2) % 3)
}

/// Lets the cluster work on and says how many writes were answered meanwhile.
fn answered_during(world: &mut World, length: u64) -> usize {
    let before = world.clients.settled();
    world.run_until(world.now + length);
    world.clients.settled() - before
}

/// Runs in small steps until something is so; false if it is not in time.
fn becomes(world: &mut World, condition: impl Fn(&World) -> bool) -> bool {
    let end = world.now + PATIENCE;
    while !condition(world) {
        if world.now >= end {
            return false;
        }
        world.run_until(world.now + MILLI / 10);
    }
    true
}

/// Runs in small steps until something is so; it must be soon.
fn until(world: &mut World, what: &str, condition: impl Fn(&World) -> bool) {
    assert!(becomes(world, condition), "not in time: {what}");
}

/// Cuts a node off from all others, in both directions.
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

/// Whether the node has a store that votes.
fn votes(world: &World, node: usize) -> bool {
    world.oracle.votes(&world.nodes[node].id, world.nodes[node].disk.store_id)
}

fn finish(mut world: World) {
    world.heal();
    world.settle(SETTLING_TIME);
    world.release_kept_back();
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
    let files = ["clocks", "disks", "elections", "logs", "messages", "zookeeper"];
    let code = files.map(|file| read(&format!("tests/sim/scenarios/{file}.rs"))).concat();
    let tests = code.split("#[test]\nfn ").skip(1).filter_map(|rest| rest.split('(').next()).map(str::to_owned);
    assert_eq!(named.collect::<BTreeSet<_>>(), tests.collect::<BTreeSet<_>>());
}
