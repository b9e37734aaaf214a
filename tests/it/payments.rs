//! Payments through any node: once per key, whatever fails.

use std::sync::Barrier;
use std::thread;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, posted, totals, wait_until};
use crate::support::http::{Request, Response};

/// Opens an account.
fn open(cluster: &Cluster, id: &str, overdraft: &str) -> Response {
    let body = json!({"id": id, "overdraft": overdraft}).to_string();
    cluster.nodes[0].send(&Request::post("/v1/accounts").key(&format!("open {id}")).json(body))
}

/// Changes an account's policy.
fn change(cluster: &Cluster, key: &str, id: &str, overdraft: &str) -> Response {
    let body = json!({"overdraft": overdraft}).to_string();
    cluster.nodes[0].send(&Request::new("PATCH", format!("/v1/accounts/{id}")).key(key).json(body))
}

#[test]
fn a_payment_sent_to_any_node_is_read_from_every_other_at_once() {
    let cluster = Cluster::start(3);
    let mut paid = 0;
    for round in 0..5 {
        for node in &cluster.nodes {
            let made = node.pay(&format!("{round}-{}", node.id), "external:card", "shop", 100);
            let payment = made.expect(201);
            paid += 100;
            for reader in &cluster.nodes {
                let mut read = reader.get(&format!("/v1/payments/{}", payment["id"].as_str().unwrap())).expect(200);
                assert_eq!(read.as_object_mut().unwrap().remove("history"), Some(json!([])));
                assert_eq!(read, payment, "at {}", reader.id);
                assert_eq!(reader.balance("shop"), paid, "at {}", reader.id);
            }
        }
    }
}

#[test]
fn every_answer_says_which_node_gave_it_who_leads_and_as_of_where() {
    let cluster = Cluster::start(3);
    let leader = &cluster.nodes[cluster.leader()];
    for node in &cluster.nodes {
        let made = node.pay(&node.id, "external:card", "shop", 100);
        let payment = made.expect(201);
        assert_eq!(
            (made.header("Quorapay-Node"), made.header("Quorapay-Leader")),
            (Some(&*node.id), Some(&*leader.id))
        );
        assert_eq!(made.number("Quorapay-Index"), payment["index"]);
        assert_eq!(made.number("Quorapay-Epoch"), payment["epoch"]);
        let read = node.get("/v1/accounts/shop");
        assert!(read.number("Quorapay-Index") >= made.number("Quorapay-Index"));
        assert_eq!((read.header("Quorapay-Leader"), read.number("Quorapay-Staleness-Ms")), (Some(&*leader.id), 0));
    }
}

#[test]
fn a_repeated_request_gets_the_identical_answer_from_any_node_and_moves_nothing() {
    let cluster = Cluster::start(3);
    let first = cluster.nodes[0].pay("order-1", "external:card", "shop", 100);
    assert_eq!((first.status, first.header("Idempotent-Replayed")), (201, None));
    cluster.nodes[1].pay("order-2", "external:card", "shop", 900).expect(201);
    // Requests are compared by meaning, not by their bytes.
    let rewritten =
        r#" { "currency":"EUR", "amount" : 100, "to":"shop", "from": "external:card", "capture":"automatic" } "#;
    for node in &cluster.nodes {
        let again = node.pay("order-1", "external:card", "shop", 100);
        assert_eq!((again.status, &again.body), (first.status, &first.body), "at {}", node.id);
        assert_eq!(again.header("Idempotent-Replayed"), Some("true"));
        let again = node.send(&Request::post("/v1/payments").key("order-1").json(rewritten));
        assert_eq!((again.status, &again.body), (first.status, &first.body), "at {}", node.id);
        assert_eq!(node.balance("shop"), 1_000);
    }
}

#[test]
fn a_refused_payment_stays_refused_under_its_key_even_when_money_has_come() {
    let cluster = Cluster::start(3);
    open(&cluster, "poor", "none").expect(201);
    let refused = cluster.nodes[0].pay("rent", "poor", "landlord", 500);
    let problem = refused.expect(409);
    assert_eq!((&problem["code"], &problem["outcome"]), (&json!("insufficient_funds"), &json!("not_applied")));
    assert_eq!((&problem["payment"]["status"], &problem["retryable"]), (&json!("rejected"), &json!(false)));
    cluster.nodes[1].pay("wage", "external:bank", "poor", 600).expect(201);
    for node in &cluster.nodes {
        let again = node.pay("rent", "poor", "landlord", 500);
        assert_eq!((again.status, &again.body), (409, &refused.body), "at {}", node.id);
        assert_eq!(again.header("Idempotent-Replayed"), Some("true"));
        assert_eq!((node.balance("poor"), node.balance("landlord")), (600, 0));
    }
    cluster.nodes[2].pay("rent, once more", "poor", "landlord", 500).expect(201);
}

#[test]
fn another_request_under_a_used_key_is_refused() {
    let cluster = Cluster::start(3);
    cluster.nodes[0].pay("k", "external:card", "shop", 100).expect(201);
    for node in &cluster.nodes {
        for answer in [
            node.pay("k", "external:card", "shop", 101),
            node.pay("k", "external:card", "shop2", 100),
            node.pay_in("USD", "k", "external:card", "shop", 100),
            node.send(&Request::post("/v1/accounts").key("k").json(r#"{"id":"x"}"#)),
        ] {
            let problem = answer.expect(422);
            assert_eq!(problem["code"], "idempotency_key_reused");
            assert_eq!((&problem["outcome"], &problem["field"]), (&json!("not_applied"), &json!("Idempotency-Key")));
        }
    }
    assert_eq!(cluster.nodes[0].balance("shop"), 100);
    assert_eq!(cluster.nodes[0].get("/v1/accounts/x").status, 404);
}

#[test]
fn many_requests_at_once_under_one_key_move_the_money_once() {
    let cluster = Cluster::start(3);
    let start = Barrier::new(64);
    let pay = |caller: usize| {
        start.wait();
        cluster.nodes[caller % 3].pay("one", "external:card", "shop", 100)
    };
    let answers: Vec<Response> = thread::scope(|scope| {
        let callers: Vec<_> = (0..64).map(|caller| scope.spawn(move || pay(caller))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 201 && answer.body == answers[0].body));
    let originals = answers.iter().filter(|answer| answer.header("Idempotent-Replayed").is_none());
    assert_eq!(originals.count(), 1);
    cluster.nodes.iter().for_each(|node| assert_eq!(node.balance("shop"), 100));
}

#[test]
fn a_key_outlives_its_leader_every_restart_and_the_views() {
    let mut cluster = Cluster::start(3);
    let leader = cluster.leader();
    let made = cluster.nodes[leader].pay("for good", "external:card", "shop", 100);
    made.expect(201);
    let assert_replayed = |cluster: &Cluster| {
        for node in cluster.nodes.iter().filter(|node| node.try_get("/livez").is_some()) {
            let again = node.pay("for good", "external:card", "shop", 100);
            assert_eq!((again.status, &again.body), (201, &made.body), "at {}", node.id);
            assert_eq!(again.header("Idempotent-Replayed"), Some("true"));
            assert_eq!(node.pay("for good", "external:card", "shop", 7).status, 422);
            assert_eq!(node.balance("shop"), 100);
        }
    };
    cluster.kill(leader);
    cluster.wait_ready();
    assert_replayed(&cluster);
    cluster.restart(leader);
    cluster.wait_ready();
    (0..3).for_each(|node| cluster.kill(node));
    for node in &cluster.nodes {
        for file in ["views.db", "views.db-wal", "views.db-shm"] {
            let _ = std::fs::remove_file(node.data_dir.join(file));
        }
    }
    (0..3).for_each(|node| cluster.restart(node));
    cluster.wait_ready();
    assert_replayed(&cluster);
}

#[test]
fn what_became_of_a_key_is_told_by_every_node() {
    let cluster = Cluster::start(3);
    let made = cluster.nodes[0].pay("a/b c?%e", "external:card", "shop", 100).expect(201);
    let rejected = cluster.nodes[0].pay("no", "nobody", "shop", 100).expect(409);
    for node in &cluster.nodes {
        let state = node.get("/v1/payments/by-key/a%2Fb%20c%3F%25e").expect(200);
        assert_eq!((&state["state"], &state["payment"]), (&json!("committed"), &made));
        let state = node.get("/v1/payments/by-key/no").expect(200);
        assert_eq!((&state["state"], &state["payment"]), (&json!("committed"), &rejected["payment"]));
        let state = node.get("/v1/payments/by-key/never").expect(200);
        assert_eq!((&state["state"], state.get("payment")), (&json!("unknown"), None));
        assert!(state["as_of_index"].as_u64() >= made["index"].as_u64());
    }
}

#[test]
fn an_account_pays_as_far_as_its_overdraft_policy_allows() {
    let cluster = Cluster::start(3);
    open(&cluster, "none", "none").expect(201);
    open(&cluster, "limited", "limit:100").expect(201);
    open(&cluster, "unlimited", "unlimited").expect(201);
    let pay = |key: &str, from: &str, amount: i64| cluster.nodes[1].pay(key, from, "shop", amount);
    assert_eq!(pay("1", "none", 1).expect(409)["code"], "insufficient_funds");
    assert_eq!(pay("2", "limited", 101).expect(409)["code"], "insufficient_funds");
    assert_eq!(pay("3", "limited", 100).expect(201)["balances"], json!({"from": -100, "to": 100}));
    assert_eq!(pay("4", "limited", 1).expect(409)["code"], "insufficient_funds");
    assert_eq!(pay("5", "unlimited", 1_000_000).expect(201)["balances"]["from"], -1_000_000);
    assert_eq!(pay("6", "stranger", 1).expect(409)["code"], "account_not_found");
    assert_eq!(change(&cluster, "7", "limited", "limit:99").expect(409)["code"], "overdraft_in_use");
    assert_eq!(change(&cluster, "8", "limited", "limit:150").expect(200)["overdraft"], "limit:150");
    assert_eq!(pay("9", "limited", 50).expect(201)["balances"]["from"], -150);
    assert_eq!(change(&cluster, "10", "stranger", "none").expect(409)["code"], "account_not_found");
    assert_eq!(cluster.nodes[2].get("/v1/accounts/limited").expect(200)["overdraft"], "limit:150");
}

#[test]
fn an_account_is_opened_once_and_a_repeat_gets_the_same_answer() {
    let cluster = Cluster::start(3);
    let opened = open(&cluster, "shop", "limit:5");
    assert_eq!(opened.expect(201)["balances"], json!([]));
    let again = open(&cluster, "shop", "limit:5");
    assert_eq!((again.body, again.status), (opened.body, 201));
    let body = r#"{"id":"shop"}"#;
    let taken = cluster.nodes[1].send(&Request::post("/v1/accounts").key("another").json(body)).expect(409);
    assert_eq!((&taken["code"], &taken["account"]), (&json!("account_exists"), &json!("shop")));
    cluster.nodes[2].pay("credit", "external:bank", "born", 1).expect(201);
    let body = r#"{"id":"born"}"#;
    let taken = cluster.nodes[1].send(&Request::post("/v1/accounts").key("third").json(body)).expect(409);
    assert_eq!(taken["code"], "account_exists", "a first credit opens an account, too");
}

#[test]
fn the_outside_world_may_always_go_negative_and_all_accounts_together_hold_nothing() {
    let cluster = Cluster::start(3);
    cluster.nodes[0].pay("1", "external:card", "shop", 250).expect(201);
    cluster.nodes[1].pay("2", "shop", "external:iban", 100).expect(201);
    cluster.nodes[2].pay_in("JPY", "3", "external:card", "shop", 7).expect(201);
    let accounts = cluster.nodes[0].accounts();
    assert_eq!(posted(&accounts["external:card"], "EUR"), -250);
    assert_eq!(posted(&accounts["external:iban"], "EUR"), 100);
    assert_eq!(posted(&accounts["shop"], "JPY"), 7);
    assert_eq!(totals(&accounts).into_values().collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn a_balance_that_would_overflow_is_refused_and_stays() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let all = i64::MAX;
    assert_eq!(node.pay("1", "external:a", "rich", all).expect(201)["balances"], json!({"from": -all, "to": all}));
    assert_eq!(node.pay("2", "external:b", "rich", 1).expect(409)["code"], "balance_overflow");
    // The lowest 64-bit number is a valid balance.
    assert_eq!(node.pay("3", "external:a", "other", 1).expect(201)["balances"]["from"], i64::MIN);
    assert_eq!(node.pay("4", "external:a", "other", 1).expect(409)["code"], "balance_overflow");
    assert_eq!(node.balance("rich"), all);
    assert_eq!(node.get("/v1/accounts/external:b").status, 404, "a refused payment opens no account");
}

#[test]
fn amounts_are_minor_units_whatever_the_currencys_decimals() {
    let cluster = Cluster::start(3);
    for currency in ["JPY", "KWD", "USD"] {
        let made = cluster.nodes[0].pay_in(currency, currency, "external:card", "shop", 12_345).expect(201);
        assert_eq!((&made["amount"], &made["currency"]), (&json!(12_345), &json!(currency)));
    }
    let shop = cluster.nodes[2].get("/v1/accounts/shop").expect(200);
    let currencies: Vec<&Value> = shop["balances"].as_array().unwrap().iter().map(|b| &b["currency"]).collect();
    assert_eq!(currencies, ["JPY", "KWD", "USD"]);
    assert!(shop["balances"].as_array().unwrap().iter().all(|b| b["posted"] == 12_345 && b["available"] == 12_345));
}

#[test]
fn a_cluster_of_one_node_takes_payments_and_keeps_them() {
    let mut cluster = Cluster::start(1);
    let made = cluster.nodes[0].pay("k", "external:card", "shop", 100);
    made.expect(201);
    cluster.kill(0);
    cluster.restart(0);
    wait_until("the node is back", || cluster.nodes[0].try_get("/readyz").is_some_and(|answer| answer.status == 200));
    assert_eq!(cluster.nodes[0].pay("k", "external:card", "shop", 100).body, made.body);
}
