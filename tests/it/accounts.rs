//! Accounts: policies, freezing, closing, balances.

use serde_json::{Value, json};

use crate::support::cluster::{Node, totals};
use crate::support::http::{Request, Response};
use crate::support::shared::Shared;

static SHARED: Shared = Shared::new();

fn open(node: &Node, id: &str, overdraft: &str) -> Value {
    let body = json!({"id": id, "overdraft": overdraft}).to_string();
    node.send(&Request::post("/v1/accounts").key(&format!("open {id}")).json(body)).expect(201)
}

fn patch(node: &Node, key: &str, id: &str, body: &Value) -> Response {
    node.send(&Request::new("PATCH", format!("/v1/accounts/{id}")).key(key).json(body.to_string()))
}

#[test]
fn a_frozen_account_neither_pays_nor_receives_until_it_is_active_again() {
    let cluster = SHARED.cluster();
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    open(one, "cold", "unlimited");
    let frozen = patch(two, "cold 1", "cold", &json!({"status": "frozen"}));
    let expected = json!({"id": "cold", "status": "frozen", "index": frozen.number("Quorapay-Index")});
    assert_eq!(frozen.expect(200), expected);
    assert_eq!(three.get("/v1/accounts/cold").expect(200)["status"], "frozen");
    assert_eq!(one.pay("cold 2", "cold", "warm", 1).expect(409)["code"], "account_frozen");
    assert_eq!(two.pay("cold 3", "external:x", "cold", 1).expect(409)["code"], "account_frozen");
    patch(three, "cold 4", "cold", &json!({"status": "active"})).expect(200);
    one.pay("cold 5", "cold", "warm", 1).expect(201);
}

#[test]
fn an_account_is_closed_for_good_once_it_is_empty() {
    let cluster = SHARED.cluster();
    let [one, two, three] = &cluster.nodes[..] else { panic!("three nodes") };
    one.pay("closing 1", "external:x", "closing", 5).expect(201);
    assert_eq!(
        patch(two, "closing 2", "closing", &json!({"status": "closed"})).expect(409)["code"],
        "account_not_empty"
    );
    three.pay("closing 3", "closing", "external:x", 5).expect(201);
    patch(one, "closing 4", "closing", &json!({"status": "closed"})).expect(200);
    assert_eq!(two.pay("closing 5", "external:x", "closing", 5).expect(409)["code"], "account_closed");
    assert_eq!(
        patch(three, "closing 6", "closing", &json!({"status": "active"})).expect(409)["code"],
        "account_closed"
    );
    assert_eq!(one.get("/v1/accounts/closing").expect(200)["status"], "closed");
}

#[test]
fn policy_and_status_are_changed_together_or_not_at_all() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[1];
    open(node, "both", "limit:10");
    node.pay("both 1", "both", "shop:both", 8).expect(201);
    let refused = patch(node, "both 2", "both", &json!({"overdraft": "limit:5", "status": "frozen"})).expect(409);
    assert_eq!((&refused["code"], &refused["account"]), (&json!("overdraft_in_use"), &json!("both")));
    let account = cluster.nodes[2].get("/v1/accounts/both").expect(200);
    assert_eq!((&account["overdraft"], &account["status"]), (&json!("limit:10"), &json!("active")));
    let changed = patch(node, "both 3", "both", &json!({"overdraft": "limit:8", "status": "frozen"})).expect(200);
    assert_eq!((&changed["overdraft"], &changed["status"]), (&json!("limit:8"), &json!("frozen")));
}

#[test]
fn available_is_what_may_still_be_paid_and_null_where_nothing_limits_it() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    open(node, "may:none", "none");
    open(node, "may:limit", "limit:100");
    open(node, "may:any", "unlimited");
    for (key, account) in [("may 1", "may:none"), ("may 2", "may:limit"), ("may 3", "may:any")] {
        node.pay(key, "external:may", account, 40).expect(201);
    }
    let shown = |account: &str| {
        let shown = cluster.nodes[2].get(&format!("/v1/accounts/{account}")).expect(200);
        (shown["overdraft"].as_str().unwrap().to_owned(), shown["balances"][0]["available"].clone())
    };
    assert_eq!(shown("may:none"), ("none".to_owned(), json!(40)));
    assert_eq!(shown("may:limit"), ("limit:100".to_owned(), json!(140)));
    assert_eq!(shown("may:any"), ("unlimited".to_owned(), Value::Null));
    assert_eq!(shown("external:may"), ("unlimited".to_owned(), Value::Null), "what really applies outside");
}

#[test]
fn the_sum_of_every_currency_is_zero_and_metrics_show_it() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[0];
    node.pay_in("JPY", "sum 1", "external:x", "sum", 7).expect(201);
    node.pay_in("KWD", "sum 2", "external:x", "sum", 1_234).expect(201);
    for node in &cluster.nodes {
        assert!(totals(&node.accounts()).into_values().all(|total| total == 0));
        let metrics = node.get("/metrics?format=prometheus").text();
        for currency in ["JPY", "KWD"] {
            let line = format!("quorapay_ledger_sum{{currency=\"{currency}\"}} 0");
            assert!(metrics.contains(&line), "{line} at {}", node.id);
        }
        assert!(metrics.contains("quorapay_open_holds "), "at {}", node.id);
    }
}
