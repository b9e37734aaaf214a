//! Programs with different rules: every entry is decided by the rules that its epoch names.

use super::{
    World, answered_during, at_work, busy_clients, finish, followers_of, leader_of, leads, next_leader, until,
};
use crate::SETTLING_TIME;
use crate::knobs::{Knobs, SECOND};
use quorapay_core::domain::RuleVersion;

const OLD: RuleVersion = RuleVersion::FIRST;
const NEW: RuleVersion = RuleVersion::TRIAL;

/// A cluster that takes many payments, and its leader: each tenth amount ends in 7, which only the new rules refuse.
fn busy(seed: u64) -> (World, usize) {
    at_work(Knobs { accounts: 4, ..busy_clients(seed) })
}

/// Upgrades nodes one after the other.
fn upgrade(world: &mut World, nodes: &[usize]) {
    for node in nodes {
        world.install(*node, NEW);
        world.run_until(world.now + SECOND);
    }
}

/// Kills the leader until this node leads.
fn make_leader(world: &mut World, node: usize) {
    for _ in 0..20 {
        let leader = next_leader(world);
        if leader == node {
            return;
        }
        world.install(leader, world.nodes[leader].newest_rules);
        world.run_until(world.now + SECOND);
    }
    panic!("node{} never leads", node + 1);
}

/// A cluster in which all nodes know the new rules and decide by them, and its leader.
fn decides_by_new_rules(seed: u64) -> (World, usize) {
    let (mut world, _) = busy(seed);
    upgrade(&mut world, &[0, 1, 2]);
    let leader = next_leader(&mut world);
    world.install(leader, NEW);
    until(&mut world, "the new rules are in force", |world| world.oracle.rules_in_force() == NEW);
    let leader = next_leader(&mut world);
    world.run_until(world.now + SECOND);
    (world, leader)
}

#[test]
fn a_leader_with_newer_rules_decides_by_those_that_all_nodes_know() {
    let (mut world, leader) = busy(61);
    let upgraded = followers_of(leader).0;
    upgrade(&mut world, &[upgraded]);
    make_leader(&mut world, upgraded);
    assert!(answered_during(&mut world, 3 * SECOND) > 50, "the upgraded leader takes payments");
    assert!(leads(&world, upgraded));
    assert_eq!(world.oracle.rules_in_force(), OLD);
    finish(world);
}

#[test]
fn the_first_election_after_all_nodes_were_upgraded_brings_the_new_rules_even_if_the_leader_died() {
    let (mut world, first) = busy(62);
    let (second, last) = followers_of(first);
    upgrade(&mut world, &[first, second]);
    make_leader(&mut world, second);
    upgrade(&mut world, &[last]);
    assert_eq!(world.oracle.rules_in_force(), OLD, "nobody was elected since");
    let leader = next_leader(&mut world);
    world.cut_power(leader);
    until(&mut world, "another node leads", |world| world.oracle.leader(world.now).is_some_and(|new| new != leader));
    world.run_until(world.now + SECOND);
    assert_eq!(world.oracle.rules_in_force(), NEW);
    finish(world);
}

#[test]
fn a_node_that_is_down_while_the_others_are_upgraded_keeps_the_old_rules_in_force() {
    let (mut world, leader) = busy(63);
    let (down, other) = followers_of(leader);
    world.cut_power(down);
    upgrade(&mut world, &[other, leader]);
    make_leader(&mut world, other);
    assert!(answered_during(&mut world, 2 * SECOND) > 20, "two nodes take payments");
    assert_eq!(world.oracle.rules_in_force(), OLD);
    finish(world);
}

#[test]
fn a_program_that_does_not_know_the_rules_in_force_does_not_start_and_disturbs_nobody() {
    let (mut world, leader) = decides_by_new_rules(64);
    let downgraded = followers_of(leader).0;
    world.knobs.downtime = 60 * SECOND;
    world.install(downgraded, OLD);
    assert!(world.met.contains("program too old to start"));
    assert!(answered_during(&mut world, 3 * SECOND) > 50, "the others take payments");
    assert!(leads(&world, leader) && world.life(downgraded).is_none());
    finish(world);
}

#[test]
fn an_old_program_that_meets_newer_rules_in_an_append_ends_and_goes_on_after_an_upgrade() {
    let (mut world, leader) = decides_by_new_rules(65);
    let wiped = followers_of(leader).0;
    world.crash(wiped);
    assert!(world.wipe_disk(wiped));
    world.nodes[wiped].newest_rules = OLD;
    world.restart(wiped);
    until(&mut world, "the old program ends", |world| world.met.contains("program too old to follow"));
    until(&mut world, "its successor follows", |world| {
        world.nodes[wiped].process.as_ref().is_some_and(|process| process.engine.replica().rules() == NEW)
    });
    finish(world);
}

#[test]
fn an_upgrade_brings_the_new_rules_though_the_leader_waits_for_the_answer_to_an_append_that_was_lost() {
    for seed in 66..70 {
        // What is sent while the link is cut times out after two seconds.
        let (mut world, unheard) = at_work(Knobs { request_timeout: 2 * SECOND, ..busy_clients(seed) });
        let (leader, last) = followers_of(unheard);
        upgrade(&mut world, &[unheard, leader]);
        make_leader(&mut world, leader);
        world.links.cut(unheard, leader);
        world.run_until(world.now + SECOND / 5);
        world.knobs.upgrade_every = SECOND;
        world.heal();
        world.settle(SETTLING_TIME);
        assert_eq!((leader_of(&world), world.oracle.rules_in_force()), (leader, OLD));
        world.complete_the_upgrade();
        assert_eq!(world.nodes[last].newest_rules, NEW);
        assert_eq!(world.oracle.rules_in_force(), NEW);
        finish(world);
    }
}
