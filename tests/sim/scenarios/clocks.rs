//! Wall clocks that are wrong.

use quorapay_core::domain::Timestamp;
use quorapay_core::domain::{Operation, PaymentId};

use super::*;

const DAYS_MS: u64 = 3 * 24 * 60 * 60 * 1_000;

/// The time of the last entry that a node has made durable.
fn time_of(world: &World, node: usize) -> Timestamp {
    world.nodes[node].disk.rows.last().expect("it has entries").timestamp
}

/// The holds that were ended in a node's ledger though their time is not up yet by another node's clock.
fn ended_early(world: &World, node: usize) -> Vec<PaymentId> {
    let moment = world.nodes[followers_of(node).0].latest_clock(world.now).0;
    let expiries = world.nodes[node].disk.rows.iter().filter_map(|entry| match entry.operation() {
        Some(Operation::Expiry(expiry)) => Some(expiry),
        _ => None,
    });
    let early = expiries.filter(|expiry| expiry.before.expires_at_ms.is_some_and(|due| due > moment));
    early.map(|expiry| expiry.payment).collect()
}

#[test]
fn clocks_that_jump_elect_nobody_and_turn_no_timestamp_back() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let epoch = epoch_of(&world, leader);
        for round in 0..40 {
            world.nodes[round % 3].set_clock(if round % 2 == 0 { 0 } else { 100_000_000 });
            assert!(answered_during(&mut world, SECOND / 4) > 0, "payments go on");
        }
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "nobody was elected");
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "a leader whose clock is behind goes on");
        finish(world);
    }
}

#[test]
fn a_leader_whose_clock_is_days_ahead_ends_no_hold_early() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.nodes[leader].set_clock(DAYS_MS);
        assert!(answered_during(&mut world, 2 * SECOND) > 0, "payments go on");
        let others = world.nodes[followers_of(leader).0].latest_clock(world.now);
        assert!(time_of(&world, leader) <= others, "the others' time is the ledger's");
        assert_eq!(ended_early(&world, leader), []);
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 0, "nor does its successor's time jump");
        finish(world);
    }
}

#[test]
fn a_leader_whose_clock_is_days_behind_keeps_no_hold_open() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (one, other) = followers_of(leader);
        // One alone moves nothing.
        world.nodes[one].set_clock(DAYS_MS);
        world.run_until(world.now + SECOND);
        let before = time_of(&world, leader);
        assert!(before <= world.nodes[leader].latest_clock(world.now));
        world.nodes[other].set_clock(DAYS_MS);
        world.run_until(world.now + SECOND);
        assert!(time_of(&world, leader).0 >= before.0 + DAYS_MS, "two of three have passed it");
        finish(world);
    }
}
