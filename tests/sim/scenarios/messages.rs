//! Clocks that jump, and messages that come late, twice and in the wrong order.

use super::*;

#[test]
fn clocks_that_jump_elect_nobody_and_turn_no_timestamp_back() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let epoch = epoch_of(&world, leader);
        for round in 0..40 {
            world.nodes[round % 3].clock_ahead_ms = if round % 2 == 0 { 0 } else { 100_000_000 };
            assert!(answered_during(&mut world, SECOND / 4) > 0, "payments go on");
        }
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "nobody was elected");
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "a leader whose clock is behind goes on");
        finish(world);
    }
}

#[test]
fn messages_delayed_by_minutes_change_nothing() {
    for seed in 0..10 {
        let (mut world, _) = three_at_work(seed);
        (world.knobs.kept_back, world.knobs.duplication) = (100, 300);
        for _ in 0..3 {
            let leader = next_leader(&mut world);
            world.crash(leader);
            world.run_until(world.now + 4 * SECOND);
            world.restart(leader);
            world.run_until(world.now + 2 * SECOND);
            world.release_kept_back();
            world.run_until(world.now + 2 * SECOND);
        }
        assert!(!world.kept_back.is_empty(), "some arrive only when all is over");
        finish(world);
    }
}

#[test]
fn messages_doubled_and_reordered_are_stored_once() {
    for seed in 0..10 {
        let mut knobs = busy_clients(seed);
        knobs.limits.batch_entries = 2;
        knobs.client_timeout = 2 * SECOND;
        let (mut world, _) = at_work(knobs);
        (world.knobs.duplication, world.knobs.delay) = (500, (100, 200 * MILLI));
        let answered = answered_during(&mut world, 10 * SECOND);
        assert!(answered > 10, "seed {seed}: {answered} answered");
        finish(world);
    }
}
