//! Nodes that come back without their data, with damaged data, or with entries that no other node has.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::cluster::{Cluster, wait_until};
use crate::support::http::Request;
use crate::support::payers::Payers;
use crate::support::reaper::reaper;

/// How many payments show that payments continue.
const SOME: usize = 60;

#[test]
fn a_wiped_follower_comes_back_as_a_learner_and_is_admitted_again() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let wiped = cluster.followers()[0];
    let payers = Payers::start(&cluster, &[leader]);
    payers.wait_for_more(SOME);
    cluster.kill(wiped);
    cluster.wipe(wiped);
    payers.wait_for_more(SOME);
    let before = store_in_force(&cluster, leader, wiped);
    cluster.restart(wiped);
    wait_until_admitted(&cluster, leader, wiped, &before);
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    cluster.wait_caught_up(wiped, leader);
    history.assert_consistent_with(&cluster);
}

/// Waits until a node that lost its store votes again with its new store.
pub(crate) fn wait_until_admitted(cluster: &Cluster, leader: usize, node: usize, old_store: &Value) {
    let id = &cluster.nodes[node].id;
    wait_until("the node votes with its new store", || {
        let status = cluster.nodes[leader].status_of(id);
        status["role"] == "follower" && store_in_force(cluster, leader, node) == status["store_id"]
    });
    assert_ne!(&store_in_force(cluster, leader, node), old_store);
}

/// The store that votes for a node, as the leader's log says.
pub(crate) fn store_in_force(cluster: &Cluster, leader: usize, node: usize) -> Value {
    cluster.nodes[leader].status()["configuration"]["voters"][&cluster.nodes[node].id]["store_id"].clone()
}

#[test]
fn a_ledger_whose_sync_failed_is_condemned_and_its_node_comes_back_as_a_learner() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let failing = cluster.followers()[0];
    let before = store_in_force(&cluster, leader, failing);
    let wal = cluster.nodes[failing].data_dir.join("ledger.db-wal");
    let Some(syncs) = FailingSyncs::of(cluster.nodes[failing].pid(), &wal) else { return };
    let payers = Payers::start(&cluster, &[leader]);
    assert_eq!(cluster.nodes[failing].wait_for_end().code(), Some(1), "a node whose disk failed ends");
    drop(syncs);
    assert!(cluster.nodes[failing].log().contains("the ledger is condemned"), "it says why");
    assert!(cluster.nodes[failing].data_dir.join("ledger.condemned").exists());
    payers.wait_for_more(SOME);
    cluster.restart(failing);
    wait_until_admitted(&cluster, leader, failing, &before);
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    cluster.wait_caught_up(failing, leader);
    history.assert_consistent_with(&cluster);
}

/// Makes the syncs of one file of a process fail, until dropped.
struct FailingSyncs(Child);

impl FailingSyncs {
    /// `None`, and a line that says so, if strace is not there or may not attach to processes here.
    fn of(pid: u32, file: &Path) -> Option<Self> {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &pid.to_string(), "-P"]).arg(file);
        command.args(["-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]);
        let Ok(mut strace) = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn() else {
            eprintln!("skipped: strace is not there");
            return None;
        };
        reaper().watch(strace.id());
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let attached = loop {
            let mut line = String::new();
            match said.read_line(&mut line).unwrap() {
                0 => break false,
                _ if line.contains("attached") => break true,
                _ => {}
            }
        };
        // The output is drained: a full or closed pipe would block or end strace.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let injecting = Self(strace);
        if !attached {
            eprintln!("skipped: strace may not attach to processes here");
        }
        attached.then_some(injecting)
    }
}

impl Drop for FailingSyncs {
    fn drop(&mut self) {
        // It may have ended with the process.
        let _ = self.0.kill();
        self.0.wait().unwrap();
        reaper().forget(self.0.id());
    }
}

#[test]
fn a_damaged_follower_repairs_itself_while_payments_go_on_and_stays_out_the_second_time() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let damaged = cluster.followers()[0];
    let payers = Payers::start(&cluster, &[leader]);
    let first_store = store_in_force(&cluster, leader, damaged);
    damage(&cluster, &payers, damaged, "damaged-once");
    let store = |cluster: &Cluster| cluster.nodes[leader].status_of(&cluster.nodes[damaged].id)["store_id"].clone();
    wait_until("the node has a new store", || ![&Value::Null, &first_store].contains(&&store(&cluster)));
    wait_until_admitted(&cluster, leader, damaged, &first_store);
    payers.wait_for_more(SOME);
    cluster.wait_caught_up(damaged, leader);
    let log = cluster.nodes[damaged].log();
    assert!(log.contains("it begins again with an empty one, as a learner"), "{log}");
    assert_eq!(quarantines(&cluster, damaged), 1);

    let second_store = store_in_force(&cluster, leader, damaged);
    damage(&cluster, &payers, damaged, "damaged-twice");
    wait_until("the node is quarantined", || {
        cluster.nodes[leader].status_of(&id(&cluster, damaged))["role"] == "quarantined"
    });
    payers.wait_for_more(SOME);
    let unready = cluster.nodes[damaged].get("/readyz").expect(503);
    assert_eq!(unready["role"], "quarantined", "it does not begin again: {unready}");
    assert!(unready["detail"].as_str().unwrap().contains("repaired itself less than an hour ago"), "{unready}");
    assert_eq!(quarantines(&cluster, damaged), 2);

    // An operator has checked it and restarts it.
    cluster.terminate(damaged);
    cluster.restart(damaged);
    wait_until_admitted(&cluster, leader, damaged, &second_store);
    let history = payers.stop();
    history.assert_no_error();
    cluster.wait_caught_up(damaged, leader);
    history.assert_consistent_with(&cluster);
}

#[test]
fn a_damaged_follower_keeps_its_ledger_until_the_others_serve_without_it() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let [damaged, away] = cluster.followers()[..] else { panic!("three nodes") };
    let payers = Payers::start(&cluster, &[leader]);
    payers.wait_for_more(SOME);
    let old_store = store_in_force(&cluster, leader, damaged);
    cluster.kill(away);
    damage(&cluster, &payers, damaged, "two-copies");
    let keeps = "this node keeps its damaged ledger until the others serve without it";
    wait_until("it says what it waits for", || cluster.nodes[damaged].log().contains(keeps));
    assert_eq!(cluster.nodes[damaged].get("/readyz").expect(503)["role"], "quarantined");
    let history = payers.stop();
    cluster.restart(away);
    cluster.wait_ready();
    let leader = cluster.leader();
    wait_until_admitted(&cluster, leader, damaged, &old_store);
    cluster.wait_caught_up(damaged, leader);
    history.assert_consistent_with(&cluster);
}

fn id(cluster: &Cluster, node: usize) -> String {
    cluster.nodes[node].id.clone()
}

/// Makes a payment with this key and flips a bit of it in the files of a running node, once its page is complete: the
/// page is written anew from memory with each payment that is added to it.
pub(crate) fn damage(cluster: &Cluster, payers: &Payers, node: usize, key: &str) {
    cluster.nodes[node].pay(key, "external:bank", "shop", 1).expect(201);
    payers.wait_for_more(3 * SOME);
    let flipped = || ["ledger.db", "ledger.db-wal"].iter().any(|file| flip_in_place(cluster, node, file, key));
    wait_until("the payment is in the files", flipped);
}

fn flip_in_place(cluster: &Cluster, node: usize, file: &str, text: &str) -> bool {
    let path = cluster.nodes[node].data_dir.join(file);
    let bytes = fs::read(&path).unwrap_or_default();
    let places = bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text.as_bytes());
    let places: Vec<u64> = places.map(|(at, _)| at as u64).collect();
    let file = File::options().write(true).open(&path).unwrap();
    places.iter().for_each(|at| file.write_all_at(&[text.as_bytes()[0] ^ 1], *at).unwrap());
    !places.is_empty()
}

/// How often the node was quarantined, as its metrics say.
fn quarantines(cluster: &Cluster, node: usize) -> u64 {
    let text = cluster.nodes[node].get("/metrics?format=prometheus").text();
    let count = text.lines().find_map(|line| line.strip_prefix("quorapay_quarantines_total "));
    count.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

#[test]
fn a_follower_that_was_away_catches_up_while_payments_go_on() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let [paused, stopped] = cluster.followers()[..] else { panic!("three nodes") };
    let payers = Payers::start(&cluster, &[leader]);
    payers.wait_for_more(SOME);
    cluster.kill(stopped);
    payers.wait_for_more(3 * SOME);
    cluster.restart(stopped);
    cluster.wait_ready();
    cluster.pause(paused);
    payers.wait_for_more(3 * SOME);
    cluster.resume(paused);
    cluster.wait_caught_up(stopped, leader);
    cluster.wait_caught_up(paused, leader);
    let history = payers.stop();
    history.assert_no_error();
    history.assert_consistent_with(&cluster);
}

#[test]
fn a_node_wiped_while_all_were_down_takes_its_history_from_the_others() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[0].pay("k", "external:bank", "shop", 100).expect(201);
    let leader = cluster.leader();
    let old_store = store_in_force(&cluster, leader, leader);
    (0..3).for_each(|node| cluster.kill(node));
    cluster.wipe(leader);
    (0..3).for_each(|node| cluster.restart(node));
    wait_until("the others elect a leader among themselves", || {
        let ready = |node: &usize| cluster.nodes[*node].try_get("/readyz").is_some_and(|answer| answer.status == 200);
        (0..3).filter(|node| *node != leader).all(|node| ready(&node))
    });
    let successor = cluster.leader();
    wait_until_admitted(&cluster, successor, leader, &old_store);
    cluster.wait_ready();
    assert_eq!(cluster.nodes[leader].balance("shop"), 100);
}

#[test]
fn a_majority_that_lost_its_data_does_not_found_a_new_cluster() {
    let mut cluster = Cluster::start(3);
    let index = cluster.nodes[0].pay("k", "external:bank", "shop", 100).expect(201)["index"].as_u64().unwrap();
    cluster.wait_caught_up(2, 0);
    (0..3).for_each(|node| cluster.kill(node));
    [0, 1].into_iter().for_each(|node| cluster.wipe(node));
    (0..3).for_each(|node| cluster.restart(node));
    for node in &cluster.nodes {
        wait_until("the node answers", || node.try_get("/livez").is_some());
        // Long enough for many elections.
        let read = Request::get("/v1/accounts").header("Quorapay-Deadline-Ms", "1500");
        assert_eq!(node.send(&read).expect(503)["code"], "no_leader", "at {}", node.id);
        assert_eq!(node.get("/readyz").status, 503, "{} would take a payment", node.id);
    }
    assert!(cluster.nodes[2].status()["last_index"].as_u64().unwrap() >= index, "what the third node had, it keeps");
}

#[test]
fn uncommitted_entries_of_a_dead_leader_are_removed_when_it_returns() {
    let mut cluster = Cluster::start(3);
    let old = cluster.leader();
    let others = cluster.followers();
    let before = cluster.nodes[old].pay("before", "external:bank", "shop", 100).expect(201)["index"].clone();
    others.iter().for_each(|node| cluster.pause(*node));
    let body = r#"{"from":"external:bank","to":"shop","amount":5,"currency":"EUR"}"#;
    let lost = Request::post("/v1/payments").key("lost").json(body);
    let unknown = cluster.nodes[old].send(&lost.clone().header("Quorapay-Deadline-Ms", "300")).expect(504);
    assert_eq!(unknown["outcome"], "unknown");
    let tail = cluster.nodes[old].status()["last_index"].clone();
    assert!(tail.as_u64() > before.as_u64(), "the entry is in the leader's ledger");
    cluster.kill(old);
    // The paused nodes may or may not have received what was in flight to them.
    others.iter().for_each(|node| cluster.resume(*node));
    cluster.wait_ready();
    for number in 0..5 {
        cluster.nodes[others[0]].pay(&format!("after-{number}"), "external:bank", "shop", 10).expect(201);
    }
    let settled = cluster.nodes[others[1]].get(unknown["by_key_url"].as_str().unwrap()).expect(200);
    let survived = settled["state"] == "committed";
    cluster.restart(old);
    cluster.wait_ready();
    cluster.wait_caught_up(old, others[0]);
    let again = cluster.nodes[old].send(&lost);
    again.expect(201);
    assert_eq!(again.header("Idempotent-Replayed").is_some(), survived);
    cluster.nodes.iter().for_each(|node| assert_eq!(node.balance("shop"), 155));
    cluster.ledger();
}
