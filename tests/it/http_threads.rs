//! Several threads serve the clients of a node: nothing that a caller sees depends on which one.

use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Options};
use crate::support::http::{Connection, Request};
use crate::support::payers::Payers;

/// How many payments show that payments continue.
const SOME: usize = 60;

/// Callers that send at once: each thread gets several, because connections are handed out in turn.
const CALLERS: usize = 8;

fn two_threads() -> Options {
    Options { settings: "http_threads = 2".to_owned(), ..Options::default() }
}

/// The names of the threads of a node that serve clients.
fn http_threads(cluster: &Cluster, node: usize) -> Vec<String> {
    let tasks = format!("/proc/{}/task", cluster.nodes[node].pid());
    let names = std::fs::read_dir(tasks).unwrap().flatten();
    let names = names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let mut names: Vec<String> =
        names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("http-")).collect();
    names.sort();
    names
}

#[test]
fn nodes_with_two_threads_serve_hand_over_and_stop_in_order() {
    let mut cluster = Cluster::start_with(3, &two_threads());
    assert_eq!(http_threads(&cluster, 0), ["http-1", "http-2"]);
    // What a handler asks of peers runs over connections that the node's own thread keeps.
    for _ in 0..2 {
        let status = cluster.nodes[0].get("/v1/cluster").expect(200);
        assert!(status["nodes"].as_array().unwrap().iter().all(|node| node["reachable"] == true), "{status}");
    }
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    let leader = cluster.leader();
    let others = cluster.followers();
    let payers = Payers::start(&cluster, &others);
    payers.wait_for_more(SOME);
    cluster.terminate(leader);
    payers.wait_for_more(SOME);
    cluster.restart(leader);
    payers.wait_for_more(SOME);
    let later = payers.stop();
    later.assert_no_error();
    cluster.wait_ready();
    cluster.wait_caught_up(leader, others[0]);
    later.assert_consistent_with(&cluster);
    cluster.wait_caught_up(others[1], others[0]);
    (0..3).for_each(|node| cluster.terminate(node));
}

#[test]
fn a_node_that_is_told_to_stop_answers_what_its_threads_have() {
    let mut cluster = Cluster::start_with(1, &two_threads());
    let payers = Payers::start(&cluster, &[0]);
    payers.wait_for_more(SOME);
    cluster.terminate(0);
    cluster.restart(0);
    cluster.wait_ready();
    let history = payers.stop();
    history.assert_consistent_with(&cluster);
}

#[test]
fn a_key_that_is_sent_to_different_threads_at_once_is_paid_once_and_answered_alike() {
    let cluster = Cluster::start_with(1, &two_threads());
    let port = cluster.nodes[0].port;
    let body = json!({"from": "external:bank", "to": "shop", "amount": 5, "currency": "EUR"}).to_string();
    let mut connections: Vec<Connection> = (0..CALLERS).map(|_| Connection::to(port)).collect();
    for connection in &mut connections {
        connection.send(&Request::get("/livez")).unwrap();
    }
    for round in 0..20 {
        let key = format!("round-{round}");
        let (together, request) =
            (Barrier::new(CALLERS), Request::post("/v1/payments").key(&key).json(body.as_bytes()));
        let answers: Vec<Value> = thread::scope(|scope| {
            let send = |connection| {
                let (together, request) = (&together, &request);
                scope.spawn(move || {
                    let connection: &mut Connection = connection;
                    together.wait();
                    connection.send(request).unwrap().expect(201)
                })
            };
            let callers: Vec<_> = connections.iter_mut().map(send).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    }
    let ledger = cluster.ledger();
    let paid =
        ledger.iter().filter(|entry| entry["idempotency_key"].as_str().is_some_and(|key| key.starts_with("round-")));
    assert_eq!(paid.count(), 20);
}
