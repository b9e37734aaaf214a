//! Reads: linearizable by default or local, and lists that stay in order while payments continue.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Node, wait_until};
use crate::support::http::Request;
use crate::support::payers::Payers;

/// All items of a list, page by page.
fn pages(node: &Node, target: &str, items: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = target.to_owned();
    loop {
        let page = node.get(&next).expect(200);
        all.extend(page[items].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("{target}&cursor={cursor}"),
            None => return all,
        }
    }
}

#[test]
fn a_read_shows_every_payment_that_was_answered_before_it_began() {
    let cluster = Cluster::start(3);
    for (paid, number) in (1..=40).zip(0..) {
        cluster.nodes[number % 3].pay(&number.to_string(), "external:bank", "shop", 1).expect(201);
        let reader = &cluster.nodes[(number + 1) % 3];
        assert_eq!(reader.balance("shop"), paid, "at {}", reader.id);
    }
}

#[test]
fn a_read_with_a_minimal_index_waits_until_it_is_applied() {
    let cluster = Cluster::start(3);
    let index = cluster.nodes[0].pay("1", "external:bank", "shop", 1).expect(201)["index"].as_u64().unwrap();
    for node in &cluster.nodes {
        let read = node.get(&format!("/v1/accounts/shop?consistency=local&min_index={index}"));
        assert!(read.expect(200)["index"].as_u64().unwrap() >= index);
    }
    let target = format!("/v1/accounts/shop?consistency=local&min_index={}", index + 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| cluster.nodes[1].get(&target));
        cluster.nodes[2].pay("2", "external:bank", "shop", 1).expect(201);
        let read = waiting.join().unwrap();
        assert_eq!(read.expect(200)["balances"][0]["posted"], 2);
    });
}

#[test]
fn a_minimal_index_that_does_not_come_is_answered_with_the_index_reached() {
    let cluster = Cluster::start(3);
    let index = cluster.nodes[0].pay("1", "external:bank", "shop", 1).expect(201)["index"].as_u64().unwrap();
    let far = index + 1_000;
    for consistency in ["local", "linearizable"] {
        let target = format!("/v1/payments?consistency={consistency}&min_index={far}");
        let late = cluster.nodes[1].send(&Request::get(target).header("Quorapay-Deadline-Ms", "150")).expect(504);
        assert_eq!((&late["code"], &late["retryable"]), (&json!("index_not_applied"), &json!(true)));
        assert_eq!(late["wanted_index"], far);
        let reached = late["applied_index"].as_u64().unwrap();
        assert!((1..far).contains(&reached), "{late}");
    }
}

#[test]
fn without_a_leader_a_local_read_is_answered_and_says_how_old_it_is() {
    let mut cluster = Cluster::start(3);
    cluster.nodes[0].pay("1", "external:bank", "shop", 5).expect(201);
    let leader = cluster.leader();
    let [left, paused] = cluster.followers()[..] else { panic!("three nodes") };
    cluster.wait_caught_up(left, leader);
    cluster.pause(paused);
    cluster.kill(leader);
    let node = &cluster.nodes[left];
    wait_until("the node knows that nobody leads", || node.get("/readyz").status == 503);
    let reasons = node.get("/readyz").json()["reasons"].to_string();
    assert!(reasons.contains("no leader"), "{reasons}");
    let local = node.get("/v1/accounts/shop?consistency=local");
    assert_eq!(local.expect(200)["balances"][0]["posted"], 5);
    assert_eq!(local.number("Quorapay-Applied-Index"), local.number("Quorapay-Index"));
    wait_until("the answer grows older", || {
        node.get("/v1/accounts/shop?consistency=local").number("Quorapay-Staleness-Ms")
            > local.number("Quorapay-Staleness-Ms")
    });
    let fresh = node.send(&Request::get("/v1/accounts/shop").header("Quorapay-Deadline-Ms", "200")).expect(503);
    assert_eq!((&fresh["code"], &fresh["retryable"]), (&json!("no_leader"), &json!(true)));
    cluster.resume(paused);
    cluster.wait_ready();
    assert_eq!(cluster.nodes[left].balance("shop"), 5);
}

#[test]
fn a_list_is_newest_first_and_its_cursor_holds_while_payments_go_on() {
    let cluster = Cluster::start(3);
    let made: Vec<Value> = (0..30)
        .map(|number| {
            cluster.nodes[number % 3].pay(&number.to_string(), "external:x", "y", 1).expect(201)["id"].clone()
        })
        .collect();
    let payers = Payers::start(&cluster, &[0, 2]);
    payers.wait_for_more(30);
    let listed = pages(&cluster.nodes[1], "/v1/payments?limit=7", "payments");
    payers.stop().assert_no_error();
    let indexes: Vec<u64> = listed.iter().map(|payment| payment["index"].as_u64().unwrap()).collect();
    assert!(indexes.is_sorted_by(|newer, older| newer > older), "{indexes:?}");
    let oldest: Vec<&Value> = listed.iter().rev().take(30).map(|payment| &payment["id"]).collect();
    assert_eq!(oldest, made.iter().collect::<Vec<_>>());
}

#[test]
fn a_list_is_filtered_by_account_status_currency_and_time() {
    let cluster = Cluster::start(3);
    let node = &cluster.nodes[1];
    let first = node.pay("1", "external:x", "a", 10).expect(201);
    node.pay("2", "external:x", "b", 10).expect(201);
    node.pay_in("JPY", "3", "external:x", "a", 10).expect(201);
    node.pay("4", "a", "b", 4).expect(201);
    let refused = node.pay("5", "a", "b", 1_000).expect(409)["payment"].clone();
    let amounts = |filter: &str| -> Vec<(i64, String)> {
        let listed = pages(&cluster.nodes[2], &format!("/v1/payments?limit=2&{filter}"), "payments");
        let row = |payment: &Value| (payment["amount"].as_i64().unwrap(), payment["currency"].as_str().unwrap().into());
        listed.iter().map(row).collect()
    };
    let eur = |amount: i64| (amount, "EUR".to_owned());
    let jpy = |amount: i64| (amount, "JPY".to_owned());
    assert_eq!(amounts("account=a"), [eur(1_000), eur(4), jpy(10), eur(10)]);
    assert_eq!(amounts("account=a&status=succeeded"), [eur(4), jpy(10), eur(10)]);
    assert_eq!(amounts("account=a&status=succeeded&currency=EUR"), [eur(4), eur(10)]);
    assert_eq!(amounts("status=rejected"), [eur(1_000)]);
    assert_eq!(amounts("currency=JPY"), [jpy(10)]);
    assert_eq!(amounts("account=nobody"), []);
    let (began, ended) = (first["created_at"].as_str().unwrap(), refused["created_at"].as_str().unwrap());
    assert_eq!(amounts(&format!("from_time={began}")).len(), 5);
    assert_eq!(amounts(&format!("to_time={began}")), []);
    assert!(amounts(&format!("to_time={ended}&account=a")).iter().all(|payment| payment.0 < 1_000));
}

#[test]
fn a_statement_runs_the_balance_from_entry_to_entry() {
    let cluster = Cluster::start(3);
    for number in 0..25_i64 {
        let node = &cluster.nodes[usize::try_from(number % 3).unwrap()];
        let (from, to, amount) =
            if number % 4 == 3 { ("shop", "supplier", 5) } else { ("external:x", "shop", 10 + number) };
        node.pay(&number.to_string(), from, to, amount).expect(201);
    }
    cluster.nodes[0].pay("refused", "shop", "supplier", 1_000_000).expect(409);
    for node in &cluster.nodes {
        let entries = pages(node, "/v1/accounts/shop/statement?limit=4", "entries");
        assert_eq!(entries.len(), 25, "a refused payment is no entry");
        let number = |entry: &Value, field: &str| entry[field].as_i64().unwrap();
        for pair in entries.windows(2) {
            assert_eq!(number(&pair[0], "balance"), number(&pair[1], "balance") + number(&pair[0], "amount"));
        }
        let (newest, oldest) = (&entries[0], &entries[24]);
        assert_eq!(number(newest, "balance"), node.balance("shop"));
        assert_eq!(number(oldest, "balance"), number(oldest, "amount"));
        assert_eq!((&oldest["counterparty"], &oldest["currency"]), (&json!("external:x"), &json!("EUR")));
    }
    assert_eq!(cluster.nodes[0].get("/v1/accounts/nobody/statement").expect(404)["code"], "account_not_found");
}

#[test]
fn accounts_are_listed_in_order_page_by_page() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    for number in 0..9 {
        node.pay(&number.to_string(), "external:x", &format!("shop:{number}"), 1).expect(201);
    }
    let listed = pages(node, "/v1/accounts?limit=4", "accounts");
    let ids: Vec<&str> = listed.iter().map(|account| account["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), ids[0], ids[9], ids.is_sorted()), (10, "external:x", "shop:8", true));
}

#[test]
fn the_raw_ledger_is_the_same_on_all_nodes_entry_by_entry() {
    let cluster = Cluster::start(3);
    for number in 0..20 {
        cluster.nodes[number % 3].pay(&number.to_string(), "external:x", "shop", 1).expect(201);
    }
    let ledger = cluster.ledger();
    let payments = ledger.iter().filter(|entry| entry["kind"] == "payment").count();
    assert_eq!(
        (payments, &ledger[0]["kind"], &ledger[1]["kind"]),
        (20, &json!("epoch_start"), &json!("configuration"))
    );
    let hashes: BTreeSet<&str> = ledger.iter().map(|entry| entry["hash"].as_str().unwrap()).collect();
    assert_eq!(hashes.len(), ledger.len(), "no two entries have the same hash");
    assert!(hashes.iter().all(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())));
    let page = cluster.nodes[1].get("/v1/ledger?from_index=3&limit=2").expect(200);
    assert_eq!((&page["entries"][0], &page["entries"][1], &page["next_index"]), (&ledger[2], &ledger[3], &json!(5)));
    let end = ledger.len() + 1_000;
    let beyond = cluster.nodes[1].get(&format!("/v1/ledger?from_index={end}")).expect(200);
    assert_eq!((&beyond["entries"], &beyond["next_index"]), (&json!([]), &json!(end)));
}
