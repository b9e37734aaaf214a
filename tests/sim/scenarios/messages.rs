//! Messages that are late, duplicated or reordered, and batches that take long to send.

use super::*;

#[test]
fn messages_delayed_by_minutes_change_nothing() {
    for seed in 0..10 {
        let (mut world, _) = three_at_work(seed);
        (world.knobs.held_back, world.knobs.duplication) = (100, 300);
        for _ in 0..3 {
            let leader = next_leader(&mut world);
            world.crash(leader);
            world.run_until(world.now + 4 * SECOND);
            world.restart(leader);
            world.run_until(world.now + 2 * SECOND);
            world.release_held_back();
            world.run_until(world.now + 2 * SECOND);
        }
        assert!(!world.held_back.is_empty(), "some messages arrive only at the end");
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

#[test]
fn batches_that_are_long_on_their_way_do_not_silence_the_leader() {
    for seed in 0..5 {
        let (mut world, leader) = at_work(Knobs { client_timeout: 20 * SECOND, ..Knobs::calm(seed, 3) });
        let epoch = epoch_of(&world, leader);
        (world.knobs.request_timeout, world.knobs.append_delay) = (4 * SECOND, 3 * SECOND / 2);
        let answered = answered_during(&mut world, 12 * SECOND);
        assert!(answered > 4, "payments are answered eventually: {answered}");
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "no election took place");
        finish(world);
    }
}

#[test]
fn a_heartbeat_whose_response_is_lost_keeps_no_entries_from_its_follower() {
    for seed in 0..10 {
        let mut world = World::new(Knobs { clients: 0, ..busy_clients(seed) }, std::env::var_os("TRACE").is_some());
        world.run_until(SECOND);
        let leader = next_leader(&mut world);
        let (follower, _) = followers_of(leader);
        world.links.cut(follower, leader);
        world.run_until(world.now + 45 * MILLI);
        world.links.mend();
        world.clients_work_at(&[leader]);
        // A request fails after a second.
        let before = world.nodes[leader].disk.last_index();
        world.run_until(world.now + SECOND / 4);
        let (end, stored) = (world.nodes[leader].disk.last_index(), world.nodes[follower].disk.last_index());
        assert!(
            end > before && stored > before,
            "seed {seed}: it ends at {stored}, the leader at {end} after {before}"
        );
        finish(world);
    }
}

#[test]
fn a_leader_whose_batches_never_arrive_steps_down_though_its_heartbeats_do() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.knobs.append_delay = 1_000 * SECOND;
        until(&mut world, "it steps down", |world| !leads(world, leader));
        finish(world);
    }
}

#[test]
fn a_follower_that_was_down_for_long_costs_heartbeats_only_and_then_catches_up_at_once() {
    for seed in 0..5 {
        let mut knobs = busy_clients(seed);
        // What it misses is read from the leader's ledger, in batches. The oracle bounds how many while it is down.
        (knobs.limits.cached_entries, knobs.limits.batch_entries) = (1, 16);
        let (mut world, leader) = at_work(knobs);
        let (down, _) = followers_of(leader);
        world.crash(down);
        assert!(answered_during(&mut world, 10 * SECOND) > 500, "two of three take payments");
        let end = world.nodes[leader].disk.last_index();
        world.restart(down);
        world.run_until(world.now + SECOND);
        let caught_up = world.nodes[down].disk.last_index();
        assert!(caught_up >= end, "it ends at {caught_up} a second later; {end} was the end when it came back");
        finish(world);
    }
}
