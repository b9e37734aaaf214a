//! Disks that are full, fail to sync, rot, lose their end or are wiped.

use quorapay_core::engine::Input;
use quorapay_core::replication::Event;

use super::*;

#[test]
fn a_full_disk_at_a_follower_keeps_nobody_waiting() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (follower, _) = followers_of(leader);
        world.nodes[follower].disk.full = true;
        assert!(answered_during(&mut world, 5 * SECOND) > 50, "two of three take payments");
        world.nodes[follower].disk.full = false;
        world.run_until(world.now + 3 * SECOND);
        assert!(votes(&world, follower), "it has kept its store");
        finish(world);
    }
}

#[test]
fn a_full_disk_at_the_leader_hands_over_and_loses_nothing() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        world.nodes[leader].disk.full = true;
        let (left, right) = followers_of(leader);
        until(&mut world, "another one leads", |world| leads(world, left) || leads(world, right));
        assert!(answered_during(&mut world, 5 * SECOND) > 50, "the others take payments");
        finish(world);
    }
}

#[test]
fn full_disks_everywhere_stop_writes_and_lose_nothing() {
    for seed in 0..5 {
        let (mut world, _) = three_at_work(seed);
        (0..3).for_each(|node| world.nodes[node].disk.full = true);
        world.run_until(world.now + SECOND);
        assert_eq!(answered_during(&mut world, 3 * SECOND), 0, "nothing can be written");
        (0..3).for_each(|node| world.nodes[node].disk.full = false);
        assert!(answered_during(&mut world, 8 * SECOND) > 20, "there is space again");
        finish(world);
    }
}

#[test]
fn a_write_that_failed_to_sync_is_there_after_the_restart_or_it_is_not() {
    for seed in 0..10 {
        let (mut world, _) = three_at_work(seed);
        world.knobs.fsync_errors = 30;
        world.run_until(world.now + 10 * SECOND);
        world.knobs.fsync_errors = 0;
        assert!(answered_during(&mut world, 5 * SECOND) > 20);
        finish(world);
    }
}

#[test]
fn what_was_written_and_not_synced_is_durable_once_its_node_has_opened_it() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(busy_clients(seed));
        world.knobs.persist = (5 * MILLI, 20 * MILLI);
        let (killed, _) = followers_of(leader);
        let writes =
            |world: &World| world.nodes[killed].process.as_ref().is_some_and(|process| !process.writes.is_empty());
        until(&mut world, "a write is in flight", writes);
        let write = world.nodes[killed].process.as_mut().and_then(|process| process.writes.pop_front());
        world.nodes[killed].disk.write_unsynced(&write.expect("one is in flight"), false);
        world.crash(killed);
        assert!(world.nodes[killed].disk.has_unsynced());
        world.restart(killed);
        assert!(!world.nodes[killed].disk.has_unsynced());
        world.run_until(world.now + 20 * MILLI);
        (0..3).for_each(|node| world.cut_power(node));
        (0..3).for_each(|node| world.restart(node));
        assert!(answered_during(&mut world, 5 * SECOND) > 20);
        finish(world);
    }
}

#[test]
fn a_store_that_was_condemned_after_a_failed_sync_comes_back_as_a_learner() {
    for seed in 0..10 {
        let (mut world, _) = three_at_work(seed);
        let stores: Vec<_> = world.nodes.iter().map(|node| node.disk.store_id).collect();
        world.knobs.fsync_errors = 300;
        until(&mut world, "a ledger is condemned", |world| world.nodes.iter().any(|node| node.disk.condemned));
        world.knobs.fsync_errors = 0;
        let condemned = world.nodes.iter().position(|node| node.disk.condemned).expect("one is");
        until(&mut world, "it votes with a new store", |world| {
            world.nodes[condemned].disk.store_id != stores[condemned] && votes(world, condemned)
        });
        finish(world);
    }
}

#[test]
fn bit_rot_at_a_follower_is_found_by_the_scrubber_and_the_node_begins_anew_as_a_learner() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (rotten, _) = followers_of(leader);
        let store = world.nodes[rotten].disk.store_id;
        assert!(world.rot_ledger(rotten));
        until(&mut world, "the scrubber finds it", |world| is_quarantined(world, rotten));
        assert!(answered_during(&mut world, SECOND) > 10, "two of three take payments");
        until(&mut world, "it votes with a new store", |world| {
            world.nodes[rotten].disk.store_id != store && votes(world, rotten)
        });
        finish(world);
    }
}

#[test]
fn bit_rot_at_the_leader_deposes_it() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        assert!(world.rot_ledger(leader));
        until(&mut world, "the scrubber finds it", |world| is_quarantined(world, leader));
        assert!(!leads(&world, leader));
        assert!(answered_during(&mut world, 4 * SECOND) > 20, "the others take payments");
        finish(world);
    }
}

#[test]
fn a_rotten_log_is_no_source_for_a_follower_that_is_behind() {
    for seed in 0..10 {
        let mut knobs = short_client_timeouts(seed);
        // Memory caches nothing, so the entries that a follower lacks are read from the rotten ledger.
        knobs.limits.cached_entries = 0;
        let (mut world, leader) = at_work(knobs);
        let (behind, _) = followers_of(leader);
        isolate(&mut world, behind);
        assert!(answered_during(&mut world, 2 * SECOND) > 20, "it misses some entries");
        let missed = world.nodes[behind].disk.last_index();
        assert!(world.rot_ledger(leader));
        world.links.mend();
        until(&mut world, "it has caught up", |world| world.nodes[behind].disk.last_index().0 > missed.0 + 20);
        finish(world);
    }
}

#[test]
fn a_rotten_log_is_no_source_for_a_candidate() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (behind, rotten) = followers_of(leader);
        isolate(&mut world, behind);
        assert!(answered_during(&mut world, 2 * SECOND) > 20, "it misses some entries");
        (0..3).for_each(|node| world.crash(node));
        world.links.mend();
        assert!(world.rot_ledger(rotten));
        world.restart(behind);
        world.run_until(world.now + SECOND);
        world.restart(rotten);
        world.run_until(world.now + 3 * SECOND);
        world.restart(leader);
        assert!(answered_during(&mut world, 8 * SECOND) > 20, "the undamaged logs suffice");
        finish(world);
    }
}

#[test]
fn a_ledger_that_ends_below_its_watermark_comes_back_as_a_learner() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (torn, _) = followers_of(leader);
        let store = world.nodes[torn].disk.store_id;
        world.crash(torn);
        assert!(world.tear_ledger(torn));
        world.restart(torn);
        until(&mut world, "it votes with a new store", |world| {
            world.nodes[torn].disk.store_id != store && votes(world, torn)
        });
        finish(world);
    }
}

#[test]
fn a_wiped_disk_counts_for_nothing_until_it_is_readmitted() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (wiped, other) = followers_of(leader);
        world.crash(wiped);
        assert!(world.wipe_disk(wiped), "all stores vote, so one disk may be lost");
        world.crash(other);
        world.run_until(world.now + SECOND);
        world.restart(wiped);
        assert_eq!(answered_during(&mut world, 5 * SECOND), 0, "an empty store makes no majority");
        world.restart(other);
        assert!(answered_during(&mut world, 5 * SECOND) > 20, "two of the three are back");
        finish(world);
    }
}

#[test]
fn disks_lost_one_after_another_are_all_replaced() {
    for seed in 0..5 {
        let (mut world, _) = three_at_work(seed);
        for node in [0, 1, 2, 0] {
            until(&mut world, "every store votes", |world| (0..3).all(|node| votes(world, node)));
            world.crash(node);
            assert!(world.wipe_disk(node), "all stores vote, so one disk may be lost");
            world.run_until(world.now + SECOND / 10);
            world.restart(node);
        }
        assert!(answered_during(&mut world, 5 * SECOND) > 20);
        finish(world);
    }
}

#[test]
fn a_replaced_store_that_returns_does_not_lead() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (replaced, _) = followers_of(leader);
        world.crash(replaced);
        let fresh = world.new_disk(replaced);
        let old = std::mem::replace(&mut world.nodes[replaced].disk, fresh);
        world.restart(replaced);
        until(&mut world, "the new store votes", |world| votes(world, replaced));
        world.run_until(world.now + SECOND);
        // All nodes stop. The old disk is put back; by its log it still votes.
        (0..3).for_each(|node| world.crash(node));
        world.nodes[replaced].disk = old;
        world.restart(replaced);
        world.run_until(world.now + SECOND);
        (0..3).for_each(|node| world.restart(node));
        until(&mut world, "it is readmitted", |world| votes(world, replaced));
        finish(world);
    }
}

#[test]
fn disks_that_take_longer_than_the_heartbeat_timeout_depose_nobody() {
    for seed in 0..5 {
        let (mut world, leader) = at_work(Knobs { client_timeout: 20 * SECOND, ..Knobs::calm(seed, 3) });
        let epoch = epoch_of(&world, leader);
        (world.knobs.request_timeout, world.knobs.persist) = (4 * SECOND, (SECOND, 3 * SECOND / 2));
        let answered = answered_during(&mut world, 12 * SECOND);
        assert!(answered > 4, "payments are stored eventually: {answered}");
        assert_eq!((leader_of(&world), epoch_of(&world, leader)), (leader, epoch), "no election took place");
        finish(world);
    }
}

/// Hangs the leader's disk for good and waits until another node leads.
fn hang_the_leaders_disk(world: &mut World, leader: usize, within: u64) {
    let began = world.now;
    world.hang_disk(leader);
    until(world, "it gives up its leadership", |world| !leads(world, leader));
    assert!(world.now - began < within, "it led for another {} ms", (world.now - began) / MILLI);
}

#[test]
fn a_leader_whose_disk_hangs_gives_up_its_leadership_within_three_seconds() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        hang_the_leaders_disk(&mut world, leader, 3 * SECOND);
        until(&mut world, "another one leads", |world| (0..3).any(|node| node != leader && leads(world, node)));
        assert!(answered_during(&mut world, SECOND) > 5, "payments are answered while the disk hangs");
        assert!(answered_during(&mut world, 30 * SECOND) > 500, "payments are answered while the disk hangs");
        let next = leader_of(&world);
        assert!(next != leader);
        world.disk_responds(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 30);
        assert_eq!(leader_of(&world), next, "a disk that responds again deposes nobody");
        finish(world);
    }
}

#[test]
fn a_leader_whose_disk_hangs_keeps_little_in_memory() {
    for seed in 0..5 {
        let mut knobs = busy_clients(seed);
        knobs.limits.tail_entries = 32;
        // Long enough for a tail to fill. The oracle bounds what is in memory only.
        knobs.timing.hung_write_ms = 20_000;
        let (mut world, leader) = at_work(knobs);
        world.hang_disk(leader);
        world.run_until(world.now + 10 * SECOND);
        assert!(leads(&world, leader));
        finish(world);
    }
}

#[test]
fn a_follower_whose_disk_hangs_keeps_little_in_memory_though_another_process_answers_in_its_name() {
    for seed in 0..5 {
        let mut knobs = busy_clients(seed);
        (knobs.limits.batch_entries, knobs.limits.tail_entries) = (4, 4);
        (knobs.timing.hung_write_ms, knobs.request_timeout) = (20_000, 100 * MILLI);
        let (mut world, leader) = at_work(knobs);
        world.start_twin();
        let twin = world.knobs.nodes;
        let rival = world.rivals_of(twin)[0];
        if rival == leader {
            continue;
        }
        world.run_until(world.now + SECOND);
        world.hang_disk(twin);
        // The oracle bounds what is in memory only.
        assert!(answered_during(&mut world, 5 * SECOND) > 100, "two of three take payments");
        world.crash(twin);
        finish(world);
    }
}

#[test]
fn a_follower_whose_disk_hangs_keeps_nobody_waiting_and_stands_in_no_election() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (hung, other) = followers_of(leader);
        world.hang_disk(hung);
        assert!(answered_during(&mut world, 5 * SECOND) > 100, "two of three take payments");
        world.crash(leader);
        world.run_until(world.now + 5 * SECOND);
        assert!(!leads(&world, hung) && !leads(&world, other), "one disk makes no quorum");
        world.restart(leader);
        assert!(answered_during(&mut world, 10 * SECOND) > 50, "two disks do");
        world.disk_responds(hung);
        finish(world);
    }
}

#[test]
fn a_leader_that_has_no_quorum_of_disks_steps_down() {
    for seed in 0..5 {
        let (mut world, leader) = three_at_work(seed);
        let (left, right) = followers_of(leader);
        world.hang_disk(left);
        world.hang_disk(right);
        until(&mut world, "it steps down", |world| !leads(world, leader));
        assert_eq!(answered_during(&mut world, 3 * SECOND), 0, "nothing can be stored");
        world.disk_responds(left);
        assert!(answered_during(&mut world, 8 * SECOND) > 20);
        finish(world);
    }
}

/// Whether the leader counts everything that this node's process has in its ledger.
fn has_acknowledged_all(world: &World, leader: usize, node: usize) -> bool {
    let [leader, node] = [leader, node].map(|number| &world.nodes[number]);
    let (Some(process), true) = (&leader.process, node.process.is_some()) else { return false };
    let followers = process.engine.replica().followers(leader.now(world.now));
    let last = node.disk.durable_last().index;
    followers.iter().any(|follower| follower.node == node.id && follower.matched == last && follower.reachable)
}

#[test]
fn a_store_put_back_from_an_older_copy_counts_for_nothing_and_begins_anew() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(busy_clients(seed));
        let (restored, _) = followers_of(leader);
        let store = world.nodes[restored].disk.store_id;
        let lost = (0..500).any(|_| {
            world.run_until(world.now + MILLI);
            // What was never acknowledged may be lost, and nobody notices.
            until(&mut world, "it acknowledges its last entry", |world| has_acknowledged_all(world, leader, restored));
            world.crash(restored);
            let lost = world.restore_older_ledger(restored);
            world.restart(restored);
            lost
        });
        assert!(lost, "some copy lacks an entry");
        let epoch = epoch_of(&world, leader);
        until(&mut world, "it finds out", |world| is_quarantined(world, restored));
        assert_eq!(epoch_of(&world, leader), epoch, "by the leader that has counted what it lost");
        until(&mut world, "it votes with a new store", |world| {
            world.nodes[restored].disk.store_id != store && votes(world, restored)
        });
        finish(world);
    }
}

/// Damages a node and waits until it votes with a new store, which it returns to by itself.
fn damage_and_await_repair(world: &mut World, node: usize) {
    let store = world.nodes[node].disk.store_id;
    assert!(world.rot_ledger(node));
    until(world, "it votes with a new store", |world| world.nodes[node].disk.store_id != store && votes(world, node));
}

#[test]
fn a_damaged_node_keeps_its_ledger_until_the_others_serve_without_it() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (damaged, dead) = followers_of(leader);
        let store = world.nodes[damaged].disk.store_id;
        world.crash(dead);
        assert!(world.rot_ledger(damaged));
        until(&mut world, "the scrubber finds it", |world| is_quarantined(world, damaged));
        world.run_until(world.now + 5 * SECOND);
        assert_eq!(world.nodes[damaged].disk.store_id, store, "its ledger may be needed");
        assert!(is_quarantined(&world, damaged));
        world.restart(dead);
        until(&mut world, "it votes with a new store", |world| {
            world.nodes[damaged].disk.store_id != store && votes(world, damaged)
        });
        assert!(answered_during(&mut world, 2 * SECOND) > 20, "all three serve");
        finish(world);
    }
}

#[test]
fn a_second_quarantine_within_an_hour_stops_a_node_until_an_operator_restarts_it() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (damaged, _) = followers_of(leader);
        damage_and_await_repair(&mut world, damaged);
        let store = world.nodes[damaged].disk.store_id;
        assert!(world.rot_ledger(damaged));
        until(&mut world, "the scrubber finds it", |world| is_quarantined(world, damaged));
        assert!(answered_during(&mut world, 4 * SECOND) > 40, "two of three take payments");
        assert_eq!(world.nodes[damaged].disk.store_id, store, "it does nothing by itself");
        assert!(is_quarantined(&world, damaged));
        world.exit(damaged);
        until(&mut world, "it votes with a new store", |world| {
            world.nodes[damaged].disk.store_id != store && votes(world, damaged)
        });
        world.forget_repair(damaged);
        damage_and_await_repair(&mut world, damaged);
        finish(world);
    }
}

#[test]
fn a_damaged_node_keeps_its_ledger_while_the_leader_has_not_stored_what_is_committed() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(busy_clients(seed));
        let (damaged, _) = followers_of(leader);
        let store = world.nodes[damaged].disk.store_id;
        world.hang_disk(leader);
        assert!(answered_during(&mut world, SECOND / 2) > 10, "the followers' disks are a quorum");
        assert!(world.rot_ledger(damaged));
        until(&mut world, "the scrubber finds it", |world| is_quarantined(world, damaged));
        world.run_until(world.now + 5 * SECOND);
        assert_eq!(world.nodes[damaged].disk.store_id, store, "only one other disk holds what is committed");
        world.disk_responds(leader);
        until(&mut world, "it votes with a new store", |world| {
            world.nodes[damaged].disk.store_id != store && votes(world, damaged)
        });
        finish(world);
    }
}

/// Whether the leader takes a follower for one that answers.
fn seems_to_answer(world: &World, leader: usize, follower: usize) -> bool {
    let host = &world.nodes[leader];
    let followers = host.process.as_ref().expect("it runs").engine.replica().followers(host.now(world.now));
    followers.iter().any(|view| view.node == world.nodes[follower].id && view.reachable)
}

#[test]
fn a_response_that_was_on_its_way_when_a_process_died_does_not_show_that_it_lives() {
    for seed in 0..10 {
        // Messages are longer on their way than news of a death.
        let (mut world, leader) = at_work(Knobs { delay: (5 * MILLI, 20 * MILLI), ..busy_clients(seed) });
        let (dead, _) = followers_of(leader);
        world.crash(dead);
        until(&mut world, "the leader notices", |world| !seems_to_answer(world, leader, dead));
        // As long as responses may be on their way.
        for _ in 0..300 {
            world.run_until(world.now + MILLI);
            assert!(!seems_to_answer(&world, leader, dead), "a damaged node would give up a ledger that is needed");
        }
        world.restart(dead);
        until(&mut world, "it answers again", |world| seems_to_answer(world, leader, dead));
        finish(world);
    }
}

#[test]
fn a_damaged_node_does_not_trust_what_was_known_of_the_others_before_its_damage() {
    for seed in 0..20 {
        let rotten = |seed| {
            let (mut world, leader) = three_at_work(seed);
            let (damaged, other) = followers_of(leader);
            assert!(world.rot_ledger(damaged));
            (world, leader, damaged, other)
        };
        let (mut world, _, damaged, _) = rotten(seed);
        until(&mut world, "the scrubber finds it", |world| is_quarantined(world, damaged));
        let found = world.now;
        // The same again, but a moment before the other follower's disk is lost, and the leader does not know yet.
        let (mut world, leader, damaged, other) = rotten(seed);
        let store = world.nodes[damaged].disk.store_id;
        world.run_until(found - 5 * MILLI);
        world.links.cut(other, leader);
        world.links.cut(leader, other);
        world.crash(other);
        world.replace_disk(other);
        until(&mut world, "the scrubber finds it", |world| is_quarantined(world, damaged));
        world.run_until(world.now + 5 * SECOND);
        assert_eq!(world.nodes[damaged].disk.store_id, store, "nobody but the leader has what was committed");
    }
}

#[test]
fn a_node_that_is_quarantined_while_it_asks_for_votes_does_not_lead() {
    for seed in 0..10 {
        let (mut world, leader) = at_work(Knobs { delay: (5 * MILLI, 20 * MILLI), ..busy_clients(seed) });
        let (damaged, _) = followers_of(leader);
        assert!(world.rot_ledger(damaged));
        world.crash(leader);
        // The votes are on their way for up to 40 ms.
        world.run_until(world.now + 4 * MILLI * (seed + 1));
        let reason = "its scrubber found damage".to_owned();
        world.feed(damaged, Input::Replication(Event::Quarantine(reason)));
        for _ in 0..300 {
            world.run_until(world.now + 10 * MILLI);
            assert!(!leads(&world, damaged), "a quarantined node takes no payments");
        }
        world.restart(leader);
        finish(world);
    }
}
