//! Hazards with a name, each driven step by step; the oracle watches as in every run.

use super::SETTLING_TIME;
use super::knobs::{Knobs, SECOND};
use super::world::World;

/// A calm cluster of three that has taken payments for a while, and its leader.
fn three_at_work(seed: u64) -> (World, usize) {
    let knobs = Knobs { client_timeout: SECOND / 4, ..Knobs::calm(seed, 3) };
    let mut world = World::new(knobs, std::env::var_os("TRACE").is_some());
    world.run_until(3 * SECOND);
    assert!(world.clients.settled() > 20, "a calm cluster takes payments");
    let leader = leader_of(&world);
    (world, leader)
}

fn leader_of(world: &World) -> usize {
    world.oracle.leader(world.now).expect("somebody leads")
}

/// Lets the cluster work on and says how many writes were answered meanwhile.
fn answered_during(world: &mut World, length: u64) -> usize {
    let before = world.clients.settled();
    world.run_until(world.now + length);
    world.clients.settled() - before
}

fn finish(mut world: World) {
    world.heal();
    world.settle(SETTLING_TIME);
}

#[test]
fn a_crash_of_the_leader_loses_nothing() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the others go on");
        assert_ne!(leader_of(&world), leader);
        finish(world);
    }
}

#[test]
fn a_paused_leader_that_is_resumed_acknowledges_nothing_new() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.pause(leader);
        let before = world.clients.newest();
        assert!(answered_during(&mut world, 6 * SECOND) > 20, "the others go on");
        world.resume(leader);
        world.run_until(world.now + SECOND);
        assert!(world.clients.newest_decided_by(leader) <= before, "only what was on its way before is answered");
        finish(world);
    }
}

#[test]
fn a_wiped_disk_counts_for_nothing_until_it_is_readmitted() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (wiped, other) = ((leader + 1) % 3, (leader + 2) % 3);
        world.crash(wiped);
        assert!(world.wipe_disk(wiped), "everybody votes, so one disk may be lost");
        world.crash(other);
        world.run_until(world.now + SECOND);
        world.restart(wiped);
        assert_eq!(answered_during(&mut world, 5 * SECOND), 0, "an empty store makes no majority");
        world.restart(other);
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "two of the three are back");
        finish(world);
    }
}

#[test]
fn the_lowest_znode_with_a_stale_log_fetches_before_it_leads() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let stale = (leader + 1) % 3;
        for node in (0..3).filter(|node| *node != stale) {
            world.links.cut(node, stale);
            world.links.cut(stale, node);
        }
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "two of three go on");
        (0..3).for_each(|node| world.crash(node));
        world.links.mend();
        world.run_until(world.now + 3 * SECOND);
        let behind = world.nodes[stale].disk.last_index();
        assert!(behind < world.nodes[leader].disk.last_index(), "it has missed something");
        world.restart(stale);
        world.run_until(world.now + SECOND / 5);
        (0..3).for_each(|node| world.restart(node));
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "the cluster is back");
        assert_eq!(leader_of(&world), stale, "the first in the queue leads");
        finish(world);
    }
}

#[test]
fn without_zookeeper_payments_go_on() {
    let (mut world, leader) = three_at_work(1);
    world.zookeeper.up = false;
    for _ in 0..12 {
        assert!(answered_during(&mut world, 5 * SECOND) > 50, "no election is needed");
    }
    world.zookeeper_back();
    assert!(answered_during(&mut world, 5 * SECOND) > 50, "its return disturbs nobody");
    assert_eq!(leader_of(&world), leader);
    finish(world);
}

#[test]
fn a_leader_that_hears_nobody_is_replaced() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        for node in (0..3).filter(|node| *node != leader) {
            world.links.cut(node, leader);
        }
        world.run_until(world.now + 4 * SECOND);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the others go on");
        finish(world);
    }
}

#[test]
fn a_cluster_of_one_serves_after_a_restart() {
    let mut world = World::new(Knobs::calm(7, 1), false);
    assert!(answered_during(&mut world, 2 * SECOND) > 20);
    world.crash(0);
    world.run_until(world.now + SECOND / 10);
    world.restart(0);
    assert!(answered_during(&mut world, 2 * SECOND) > 20);
    finish(world);
}

#[test]
fn all_nodes_killed_at_once_come_back_with_everything() {
    for seed in 0..5 {
        let (mut world, _) = three_at_work(seed);
        (0..3).for_each(|node| world.crash(node));
        world.run_until(world.now + SECOND / 10);
        (0..3).for_each(|node| world.restart(node));
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "the cluster is back");
        finish(world);
    }
}
