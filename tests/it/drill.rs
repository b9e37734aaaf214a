//! Measures the effect of failures on real processes. Nothing is asserted about times, because they depend on the machine.
//! `make drill` runs these tests in a release build, one after another, on an otherwise idle machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::cluster::{Cluster, Options, program, wait_until};
use crate::support::http::Request;
use crate::support::payers::Payers;
use crate::support::zookeeper::ZooKeeperServer;

const ROUNDS: usize = 30;
const BACKLOG: u64 = 1_000_000;

#[test]
#[ignore = "measures; run by make drill"]
fn drill_a_killed_leader() {
    drill_the_leader("leader killed with -9, to the next committed payment", Cluster::kill, Cluster::restart);
}

#[test]
#[ignore = "measures; run by make drill"]
fn drill_a_paused_leader() {
    drill_the_leader("leader stopped with SIGSTOP, to the next committed payment", Cluster::pause, Cluster::resume);
}

/// In each round: makes the leader fail, pays through a follower at once, measures, heals.
fn drill_the_leader(what: &str, fail: fn(&mut Cluster, usize), heal: fn(&mut Cluster, usize)) {
    let mut cluster = Cluster::start(3);
    let times = (0..ROUNDS).map(|round| {
        let leader = cluster.leader();
        let follower = cluster.followers()[round % 2];
        fail(&mut cluster, leader);
        let began = Instant::now();
        cluster.nodes[follower].pay(&format!("round-{round}"), "external:bank", "shop", 1).expect(201);
        let took = began.elapsed();
        heal(&mut cluster, leader);
        cluster.wait_ready();
        cluster.wait_caught_up(leader, follower);
        took
    });
    report(what, times.collect());
}

#[test]
#[ignore = "measures; run by make drill"]
fn drill_a_hand_over_under_load() {
    let cluster = Cluster::start(3);
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let payers = Payers::start(&cluster, &[0, 1, 2]);
        payers.wait_for_more(50);
        let leader = cluster.leader();
        let request = Request::post("/v1/cluster/leader/transfer").json("{}".to_owned());
        cluster.nodes[leader].send(&request).expect(200);
        payers.wait_for_more(50);
        let history = payers.stop();
        history.assert_no_error();
        times.push(history.slowest());
        cluster.wait_ready();
    }
    report("leadership handed over, slowest payment meanwhile", times);
}

#[test]
#[ignore = "measures; run by make drill"]
fn drill_all_of_zookeeper_gone_for_a_minute() {
    let mut server = ZooKeeperServer::start();
    let cluster = Cluster::start_with(3, &Options { zookeeper: Some(server.address()), ..Options::default() });
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    payers.wait_for_more(50);
    server.stop();
    let gone = Instant::now();
    while gone.elapsed() < Duration::from_secs(60) {
        payers.wait_for_more(50);
    }
    server.restart();
    payers.wait_for_more(200);
    let history = payers.stop();
    history.assert_no_error();
    report("ZooKeeper gone for 60 s under load, slowest payment", vec![history.slowest()]);
    history.assert_consistent_with(&cluster);
}

#[test]
#[ignore = "measures; run by make drill"]
fn drill_a_follower_a_million_entries_behind() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let late = cluster.followers()[0];
    cluster.kill(late);
    let url = format!("http://127.0.0.1:{}", cluster.nodes[leader].port);
    let mut fill = bench(&url, &["--requests", &BACKLOG.to_string(), "--connections", "256"]);
    assert!(fill.wait().expect("the generator ends").success());
    let mut live = bench(&url, &["--rate", "1000", "--duration", "60s"]);
    let behind = cluster.nodes[leader].last_entry().0;
    cluster.restart(late);
    let late = &cluster.nodes[late];
    wait_until("the late node answers", || late.try_get("/livez").is_some());
    let began = Instant::now();
    let applied = || late.status()["applied_index"].as_u64().unwrap_or(0);
    let missing = behind - applied();
    wait_until("the late node has caught up", || applied() >= behind);
    let took = began.elapsed();
    let per_second = u128::from(missing) * 1_000 / took.as_millis().max(1);
    println!("catch-up: {missing} entries in {took:.2?}, {per_second} entries/s, while 1,000 payments/s went on");
    live.kill().expect("the generator runs");
    live.wait().expect("the generator ends");
}

fn bench(url: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program());
    command.args(["bench", "--url", url, "--warm-up", "0s"]).args(arguments);
    command.stdout(Stdio::inherit()).spawn().expect("the program starts")
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (p50, max) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: {} rounds, p50 {p50:.1?}, max {max:.1?}", times.len());
}
