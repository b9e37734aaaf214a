//! ZooKeeper away, wiped, restored, or not keeping a second process of one node out.

use super::*;
use quorapay::engine::Input;
use quorapay::replication::{CoordinationEvent, Epoch, Event, Place};

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
fn without_zookeeper_nobody_new_leads() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.zookeeper.up = false;
        world.run_until(world.now + 3 * SECOND);
        world.crash(leader);
        world.run_until(world.now + SECOND);
        assert_eq!(answered_during(&mut world, 5 * SECOND), 0, "there is no leader");
        world.zookeeper_back();
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "there is one again");
        finish(world);
    }
}

#[test]
fn a_wiped_zookeeper_gives_no_epoch_that_was_promised_before() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let epoch = epoch_of(&world, leader);
        world.zookeeper.wipe();
        assert!(answered_during(&mut world, 2 * SECOND) > 20, "no election is needed");
        world.crash(leader_of(&world));
        world.zookeeper.wipe();
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "the others go on");
        assert!(epoch_of(&world, leader_of(&world)) > epoch, "epochs only grow");
        finish(world);
    }
}

#[test]
fn of_two_candidates_with_one_epoch_at_most_one_leads_and_the_other_is_not_lost() {
    let mut met = 0;
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (left, right) = followers_of(leader);
        let epoch = Epoch(epoch_of(&world, leader) + 10);
        world.crash(leader);
        until(&mut world, "both believe that it is their turn", |world| !leads(world, leader));
        // A restored ZooKeeper tells both that they are first, and gives both the same epoch.
        for node in [left, right] {
            let told = [CoordinationEvent::Place(Place::First), CoordinationEvent::EpochTaken(epoch)];
            for event in told {
                world.feed(node, Input::Replication(Event::PeerGone(world.nodes[leader].id.clone())));
                world.feed(node, Input::Replication(Event::Coordination(event)));
            }
        }
        met += usize::from(epoch_of(&world, left) == epoch.0 && epoch_of(&world, right) == epoch.0);
        world.run_until(world.now + SECOND);
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "the two that are left go on");
        world.restart(leader);
        world.run_until(world.now + 2 * SECOND);
        let last = world.nodes[leader_of(&world)].disk.last_index();
        until(&mut world, "all follow", |world| (0..3).all(|node| world.nodes[node].disk.last_index() >= last));
        finish(world);
    }
    assert!(met > 5, "{met} of 10 runs had two candidates with one epoch");
}

#[test]
fn a_second_process_with_a_nodes_id_neither_counts_twice_nor_leads_in_its_place() {
    for seed in 0..20 {
        let (mut world, _) = three_at_work(seed);
        world.start_twin();
        world.run_until(world.now + 5 * SECOND);
        // Its rival goes, so ZooKeeper lets it in; then the rival is back.
        let rival = world.rivals_of(3)[0];
        world.crash(rival);
        world.run_until(world.now + 4 * SECOND);
        world.restart(rival);
        world.run_until(world.now + 4 * SECOND);
        finish(world);
    }
}

#[test]
fn sessions_that_end_late_wrongly_or_never_lose_nothing() {
    for seed in 0..5 {
        let knobs = Knobs { late_expiry: 300, sessions_without_end: 300, ..impatient_clients(seed) };
        let (mut world, _) = at_work(knobs);
        for node in [0, 1, 2, 1, 0] {
            world.zookeeper.expire(node);
            world.fire_watches();
            world.run_until(world.now + SECOND / 2);
            world.nodes[node].host_down = true;
            world.crash(node);
            assert!(answered_during(&mut world, 4 * SECOND) > 10, "a dead node's session holds nobody up");
            world.restart(node);
            world.run_until(world.now + SECOND);
        }
        finish(world);
    }
}
