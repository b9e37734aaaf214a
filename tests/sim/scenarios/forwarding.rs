//! Writes that a follower forwards to the leader, and the read points that it asks for.

use super::*;

/// Clients that keep to one follower, which therefore forwards everything.
fn clients_of_one_follower(seed: u64) -> (World, usize, usize) {
    let (mut world, leader) = at_work(busy_clients(seed));
    let (follower, _) = followers_of(leader);
    world.clients_work_at(&[follower]);
    (world, leader, follower)
}

fn served_since(world: &World, node: usize, at: u64) -> (bool, bool) {
    let served = world.clients.served(node);
    (served.write > at, served.read > at)
}

#[test]
fn a_follower_forwards_the_writes_of_its_clients_and_answers_reads_itself() {
    let (mut world, _, follower) = clients_of_one_follower(1);
    let began = world.now;
    world.run_until(began + SECOND);
    assert_eq!(served_since(&world, follower, began), (true, true));
    finish(world);
}

#[test]
fn a_forwarded_batch_that_arrives_twice_is_applied_once() {
    for seed in 0..10 {
        let (mut world, _, _) = clients_of_one_follower(seed);
        (world.knobs.duplication, world.knobs.delay) = (1_000, (100, 50 * MILLI));
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "clients are answered");
        assert!(world.met.contains("forwarded batch doubled"));
        finish(world);
    }
}

#[test]
fn a_forwarded_write_whose_outcome_is_lost_is_unknown_and_its_repetition_gets_the_same_answer() {
    for seed in 0..10 {
        let (mut world, _, _) = clients_of_one_follower(seed);
        (world.knobs.loss, world.knobs.request_timeout) = (300, 200 * MILLI);
        assert!(answered_during(&mut world, 10 * SECOND) > 20, "clients are answered");
        assert!(world.met.contains("forwarded outcome lost"));
        finish(world);
    }
}

#[test]
fn a_leader_deposed_with_forwarded_writes_leaves_them_unknown_and_each_is_applied_at_most_once() {
    for seed in 0..5 {
        let (mut world, leader, follower) = clients_of_one_follower(seed);
        // Batches never arrive, heartbeats do: the leader collects writes that no quorum has.
        world.knobs.append_delay = 1_000 * SECOND;
        until(&mut world, "it is deposed with writes", |world| world.met.contains("deposed with forwarded writes"));
        world.knobs.append_delay = 0;
        let began = world.now;
        until(&mut world, "the follower serves again", |world| served_since(world, follower, began) == (true, true));
        assert!(!leads(&world, leader) || epoch_of(&world, leader) > 1, "another epoch has begun");
        finish(world);
    }
}

#[test]
fn a_read_point_whose_answer_is_lost_delays_the_reads_after_it_by_no_more_than_its_timeout() {
    for seed in 0..10 {
        let (mut world, leader, follower) = clients_of_one_follower(seed);
        world.links.cut(leader, follower);
        world.run_until(world.now + 200 * MILLI);
        world.links.mend();
        let mended = world.now;
        world.run_until(mended + world.knobs.request_timeout + SECOND / 2);
        assert_eq!(served_since(&world, follower, mended), (true, true));
        finish(world);
    }
}

#[test]
fn reads_that_wait_for_a_leader_whose_machine_is_down_are_asked_of_the_next_one() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(busy_clients(seed));
        let (_, follower) = followers_of(leader);
        world.clients_work_at(&[follower]);
        world.run_until(world.now + SECOND / 4);
        world.cut_power(leader);
        until(&mut world, "another node leads", |world| {
            world.oracle.leader(world.now).is_some_and(|next| next != leader)
        });
        let began = world.now;
        // Requests to the machine that is down fail after a second; nobody needs to wait for that.
        world.run_until(began + SECOND / 4);
        assert!(!leads(&world, follower), "the follower stays one");
        assert!(served_since(&world, follower, began).1, "the follower answers reads, seed {seed}");
        world.restart(leader);
        finish(world);
    }
}

#[test]
fn read_points_that_arrive_twice_late_and_in_any_order_give_no_stale_read() {
    for seed in 0..10 {
        let (mut world, _, follower) = clients_of_one_follower(seed);
        (world.knobs.duplication, world.knobs.delay, world.knobs.loss) = (500, (100, 200 * MILLI), 50);
        world.knobs.client_timeout = 2 * SECOND;
        for _ in 0..3 {
            let leader = next_leader(&mut world);
            world.pause(leader);
            world.run_until(world.now + 2 * SECOND);
            world.resume(leader);
            world.run_until(world.now + SECOND);
        }
        assert!(world.clients.served(follower).read > 0);
        finish(world);
    }
}

#[test]
fn callers_that_repeat_a_write_that_cannot_commit_do_not_collect_without_end() {
    for seed in 0..5 {
        let mut knobs = Knobs { retries: 1_000, ..busy_clients(seed) };
        knobs.limits.tail_entries = 4;
        let (mut world, leader) = at_work(knobs);
        // Batches never arrive, heartbeats do. The oracle bounds how many callers wait.
        (world.knobs.append_delay, world.knobs.client_timeout) = (1_000 * SECOND, 10 * MILLI);
        world.clients_work_at(&[leader]);
        world.run_until(world.now + 5 * SECOND);
        (world.knobs.append_delay, world.knobs.client_timeout) = (0, SECOND / 4);
        finish(world);
    }
}
