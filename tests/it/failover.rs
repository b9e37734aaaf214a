//! Payments continue when a node dies, hangs or leaves, and none is lost or doubled.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::cluster::{Cluster, Node, Options, wait_until};
use crate::support::http::Request;
use crate::support::payers::Payers;
use crate::support::zookeeper::ZooKeeperServer;

/// How many payments show that payments continue.
const SOME: usize = 60;

#[test]
fn a_killed_leader_costs_no_error_no_loss_and_no_double_twice_in_a_row() {
    let mut cluster = Cluster::start(3);
    for _ in 0..2 {
        let leader = cluster.leader();
        let others = cluster.followers();
        let payers = Payers::start(&cluster, &others);
        payers.wait_for_more(SOME);
        cluster.kill(leader);
        payers.wait_for_more(SOME);
        cluster.restart(leader);
        payers.wait_for_more(SOME);
        let history = payers.stop();
        history.assert_no_error();
        cluster.wait_ready();
        cluster.wait_caught_up(leader, others[0]);
        history.assert_consistent_with(&cluster);
        assert!(history.slowest() < Duration::from_secs(4), "the slowest answer took {:?}", history.slowest());
    }
}

#[test]
fn every_node_killed_and_restarted_at_once_forgets_nothing() {
    let mut cluster = Cluster::start(3);
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    for _ in 0..2 {
        payers.wait_for_more(SOME);
        (0..3).for_each(|node| cluster.kill(node));
        (0..3).for_each(|node| cluster.restart(node));
        cluster.wait_ready();
    }
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_consistent_with(&cluster);
}

#[test]
fn a_leader_that_hangs_is_replaced_and_follows_when_it_wakes() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let others = cluster.followers();
    let payers = Payers::start(&cluster, &others);
    payers.wait_for_more(SOME);
    cluster.pause(leader);
    payers.wait_for_more(SOME);
    assert_ne!(cluster.leader(), leader, "a majority leads itself while one node hangs");
    cluster.resume(leader);
    payers.wait_for_more(SOME);
    cluster.wait_ready();
    let history = payers.stop();
    history.assert_no_error();
    cluster.wait_caught_up(leader, others[0]);
    history.assert_consistent_with(&cluster);
    assert!(history.slowest() < Duration::from_secs(4), "the slowest answer took {:?}", history.slowest());
}

#[test]
fn a_deposed_leader_that_wakes_answers_no_stale_read() {
    let mut cluster = Cluster::start(3);
    let old = cluster.leader();
    let others = cluster.followers();
    cluster.nodes[old].pay("before", "external:bank", "shop", 100).expect(201);
    cluster.pause(old);
    cluster.nodes[others[0]].pay("after", "external:bank", "shop", 11).expect(201);
    cluster.resume(old);
    // It does not know about the new leader yet when this request arrives.
    assert_eq!(cluster.nodes[old].balance("shop"), 111);
}

#[test]
fn five_nodes_survive_two_deaths_at_once() {
    let mut cluster = Cluster::start(5);
    let leader = cluster.leader();
    let followers = cluster.followers();
    let payers = Payers::start(&cluster, &followers[1..]);
    payers.wait_for_more(SOME);
    cluster.kill(leader);
    cluster.kill(followers[0]);
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    history.assert_consistent_with(&cluster);
}

#[test]
fn handing_over_under_load_fails_no_request() {
    let cluster = Cluster::start(3);
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    // Without a pause: the node that has just handed over is the next successor.
    for through_the_leader in [true, false, true, false] {
        payers.wait_for_more(SOME / 4);
        let leader = cluster.leader();
        let asked = if through_the_leader { leader } else { cluster.followers()[0] };
        let answer = cluster.nodes[asked].send(&Request::post("/v1/cluster/leader/transfer")).expect(200);
        let successor = cluster.position(answer["leader"].as_str().unwrap());
        assert_ne!(successor, leader);
    }
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    history.assert_consistent_with(&cluster);
    assert!(history.slowest() < Duration::from_millis(600), "the slowest answer took {:?}", history.slowest());
}

#[test]
fn the_leadership_goes_to_the_node_that_was_named() {
    let cluster = Cluster::start(3);
    let named = cluster.followers()[1];
    let id = &cluster.nodes[named].id;
    // Right after an election a leader may know of no successor yet; it says so, and that asking again helps.
    let transfer = |body: String| {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let request = Request::post("/v1/cluster/leader/transfer").json(body.clone());
            let answer = cluster.nodes[0].send(&request);
            if answer.status != 503 || Instant::now() > deadline {
                return answer;
            }
        }
    };
    assert_eq!(transfer(format!(r#"{{"to":"{id}"}}"#)).expect(200)["leader"], **id);
    assert_eq!(cluster.leader(), named);
    assert_eq!(transfer(r#"{"to":"node9"}"#.to_owned()).expect(400)["code"], "no_such_successor");
    assert_eq!(cluster.leader(), named);
}

#[test]
fn a_leader_asked_to_end_hands_over_and_ends_in_order_while_clients_pay() {
    let mut cluster = Cluster::start(3);
    for _ in 0..2 {
        let leader = cluster.leader();
        let others = cluster.followers();
        let payers = Payers::start(&cluster, &others);
        payers.wait_for_more(SOME);
        cluster.terminate(leader);
        payers.wait_for_more(SOME);
        let history = payers.stop();
        history.assert_no_error();
        cluster.restart(leader);
        cluster.wait_ready();
        cluster.wait_caught_up(leader, others[1]);
        history.assert_consistent_with(&cluster);
    }
}

#[test]
fn payments_go_on_while_zookeeper_is_away_and_when_it_comes_back() {
    let mut zookeeper = ZooKeeperServer::start();
    let mut cluster = Cluster::start_with(3, &Options { zookeeper: Some(zookeeper.address()), ..Options::default() });
    let payers = Payers::start(&cluster, &[0, 1, 2]);
    payers.wait_for_more(SOME);
    zookeeper.stop();
    for node in &cluster.nodes {
        wait_until("the node shows that ZooKeeper is away", || readiness(&cluster, &node.id, "disconnected"));
    }
    payers.wait_for_more(3 * SOME);
    zookeeper.restart();
    for node in &cluster.nodes {
        wait_until("the node shows that ZooKeeper is back", || readiness(&cluster, &node.id, "connected"));
    }
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    history.assert_consistent_with(&cluster);

    let leader = cluster.leader();
    cluster.kill(leader);
    let survivor = cluster.leader();
    cluster.nodes[survivor].pay("elected again", "external:bank", "shop", 5).expect(201);
}

#[test]
fn a_zookeeper_that_lost_its_data_stops_no_payment_and_no_election() {
    let mut zookeeper = ZooKeeperServer::start();
    let mut cluster = Cluster::start_with(3, &Options { zookeeper: Some(zookeeper.address()), ..Options::default() });
    let leader = cluster.leader();
    let others = cluster.followers();
    let payers = Payers::start(&cluster, &others);
    payers.wait_for_more(SOME);
    zookeeper.restart_empty();
    for node in &cluster.nodes {
        wait_until("the node shows that ZooKeeper is back", || readiness(&cluster, &node.id, "connected"));
    }
    let epoch = cluster.nodes[leader].status()["epoch"].as_u64().unwrap();
    payers.wait_for_more(SOME);
    cluster.kill(leader);
    payers.wait_for_more(SOME);
    let history = payers.stop();
    history.assert_no_error();
    history.assert_consistent_with(&cluster);
    let successor = cluster.leader();
    assert!(cluster.nodes[successor].status()["epoch"].as_u64().unwrap() > epoch, "epochs only grow");
}

#[test]
fn nodes_asked_to_end_one_after_the_other_all_end_in_order() {
    let mut cluster = Cluster::start(3);
    let made = cluster.nodes[0].pay("k", "external:bank", "shop", 1);
    for _ in 0..2 {
        // Two of three nodes can still elect a leader.
        let leader = cluster.leader();
        cluster.terminate(leader);
    }
    let last = cluster.nodes.iter().position(Node::is_running).unwrap();
    cluster.terminate(last);
    (0..3).for_each(|node| cluster.restart(node));
    cluster.wait_ready();
    assert_eq!(cluster.nodes[1].pay("k", "external:bank", "shop", 1).body, made.body);
}

/// Whether a node is ready and reports this state of ZooKeeper.
fn readiness(cluster: &Cluster, id: &str, zookeeper: &str) -> bool {
    let answer = cluster.nodes[cluster.position(id)].get("/readyz");
    answer.status == 200 && answer.json()["zookeeper"] == zookeeper
}

#[test]
fn without_zookeeper_a_dead_leader_is_replaced_only_when_it_comes_back() {
    let mut zookeeper = ZooKeeperServer::start();
    let mut cluster = Cluster::start_with(3, &Options { zookeeper: Some(zookeeper.address()), ..Options::default() });
    let leader = cluster.leader();
    let survivor = cluster.followers()[0];
    cluster.nodes[survivor].pay("before", "external:bank", "shop", 7).expect(201);
    zookeeper.stop();
    cluster.kill(leader);
    let payment = |key: &str| {
        let body = r#"{"from":"external:bank","to":"shop","amount":5,"currency":"EUR"}"#;
        Request::post("/v1/payments").key(key).header("Quorapay-Deadline-Ms", "1500").json(body)
    };
    let refused = cluster.nodes[survivor].send(&payment("meanwhile"));
    assert_eq!((refused.status, &refused.json()["retryable"]), (503, &Value::Bool(true)), "{}", refused.text());
    assert_eq!(refused.json()["outcome"], "not_applied");
    zookeeper.restart();
    cluster.wait_ready();
    cluster.nodes[survivor].send(&payment("meanwhile")).expect(201);
    assert_eq!(cluster.nodes[survivor].balance("shop"), 12);
}

#[test]
fn a_leader_without_followers_says_that_the_outcome_is_unknown_and_where_to_learn_it() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let followers = cluster.followers();
    followers.iter().for_each(|node| cluster.pause(*node));
    let body = r#"{"from":"external:bank","to":"shop","amount":5,"currency":"EUR"}"#;
    let payment = Request::post("/v1/payments").key("cut/off").json(body);
    let unknown = cluster.nodes[leader].send(&payment.clone().header("Quorapay-Deadline-Ms", "300")).expect(504);
    assert_eq!((&unknown["code"], &unknown["outcome"]), (&"outcome_unknown".into(), &"unknown".into()));
    wait_until("a leader that no quorum answers steps down", || cluster.nodes[leader].get("/readyz").status == 503);
    followers.iter().for_each(|node| cluster.resume(*node));
    cluster.wait_ready();
    for node in &cluster.nodes {
        let settled = node.get(unknown["by_key_url"].as_str().unwrap()).expect(200);
        assert!(settled["state"] == "committed" || settled["state"] == "unknown", "{settled}");
    }
    cluster.nodes[followers[0]].send(&payment).expect(201);
    assert_eq!(cluster.nodes[leader].balance("shop"), 5);
}
