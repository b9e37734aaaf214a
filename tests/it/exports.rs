//! Exports: a complete statement or ledger, with a last row that says so.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, Node};
use crate::support::http::Request;
use crate::support::shared::Shared;

static SHARED: Shared = Shared::new();

#[test]
fn a_statement_is_exported_whole_and_says_so_in_its_last_row() {
    let cluster = SHARED.cluster();
    for (amount, number) in (1..=40).zip(0_usize..) {
        cluster.nodes[number % 3].pay(&format!("whole {amount}"), "external:x", "whole", amount).expect(201);
    }
    for node in &cluster.nodes {
        let csv = node.get("/v1/accounts/whole/statement?format=csv");
        assert!(csv.header("content-type").unwrap().starts_with("text/csv"));
        let text = csv.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "index,payment_id,type,created_at,amount,currency,balance,counterparty");
        assert!(lines[1].contains(",40,EUR,820,external:x"), "the newest first: {}", lines[1]);
        let index = csv.number("Quorapay-Index");
        assert_eq!((lines.len(), lines[41]), (42, &*format!("complete,40,{index},,,,,")));
        let ndjson = node.get("/v1/accounts/whole/statement?format=ndjson").text();
        let rows: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((rows.len(), &rows[40]["complete"], &rows[40]["rows"]), (41, &json!(true), &json!(40)));
        let paged = node.get("/v1/accounts/whole/statement?limit=1000").expect(200);
        assert_eq!(paged["entries"].as_array().unwrap()[..], rows[..40]);
    }
}

#[test]
fn the_ledger_is_exported_whole_oldest_first() {
    let cluster = SHARED.cluster();
    let payment = json!({"from": "external:x", "to": "exported", "amount": 1, "currency": "EUR"});
    let batch = Value::from(vec![payment; 3]).to_string();
    cluster.nodes[0].send(&Request::post("/v1/payments/batch").key("exported, \"1\"").json(batch)).expect(200);
    let node = &cluster.nodes[1];
    let ndjson = node.get("/v1/ledger?format=ndjson").text();
    let mut rows: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = rows.pop().unwrap();
    assert_eq!((&last["complete"], &last["rows"]), (&json!(true), &json!(rows.len())));
    assert_eq!(rows[..], node.ledger()[..rows.len()]);
    let csv = node.get("/v1/ledger?format=csv&from_index=2").text();
    let batch_rows = csv.lines().filter(|line| line.contains(",batch,") && line.contains(",exported,")).count();
    assert_eq!(batch_rows, 3, "a row per payment");
    assert!(csv.lines().nth(1).unwrap().starts_with("2,"));
    assert!(csv.lines().last().unwrap().starts_with("complete,"));
}

#[test]
fn an_export_of_nothing_and_a_bad_format_are_told_apart() {
    let cluster = SHARED.cluster();
    let node = &cluster.nodes[2];
    node.send(&Request::post("/v1/accounts").key("empty").json(r#"{"id":"empty"}"#)).expect(201);
    assert_eq!(node.get("/v1/accounts/empty/statement?format=csv").text().lines().count(), 2);
    assert_eq!(node.get("/v1/accounts/nobody/statement?format=csv").expect(404)["code"], "account_not_found");
    for target in ["/v1/ledger?format=xml", "/v1/accounts/empty/statement?format=CSV"] {
        let problem = node.get(target).expect(400);
        assert_eq!((&problem["code"], &problem["field"]), (&json!("invalid_format"), &json!("format")));
    }
    assert_eq!(node.get("/v1/ledger?format=csv&limit=5").expect(400)["field"], "limit");
}

#[test]
fn exports_and_lists_that_their_clients_do_not_read_delay_no_payment_by_its_id() {
    let mut cluster = Cluster::start(1);
    let pay =
        |node: &Node, number: i64| node.pay(&format!("single {number}"), "external:x", "shop", number).expect(201);
    let ids: Vec<String> =
        (1..=50).map(|number| pay(&cluster.nodes[0], number)["id"].as_str().unwrap().to_owned()).collect();
    let payment = json!({"from": "external:x", "to": "exported", "amount": 1, "currency": "EUR"});
    let batch = Value::from(vec![payment; 5_000]).to_string();
    for number in 0..6 {
        let request = Request::post("/v1/payments/batch").key(&format!("batch {number}")).json(&*batch);
        cluster.nodes[0].send(&request).expect(200);
    }
    // So that its memory holds none of them.
    cluster.kill(0);
    cluster.restart(0);
    cluster.wait_ready();
    let node = &cluster.nodes[0];
    let targets = ["/v1/ledger?format=ndjson", "/v1/payments?limit=1000", "/v1/payments?status=rejected&limit=1000"];
    let held: Vec<TcpStream> = targets.into_iter().cycle().take(48).map(|target| asks(node, target)).collect();
    for id in &ids {
        let target = format!("/v1/payments/{id}");
        let request = Request::get(&*target).header("Quorapay-Deadline-Ms", "2000");
        assert_eq!(node.send(&request).expect(200)["id"], **id);
    }
    drop(held);
}

/// A connection on which something was asked for and nothing is read.
fn asks(node: &Node, target: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", node.port)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    stream
}
