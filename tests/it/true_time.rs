//! Clocks: measured, judged by a majority, and a leader whose clock is false.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::cluster::{Cluster, Node, Options, wait_until};

/// How far a clock that counts as right may be off, and what is measured of it on one machine.
const MOST_ERROR_MS: u64 = 100;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn falsetickers(node: &Node) -> Vec<String> {
    let status = node.status();
    let clocks = status["clocks"].as_object().unwrap();
    clocks.iter().filter(|(_, clock)| clock["falseticker"] == true).map(|(id, _)| id.clone()).collect()
}

fn all_clocks_are_measured(status: &Value) -> bool {
    let is_known = |clock: &Value| clock["error_us"].as_u64().is_some_and(|us| us < MOST_ERROR_MS * 1_000);
    status["clocks"].as_object().is_some_and(|clocks| clocks.len() == 3 && clocks.values().all(is_known))
}

/// The corrected clock is right within its bound, and the bound is small.
fn assert_knows_the_time(node: &Node) {
    let before = now_ms();
    let status = node.status();
    let after = now_ms();
    let [shown, error] = ["corrected_clock", "corrected_clock_error_ms"].map(|field| status[field].as_u64().unwrap());
    assert!(error <= MOST_ERROR_MS, "{status}");
    assert!(shown + error >= before && shown <= after + error, "{shown} between {before} and {after}: {status}");
}

#[test]
fn a_leader_whose_clock_is_false_is_named_and_another_node_leads_within_ten_seconds() {
    let cluster = Cluster::start_with(3, &Options { with_clocks: true, ..Options::default() });
    let leader = cluster.leader();
    let Some(clock) = &cluster.nodes[leader].clock else { return };
    for node in &cluster.nodes {
        wait_until("all clocks are measured", || all_clocks_are_measured(&node.status()));
        assert_eq!(falsetickers(node), [""; 0]);
        assert_knows_the_time(node);
    }
    clock.set_off(3_600);
    let (set, mut paid) = (Instant::now(), 0_i64);
    while cluster.leader() == leader {
        assert!(set.elapsed() < Duration::from_secs(10), "a node leads whose clock is false\n{}", cluster.logs());
        let answer = cluster.nodes[leader].pay(&format!("during {paid}"), "external:bank", "shop", 1);
        answer.expect(201);
        paid += 1;
    }
    let name = &cluster.nodes[leader].id;
    for node in &cluster.nodes {
        wait_until("it knows which clock is false", || falsetickers(node) == [name.clone()]);
        assert_knows_the_time(node);
    }
    let follower = &cluster.nodes[leader];
    assert!(follower.get("/metrics?format=prometheus").text().contains("quorapay_clock_falseticker 1"));
    let answer = follower.pay("after", "external:bank", "shop", 1);
    answer.expect(201);
    assert!((50..=MOST_ERROR_MS).contains(&answer.number("quorapay-time-error-ms")), "{answer:?}");
    let again = follower.pay("after", "external:bank", "shop", 1);
    assert_eq!(again.header("quorapay-time-error-ms"), None, "it was decided before");
    let told = || cluster.nodes[cluster.leader()].log().matches("the clock of a node is false").count();
    wait_until("the leader says whose clock is false", || told() > 0);
    assert_eq!(told(), 1, "{}", cluster.logs());
    assert_eq!(follower.balance("shop"), paid + 1, "nothing is lost");
    clock.set_off(0);
    for node in &cluster.nodes {
        wait_until("all clocks are right again", || falsetickers(node).is_empty());
    }
}
