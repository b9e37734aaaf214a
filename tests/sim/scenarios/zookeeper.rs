//! ZooKeeper down, wiped or restored, and a second process with one node's id.

use quorapay_core::domain::Epoch;
use quorapay_core::engine::Input;
use quorapay_core::replication::{CoordinationEvent, Event, QueueRank};

use super::*;

#[test]
fn without_zookeeper_payments_go_on() {
    let (mut world, leader) = three_at_work(1);
    world.zookeeper.up = false;
    for _ in 0..12 {
        assert!(answered_during(&mut world, 5 * SECOND) > 50, "no election is needed");
    }
    world.zookeeper_back();
    assert!(answered_during(&mut world, 5 * SECOND) > 50, "its return causes no election");
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
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "there is a leader again");
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
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "the others take payments");
        assert!(epoch_of(&world, leader_of(&world)) > epoch, "epochs only grow");
        finish(world);
    }
}

#[test]
fn a_forged_epoch_counter_uses_up_no_epochs_and_stops_no_election() {
    for (seed, forged) in [u64::MAX, i64::MAX as u64, 1 << 50].into_iter().enumerate() {
        let (mut world, leader) = three_at_work(u64::try_from(seed).expect("small"));
        let epoch = epoch_of(&world, leader);
        world.zookeeper.forge_epoch(Epoch(forged));
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the others take payments");
        let next = epoch_of(&world, leader_of(&world));
        assert!((epoch + 1..epoch + 100).contains(&next), "the next epoch is {next}, not {forged}");
        finish(world);
    }
}

#[test]
fn missed_watches_block_the_queue_for_seconds_and_no_longer() {
    for seed in 0..10 {
        let knobs = Knobs { session_timeout: 60 * SECOND, missed_watches: 1_000, ..short_client_timeouts(seed) };
        let (mut world, _) = at_work(knobs);
        for _ in 0..2 {
            let leader = leader_of(&world);
            world.crash(leader);
            world.run_until(world.now + 7 * SECOND);
            assert!(answered_during(&mut world, 2 * SECOND) > 10, "seed {seed}: the others take payments");
            world.restart(leader);
            world.run_until(world.now + 2 * SECOND);
        }
        finish(world);
    }
}

#[test]
fn a_node_that_missed_that_it_became_first_finds_out_by_itself() {
    for seed in 0..10 {
        let knobs = Knobs { missed_watches: 1_000, ..short_client_timeouts(seed) };
        let mut world = World::new(knobs, false);
        (0..3).for_each(|node| isolate(&mut world, node));
        world.run_until(10 * MILLI);
        // The first in the queue loses its session before anybody has led, so nobody has a reason to ask ZooKeeper.
        world.zookeeper.expire(0);
        world.run_until(120 * MILLI);
        world.links.mend();
        world.run_until(5 * SECOND);
        assert!(answered_during(&mut world, SECOND) > 10, "seed {seed}: the next in the queue leads");
        finish(world);
    }
}

#[test]
fn a_leader_whose_name_was_lost_names_itself_again() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.knobs.lost_publications = 1_000;
        world.crash(leader);
        world.run_until(world.now + SECOND);
        let next = leader_of(&world);
        assert_eq!((world.zookeeper.named_leader(), next != leader), (Some(leader), true), "its name was lost");
        world.knobs.lost_publications = 0;
        until(&mut world, "it is named", |world| world.zookeeper.named_leader() == world.oracle.leader(world.now));
        finish(world);
    }
}

/// Makes two nodes candidates, cuts them off from each other, and gives both this epoch, bypassing ZooKeeper.
fn give_epoch_to_both(world: &mut World, nodes: [usize; 2], dead_leader: usize, epoch: Epoch) {
    // ZooKeeper's own answers come later.
    let usual = std::mem::replace(&mut world.knobs.zookeeper_delay, (SECOND, SECOND));
    for node in nodes {
        let gone = Event::PeerGone(world.nodes[dead_leader].id.clone());
        world.feed(node, Input::Replication(gone));
        world.feed(node, Input::Replication(Event::Coordination(CoordinationEvent::QueueRank(QueueRank::First))));
    }
    let campaigns = |world: &World, node: usize| {
        world.nodes[node].process.as_ref().is_some_and(|process| process.engine.replica().is_candidate())
    };
    until(world, "both are candidates", |world| nodes.iter().all(|node| campaigns(world, *node)));
    for node in nodes {
        isolate(world, node);
        world.feed(node, Input::Replication(Event::Coordination(CoordinationEvent::EpochTaken(epoch))));
    }
    let promises = |world: &World, node: usize| {
        world.nodes[node].disk.promise.as_ref().is_some_and(|promise| promise.epoch == epoch)
    };
    until(world, "each promises the epoch to itself", |world| nodes.iter().all(|node| promises(world, *node)));
    world.knobs.zookeeper_delay = usual;
}

#[test]
fn of_two_candidates_with_one_epoch_one_leads_and_the_other_is_not_shut_out() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (loser, winner) = followers_of(leader);
        let epoch = Epoch(epoch_of(&world, leader) + 10);
        world.crash(leader);
        world.run_until(world.now + 100);
        // A restored ZooKeeper gives both the same epoch. Each promises it to itself before it hears from the other.
        give_epoch_to_both(&mut world, [loser, winner], leader, epoch);
        world.crash(loser);
        world.restart(leader);
        world.links.mend();
        until(&mut world, "a node leads", |world| leads(world, winner) || leads(world, leader));
        world.restart(loser);
        world.run_until(world.now + 4 * SECOND);
        let leader = next_leader(&mut world);
        let last = world.nodes[leader].disk.last_index();
        until(&mut world, "all follow", |world| (0..3).all(|node| world.nodes[node].disk.last_index() >= last));
        finish(world);
    }
}

#[test]
fn a_second_process_with_a_nodes_id_is_never_counted_twice() {
    for seed in 0..20 {
        let (mut world, _) = three_at_work(seed);
        world.start_twin();
        world.run_until(world.now + 5 * SECOND);
        // The node's own process crashes, so ZooKeeper admits the second one; then the first returns.
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
        let knobs = Knobs { late_expiry: 300, sessions_without_end: 300, ..short_client_timeouts(seed) };
        let (mut world, _) = at_work(knobs);
        for node in [0, 1, 2, 1, 0] {
            world.zookeeper.expire(node);
            world.fire_watches();
            world.run_until(world.now + SECOND / 2);
            world.nodes[node].host_down = true;
            world.crash(node);
            assert!(answered_during(&mut world, 4 * SECOND) > 10, "a dead node's session does not block the others");
            world.restart(node);
            world.run_until(world.now + SECOND);
        }
        finish(world);
    }
}
