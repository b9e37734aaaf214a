//! The HTTP interfaces of the earlier systems, used as their clients do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Node, Options, wait_until};
use crate::support::http::{Request, Response};
use crate::support::shared::Shared;

static SHARED: Shared = Shared::new();

fn post(node: &Node, target: &str, body: impl Into<Vec<u8>>) -> Response {
    node.send(&Request::post(target).json(body))
}

fn pay(node: &Node, id: &str, sender: &str, receiver: &str, amount: &str) -> Response {
    let body = format!(r#"{{"amount":{amount},"sender":"{sender}","receiver":"{receiver}","transaction_id":"{id}"}}"#);
    post(node, "/payment", body)
}

fn transfer(node: &Node, key: &str, from: u64, to: u64, amount: &str) -> Response {
    node.send(&transfer_request(key, from, to, amount))
}

fn transfer_request(key: &str, from: u64, to: u64, amount: &str) -> Request {
    let body = format!(r#"{{"from_id": {from}, "to_id": {to}, "amount": {amount}}}"#);
    Request::post("/transfer").key(key).json(body)
}

/// Gives a numbered account money to transfer.
fn fund(node: &Node, account: u64, cents: i64) {
    node.pay_in("USD", &format!("fund {account}"), "external:bank", &account.to_string(), cents).expect(201);
}

/// Checks that an error has the earlier systems' shape and mentions `names`.
#[track_caller]
fn assert_error(answer: &Response, status: u16, names: &str) {
    let body = answer.expect(status);
    let error = body["error"].as_str().unwrap_or_else(|| panic!("no error in {body}"));
    assert!(error.contains(names), "{names:?} is not in {error:?}");
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[track_caller]
fn assert_fields(value: &Value, names: &[&str]) {
    let given: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(given, names.iter().copied().collect(), "{value}");
}

/// The newest transaction with an id.
fn listed(node: &Node, id: &str) -> Value {
    let list = node.get("/transactions").expect(200);
    let found = list["transactions"].as_array().unwrap().iter().find(|transaction| transaction["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {list}")).clone()
}

fn posted_usd(node: &Node, account: &str) -> i64 {
    let answer = node.get(&format!("/v1/accounts/{account}"));
    if answer.status == 404 { 0 } else { crate::support::cluster::posted(&answer.expect(200), "USD") }
}

#[test]
fn a_payment_sent_to_any_node_is_listed_by_every_node_at_once() {
    let cluster = SHARED.cluster();
    for (number, node) in cluster.nodes.iter().enumerate() {
        let (id, sender) = (format!("any-{number}"), format!("any-sender-{number}"));
        let target = if number == 0 { "/pay" } else { "/payment" };
        let body = json!({"amount": 150.75, "sender": sender, "receiver": "any", "transaction_id": id});
        let answer = post(node, target, body.to_string());
        let made = answer.expect(200);
        assert_fields(
            &made,
            &["status", "transaction_id", "timestamp", "amount", "sender", "receiver", "processed_by"],
        );
        assert_eq!((&made["status"], &made["transaction_id"]), (&json!("success"), &json!(id)));
        assert_eq!(
            (&made["amount"], &made["sender"], &made["receiver"]),
            (&json!(150.75), &json!(sender), &json!("any"))
        );
        assert!(made["timestamp"].as_f64().unwrap() > 1_600_000_000.0 && made["timestamp"].is_f64(), "{made}");
        assert_eq!(made["processed_by"], answer.header("Quorapay-Leader").unwrap());
        for other in &cluster.nodes {
            let row = listed(other, &id);
            assert_fields(&row, &["id", "amount", "sender", "receiver", "timestamp", "status", "processed_by"]);
            assert_eq!(
                (&row["status"], &row["amount"], &row["sender"]),
                (&json!("success"), &made["amount"], &made["sender"])
            );
            assert_eq!((&row["timestamp"], &row["processed_by"]), (&made["timestamp"], &made["processed_by"]));
        }
    }
    for node in &cluster.nodes {
        let list = node.get("/get_ledger").expect(200);
        assert_eq!((&list["node_id"], list["transactions"][0].is_object()), (&json!(node.id), true));
    }
}

#[test]
fn sender_and_receiver_are_opened_on_first_use_and_may_go_below_zero() {
    let cluster = SHARED.cluster();
    pay(&cluster.nodes[0], "open-1", "open-sender", "open-receiver", "10").expect(200);
    pay(&cluster.nodes[1], "open-2", "open-receiver", "open-sender", "25.50").expect(200);
    for (account, cents) in [("open-sender", 1_550), ("open-receiver", -1_550)] {
        let shown = cluster.nodes[2].get(&format!("/v1/accounts/{account}")).expect(200);
        assert_eq!((&shown["overdraft"], &shown["balances"][0]["posted"]), (&json!("unlimited"), &json!(cents)));
    }
}

#[test]
fn a_repeated_transaction_id_is_answered_by_every_node_and_applied_once() {
    let cluster = SHARED.cluster();
    let first = pay(&cluster.nodes[0], "repeat-1", "repeat-a", "repeat-b", "1.10").expect(200);
    for node in &cluster.nodes {
        let again = pay(node, "repeat-1", "repeat-a", "repeat-b", "1.10");
        assert_eq!((again.expect(200), again.header("Idempotent-Replayed")), (first.clone(), Some("true")));
    }
    let body = r#"{"amount":1.1,"sender":"repeat-a","receiver":"repeat-b"}"#;
    let by_header = cluster.nodes[1].send(&Request::post("/payment").key("repeat-1").json(body));
    assert_eq!(by_header.expect(200), first, "the header names the same key");
    assert_eq!(posted_usd(&cluster.nodes[2], "repeat-b"), 110);
    assert_error(&pay(&cluster.nodes[1], "repeat-1", "repeat-a", "repeat-b", "1.11"), 422, "another request");
    let both = body.replace('}', r#","transaction_id":"repeat-1"}"#);
    assert_error(&cluster.nodes[0].send(&Request::post("/payment").key("other").json(both)), 400, "transaction_id");
    assert_eq!(posted_usd(&cluster.nodes[0], "repeat-b"), 110);
}

#[test]
fn without_an_id_each_payment_gets_a_fresh_one_and_by_key_knows_it() {
    let cluster = SHARED.cluster();
    let body = r#"{"amount":2,"sender":"fresh-a","receiver":"fresh-b"}"#;
    let ids: Vec<String> = (0..2)
        .map(|at| post(&cluster.nodes[at], "/payment", body).expect(200)["transaction_id"].as_str().unwrap().to_owned())
        .collect();
    assert_ne!(ids[0], ids[1]);
    assert_eq!(posted_usd(&cluster.nodes[2], "fresh-b"), 400);
    let by_key = cluster.nodes[2].get(&format!("/v1/payments/by-key/{}", ids[0])).expect(200);
    assert_eq!((&by_key["state"], &by_key["payment"]["amount"]), (&json!("committed"), &json!(200)));
}

#[test]
fn a_missing_or_wrong_field_of_a_payment_is_a_400_and_moves_nothing() {
    let cluster = SHARED.cluster();
    let good = [("amount", "5"), ("sender", r#""wrong-a""#), ("receiver", r#""wrong-b""#)];
    let body = |name: &str, value: Option<&str>| {
        let others =
            good.iter().filter(|(field, _)| *field != name).map(|(field, value)| format!("\"{field}\":{value}"));
        let fields: Vec<String> = others.chain(value.map(|value| format!("\"{name}\":{value}"))).collect();
        format!("{{{}}}", fields.join(","))
    };
    let cases = [
        ("amount", None),
        ("sender", None),
        ("receiver", None),
        ("amount", Some(r#""5""#)),
        ("amount", Some("0")),
        ("amount", Some("-1")),
        ("amount", Some("150.755")),
        ("amount", Some("1e400")),
        ("amount", Some("null")),
        ("amount", Some("true")),
        ("amount", Some("[5]")),
        ("sender", Some("5")),
        ("sender", Some(r#""""#)),
        ("sender", Some(r#""a b""#)),
        ("receiver", Some(r#""wrong-a""#)),
        ("receiver", Some("null")),
        ("currency", Some(r#""dollars""#)),
        ("currency", Some("840")),
        ("transaction_id", Some("7")),
        ("transaction_id", Some(r#""""#)),
    ];
    for (node, (name, value)) in cluster.nodes.iter().cycle().zip(cases) {
        assert_error(&post(node, "/payment", body(name, value)), 400, name);
    }
    for no_json in ["", "{", "5", "[]", r#"{"amount":NaN,"sender":"wrong-a","receiver":"wrong-b"}"#] {
        assert_error(&post(&cluster.nodes[0], "/payment", no_json), 400, "JSON");
    }
    let text = Request::post("/payment").header("Content-Type", "text/plain").body(body("amount", Some("5")));
    assert_error(&cluster.nodes[0].send(&text), 400, "JSON");
    assert_eq!(cluster.nodes[1].get("/v1/accounts/wrong-b").status, 404);
}

#[test]
fn amounts_are_read_from_their_digits_and_written_from_them() {
    let cluster = SHARED.cluster();
    let cases = [
        ("USD", "150.75", 15_075, "150.75"),
        ("USD", "0.1", 10, "0.10"),
        ("USD", "100.00", 10_000, "100.00"),
        ("USD", "1e2", 10_000, "100.00"),
        ("USD", "90071992547409.93", 9_007_199_254_740_993_i64, "90071992547409.93"),
        ("JPY", "150", 150, "150"),
        ("JPY", "150.0", 150, "150"),
        ("KWD", "1.234", 1_234, "1.234"),
    ];
    for (number, (currency, written, minor, shown)) in cases.into_iter().enumerate() {
        let body = format!(
            r#"{{"amount":{written},"sender":"digits-a","receiver":"digits-b","currency":"{currency}","transaction_id":"digits-{number}"}}"#
        );
        let answer = post(&cluster.nodes[number % 3], "/payment", body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.text().contains(&format!(r#""amount":{shown},"#)), "{written}: {}", answer.text());
        let list = cluster.nodes[1].get("/transactions?limit=1000").text();
        assert!(list.contains(&format!(r#"{{"id":"digits-{number}","amount":{shown},"#)), "{written}");
        let payment = cluster.nodes[2].get(&format!("/v1/payments/by-key/digits-{number}")).expect(200);
        assert_eq!((&payment["payment"]["amount"], &payment["payment"]["currency"]), (&json!(minor), &json!(currency)));
    }
    for (currency, written) in [("USD", "150.755"), ("JPY", "150.5"), ("KWD", "1.2345"), ("USD", "0.30000000000000004")]
    {
        let body =
            format!(r#"{{"amount":{written},"sender":"digits-a","receiver":"digits-b","currency":"{currency}"}}"#);
        assert_error(&post(&cluster.nodes[0], "/payment", body), 400, "decimals");
    }
}

#[test]
fn the_list_is_bounded_and_its_count_is_true_on_every_node() {
    let mut cluster = Cluster::start(3);
    for number in 0..5 {
        pay(&cluster.nodes[number % 3], &format!("list-{number}"), "list-a", "list-b", "1").expect(200);
    }
    assert_eq!(transfer(&cluster.nodes[0], "list-refused", 1, 2, "1").status, 422);
    let item =
        |key: Value| json!({"from": "external:x", "to": "b", "amount": 1, "currency": "USD", "idempotency_key": key});
    for (key, items) in [
        ("batch-1", [json!("i-1"), json!("i-2"), Value::Null]),
        ("batch-2", [json!("i-1"), json!("i-3"), json!("i-2")]),
    ] {
        let body = items.map(|key| {
            if key.is_null() {
                json!({"from": "external:x", "to": "b", "amount": 1, "currency": "USD"})
            } else {
                item(key)
            }
        });
        cluster.nodes[1].send(&Request::post("/v1/payments/batch").key(key).json(json!(body).to_string())).expect(200);
    }
    // Five payments, a refused one, three of the first batch and one of the second: its other two were there before.
    let total = 5 + 1 + 3 + 1;
    for node in &cluster.nodes {
        let whole = node.get("/transactions").expect(200);
        assert_fields(&whole, &["transactions", "total_count", "node_id"]);
        let rows = whole["transactions"].as_array().unwrap();
        assert_eq!((rows.len(), &whole["total_count"], &whole["node_id"]), (total, &json!(total), &json!(node.id)));
        assert_eq!((&rows[0]["id"], &rows[9]["id"]), (&json!("i-3"), &json!("list-0")), "newest first");
        assert_eq!((&rows[4]["id"], &rows[4]["status"]), (&json!("list-refused"), &json!("rejected")));
        let (mut paged, mut target) = (Vec::new(), "/transactions?limit=3".to_owned());
        loop {
            let page = node.get(&target).expect(200);
            assert_eq!(page["total_count"], total);
            paged.extend(page["transactions"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => target = format!("/transactions?limit=3&cursor={cursor}"),
                None => break,
            }
        }
        assert_eq!(paged, *rows);
        assert_error(&node.get("/transactions?limit=1001"), 400, "limit");
        // Payments that are not in the views yet are counted from the ledger.
        wait_until("the views have it all", || {
            let status = node.status();
            status["projected_index"] == status["applied_index"]
        });
        assert_eq!(node.get("/health").expect(200)["transaction_count"], total);
        assert_eq!(node.get("/transactions?limit=1").expect(200)["total_count"], total);
    }
    // A capture is no payment, and a node that starts counts what it finds on its disk.
    let hold = json!({"from": "external:x", "to": "b", "amount": 2, "currency": "USD", "capture": "manual"});
    let held = cluster.nodes[2].send(&Request::post("/v1/payments").key("held").json(hold.to_string())).expect(201);
    let capture = format!("/v1/payments/{}/capture", held["id"].as_str().unwrap());
    cluster.nodes[0].send(&Request::post(&*capture).key("captured").json("{}")).expect(200);
    for node in 0..3 {
        cluster.kill(node);
        cluster.restart(node);
        cluster.wait_caught_up(node, (node + 1) % 3);
        assert_eq!(cluster.nodes[node].get("/transactions?limit=1").expect(200)["total_count"], total + 1);
        assert_eq!(cluster.nodes[node].get("/health").expect(200)["transaction_count"], total + 1);
    }
}

#[test]
fn health_ping_and_status_tell_of_the_node_and_of_every_other_one() {
    let cluster = SHARED.cluster();
    let leader = &cluster.nodes[cluster.leader()].id;
    pay(&cluster.nodes[0], "status-1", "status-a", "status-b", "1").expect(200);
    for node in &cluster.nodes {
        let health = node.get("/health").expect(200);
        assert_fields(&health, &["node_id", "status", "is_leader", "timestamp", "transaction_count"]);
        assert_eq!((&health["node_id"], &health["status"]), (&json!(node.id), &json!("healthy")));
        assert_eq!(health["is_leader"], node.id == *leader);
        assert!(health["timestamp"].is_f64() && health["transaction_count"].is_u64(), "{health}");
        assert_eq!(node.get("/ping").expect(200), json!({"status": "ok", "node_id": node.id}));
        let status = node.get("/status").expect(200);
        assert_fields(&status, &["node_id", "is_leader", "peer_health", "replication_status", "time_offset"]);
        let peers = status["peer_health"].as_object().unwrap();
        let others: Vec<&String> = cluster.nodes.iter().map(|other| &other.id).filter(|id| **id != node.id).collect();
        assert_eq!(peers.keys().collect::<Vec<_>>(), others);
        assert!(peers.values().all(|peer| peer["healthy"] == true && peer["last_seen"].is_f64()), "{status}");
        assert_eq!(
            (&status["replication_status"]["leader"], &status["is_leader"]),
            (&json!(leader), &health["is_leader"])
        );
        assert!(status["time_offset"].as_f64().unwrap().abs() < 5.0, "{status}");
    }
}

#[test]
fn metrics_are_shown_as_json_too_and_count_the_compatible_calls() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    for number in 0..3 {
        pay(node, &format!("metrics-{number}"), "metrics-a", "metrics-b", "1").expect(200);
    }
    // Gauges are those of the node's latest status, at most a tenth of a second old.
    let mut metrics = Value::Null;
    wait_until("the gauges show what was committed", || {
        metrics = node.get("/metrics").expect(200);
        metrics["gauges"]["commit_index"].as_u64().unwrap() > 0
    });
    assert_fields(&metrics, &["node_id", "counters", "gauges", "timers"]);
    assert!(metrics["counters"]["compatible_payment.200"].as_u64().unwrap() >= 3, "{metrics}");
    let timer = &metrics["timers"]["compatible_payment"];
    let [p50, p95, p99] = ["p50", "p95", "p99"].map(|name| timer[name].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p95 && p95 <= p99 && timer["count"].as_u64().unwrap() >= 3, "{timer}");
    assert_fields(&node.get("/metrics?format=json").expect(200), &["node_id", "counters", "gauges", "timers"]);
    let summary = node.get("/metrics?format=summary");
    assert_eq!(summary.header("Content-Type"), Some("text/plain; charset=utf-8"));
    let page = summary.text();
    assert!(page.starts_with(&node.id) && page.contains("compatible_payment.200"), "{page}");
    // What Prometheus and its relatives send.
    for accept in
        ["application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", "text/plain;version=0.0.4;q=1,*/*;q=0.1"]
    {
        let scraped = node.send(&Request::get("/metrics").header("Accept", accept));
        assert!(scraped.header("Content-Type").unwrap().starts_with("application/openmetrics-text"), "{accept}");
        let text = scraped.text();
        assert_eq!(text.lines().last(), Some("# EOF"));
        assert!(text.contains(r#"quorapay_requests_total{route="compatible_payment",status="200"}"#), "{text}");
        let asked = node.get("/metrics?format=prometheus");
        assert_eq!(asked.header("Content-Type"), scraped.header("Content-Type"));
    }
    assert_eq!(node.get("/metrics?format=xml").expect(400)["code"], "invalid_format");
}

#[test]
fn a_transfer_moves_money_between_numbered_accounts_and_a_repeat_is_recovered() {
    let cluster = SHARED.cluster();
    fund(&cluster.nodes[0], 101, 25_000);
    let made = transfer(&cluster.nodes[1], "transfer-1", 101, 102, "100.00");
    assert_eq!(made.expect(200), json!({"status": "success", "message": "Transfer Complete", "amount": 100.0}));
    assert_eq!((made.header("X-Db-Hit"), made.text().contains(r#""amount":100.00}"#)), (None, true));
    for node in &cluster.nodes {
        let again = transfer(node, "transfer-1", 101, 102, "100");
        assert_eq!(again.expect(200)["message"], "Transfer Complete (Recovered)");
        assert_eq!(again.header("X-Db-Hit"), Some("true"));
    }
    assert_eq!((posted_usd(&cluster.nodes[2], "101"), posted_usd(&cluster.nodes[2], "102")), (15_000, 10_000));
    assert_error(&transfer(&cluster.nodes[0], "transfer-1", 101, 102, "99"), 422, "another request");
}

#[test]
fn a_transfer_without_key_body_or_funds_is_refused() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    fund(node, 201, 5_000);
    assert_error(&post(node, "/transfer", r#"{"from_id":201,"to_id":202,"amount":1}"#), 400, "Idempotency-Key");
    for (body, names) in [
        ("", "JSON"),
        ("{", "JSON"),
        (r#"{"to_id":202,"amount":1}"#, "from_id"),
        (r#"{"from_id":201,"amount":1}"#, "to_id"),
        (r#"{"from_id":201,"to_id":202}"#, "amount"),
        (r#"{"from_id":"201","to_id":202,"amount":1}"#, "from_id"),
        (r#"{"from_id":201,"to_id":-1,"amount":1}"#, "to_id"),
        (r#"{"from_id":201,"to_id":201,"amount":1}"#, "to_id"),
        (r#"{"from_id":201,"to_id":202,"amount":"1"}"#, "amount"),
        (r#"{"from_id":201,"to_id":202,"amount":0.001}"#, "amount"),
        (r#"{"from_id":201,"to_id":202,"amount":-1}"#, "amount"),
    ] {
        assert_error(&node.send(&Request::post("/transfer").key("bad transfer").json(body)), 400, names);
    }
    assert_error(&transfer(node, "short", 201, 202, "50.01"), 422, "overdraft");
    fund(&cluster.nodes[1], 299, 1);
    let again = transfer(&cluster.nodes[2], "short", 201, 202, "50.01");
    assert_error(&again, 422, "overdraft");
    assert_eq!(again.header("X-Db-Hit"), Some("true"), "a refusal is for ever too");
    assert_error(&transfer(node, "nobody", 298, 202, "1"), 422, "does not exist");
    assert_eq!(posted_usd(&cluster.nodes[1], "201"), 5_000);
    assert_eq!(transfer(node, "exact", 201, 202, "50").expect(200)["message"], "Transfer Complete");
}

#[test]
fn one_namespace_of_keys_serves_all_surfaces() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    fund(node, 301, 1_000);
    node.pay_in("USD", "one-key", "301", "302", 500).expect(201);
    assert_eq!(transfer(node, "one-key", 301, 302, "5.00").expect(200)["message"], "Transfer Complete (Recovered)");
    assert_error(&pay(node, "one-key", "301", "302", "5.00"), 422, "another request");
    node.send(&Request::post("/v1/payments/by-key/fenced-key/fence")).expect(200);
    assert_error(&pay(&cluster.nodes[1], "fenced-key", "fence-a", "fence-b", "1"), 409, "fenced");
}

#[test]
fn chaos_is_deaf_unless_its_mode_is_on() {
    let cluster = SHARED.cluster();
    fund(&cluster.nodes[0], 401, 1_000);
    let request = transfer_request("deaf", 401, 402, "1").header("X-Simulate-Chaos", "true");
    assert_eq!(cluster.nodes[1].send(&request).expect(200)["message"], "Transfer Complete");
    assert_eq!(cluster.nodes[0].get("/config").expect(200)["chaos_mode"], false);
}

#[test]
fn in_chaos_mode_a_transfer_commits_and_its_connection_drops() {
    let cluster = Cluster::start_with(
        3,
        &Options {
            settings: "chaos_mode = true\ncluster_secret = \"nobody may see this\"".to_owned(),
            ..Options::default()
        },
    );
    fund(&cluster.nodes[0], 1, 1_000);
    for (number, node) in cluster.nodes.iter().enumerate() {
        let request = transfer_request(&format!("chaos-{number}"), 1, 2, "1.00");
        let asked = request.clone().header("X-Simulate-Chaos", "true");
        node.try_send(&asked).expect_err("the connection drops without an answer");
        let again = node.send(&asked);
        assert_eq!(again.expect(200)["message"], "Transfer Complete (Recovered)", "it was committed");
        assert_eq!(again.header("X-Db-Hit"), Some("true"));
    }
    assert_eq!(posted_usd(&cluster.nodes[0], "2"), 300);
    for node in &cluster.nodes {
        let config = node.get("/config");
        let shown = config.expect(200);
        assert_eq!((&shown["node_id"], &shown["chaos_mode"]), (&json!(node.id), &json!(true)));
        assert_eq!((&shown["cluster_secret"], &shown["zookeeper_password"]), (&json!("***"), &Value::Null));
        assert_eq!(shown["request_queue"], 16_384);
        assert!(!config.text().contains("nobody may see this"));
    }
}

#[test]
fn a_payment_is_answered_alike_after_its_leader_is_gone() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let follower = cluster.followers()[0];
    let made = pay(&cluster.nodes[follower], "failover", "failover-a", "failover-b", "7.25").expect(200);
    assert_eq!(made["processed_by"], cluster.nodes[leader].id);
    cluster.nodes[follower].get("/status").expect(200);
    cluster.kill(leader);
    let again = pay(&cluster.nodes[follower], "failover", "failover-a", "failover-b", "7.25").expect(200);
    assert_eq!(again, made);
    assert_eq!(listed(&cluster.nodes[follower], "failover")["processed_by"], cluster.nodes[leader].id);
    let status = cluster.nodes[follower].get("/status").expect(200);
    let lost = &status["peer_health"][&cluster.nodes[leader].id];
    assert_eq!((&lost["healthy"], lost["last_seen"].is_f64()), (&json!(false), true));
    assert_eq!(cluster.nodes[follower].get("/health").expect(200)["status"], "healthy");
}
