//! Lists and statements with every kind of change of a payment: filtered, in order, page by page.

use serde_json::{Value, json};

use crate::support::cluster::Node;
use crate::support::http::Request;
use crate::support::shared::Shared;

static SHARED: Shared = Shared::new();

/// All items of a list, page by page.
fn pages(node: &Node, target: &str, items: &str) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), target.to_owned());
    loop {
        let page = node.get(&next).expect(200);
        all.extend(page[items].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{target}&cursor={cursor}"),
            None => return all,
        }
    }
}

fn send(node: &Node, target: &str, key: &str, body: &Value) -> Value {
    let answer = node.send(&Request::post(target).key(key).json(body.to_string()));
    assert!(answer.status < 300, "{}", answer.text());
    answer.json()
}

fn batch(node: &Node, key: &str, to: &str, amounts: std::ops::RangeInclusive<i64>) -> Value {
    let payment = |amount| json!({"from": "external:x", "to": to, "amount": amount, "currency": "EUR"});
    send(node, "/v1/payments/batch", key, &amounts.map(payment).collect())
}

#[test]
fn a_cursor_goes_on_within_a_batch() {
    let cluster = SHARED.cluster();
    batch(&cluster.nodes[0], "cursor 1", "cursor", 1..=7);
    cluster.nodes[1].pay("cursor 2", "external:x", "cursor", 8).expect(201);
    batch(&cluster.nodes[2], "cursor 3", "cursor", 9..=11);
    let amounts = |target: &str, items: &str| -> Vec<i64> {
        pages(&cluster.nodes[1], target, items).iter().map(|item| item["amount"].as_i64().unwrap()).collect()
    };
    let newest_first: Vec<i64> = (1..=11).rev().collect();
    for limit in [1, 2, 3, 5, 100] {
        assert_eq!(amounts(&format!("/v1/payments?account=cursor&limit={limit}"), "payments"), newest_first);
        let statement = format!("/v1/accounts/cursor/statement?limit={limit}");
        assert_eq!(amounts(&statement, "entries"), newest_first);
    }
}

#[test]
fn a_list_shows_payments_where_they_stand_and_finds_them_by_that() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    let make = |key: &str, amount: i64| {
        let body =
            json!({"from": "external:x", "to": "stand", "amount": amount, "currency": "EUR", "capture": "manual"});
        send(node, "/v1/payments", key, &body)
    };
    let change = |key: &str, payment: &Value, call: &str, body: Value| {
        send(node, &format!("/v1/payments/{}/{call}", payment["id"].as_str().unwrap()), key, &body)
    };
    make("stand 1", 1);
    let partly = make("stand 2", 2);
    change("stand 3", &partly, "capture", json!({"amount": 1}));
    let captured = make("stand 4", 3);
    change("stand 5", &captured, "capture", json!({}));
    let voided = make("stand 6", 4);
    change("stand 7", &voided, "void", json!({}));
    let refunded = make("stand 8", 5);
    change("stand 9", &refunded, "capture", json!({}));
    change("stand 10", &refunded, "refund", json!({"amount": 2}));
    node.pay("stand 11", "external:x", "stand", 6).expect(201);
    node.pay("stand 12", "nobody", "stand", 7).expect(409);
    for (status, amount) in [
        ("authorized", 1),
        ("partially_captured", 2),
        ("captured", 3),
        ("voided", 4),
        ("partially_refunded", 5),
        ("succeeded", 6),
        ("rejected", 7),
    ] {
        for node in &cluster.nodes {
            let target = format!("/v1/payments?account=stand&limit=5&status={status}");
            let found = pages(node, &target, "payments");
            let shown: Vec<(&Value, &Value)> = found.iter().map(|found| (&found["status"], &found["amount"])).collect();
            assert_eq!(shown, [(&json!(status), &json!(amount))], "at {}", node.id);
            assert_eq!(found[0].get("history"), None);
        }
    }
}

#[test]
fn a_statement_shows_captures_and_refunds_with_the_balance_after_each() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[2];
    let body = json!({"from": "external:s", "to": "stated", "amount": 10, "currency": "EUR", "capture": "manual"});
    let held = send(node, "/v1/payments", "stated 1", &body);
    let target = |call: &str| format!("/v1/payments/{}/{call}", held["id"].as_str().unwrap());
    send(node, &target("capture"), "stated 2", &json!({"amount": 6}));
    send(node, &target("refund"), "stated 3", &json!({"amount": 2}));
    node.pay_in("JPY", "stated 4", "external:s", "stated", 7).expect(201);
    for node in &cluster.nodes {
        let lines = pages(node, "/v1/accounts/stated/statement?limit=2", "entries");
        let shown: Vec<(&str, i64, i64)> = lines.iter().map(line).collect();
        assert_eq!(shown, [("payment", 7, 7), ("refund", -2, 4), ("capture", 6, 6)], "at {}", node.id);
        assert!(lines[1..].iter().all(|line| line["payment_id"] == held["id"]));
        let euros = pages(node, "/v1/accounts/stated/statement?limit=2&currency=EUR", "entries");
        assert_eq!(euros, lines[1..]);
        let since = lines[0]["created_at"].as_str().unwrap();
        let recent = pages(node, &format!("/v1/accounts/stated/statement?limit=9&from_time={since}"), "entries");
        assert_eq!(recent[0], lines[0]);
    }
}

fn line(line: &Value) -> (&str, i64, i64) {
    (line["type"].as_str().unwrap(), line["amount"].as_i64().unwrap(), line["balance"].as_i64().unwrap())
}

#[test]
fn the_ledger_shows_every_kind_of_entry() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[1];
    let body = json!({
        "from": "external:x", "to": "kinds", "amount": 1, "currency": "EUR", "capture": "manual", "expires_in": 1,
    });
    let held = send(node, "/v1/payments", "kinds 1", &body);
    send(node, "/v1/payments/by-key/kinds%202/fence", "unused", &json!({}));
    batch(node, "kinds 3", "kinds", 1..=2);
    let paid = node.pay("kinds 4", "external:x", "kinds", 1).expect(201);
    send(node, &format!("/v1/payments/{}/refund", paid["id"].as_str().unwrap()), "kinds 5", &json!({}));
    send(node, "/v1/accounts", "kinds 6", &json!({"id": "kinds:6"}));
    let expired = || node.get(&format!("/v1/payments/{}", held["id"].as_str().unwrap())).json()["status"] == "expired";
    crate::support::cluster::wait_until("the hold has expired", expired);
    let ledger = cluster.ledger();
    for kind in ["epoch_start", "configuration", "payment", "payment_change", "expiry", "batch", "account", "fence"] {
        assert!(ledger.iter().any(|entry| entry["kind"] == kind), "no {kind}");
    }
}
