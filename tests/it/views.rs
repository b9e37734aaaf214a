//! The views of real nodes: how far they may be behind, and what becomes of damaged ones.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::support::cluster::{Cluster, Node, run_program, wait_until};
use crate::support::http::Request;
use crate::support::payers::Payers;

/// Keys that the views may lack before writers wait.
const MAX_LACKING: u64 = 262_144;
/// Payments of the largest batch.
const LARGEST_BATCH: u64 = 10_000;
/// The page size of SQLite, and what precedes a page in its log.
const PAGE: u64 = 4_096;
const FRAME_HEADER: u64 = 24;
const LOG_HEADER: u64 = 32;
/// How many payments show that payments go on.
const SOME: usize = 60;

fn batch(name: &str, payments: u64) -> Request {
    let payment = |item| {
        json!({"from": "external:batches", "to": format!("shop:{}", item % 100), "amount": 1, "currency": "EUR",
               "idempotency_key": format!("{name}-{item}")})
    };
    let payments: Vec<Value> = (0..payments).map(payment).collect();
    let deadline = "Quorapay-Deadline-Ms";
    Request::post("/v1/payments/batch").key(name).header(deadline, "30000").json(Value::from(payments).to_string())
}

fn metric(node: &Node, name: &str) -> u64 {
    let text = node.get("/metrics?format=prometheus").text();
    let prefix = format!("quorapay_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_else(|| panic!("no {name}"));
    value.split('.').next().unwrap().parse().unwrap()
}

#[test]
fn writers_wait_while_the_views_can_go_no_further_behind_and_then_succeed() {
    let mut cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    node.pay("first", "external:batches", "shop:0", 1).expect(201);
    wait_until("the views are up to date", || metric(node, "views_lag_entries") == 0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut holder =
        runtime.block_on(SqliteConnectOptions::new().filename(node.data_dir.join("views.db")).connect()).unwrap();
    runtime.block_on(sqlx::query("BEGIN IMMEDIATE").execute(&mut holder)).unwrap();

    let (sent, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let enough = MAX_LACKING / LARGEST_BATCH + 8;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    if number >= enough {
                        return;
                    }
                    let batch = node.send(&batch(&format!("b{number}"), LARGEST_BATCH)).expect(200);
                    assert_eq!(batch["succeeded"], LARGEST_BATCH);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        wait_until("the views lack as much as they may", || metric(node, "views_lag_keys") >= MAX_LACKING);
        let before = answered.load(Ordering::Relaxed);
        // A read answers what it would without the lock.
        assert!(node.balance("shop:0") > 0);
        wait_until("writers have waited for a second", || metric(node, "views_writes_held_seconds_total") >= 1);
        assert!(answered.load(Ordering::Relaxed) <= before + 2, "nothing more was taken");
        assert!(answered.load(Ordering::Relaxed) < enough, "writers wait");
        assert!(metric(node, "views_lag_keys") < MAX_LACKING + 8 * LARGEST_BATCH);
        runtime.block_on(sqlx::query("ROLLBACK").execute(&mut holder)).unwrap();
    });
    runtime.block_on(holder.close()).unwrap();
    assert_eq!(answered.load(Ordering::Relaxed), enough, "every writer succeeded");
    let paid = i64::try_from(enough * LARGEST_BATCH / 100 + 1).unwrap();
    assert_eq!(node.balance("shop:0"), paid);
    cluster.terminate(0);
    assert_clean(&cluster.nodes[0]);
}

#[test]
fn a_node_killed_under_load_replays_a_bounded_part_of_its_ledger() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let (stop, batches) = (AtomicBool::new(false), AtomicU64::new(0));
    let payers = Payers::start(&cluster, &[leader]);
    thread::scope(|scope| {
        for writer in 0..2 {
            let (node, stop, batches) = (&cluster.nodes[leader], &stop, &batches);
            scope.spawn(move || {
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    node.send(&batch(&format!("w{writer}-{number}"), 2_000)).expect(200);
                    batches.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        payers.wait_for_more(SOME);
        wait_until("a hundred thousand payments", || batches.load(Ordering::Relaxed) >= 50);
        stop.store(true, Ordering::Relaxed);
    });
    let killed = cluster.followers()[0];
    cluster.kill(killed);
    cluster.restart(killed);
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    cluster.wait_caught_up(killed, leader);
    let log = cluster.nodes[killed].log();
    let last = replays(&log).last().copied().expect("it says how much it replayed");
    let held = cluster.nodes[leader].status()["commit_index"].as_u64().unwrap();
    assert!(last < held.min(MAX_LACKING), "it replayed {last} of {held} entries");
    history.assert_consistent_with(&cluster);
}

/// How many entries each start of a node replayed, as its log says.
fn replays(log: &str) -> Vec<u64> {
    let number = |line: &str| {
        let after = line.split_once("replayed")?.1;
        let digits: String =
            after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    log.lines().filter(|line| line.contains("opened the files")).filter_map(number).collect()
}

#[test]
fn damaged_views_of_a_follower_are_made_anew_while_it_serves() {
    damaged_views_are_made_anew(false);
}

#[test]
fn damaged_views_of_the_leader_are_made_anew_while_payments_go_on() {
    damaged_views_are_made_anew(true);
}

fn damaged_views_are_made_anew(of_the_leader: bool) {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let node = if of_the_leader { leader } else { cluster.followers()[0] };
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    payers.wait_for_more(5 * SOME);
    wait_until("the views hold something", || metric(&cluster.nodes[node], "projected_index") > SOME as u64);
    damage_views(&cluster.nodes[node].data_dir);
    wait_until("the damage is found", || {
        // Reads and the projector find it.
        let _ = cluster.nodes[node].get("/v1/accounts/external:card/statement?consistency=local");
        let _ = cluster.nodes[node].get("/v1/payments?consistency=local&status=refunded");
        metric(&cluster.nodes[node], "views_rebuilds_total") > 0
    });
    payers.wait_for_more(SOME);
    wait_until("the views are complete again", || {
        let (node, status) = (&cluster.nodes[node], cluster.nodes[node].status());
        metric(node, "views_rebuilding") == 0 && status["projected_index"].as_u64() > Some(SOME as u64)
    });
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    for other in 0..3 {
        cluster.wait_caught_up(other, cluster.leader());
    }
    wait_until("the views are up to date", || metric(&cluster.nodes[node], "views_lag_entries") == 0);
    history.assert_consistent_with(&cluster);
    cluster.terminate(node);
    assert_clean(&cluster.nodes[node]);
}

/// Overwrites every page of the views but the first, in the file and in its log.
fn damage_views(data_dir: &Path) {
    let open = |name: &str| OpenOptions::new().read(true).write(true).open(data_dir.join(name)).unwrap();
    let junk = vec![0xff; usize::try_from(PAGE).unwrap()];
    let (file, log) = (open("views.db"), open("views.db-wal"));
    let pages = file.metadata().unwrap().len() / PAGE;
    (1..pages).for_each(|page| file.write_all_at(&junk, page * PAGE).unwrap());
    let frames = log.metadata().unwrap().len().saturating_sub(LOG_HEADER) / (FRAME_HEADER + PAGE);
    for frame in 0..frames {
        let at = LOG_HEADER + frame * (FRAME_HEADER + PAGE);
        let mut page = [0; 4];
        log.read_exact_at(&mut page, at).unwrap();
        if u32::from_be_bytes(page) > 1 {
            log.write_all_at(&junk, at + FRAME_HEADER).unwrap();
        }
    }
}

/// The audit of a stopped node finds nothing.
fn assert_clean(node: &Node) {
    let audit = run_program(&["verify", node.data_dir.to_str().unwrap()]);
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}
