//! Who leads, and what a deposed leader can still do.

use quorapay_core::engine::Input;

use super::*;

/// A session timeout in which a cluster must not lose its payments: ZooKeeper's usual one.
const LONG_SESSION: u64 = 6 * SECOND;

/// The leadership has left a node with fewer links within this time. The simulation notices at once that no connection
/// can be opened; a real node takes up to three quarters of a second.
const MOVED: u64 = 3 * SECOND;

fn long_sessions(seed: u64, nodes: usize) -> Knobs {
    Knobs { session_timeout: LONG_SESSION, client_timeout: SECOND / 4, clients: 6, ..Knobs::calm(seed, nodes) }
}

#[test]
fn a_crash_of_the_leader_loses_nothing() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.crash(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the others take payments");
        assert_ne!(leader_of(&world), leader);
        finish(world);
    }
}

/// Kills the leader, and the first candidate as soon as it has taken an epoch. Only ZooKeeper has heard of that epoch.
fn leader_and_taker_die(seed: u64, nodes: usize) -> World {
    let knobs = long_sessions(seed, nodes);
    let (mut world, leader) = at_work(knobs);
    let (before, _) = world.zookeeper.newest_epoch();
    world.crash(leader);
    until(&mut world, "a candidate takes an epoch", |world| world.zookeeper.newest_epoch().0 > before);
    let (epoch, taker) = world.zookeeper.newest_epoch();
    let taker = taker.expect("somebody took it");
    world.crash(taker);
    let heard = |node: usize| world.nodes[node].disk.promise.as_ref().is_some_and(|promise| promise.epoch == epoch);
    assert!(!(0..nodes).any(heard), "it died before it asked for a promise");
    if nodes == 3 {
        world.restart(leader);
    }
    world
}

#[test]
fn a_candidate_that_dies_with_an_epoch_nobody_heard_of_holds_up_the_next_one_for_less_than_a_second() {
    for (seed, nodes) in (0..30).flat_map(|seed| [(seed, 3), (seed, 5)]) {
        let mut world = leader_and_taker_die(seed, nodes);
        world.run_until(world.now + SECOND);
        assert!(answered_during(&mut world, SECOND) > 10, "seed {seed}, {nodes} nodes: the others take payments");
        finish(world);
    }
}

#[test]
fn two_deaths_in_a_row_hold_up_payments_for_less_than_a_second_and_a_half() {
    for (seed, pause) in (0..10).flat_map(|seed| [0, 1, 2, 4, 8, 20, 60, 200].map(|pause| (seed, pause * MILLI))) {
        let knobs = long_sessions(seed, 5);
        let (mut world, leader) = at_work(knobs);
        world.crash(leader);
        world.run_until(world.now + pause);
        let second = (leader + 1 + usize::try_from(seed % 4).expect("a small number")) % 5;
        world.crash(second);
        world.run_until(world.now + 3 * SECOND / 2);
        let answered = answered_during(&mut world, SECOND);
        assert!(answered > 10, "seed {seed}, {pause} us between the deaths: {answered} answered");
        finish(world);
    }
}

#[test]
fn all_nodes_killed_at_once_come_back_with_everything() {
    for seed in 0..5 {
        let (mut world, _) = three_at_work(seed);
        (0..3).for_each(|node| world.crash(node));
        world.run_until(world.now + SECOND / 10);
        (0..3).for_each(|node| world.restart(node));
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "the cluster takes payments again");
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
fn the_lowest_znode_with_a_stale_log_fetches_before_it_leads() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (stale, _) = followers_of(leader);
        isolate(&mut world, stale);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "two of three take payments");
        (0..3).for_each(|node| world.crash(node));
        world.links.mend();
        world.run_until(world.now + 3 * SECOND);
        let behind = world.nodes[stale].disk.last_index();
        assert!(behind < world.nodes[leader].disk.last_index(), "it misses some entries");
        world.restart(stale);
        world.run_until(world.now + SECOND / 5);
        (0..3).for_each(|node| world.restart(node));
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "the cluster takes payments again");
        assert_eq!(leader_of(&world), stale, "the first in the queue leads");
        finish(world);
    }
}

#[test]
fn a_paused_leader_that_is_deposed_and_resumed_acknowledges_nothing_new() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.pause(leader);
        let before = world.clients.newest();
        assert!(answered_during(&mut world, 6 * SECOND) > 20, "the others take payments");
        world.resume(leader);
        world.run_until(world.now + SECOND);
        assert!(world.clients.newest_decided_by(leader) <= before, "it answers only writes that were proposed before");
        finish(world);
    }
}

#[test]
fn a_paused_leader_that_is_deposed_and_resumed_answers_no_stale_read() {
    for seed in 0..10 {
        let knobs = Knobs { reads: 700, clients: 6, think: 5 * MILLI, ..short_client_timeouts(seed) };
        let (mut world, leader) = at_work(knobs);
        for _ in 0..5 {
            // It processes the reads that arrived during the pause first. The oracle knows which answers are stale.
            world.pause(leader);
            world.run_until(world.now + 2 * SECOND);
            world.resume(leader);
            world.run_until(world.now + SECOND / 2);
        }
        finish(world);
    }
}

/// The case of figure 8 of the Raft paper. Returns whether the run reached its end.
fn old_entry_on_a_majority_is_overwritten(seed: u64) -> bool {
    let mut knobs = busy_clients(seed);
    knobs.limits.batch_entries = 1;
    let (mut world, first) = at_work(knobs);
    let epoch = epoch_of(&world, first);
    // The first leader has an entry that no other node has, and crashes.
    append_alone(&mut world, first, 2);
    let alone = world.nodes[first].disk.last_index();
    world.crash(first);
    world.links.mend();
    // The second leader only begins its epoch, and crashes too.
    let (left, right) = followers_of(first);
    until(&mut world, "another one leads", |world| leads(world, left) || leads(world, right));
    let (second, third) = if leads(&world, left) { (left, right) } else { (right, left) };
    isolate(&mut world, second);
    let end = world.nodes[second].disk.last_index();
    until(&mut world, "it begins its epoch", |world| world.nodes[second].disk.last_index() > end);
    world.crash(second);
    world.links.mend();
    // The first node and the third hold the old entry: a majority. Neither has stored an entry of a newer epoch.
    world.restart(first);
    let copied = |world: &World, node: usize| {
        let entry = world.nodes[node].disk.rows.get(crate::disk::row(alone));
        entry.is_some_and(|entry| entry.epoch.0 == epoch)
    };
    if !becomes(&mut world, |world| copied(world, first) && copied(world, third)) {
        return false;
    }
    world.crash(first);
    world.crash(third);
    let begun = |node: usize| world.nodes[node].disk.last_index() > alone;
    let fresh = if begun(third) { first } else { third };
    if begun(fresh) {
        return false;
    }
    // The second node comes back and overwrites the entry: its log has the higher epoch.
    world.restart(second);
    world.restart(fresh);
    until(&mut world, "one of the two remaining nodes leads", |world| leads(world, second) || leads(world, fresh));
    let overwritten = becomes(&mut world, |world| !copied(world, fresh));
    finish(world);
    overwritten
}

#[test]
fn an_old_epochs_entry_on_a_majority_is_not_committed_and_may_be_overwritten() {
    let completed = (0..20).filter(|seed| old_entry_on_a_majority_is_overwritten(*seed)).count();
    assert!(completed > 0, "no run reached the end");
}

#[test]
fn a_leader_that_sees_zookeeper_but_not_its_followers_steps_down() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        isolate(&mut world, leader);
        let before = world.clients.newest();
        until(&mut world, "it steps down", |world| !leads(world, leader));
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the others take payments");
        assert!(world.clients.newest_decided_by(leader) <= before, "it has decided nothing while isolated");
        finish(world);
    }
}

#[test]
fn a_follower_that_sees_the_leader_but_not_zookeeper_keeps_acknowledging_and_is_no_candidate() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (blind, other) = followers_of(leader);
        world.zookeeper_reachable[blind] = false;
        world.run_until(world.now + 2 * SECOND);
        world.crash(other);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "its acknowledgements make the quorum");
        world.restart(other);
        world.run_until(world.now + 2 * SECOND);
        world.crash(leader);
        until(&mut world, "the third one leads", |world| leads(world, other));
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "its promise makes the quorum");
        finish(world);
    }
}

#[test]
fn a_leader_that_hears_nobody_is_replaced() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        for node in (0..3).filter(|node| *node != leader) {
            world.links.cut(node, leader);
        }
        world.run_until(world.now + 4 * SECOND);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the others take payments");
        finish(world);
    }
}

#[test]
fn a_follower_that_hears_nobody_disturbs_nobody() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (deaf, _) = followers_of(leader);
        for node in (0..3).filter(|node| *node != deaf) {
            world.links.cut(node, deaf);
        }
        let epoch = epoch_of(&world, leader);
        assert!(answered_during(&mut world, 10 * SECOND) > 100, "payments continue");
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "no election took place");
        finish(world);
    }
}

#[test]
fn a_flapping_link_costs_no_progress() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (follower, _) = followers_of(leader);
        let (epoch, before) = (epoch_of(&world, leader), world.clients.settled());
        for round in 0..100 {
            let (from, to) = if round % 4 < 2 { (leader, follower) } else { (follower, leader) };
            world.links.cut(from, to);
            world.run_until(world.now + 120 * MILLI);
            world.links.mend();
            world.run_until(world.now + 30 * MILLI);
        }
        assert!(world.clients.settled() - before > 150, "payments continue");
        let elections = epoch_of(&world, leader) - epoch;
        assert!(elections <= 2, "{elections} elections over one bad link");
        finish(world);
    }
}

#[test]
fn a_leader_that_no_other_node_can_reach_gives_way_to_one_that_a_majority_can() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        world.close_to_others(leader);
        let began = world.now;
        until(&mut world, "another one leads", |world| world.oracle.leader(world.now).is_some_and(|now| now != leader));
        assert!(world.now - began < MOVED, "it took {} ms", (world.now - began) / MILLI);
        let next = leader_of(&world);
        assert!(answered_during(&mut world, 10 * SECOND) > 100, "payments are answered meanwhile");
        assert_eq!(leader_of(&world), next, "the leadership stays there");
        finish(world);
    }
}

#[test]
fn a_broken_link_between_the_leader_and_one_follower_moves_the_leadership_to_the_node_with_links_to_all() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (apart, linked) = followers_of(leader);
        let (from, to) = if seed % 2 == 0 { (apart, leader) } else { (leader, apart) };
        world.links.close(from, to);
        let began = world.now;
        until(&mut world, "the linked one leads", |world| world.oracle.leader(world.now) == Some(linked));
        assert!(world.now - began < MOVED, "it took {} ms", (world.now - began) / MILLI);
        let epoch = epoch_of(&world, linked);
        assert!(answered_during(&mut world, 10 * SECOND) > 100, "payments continue");
        assert_eq!((leader_of(&world), epoch_of(&world, linked)), (linked, epoch), "the leadership stays there");
        finish(world);
    }
}

/// Waits until the leadership has moved from `leader` to the node with better links, which it must in time.
fn moves_to(world: &mut World, linked: usize) {
    let began = world.now;
    until(world, "the linked one leads", |world| world.oracle.leader(world.now) == Some(linked));
    assert!(world.now - began < MOVED, "it took {} ms", (world.now - began) / MILLI);
}

/// The first follower in the queue, and the other one.
fn next_in_queue(world: &World, leader: usize) -> (usize, usize) {
    let next = world.zookeeper.queue().find(|node| *node != leader).expect("all nodes are in the queue");
    (next, 3 - leader - next)
}

#[test]
fn a_follower_that_hears_nothing_of_a_transfer_does_not_win_the_election_of_the_named_successor() {
    for seed in 0..20 {
        let (mut world, leader) = three_at_work(seed);
        let (apart, linked) = next_in_queue(&world, leader);
        let (from, to) = if seed % 2 == 0 { (leader, apart) } else { (apart, leader) };
        world.links.cut(from, to);
        let began = world.now;
        while world.oracle.leader(world.now) != Some(linked) {
            assert!(!leads(&world, apart), "seed {seed}: the leadership moves to a node that does not hear the leader");
            assert!(world.now - began < MOVED, "seed {seed}: it took {} ms", (world.now - began) / MILLI);
            world.run_until(world.now + MILLI);
        }
        finish(world);
    }
}

#[test]
fn a_leader_names_no_successor_that_does_not_stand_in_zookeepers_queue() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (apart, linked) = followers_of(leader);
        world.zookeeper_reachable[linked] = false;
        world.run_until(world.now + world.knobs.session_timeout + SECOND);
        world.links.close(apart, leader);
        let epoch = epoch_of(&world, leader);
        assert!(
            answered_during(&mut world, 10 * SECOND) > 50,
            "the leader's own clients and the linked follower's go on"
        );
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "nobody else can be elected");
        world.zookeeper_back();
        moves_to(&mut world, linked);
        finish(world);
    }
}

#[test]
fn a_leadership_that_moved_moves_again_as_soon_as_links_break_again() {
    for seed in 0..10 {
        let (mut world, first) = three_at_work(seed);
        let (apart, second) = followers_of(first);
        for round in 0..4 {
            let (leader, linked) = if round % 2 == 0 { (first, second) } else { (second, first) };
            world.links.mend();
            world.run_until(world.now + SECOND);
            world.links.close(apart, leader);
            moves_to(&mut world, linked);
        }
        finish(world);
    }
}

#[test]
fn a_cluster_whose_messages_take_long_elects_a_leader_all_the_same() {
    for seed in 0..10 {
        // There and back they take longer than a pre-vote waits at first, and less than a leader may be silent.
        let knobs = Knobs { delay: (85 * MILLI, 110 * MILLI), client_timeout: 2 * SECOND, ..Knobs::calm(seed, 3) };
        let mut world = World::new(knobs, std::env::var_os("TRACE").is_some());
        let first = next_leader(&mut world);
        world.run_until(world.now + 2 * SECOND);
        world.crash(first);
        until(&mut world, "another one leads", |world| world.oracle.leader(world.now).is_some_and(|now| now != first));
        finish(world);
    }
}

#[test]
fn a_node_that_no_other_can_reach_does_not_become_leader() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(long_sessions(seed, 5));
        let next = world.zookeeper.queue().find(|node| *node != leader).expect("all nodes are in the queue");
        world.close_to_others(next);
        // The others notice, and the leadership has no reason to move.
        world.run_until(world.now + SECOND);
        assert_eq!(leader_of(&world), leader);
        dies_and_another_leads(&mut world, leader, next);
        assert!(answered_during(&mut world, 2 * SECOND) > 20, "the others take payments");
        finish(world);
    }
}

/// Kills the leader. Within a second another node must lead, and never `closed`.
fn dies_and_another_leads(world: &mut World, leader: usize, closed: usize) {
    world.crash(leader);
    let (began, seed) = (world.now, world.knobs.seed);
    while world.oracle.leader(world.now).is_none_or(|now| now == leader) {
        assert!(!leads(world, closed), "seed {seed}: a node leads that no other can reach");
        assert!(world.now - began < SECOND, "seed {seed}: it took {} ms", (world.now - began) / MILLI);
        world.run_until(world.now + MILLI);
    }
    assert_ne!(leader_of(world), closed, "seed {seed}: a node leads that no other can reach");
}

#[test]
fn what_was_answered_before_the_leader_died_elects_no_node_that_no_other_can_reach() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(long_sessions(seed, 5));
        let next = world.zookeeper.queue().find(|node| *node != leader).expect("all nodes are in the queue");
        // Nobody answers it for a while, so from then on it waits longer for answers.
        isolate(&mut world, next);
        world.run_until(world.now + 2 * SECOND);
        world.links.mend();
        world.run_until(world.now + SECOND / 5);
        world.close_to_others(next);
        // It asks once it has not heard the leader for 0.4 s. Then nobody knows yet that it cannot be reached.
        world.run_until(world.now + (650 + 30 * seed) * MILLI);
        assert_eq!(leader_of(&world), leader);
        dies_and_another_leads(&mut world, leader, next);
        finish(world);
    }
}

#[test]
fn a_node_that_no_other_can_reach_leads_after_no_later_death_either() {
    for seed in 0..5 {
        let (mut world, leader) = at_work(long_sessions(seed, 5));
        let closed = world.zookeeper.queue().find(|node| *node != leader).expect("all nodes are in the queue");
        world.close_to_others(closed);
        world.run_until(world.now + SECOND);
        // It is next in the queue again once all others have led.
        for _ in 0..5 {
            let leader = leader_of(&world);
            dies_and_another_leads(&mut world, leader, closed);
            world.run_until(world.now + 2 * SECOND);
            world.restart(leader);
            world.run_until(world.now + SECOND);
        }
        finish(world);
    }
}

#[test]
fn a_leader_that_cannot_hand_over_yet_does_so_as_soon_as_it_can() {
    for seed in 0..10 {
        let (mut world, last) = at_work(long_sessions(seed, 3));
        let (leader, linked) = next_in_queue(&world, last);
        world.crash(last);
        world.links.close(leader, last);
        world.links.close(last, leader);
        until(&mut world, "the next one is elected", |world| leads(world, leader));
        // The first entry of its epoch cannot be committed for a while. A leader hands over only after that.
        world.hang_disk(linked);
        world.restart(last);
        assert_eq!(answered_during(&mut world, 3 * SECOND / 2), 0, "nothing is committed");
        assert!(leads(&world, leader));
        world.disk_responds(linked);
        moves_to(&mut world, linked);
        finish(world);
    }
}

#[test]
fn a_node_that_only_its_own_clients_reach_leads_if_no_other_can() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(long_sessions(seed, 3));
        let (closed, other) = followers_of(leader);
        world.close_to_others(closed);
        world.run_until(world.now + SECOND);
        world.crash(leader);
        let began = world.now;
        // The other one can follow, and cannot lead: it reaches nobody.
        until(&mut world, "the closed one leads", |world| world.oracle.leader(world.now) == Some(closed));
        assert!(world.now - began < 2 * SECOND, "it took {} ms", (world.now - began) / MILLI);
        assert!(!leads(&world, other));
        finish(world);
    }
}

#[test]
fn a_broken_link_between_two_followers_moves_nothing() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (one, other) = followers_of(leader);
        world.links.close(one, other);
        let epoch = epoch_of(&world, leader);
        assert!(answered_during(&mut world, 10 * SECOND) > 100, "payments continue");
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "no election took place");
        finish(world);
    }
}

#[test]
fn a_transfer_that_no_node_can_take_refuses_no_payments() {
    for seed in 0..5 {
        let mut alone = World::new(Knobs { nodes: 1, ..busy_clients(seed) }, false);
        alone.run_until(SECOND);
        let (mut world, leader) = at_work(busy_clients(seed));
        let (dead, apart) = followers_of(leader);
        world.crash(dead);
        world.zookeeper_reachable[apart] = false;
        world.run_until(world.now + world.knobs.session_timeout + SECOND);
        for (world, leader) in [(&mut alone, 0), (&mut world, leader)] {
            let named = world.nodes.iter().map(|node| Some(node.id.clone())).chain([None]).collect::<Vec<_>>();
            for successor in named {
                world.feed(leader, Input::Transfer(successor));
            }
            assert!(answered_during(world, SECOND / 2) > 20, "seed {seed}: payments go on");
            assert!(leads(world, leader));
        }
        finish(alone);
        finish(world);
    }
}
