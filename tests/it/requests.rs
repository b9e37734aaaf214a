//! Requests by their ids: an answer and the logs of every node that worked on it name a request alike.

use crate::support::cluster::{Cluster, Node, Options, wait_until};
use crate::support::http::{Request, Response};

const PAYMENT: &str = r#"{"from": "external:card", "to": "shop", "amount": 5, "currency": "EUR"}"#;

fn pay(node: &Node, key: &str, request_id: Option<&str>) -> Response {
    let request = Request::post("/v1/payments").key(key).json(PAYMENT).header("Quorapay-Deadline-Ms", "3000");
    node.send(&match request_id {
        Some(id) => request.header("X-Request-Id", id),
        None => request,
    })
}

/// Waits until a node's log has a line with all of this.
fn wait_for_line(node: &Node, parts: &[&str]) {
    wait_until(&format!("a line of {} has {parts:?}", node.id), || {
        node.log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
    });
}

#[test]
fn a_request_is_named_alike_in_its_answer_and_in_the_logs_of_both_nodes() {
    let options = Options { settings: "log = \"info,quorapay_node=debug\"".to_owned(), ..Options::default() };
    let cluster = Cluster::start_with(3, &options);
    let (leader, follower) = (&cluster.nodes[cluster.leader()], &cluster.nodes[cluster.followers()[0]]);
    let answer = pay(follower, "named", Some("order-42/try:1"));
    answer.expect(201);
    assert_eq!(answer.header("X-Request-Id"), Some("order-42/try:1"));
    let index = answer.number("Quorapay-Index").to_string();
    wait_for_line(follower, &["request_id=order-42/try:1", "payment_create", "201"]);
    wait_for_line(leader, &["request_id=order-42/try:1", &format!("from={}", follower.id), &format!("index={index}")]);
    // An id that is none is replaced by one that the node makes, and the logs have that one.
    let answer = pay(follower, "unnamed", Some("not an id"));
    let made = answer.header("X-Request-Id").expect("the level debug logs every request").to_owned();
    assert!(made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
    wait_for_line(leader, &[&format!("request_id={made}"), &format!("from={}", follower.id)]);
    // A read at a follower asks the leader, which logs for whom.
    let read = follower.send(&Request::get("/v1/accounts/shop").header("X-Request-Id", "read-7"));
    assert_eq!((read.status, read.header("X-Request-Id")), (200, Some("read-7")));
    wait_for_line(follower, &["request_id=read-7", "account_get"]);
    wait_for_line(leader, &["read-7", &format!("from={}", follower.id)]);
}

#[test]
fn an_error_is_named_and_a_payment_that_succeeds_without_an_id_costs_no_name() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    assert_eq!(pay(&cluster.nodes[leader], "plain", None).header("X-Request-Id"), None);
    let refused = cluster.nodes[leader].send(&Request::post("/v1/payments").json(PAYMENT));
    assert_eq!(refused.expect(400)["request_id"], serde_json::Value::Null, "a refusal is the same when it is repeated");
    assert!(refused.header("X-Request-Id").is_some(), "its header has an id");
    for follower in cluster.followers() {
        cluster.kill(follower);
    }
    let node = &cluster.nodes[leader];
    let failed = pay(node, "no quorum", None);
    assert!([503, 504].contains(&failed.status), "{}", failed.text());
    let id = failed.header("X-Request-Id").expect("an error has an id").to_owned();
    assert_eq!(failed.json()["request_id"], *id);
    wait_for_line(node, &["WARN", "a request failed", &format!("request_id={id}"), "route=\"payment_create\""]);
    let named = pay(node, "no quorum", Some("mine"));
    assert_eq!((named.header("X-Request-Id"), &named.json()["request_id"]), (Some("mine"), &"mine".into()));
}
