//! Entries that are not committed, the answers that depend on them, and crashes between promises and entries.

use super::*;

#[test]
fn entries_above_the_commit_index_survive_until_a_recovered_leader_contradicts_them() {
    for seed in 0..10 {
        let (mut world, mut leader) = three_at_work(seed);
        for _ in 0..6 {
            // Right after an answer, the followers hold the entry but do not know yet that it is committed.
            let settled = world.clients.settled();
            until(&mut world, "a write is answered", |world| world.clients.settled() > settled);
            world.crash(leader);
            until(&mut world, "another one leads", |world| (0..3).any(|node| node != leader && leads(world, node)));
            world.restart(leader);
            leader = (0..3).find(|node| leads(&world, *node)).expect("just seen");
        }
        finish(world);
    }
}

#[test]
fn a_crash_between_a_new_promise_and_its_log_loses_neither() {
    for seed in 0..10 {
        let (mut world, leader) = three_at_work(seed);
        let (behind, _) = followers_of(leader);
        let mut torn = 0;
        for round in 0..8 {
            isolate(&mut world, behind);
            world.run_until(world.now + SECOND / 2);
            if round % 2 == 0 {
                let leader = next_leader(&mut world);
                world.crash(leader);
                world.restart(leader);
                world.run_until(world.now + 2 * SECOND);
            }
            world.links.mend();
            // It crashes while the new promise and the missed entries are being written.
            let is_writing = |world: &World| {
                let process = world.nodes[behind].process.as_ref();
                process.is_some_and(|process| process.writes.iter().any(|write| !write.entries.is_empty()))
            };
            if becomes(&mut world, is_writing) {
                torn += 1;
                world.crash(behind);
                world.restart(behind);
            }
            world.run_until(world.now + SECOND);
        }
        assert!(torn > 4, "it crashed in the middle {torn} times");
        finish(world);
    }
}

#[test]
fn a_client_that_lost_its_answer_gets_the_same_one_from_the_new_leader() {
    let mut resolved = 0;
    for seed in 0..10 {
        let knobs = Knobs { retries: 1_000, ..busy_clients(seed) };
        let (mut world, _) = at_work(knobs);
        for _ in 0..4 {
            let leader = leader_of(&world);
            world.crash(leader);
            until(&mut world, "another one leads", |world| (0..3).any(|node| node != leader && leads(world, node)));
            world.restart(leader);
            world.run_until(world.now + SECOND);
        }
        resolved += world.clients.intents.iter().filter(|intent| intent.unknown && intent.settled).count();
        finish(world);
    }
    assert!(resolved > 10, "{resolved} writes were answered after a first attempt without an answer");
}

#[test]
fn a_refusal_computed_from_an_entry_that_is_lost_is_never_answered() {
    for seed in 0..10 {
        // Few accounts and short pauses: many payments are refused because of the ones right before them.
        let knobs = Knobs { accounts: 2, ..busy_clients(seed) };
        let (mut world, leader) = at_work(knobs);
        let before = world.clients.newest();
        append_alone(&mut world, leader, 2);
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the others take payments");
        assert!(
            world.clients.newest_decided_by(leader) <= before,
            "nothing that it appended while isolated was answered"
        );
        world.links.mend();
        assert!(answered_during(&mut world, 3 * SECOND) > 20, "the cluster takes payments again");
        finish(world);
    }
}

#[test]
fn a_follower_restarted_at_its_commit_index_takes_entries_that_contradict_the_next_one() {
    for seed in 0..10 {
        let knobs = Knobs { verified_at_start: 0, ..busy_clients(seed) };
        let (mut world, leader) = at_work(knobs);
        append_alone(&mut world, leader, 2);
        world.run_until(world.now + 3 * SECOND);
        world.crash(leader);
        world.links.mend();
        world.restart(leader);
        assert!(answered_during(&mut world, 3 * SECOND) > 20);
        finish(world);
    }
}
