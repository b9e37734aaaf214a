//! Views that cannot be brought up to date, or not be read.

use super::*;

/// Keys that the views may lack: few enough to be reached within a second.
const FEW_KEYS: u64 = 32;

fn small_lag(seed: u64) -> Knobs {
    let mut knobs = busy_clients(seed);
    knobs.limits.unprojected_keys = FEW_KEYS;
    knobs
}

fn lag_of(world: &World, node: usize) -> u64 {
    world.nodes[node].process.as_ref().map_or(0, |process| process.engine.views_lag().keys)
}

#[test]
fn a_follower_whose_views_are_stuck_takes_no_more_batches_and_still_counts_as_alive() {
    for seed in 0..5 {
        let (mut world, leader) = at_work(small_lag(seed));
        let (stuck, _) = followers_of(leader);
        world.nodes[stuck].views_stuck = true;
        until(&mut world, "it is as far behind as it may be", |world| lag_of(world, stuck) >= FEW_KEYS);
        assert!(answered_during(&mut world, 5 * SECOND) > 50, "the others take payments");
        assert!(leads(&world, leader), "nobody was deposed");
        let status = world.nodes[leader].process.as_ref().expect("it runs");
        let now = world.nodes[leader].now(world.now);
        let id = &world.nodes[stuck].id;
        let follower = status.engine.replica().followers(now).into_iter().find(|follower| follower.node == *id);
        assert!(follower.is_some_and(|follower| follower.reachable), "it answers heartbeats");
        world.nodes[stuck].views_stuck = false;
        until(&mut world, "it takes batches again", |world| {
            let last = |node: usize| world.nodes[node].disk.last_index().0;
            last(stuck) + 64 > last(leader)
        });
        finish(world);
    }
}

#[test]
fn a_leader_whose_views_cannot_be_used_hands_over_to_one_whose_views_can() {
    for seed in 0..5 {
        let (mut world, leader) = at_work(small_lag(seed));
        world.nodes[leader].views_stuck = true;
        let (left, right) = followers_of(leader);
        until(&mut world, "another one leads", |world| leads(world, left) || leads(world, right));
        assert!(answered_during(&mut world, 5 * SECOND) > 50, "the others take payments");
        assert!(!leads(&world, leader));
        world.nodes[leader].views_stuck = false;
        finish(world);
    }
}

#[test]
fn a_leader_whose_views_cannot_be_used_hands_over_though_it_could_not_at_first() {
    for seed in 0..5 {
        let (mut world, last) = three_at_work(seed);
        let next = world.zookeeper.queue().find(|node| *node != last).expect("all nodes are in the queue");
        let other = 3 - last - next;
        world.crash(last);
        until(&mut world, "the next one is elected", |world| leads(world, next));
        // The first entry of its epoch cannot be committed for a while. A leader hands over only after that.
        world.hang_disk(other);
        world.nodes[next].views_stuck = true;
        world.run_until(world.now + SECOND);
        assert!(leads(&world, next));
        world.disk_responds(other);
        until(&mut world, "the other one leads", |world| leads(world, other));
        world.nodes[next].views_stuck = false;
        finish(world);
    }
}

#[test]
fn a_node_whose_views_cannot_be_used_lets_another_one_be_elected() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (unfit, fit) = followers_of(leader);
        world.nodes[unfit].views_stuck = true;
        world.run_until(world.now + SECOND);
        world.crash(leader);
        until(&mut world, "one of them leads", |world| leads(world, unfit) || leads(world, fit));
        assert!(leads(&world, fit), "seed {seed}");
        world.nodes[unfit].views_stuck = false;
        world.restart(leader);
        finish(world);
    }
}

#[test]
fn writers_wait_while_no_views_can_be_brought_up_to_date() {
    for seed in 0..5 {
        let (mut world, _) = at_work(small_lag(seed));
        (0..3).for_each(|node| world.nodes[node].views_stuck = true);
        world.run_until(world.now + 3 * SECOND);
        assert!(answered_during(&mut world, 3 * SECOND) < 50, "nothing more is taken in");
        let leading = (0..3).any(|node| leads(&world, node));
        assert!(leading, "one leads all the same");
        (0..3).for_each(|node| world.nodes[node].views_stuck = false);
        assert!(answered_during(&mut world, 8 * SECOND) > 20, "they go on");
        finish(world);
    }
}
