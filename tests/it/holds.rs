//! Holds: authorized, captured in parts, voided, expired and refunded, within the remaining amounts.

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Node, wait_until};
use crate::support::http::{Request, Response};
use crate::support::shared::Shared;

static SHARED: Shared = Shared::new();

/// Holds money of an external account for a shop.
fn hold(node: &Node, key: &str, amount: i64, more: &Value) -> Response {
    let party = key.replace(' ', "-");
    let mut body = json!({
        "from": format!("external:{party}"), "to": format!("shop:{party}"), "amount": amount, "currency": "EUR",
        "capture": "manual",
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    node.send(&Request::post("/v1/payments").key(key).json(body.to_string()))
}

fn change(node: &Node, key: &str, payment: &Value, call: &str, body: &str) -> Response {
    let target = format!("/v1/payments/{}/{call}", payment["id"].as_str().unwrap());
    let request = Request::post(target).key(key);
    node.send(&if body.is_empty() { request } else { request.json(body) })
}

fn read(node: &Node, payment: &Value) -> Value {
    node.get(&format!("/v1/payments/{}", payment["id"].as_str().unwrap())).expect(200)
}

/// The euros held on an account.
fn balance(cluster: &Cluster, account: &str) -> Value {
    cluster.nodes[1].get(&format!("/v1/accounts/{account}")).expect(200)["balances"][0].clone()
}

#[test]
fn a_manual_payment_is_authorized_and_moves_nothing_until_it_is_captured() {
    let cluster = SHARED.cluster();
    let held = hold(&cluster.nodes[0], "auth", 1_000, &json!({"expires_in": 600})).expect(201);
    assert_eq!((&held["status"], &held["capture"]), (&json!("authorized"), &json!("manual")));
    assert_eq!((&held["held"], &held["captured"], &held["refunded"]), (&json!(1_000), &json!(0), &json!(0)));
    assert_eq!(held["balances"], json!({"from_held": 1_000}));
    assert!(held["expires_at"].as_str().unwrap() > held["created_at"].as_str().unwrap());
    let payer = balance(&cluster, "external:auth");
    assert_eq!((&payer["posted"], &payer["held"], &payer["available"]), (&json!(0), &json!(1_000), &Value::Null));
    assert_eq!(cluster.nodes[2].get("/v1/accounts/shop:auth").status, 404, "nothing was received yet");
}

#[test]
fn a_hold_is_captured_in_parts_the_rest_voided_and_what_was_captured_refunded_in_parts() {
    let cluster = SHARED.cluster();
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    let held = hold(one, "parts", 1_000, &json!({})).expect(201);
    let first = change(two, "parts 1", &held, "capture", r#"{"amount":300}"#).expect(200);
    assert_eq!(
        (&first["status"], &first["captured"], &first["held"]),
        (&json!("partially_captured"), &json!(300), &json!(700))
    );
    assert_eq!((&first["change"]["type"], &first["change"]["amount"]), (&json!("capture"), &json!(300)));
    assert_eq!(first["balances"], json!({"from": -300, "to": 300}));
    let second = change(three, "parts 2", &held, "capture", r#"{"amount":200}"#).expect(200);
    assert_eq!((&second["captured"], &second["held"]), (&json!(500), &json!(500)));
    let voided = change(one, "parts 3", &held, "void", "").expect(200);
    assert_eq!((&voided["status"], &voided["held"]), (&json!("captured"), &json!(0)));
    assert_eq!(voided["change"]["amount"], 500);
    let refund = change(two, "parts 4", &held, "refund", r#"{"amount":100}"#).expect(200);
    assert_eq!((&refund["status"], &refund["refunded"]), (&json!("partially_refunded"), &json!(100)));
    let rest = change(three, "parts 5", &held, "refund", "{}").expect(200);
    assert_eq!(
        (&rest["status"], &rest["refunded"], &rest["change"]["amount"]),
        (&json!("refunded"), &json!(500), &json!(400))
    );
    for node in &cluster.nodes {
        let shown = read(node, &held);
        assert_eq!(shown["status"], "refunded", "at {}", node.id);
        let steps: Vec<(&str, i64, &str)> = shown["history"].as_array().unwrap().iter().map(step).collect();
        let expected = [
            ("capture", 300, "partially_captured"),
            ("capture", 200, "partially_captured"),
            ("void", 500, "captured"),
            ("refund", 100, "partially_refunded"),
            ("refund", 400, "refunded"),
        ];
        assert_eq!(steps, expected, "at {}", node.id);
        assert_eq!(shown["history"][0]["balances"], json!({"from": -300, "to": 300}));
    }
    assert_eq!(balance(&cluster, "shop:parts")["posted"], 0);
}

fn step(step: &Value) -> (&str, i64, &str) {
    (step["type"].as_str().unwrap(), step["amount"].as_i64().unwrap(), step["status"].as_str().unwrap())
}

#[test]
fn what_the_state_forbids_is_refused_with_its_own_code_and_the_payment_as_it_is() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[1];
    let refused = |key: &str, payment: &Value, call: &str, body: &str, code: &str| {
        let answer = change(node, key, payment, call, body);
        let problem = answer.expect(409);
        assert_eq!((&problem["code"], &problem["outcome"]), (&json!(code), &json!("not_applied")), "{problem}");
        assert_eq!(problem["payment"]["id"], payment["id"]);
        assert_eq!(problem["payment"].get("change"), None);
        let again = change(&cluster.nodes[2], key, payment, call, body);
        assert_eq!((again.body, again.status), (answer.body, 409), "a refusal is for good");
    };
    let held = hold(node, "forbidden", 100, &json!({})).expect(201);
    refused("forbidden 1", &held, "capture", r#"{"amount":101}"#, "amount_exceeds_held");
    refused("forbidden 2", &held, "refund", "", "nothing_to_refund");
    change(node, "forbidden 3", &held, "capture", r#"{"amount":60}"#).expect(200);
    refused("forbidden 4", &held, "refund", r#"{"amount":61}"#, "amount_exceeds_refundable");
    change(node, "forbidden 5", &held, "void", "{}").expect(200);
    refused("forbidden 6", &held, "capture", "", "payment_voided");
    refused("forbidden 7", &held, "void", "", "payment_voided");
    let paid = node.pay("forbidden 8", "external:x", "shop:forbidden", 5).expect(201);
    refused("forbidden 9", &paid, "capture", "", "nothing_held");
    let rejected = node.pay("forbidden 10", "nobody", "shop:forbidden", 5).expect(409)["payment"].clone();
    refused("forbidden 11", &rejected, "refund", "", "payment_rejected");
}

#[test]
fn a_change_of_a_payment_that_is_not_there_is_not_found_and_replayed_so() {
    let cluster = SHARED.cluster();
    let nothing = json!({"id": "01890a5d-ac96-774b-bcce-b302099a8057"});
    let answer = change(&cluster.nodes[0], "nothing", &nothing, "capture", "");
    assert_eq!(answer.expect(404)["code"], "payment_not_found");
    let again = change(&cluster.nodes[1], "nothing", &nothing, "capture", "");
    assert_eq!((&again.body, again.header("Idempotent-Replayed")), (&answer.body, Some("true")));
}

#[test]
fn a_repeated_change_gets_the_identical_answer_and_another_one_under_its_key_is_refused() {
    let cluster = SHARED.cluster();
    let held = hold(&cluster.nodes[0], "twice", 100, &json!({})).expect(201);
    let first = change(&cluster.nodes[0], "twice 1", &held, "capture", r#"{"amount":40}"#);
    first.expect(200);
    change(&cluster.nodes[1], "twice 2", &held, "capture", "").expect(200);
    for node in &cluster.nodes {
        let again = change(node, "twice 1", &held, "capture", r#" { "amount" : 40 } "#);
        assert_eq!((&again.body, again.header("Idempotent-Replayed")), (&first.body, Some("true")), "at {}", node.id);
        assert_eq!(
            change(node, "twice 1", &held, "capture", r#"{"amount":41}"#).expect(422)["code"],
            "idempotency_key_reused"
        );
        assert_eq!(
            change(node, "twice 1", &held, "refund", r#"{"amount":40}"#).expect(422)["code"],
            "idempotency_key_reused"
        );
    }
    assert_eq!(read(&cluster.nodes[2], &held)["captured"], 100);
}

#[test]
fn the_answer_to_a_payment_stays_as_it_was_decided_while_reading_it_shows_where_it_stands() {
    let cluster = SHARED.cluster();
    let made = hold(&cluster.nodes[0], "stays", 100, &json!({}));
    let held = made.expect(201);
    change(&cluster.nodes[1], "stays 1", &held, "capture", "").expect(200);
    assert_eq!(hold(&cluster.nodes[2], "stays", 100, &json!({})).body, made.body);
    assert_eq!(read(&cluster.nodes[2], &held)["status"], "captured");
}

#[test]
fn a_hold_expires_by_itself_on_the_clusters_time_and_cannot_be_captured_then() {
    let cluster = SHARED.cluster();
    let held = hold(&cluster.nodes[0], "expires", 100, &json!({"expires_in": 1})).expect(201);
    wait_until("the hold has expired", || read(&cluster.nodes[1], &held)["status"] == "expired");
    let shown = read(&cluster.nodes[2], &held);
    assert_eq!((&shown["held"], &shown["history"][0]["type"]), (&json!(0), &json!("expiry")));
    assert_eq!(balance(&cluster, "external:expires")["held"], 0);
    let late = change(&cluster.nodes[0], "expires 1", &held, "capture", "").expect(409);
    assert_eq!((&late["code"], &late["payment"]["status"]), (&json!("payment_expired"), &json!("expired")));
}

#[test]
fn what_is_held_is_not_available_for_other_payments() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    node.pay("available 1", "external:bank", "saver", 100).expect(201);
    let body = json!({"from": "saver", "to": "shop:available", "amount": 70, "currency": "EUR", "capture": "manual"});
    let held = node.send(&Request::post("/v1/payments").key("available 2").json(body.to_string())).expect(201);
    let saver = balance(&cluster, "saver");
    assert_eq!((&saver["posted"], &saver["held"], &saver["available"]), (&json!(100), &json!(70), &json!(30)));
    assert_eq!(node.pay("available 3", "saver", "shop:available", 31).expect(409)["code"], "insufficient_funds");
    change(node, "available 4", &held, "void", "").expect(200);
    node.pay("available 5", "saver", "shop:available", 100).expect(201);
}

#[test]
fn live_holds_and_captures_of_an_order_never_exceed_its_total_whatever_the_keys() {
    let cluster = SHARED.cluster();
    let order = json!({"order": {"id": "order #42", "total": 100}});
    let first = hold(&cluster.nodes[0], "order 1", 60, &order).expect(201);
    let over = hold(&cluster.nodes[1], "order 2", 41, &order).expect(409);
    assert_eq!((&over["code"], &over["payment"]["order"]["total"]), (&json!("order_total_exceeded"), &json!(100)));
    hold(&cluster.nodes[2], "order 3", 40, &order).expect(201);
    let other = json!({"order": {"id": "order #42", "total": 999}});
    assert_eq!(hold(&cluster.nodes[0], "order 4", 1, &other).expect(409)["code"], "order_mismatch");
    change(&cluster.nodes[1], "order 5", &first, "void", "").expect(200);
    hold(&cluster.nodes[2], "order 6", 60, &order).expect(201);
    let listed = cluster.nodes[0].get("/v1/payments?order_id=order%20%2342").expect(200);
    let statuses: Vec<&Value> =
        listed["payments"].as_array().unwrap().iter().map(|payment| &payment["status"]).collect();
    assert_eq!(statuses, ["authorized", "rejected", "authorized", "rejected", "voided"]);
}
