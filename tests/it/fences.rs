//! Keys: looking one up, and fencing it so that nothing can be applied under it.

use serde_json::{Value, json};

use crate::support::cluster::Node;
use crate::support::http::{Request, Response};
use crate::support::shared::Shared;

static SHARED: Shared = Shared::new();

fn fence(node: &Node, key: &str) -> Response {
    node.send(&Request::post(format!("/v1/payments/by-key/{key}/fence")))
}

#[test]
fn a_fenced_key_can_never_apply_from_then_on() {
    let cluster = SHARED.cluster();
    let fenced = fence(&cluster.nodes[0], "never").expect(200);
    assert_eq!(fenced["state"], "fenced");
    for node in &cluster.nodes {
        let late = node.pay("never", "external:x", "fenced", 5).expect(409);
        assert_eq!((&late["code"], &late["outcome"]), (&json!("idempotency_key_fenced"), &json!("not_applied")));
        let open = node.send(&Request::post("/v1/accounts").key("never").json(r#"{"id":"fenced"}"#)).expect(409);
        assert_eq!(open["code"], "idempotency_key_fenced");
        let state = node.get("/v1/payments/by-key/never").expect(200);
        assert_eq!((&state["state"], &state["index"]), (&json!("fenced"), &fenced["index"]));
    }
    let item =
        json!([{"from": "external:x", "to": "fenced", "amount": 5, "currency": "EUR", "idempotency_key": "never"}]);
    let batch = cluster.nodes[1].send(&Request::post("/v1/payments/batch").key("never b").json(item.to_string()));
    assert_eq!(batch.expect(200)["results"][0]["rejection"], "idempotency_key_fenced");
    assert_eq!(cluster.nodes[2].get("/v1/accounts/fenced").status, 404);
}

#[test]
fn a_fence_that_comes_too_late_says_what_has_applied() {
    let cluster = SHARED.cluster();
    let made = cluster.nodes[0].pay("late", "external:x", "paid", 5).expect(201);
    for node in &cluster.nodes {
        let state = fence(node, "late").expect(200);
        assert_eq!((&state["state"], &state["payment"]), (&json!("committed"), &made));
    }
    assert_eq!(cluster.nodes[1].pay("late", "external:x", "paid", 5).status, 201, "its answer is replayed as ever");
}

#[test]
fn a_fence_is_idempotent_itself() {
    let cluster = SHARED.cluster();
    let first = fence(&cluster.nodes[0], "again").expect(200);
    for node in &cluster.nodes {
        let again = fence(node, "again").expect(200);
        assert_eq!((&again["state"], &again["index"]), (&first["state"], &first["index"]), "at {}", node.id);
    }
}

#[test]
fn a_key_tells_of_changes_and_accounts_too() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    node.send(&Request::post("/v1/accounts").key("told open").json(r#"{"id":"told:1"}"#)).expect(201);
    let paid = node.pay("told pay", "external:x", "told:1", 9).expect(201);
    let target = format!("/v1/payments/{}/refund", paid["id"].as_str().unwrap());
    let refund = node.send(&Request::post(target.as_str()).key("told refund").json(r#"{"amount":4}"#)).expect(200);
    node.send(&Request::post(target).key("told no").json(r#"{"amount":6}"#)).expect(409);
    for node in &cluster.nodes {
        let state = |key: &str| -> Value { node.get(&format!("/v1/payments/by-key/{key}")).expect(200) };
        assert_eq!(state("told%20refund")["change"], refund);
        assert_eq!(state("told%20no")["change"]["rejection"], "amount_exceeds_refundable");
        assert_eq!(state("told%20open")["account"]["id"], "told:1");
        let unknown = state("told%20nobody");
        assert_eq!((&unknown["state"], unknown.get("payment")), (&json!("unknown"), None));
    }
}
