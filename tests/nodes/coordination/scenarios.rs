//! What the coordination does when one thing goes wrong.

use std::time::Duration;

use quorapay_core::domain::Epoch;
use quorapay_core::replication::{CoordinationCommand, QueueRank};

use super::cluster::{CLUSTER, Cluster, node_id};
use crate::zookeeper::Faults;

const SESSION_TIMEOUT_MS: u64 = 2_000;

/// How often a node looks at the queue though no watch fired, and a second for the operations.
const LOOK_AGAIN_MS: u64 = 3_000 + 1_000;

fn lined_up() -> Cluster {
    Cluster::lined_up(1, SESSION_TIMEOUT_MS)
}

#[test]
fn the_first_node_in_the_queue_is_told_so_and_the_others_are_behind() {
    let mut cluster = lined_up();
    cluster.run(5_000);
    assert_eq!(cluster.unsettled(), None);
    assert_eq!(cluster.first(), Some(0));
}

#[test]
fn a_dead_hosts_place_goes_when_its_session_expires_and_the_next_one_is_first() {
    let mut cluster = lined_up();
    cluster.kill(0);
    let after = cluster.until(SESSION_TIMEOUT_MS + 1_000, "successor", |cluster| cluster.first() == Some(1));
    assert!(after > SESSION_TIMEOUT_MS / 2, "the servers heard of the death after {after} ms");
    assert_eq!(cluster.rank(2), QueueRank::Behind);
}

#[test]
fn a_host_that_shuts_down_gives_its_place_up_at_once() {
    let mut cluster = lined_up();
    cluster.shut_down(0, Duration::from_secs(5));
    cluster.until(50, "successor", |cluster| cluster.rank(1) == QueueRank::First);
    assert_eq!(cluster.zookeeper.children(&format!("{CLUSTER}/live")), ["node1", "node2"]);
}

#[test]
fn a_named_predecessor_is_removed_long_before_its_session_expires() {
    let mut cluster = lined_up();
    cluster.kill(0);
    cluster.command(1, CoordinationCommand::RemovePredecessor { node: node_id(0), epoch: Epoch(0) });
    cluster.until(50, "successor", |cluster| cluster.first() == Some(1));
}

#[test]
fn a_host_that_starts_again_takes_its_id_back_and_queues_at_the_end() {
    let mut cluster = lined_up();
    cluster.kill(0);
    cluster.start(0);
    cluster.until(500, "new place", |cluster| cluster.rank(0) == QueueRank::Behind);
    cluster.until(500, "settled queue", |cluster| cluster.unsettled().is_none());
    assert_eq!(cluster.first(), Some(1));
}

#[test]
fn a_taken_epoch_whose_answer_is_lost_goes_to_nobody_else() {
    let mut cluster = lined_up();
    cluster.zookeeper.lose_next_response(0);
    cluster.take_epoch(0);
    cluster.until(500, "answer", |cluster| cluster.hosts[0].as_ref().is_some_and(|host| !host.waits_for_epoch));
    assert!(cluster.taken.is_empty(), "the connection broke: the outcome was unknown");
    cluster.take_epoch(1);
    cluster.until(500, "epoch", |cluster| cluster.taken.contains_key(&Epoch(2)));
    cluster.until(1_000, "settled queue", |cluster| cluster.unsettled().is_none());
    assert_eq!(cluster.first(), Some(0), "a session that is continued keeps its place");
}

#[test]
fn an_epoch_that_took_longer_than_the_operations_timeout_is_recognised_as_ones_own() {
    let mut cluster = Cluster::lined_up(1, 20_000);
    cluster.zookeeper.set_faults(Faults { request_ms: (2_600, 2_600), ..Faults::none() });
    cluster.take_epoch(0);
    // The counter is read with a timely answer, then the write is slow and the next read comes behind it.
    cluster.run(2_601);
    cluster.zookeeper.set_faults(Faults { request_ms: (5_500, 5_500), ..Faults::none() });
    cluster.run(5_100);
    cluster.zookeeper.set_faults(Faults::none());
    cluster.until(5_000, "epoch", |cluster| cluster.taken.contains_key(&Epoch(1)));
    let written = |line: &&String| line.contains("host 0 replace") && line.contains("done");
    assert_eq!(cluster.trace.iter().filter(written).count(), 1, "it was written once");
}

#[test]
fn a_place_whose_creation_was_not_answered_is_used_and_no_second_one_taken() {
    let mut cluster = lined_up();
    let election = format!("{CLUSTER}/election");
    let places = cluster.zookeeper.children(&election);
    cluster.zookeeper.lose_next_response(0);
    assert!(cluster.zookeeper.delete(&format!("{election}/{}", places[0])));
    cluster.until(50, "new place", |cluster| cluster.zookeeper.children(&election).len() == 3);
    cluster.until(50, "disconnection", |cluster| cluster.hosts[0].as_ref().is_some_and(|host| !host.connected));
    cluster.until(500, "settled queue", |cluster| cluster.unsettled().is_none());
    assert_eq!(cluster.rank(0), QueueRank::Behind);
}

#[test]
fn a_missed_watch_holds_up_the_queue_for_seconds_and_no_longer() {
    let mut cluster = lined_up();
    cluster.zookeeper.set_deaf(1, true);
    cluster.kill(0);
    let within = SESSION_TIMEOUT_MS + LOOK_AGAIN_MS;
    cluster.until(within, "successor", |cluster| cluster.first() == Some(1));
}

#[test]
fn a_change_during_a_short_disconnection_is_seen_after_it() {
    let mut cluster = lined_up();
    cluster.zookeeper.set_reachable(2, false);
    cluster.until(SESSION_TIMEOUT_MS, "disconnection", |cluster| cluster.rank(2) == QueueRank::Absent);
    cluster.command(1, CoordinationCommand::GoToBack);
    cluster.run(50);
    cluster.command(0, CoordinationCommand::GoToBack);
    cluster.run(50);
    cluster.zookeeper.set_reachable(2, true);
    cluster.until(500, "first", |cluster| cluster.first() == Some(2));
    cluster.until(500, "settled queue", |cluster| cluster.unsettled().is_none());
}

#[test]
fn a_host_that_is_cut_off_for_long_loses_its_place_and_comes_back_at_the_end() {
    let mut cluster = lined_up();
    cluster.zookeeper.set_reachable(0, false);
    cluster.until(SESSION_TIMEOUT_MS + 1_000, "successor", |cluster| cluster.first() == Some(1));
    cluster.run(2 * SESSION_TIMEOUT_MS);
    cluster.zookeeper.set_reachable(0, true);
    cluster.until(SESSION_TIMEOUT_MS, "settled queue", |cluster| cluster.unsettled().is_none());
    assert_eq!(cluster.first(), Some(1));
}

#[test]
fn places_outlast_servers_that_start_again_with_their_data() {
    let mut cluster = lined_up();
    cluster.zookeeper.stop();
    cluster.until(100, "disconnection", |cluster| cluster.first().is_none());
    cluster.run(500);
    cluster.zookeeper.start();
    cluster.until(SESSION_TIMEOUT_MS, "settled queue", |cluster| cluster.unsettled().is_none());
    assert_eq!(cluster.first(), Some(0));
}

#[test]
fn a_wiped_ensemble_is_filled_again_and_the_leader_names_itself_again() {
    let mut cluster = lined_up();
    cluster.take_epoch(0);
    cluster.until(100, "epoch", |cluster| cluster.taken.contains_key(&Epoch(1)));
    cluster.command(0, CoordinationCommand::PublishLeader { epoch: Epoch(1) });
    let named = |cluster: &Cluster| cluster.zookeeper.data(&format!("{CLUSTER}/leader")).is_some();
    cluster.until(100, "name of the leader", named);
    cluster.zookeeper.wipe();
    assert!(!named(&cluster));
    cluster.until(3 * SESSION_TIMEOUT_MS, "settled queue", |cluster| cluster.unsettled().is_none());
    cluster.until(LOOK_AGAIN_MS, "name of the leader", named);
}

#[test]
fn a_session_that_the_servers_end_wrongly_is_replaced_at_once() {
    let mut cluster = lined_up();
    cluster.zookeeper.expire(0);
    cluster.until(100, "successor", |cluster| cluster.first() == Some(1));
    cluster.until(500, "settled queue", |cluster| cluster.unsettled().is_none());
    assert_eq!(cluster.rank(0), QueueRank::Behind);
}

#[test]
fn a_forged_epoch_counter_is_replaced() {
    let mut cluster = lined_up();
    let forged = format!(r#"{{"epoch":{},"node":"node2","nonce":"{}"}}"#, u64::MAX, "0".repeat(32));
    cluster.zookeeper.put(&format!("{CLUSTER}/epoch"), forged.as_bytes());
    cluster.take_epoch(0);
    cluster.until(100, "epoch", |cluster| cluster.taken.contains_key(&Epoch(1)));
}
