//! Batches: many payments in one call, independent or atomic, idempotent as a whole and per payment.

use serde_json::{Value, json};

use crate::support::cluster::Node;
use crate::support::http::{Request, Response};
use crate::support::shared::Shared;

static SHARED: Shared = Shared::new();

fn payment(from: &str, to: &str, amount: i64) -> Value {
    json!({"from": from, "to": to, "amount": amount, "currency": "EUR"})
}

fn keyed(key: &str, mut payment: Value) -> Value {
    payment["idempotency_key"] = json!(key);
    payment
}

fn send(node: &Node, key: &str, query: &str, payments: &[Value]) -> Response {
    let body = Value::from(payments.to_vec()).to_string();
    node.send(&Request::post(format!("/v1/payments/batch{query}")).key(key).json(body))
}

#[test]
fn a_batch_has_a_result_per_payment_in_order_and_a_refused_one_stops_no_other() {
    let cluster = SHARED.cluster();
    let payments = [
        payment("external:ordered", "ordered", 10),
        payment("nobody", "ordered", 1),
        payment("ordered", "ordered:2", 4),
    ];
    let batch = send(&cluster.nodes[0], "ordered", "", &payments).expect(200);
    assert_eq!((&batch["status"], &batch["succeeded"], &batch["rejected"]), (&json!("decided"), &json!(2), &json!(1)));
    let results = batch["results"].as_array().unwrap();
    assert_eq!(results[0]["balances"], json!({"from": -10, "to": 10}));
    assert_eq!((&results[1]["status"], &results[1]["rejection"]), (&json!("rejected"), &json!("account_not_found")));
    assert_eq!(results[2]["balances"], json!({"from": 6, "to": 4}), "it saw what the first one moved");
    for node in &cluster.nodes {
        for result in results {
            let mut read = node.get(&format!("/v1/payments/{}", result["id"].as_str().unwrap())).expect(200);
            read.as_object_mut().unwrap().remove("history");
            assert_eq!(read, *result, "at {}", node.id);
        }
    }
}

#[test]
fn a_batch_is_an_array_an_object_or_lines_and_all_three_mean_the_same() {
    let cluster = SHARED.cluster();
    let (one, two) = (payment("external:forms", "forms", 1), payment("external:forms", "forms", 2));
    let object = json!({"atomic": true, "payments": [one, two]}).to_string();
    let lines = format!("{one}\n{two}\n");
    let node = &cluster.nodes[1];
    let first = node.send(&Request::post("/v1/payments/batch").key("forms").json(object));
    assert_eq!(first.expect(200)["succeeded"], 2);
    let again = send(node, "forms", "?atomic=true", &[one, two]);
    assert_eq!((&again.body, again.header("Idempotent-Replayed")), (&first.body, Some("true")));
    let kind = "application/x-ndjson";
    let request = Request::post("/v1/payments/batch?atomic=true").key("forms").header("Content-Type", kind);
    assert_eq!(cluster.nodes[2].send(&request.body(lines)).body, first.body);
    assert_eq!(node.balance("forms"), 3);
}

#[test]
fn an_atomic_batch_moves_all_or_nothing_and_says_which_payments_failed() {
    let cluster = SHARED.cluster();
    let payments = [
        payment("external:atomic", "atomic", 10),
        payment("nobody", "atomic", 1),
        payment("external:atomic", "atomic", 5),
    ];
    let answer = send(&cluster.nodes[0], "atomic", "?atomic=true", &payments);
    let aborted = answer.expect(409);
    assert_eq!((&aborted["code"], &aborted["failed"]), (&json!("batch_aborted"), &json!([1])));
    let reasons: Vec<&Value> = (0..3).map(|at| &aborted["results"][at]["rejection"]).collect();
    assert_eq!(reasons, ["batch_aborted", "account_not_found", "batch_aborted"]);
    assert_eq!(cluster.nodes[1].get("/v1/accounts/atomic").status, 404);
    let again = send(&cluster.nodes[2], "atomic", "?atomic=true", &payments);
    assert_eq!((&again.body, again.status), (&answer.body, 409));
    let whole = [payment("external:atomic", "atomic", 10), payment("atomic", "atomic:2", 10)];
    assert_eq!(send(&cluster.nodes[1], "atomic 2", "?atomic=true", &whole).expect(200)["succeeded"], 2);
}

#[test]
fn a_batch_is_idempotent_as_a_whole_and_payment_by_payment() {
    let cluster = SHARED.cluster();
    let single = cluster.nodes[0].pay("item a", "external:items", "items", 1).expect(201);
    let payments = [
        keyed("item a", payment("external:items", "items", 1)),
        keyed("item b", payment("external:items", "items", 2)),
    ];
    let first = send(&cluster.nodes[1], "items 1", "", &payments);
    let batch = first.expect(200);
    assert_eq!((&batch["succeeded"], &batch["replayed"]), (&json!(1), &json!(1)));
    let mut repeated = batch["results"][0].clone();
    assert_eq!(repeated.as_object_mut().unwrap().remove("replayed"), Some(json!(true)));
    assert_eq!(repeated, single);
    let again = send(&cluster.nodes[2], "items 1", "", &payments);
    assert_eq!((&again.body, again.header("Idempotent-Replayed")), (&first.body, Some("true")));
    // Another batch with the same payments moves nothing either.
    let other = send(&cluster.nodes[0], "items 2", "", &payments).expect(200);
    assert_eq!((&other["succeeded"], &other["replayed"]), (&json!(0), &json!(2)));
    assert_eq!(other["results"][1]["id"], batch["results"][1]["id"]);
    assert_eq!(cluster.nodes[1].balance("items"), 3);
    // A single payment under an item's key gets that item's answer.
    let alone = cluster.nodes[2].pay("item b", "external:items", "items", 2);
    assert_eq!((alone.status, &alone.expect(201)), (201, &batch["results"][1]));
    let reused =
        send(&cluster.nodes[0], "items 3", "", &[keyed("item b", payment("external:items", "items", 99))]).expect(200);
    assert_eq!(reused["results"][0]["rejection"], "idempotency_key_reused");
    assert_eq!(send(&cluster.nodes[1], "items 1", "", &payments[..1]).expect(422)["code"], "idempotency_key_reused");
}

#[test]
fn a_key_of_a_batch_or_of_one_of_its_payments_tells_what_became_of_it() {
    let cluster = SHARED.cluster();
    let payments = [keyed("told a", payment("external:told", "told", 1)), payment("nobody", "told", 1)];
    let batch = send(&cluster.nodes[0], "told", "", &payments).expect(200);
    for node in &cluster.nodes {
        let own = node.get("/v1/payments/by-key/told").expect(200);
        let expected =
            json!({"status": "decided", "succeeded": 1, "rejected": 1, "replayed": 0, "index": batch["index"]});
        assert_eq!((&own["state"], &own["batch"]), (&json!("committed"), &expected));
        let item = node.get("/v1/payments/by-key/told%20a").expect(200);
        assert_eq!((&item["state"], &item["payment"]), (&json!("committed"), &batch["results"][0]));
    }
}

#[test]
fn a_batch_may_hold_ten_thousand_payments_and_every_one_is_found_again() {
    let cluster = SHARED.cluster();
    let payments: Vec<Value> = (1..=10_000).map(|amount| payment("external:large", "large", amount)).collect();
    let batch = send(&cluster.nodes[1], "large", "", &payments).expect(200);
    let results = batch["results"].as_array().unwrap();
    assert_eq!((results.len(), &batch["succeeded"]), (10_000, &json!(10_000)));
    assert!(results.iter().zip(1..).all(|(result, amount)| result["amount"] == amount));
    assert_eq!(cluster.nodes[2].balance("large"), 10_000 * 10_001 / 2);
    let last = cluster.nodes[0].get(&format!("/v1/payments/{}", results[9_999]["id"].as_str().unwrap())).expect(200);
    assert_eq!(last["amount"], 10_000);
    let newest = cluster.nodes[2].get("/v1/payments?account=large&limit=3").expect(200);
    let amounts: Vec<&Value> =
        newest["payments"].as_array().unwrap().iter().map(|payment| &payment["amount"]).collect();
    assert_eq!(amounts, [10_000, 9_999, 9_998]);
    let too_many = [payments, vec![payment("external:large", "large", 1)]].concat();
    assert_eq!(send(&cluster.nodes[0], "larger", "", &too_many).expect(400)["code"], "too_many_payments");
}
