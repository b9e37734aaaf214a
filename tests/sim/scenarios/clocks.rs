//! Wrong wall clocks.

use quorapay_core::domain::{Operation, PaymentId, Timestamp};

use super::*;

const DAYS_MS: u64 = 3 * 24 * 60 * 60 * 1_000;

/// What this node's process judges false.
fn falsetickers(world: &World, node: usize) -> Vec<String> {
    let process = world.nodes[node].process.as_ref().expect("it runs");
    process.engine.replica().falsetickers().iter().map(ToString::to_string).collect()
}

/// The time of the last entry that a node has made durable.
fn time_of(world: &World, node: usize) -> Timestamp {
    world.nodes[node].disk.rows.last().expect("it has entries").timestamp
}

/// The holds that have expired in a node's ledger but not yet by another node's clock.
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
            assert!(answered_during(&mut world, SECOND / 4) > 0, "payments continue");
        }
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "no election took place");
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "a leader whose clock is behind takes payments");
        finish(world);
    }
}

#[test]
fn a_leader_whose_clock_is_days_ahead_ends_no_hold_early() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.nodes[leader].set_clock(DAYS_MS);
        assert!(answered_during(&mut world, 2 * SECOND) > 0, "payments continue");
        let others = world.nodes[followers_of(leader).0].latest_clock(world.now);
        assert!(time_of(&world, leader) <= others, "the ledger's time is that of the others");
        assert_eq!(ended_early(&world, leader), []);
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 0, "its successor's time does not jump either");
        finish(world);
    }
}

#[test]
fn a_leader_whose_clock_is_days_behind_keeps_no_hold_open() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (one, other) = followers_of(leader);
        // One clock alone does not move the ledger's time.
        world.nodes[one].set_clock(DAYS_MS);
        world.run_until(world.now + SECOND);
        let before = time_of(&world, leader);
        assert!(before <= world.nodes[leader].latest_clock(world.now));
        world.nodes[other].set_clock(DAYS_MS);
        world.run_until(world.now + SECOND);
        assert!(time_of(&world, leader).0 >= before.0 + DAYS_MS, "two of three clocks have passed it");
        finish(world);
    }
}

#[test]
fn a_leader_whose_clock_is_false_hands_over_within_ten_seconds_and_loses_nothing() {
    for (seed, right, wrong) in [(0, 0, DAYS_MS), (1, DAYS_MS, 0), (2, 0, 400), (3, 2_000, 1_700), (4, 0, 3_600_000)] {
        let (mut world, leader) = three_at_work(seed);
        world.nodes.iter_mut().for_each(|node| node.set_clock(right));
        world.run_until(world.now + 5 * SECOND);
        assert_eq!((leader_of(&world), falsetickers(&world, leader)), (leader, vec![]), "all are right");
        world.nodes[leader].set_clock(wrong);
        let name = world.nodes[leader].id.to_string();
        for _ in 0..40 {
            assert!(answered_during(&mut world, SECOND / 4) > 0, "payments continue");
        }
        assert_ne!(leader_of(&world), leader, "another node leads");
        for node in 0..3 {
            assert_eq!(falsetickers(&world, node), std::slice::from_ref(&name));
        }
        assert_eq!(ended_early(&world, leader), []);
        let (successor, epoch) = (leader_of(&world), epoch_of(&world, leader_of(&world)));
        world.nodes[leader].set_clock(right);
        world.run_until(world.now + 6 * SECOND);
        for node in 0..3 {
            assert!(falsetickers(&world, node).is_empty(), "it was set right");
        }
        assert_eq!((leader_of(&world), epoch_of(&world, successor)), (successor, epoch), "the successor stays");
        finish(world);
    }
}

#[test]
fn clocks_that_all_differ_move_no_leadership() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let epoch = epoch_of(&world, leader);
        (0..3).for_each(|node| world.nodes[node].set_clock(u64::try_from(node).expect("few") * 3_600_000));
        for _ in 0..60 {
            assert!(answered_during(&mut world, SECOND / 4) > 0, "payments continue");
        }
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch));
        (0..3).for_each(|node| assert!(falsetickers(&world, node).is_empty()));
        finish(world);
    }
}

#[test]
fn a_leader_whose_clock_runs_away_hands_over_before_it_is_a_second_off() {
    const GAINS_MS: u64 = 5;
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.run_until(world.now + 2 * SECOND);
        let mut ahead_ms = 0;
        while leader_of(&world) == leader {
            ahead_ms += GAINS_MS;
            assert!(ahead_ms < 1_000, "it leads {ahead_ms} ms ahead");
            world.nodes[leader].set_clock(ahead_ms);
            world.run_until(world.now + SECOND / 10);
            until(&mut world, "a node leads", |world| world.oracle.leader(world.now).is_some());
        }
        assert!(answered_during(&mut world, SECOND) > 0, "payments continue");
        assert_eq!(ended_early(&world, leader), []);
        finish(world);
    }
}

#[test]
fn clocks_of_a_majority_that_are_wrong_alike_are_taken_for_right_and_payments_go_on() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (one, other) = followers_of(leader);
        world.nodes[one].set_clock(3_600_000);
        world.nodes[other].set_clock(3_600_000);
        for _ in 0..40 {
            assert!(answered_during(&mut world, SECOND / 4) > 0, "payments continue");
        }
        assert_ne!(leader_of(&world), leader, "the majority believes its own clocks");
        assert_eq!(falsetickers(&world, one), [world.nodes[leader].id.to_string()]);
        finish(world);
    }
}
