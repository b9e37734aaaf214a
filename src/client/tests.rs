//! The client with nodes that fail in every way that it has to handle.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use serde_json::json;

use super::fake::{FakeNode, Received, Reply, nobody, payment_for, problem};
use super::*;
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits};

/// The payment that is captured and voided.
const PAYMENT_ID: &str = "0198c1f0-7c1e-7000-8000-00000000002a";

const SHORT: Duration = Duration::from_millis(800);
const LONG: Duration = Duration::from_secs(20);

fn client(urls: &[&str], deadline: Duration) -> Client {
    Client::new(&urls.iter().map(|&url| url.to_owned()).collect::<Vec<_>>(), deadline).unwrap()
}

fn key() -> IdempotencyKey {
    IdempotencyKey::parse("order 1001/a").unwrap()
}

fn payment() -> NewPayment {
    let account = |id| AccountId::parse(id).unwrap();
    let currency = Currency::parse("USD").unwrap();
    NewPayment::new(account("external:card"), account("shop:42"), MinorUnits::new(15_075), currency)
}

async fn pay(client: &Client) -> Result<Outcome<Payment>, ClientError> {
    client.pay(&key(), &payment()).await
}

fn accept(request: &Received) -> Reply {
    Reply::Answer(201, payment_for(request))
}

fn assert_committed(outcome: Outcome<Payment>) -> Done<Payment> {
    match outcome {
        Outcome::Committed(done) => done,
        other => panic!("expected a committed payment, got {other:?}"),
    }
}

fn is_lookup(request: &Received) -> bool {
    request.method == "GET" && request.path == "/v1/payments/by-key/order%201001%2Fa"
}

#[tokio::test]
async fn a_payment_whose_connection_breaks_is_repeated_under_the_same_key_at_the_next_url() {
    let (breaking, sound) = (FakeNode::start(|_| Reply::Drop), FakeNode::start(accept));
    let client = client(&[&breaking.url, &sound.url], LONG);
    let done = assert_committed(pay(&client).await.unwrap());
    assert_eq!(done.value.amount, MinorUnits::new(15_075));
    let keys: Vec<_> = [breaking.received(), sound.received()].concat().into_iter().map(|r| r.key).collect();
    assert!(keys.len() >= 2);
    assert!(keys.iter().all(|sent| sent.as_deref() == Some(key().as_str())), "{keys:?}");
    // From now on the node that answered is asked first.
    let before = breaking.received().len();
    assert_committed(pay(&client).await.unwrap());
    assert_eq!(breaking.received().len(), before);
}

#[tokio::test]
async fn a_node_that_is_gone_or_hangs_is_passed_over() {
    let (hanging, sound) = (FakeNode::start(|_| Reply::Hang), FakeNode::start(accept));
    let client = client(&[&nobody(), &hanging.url, &sound.url], Duration::from_secs(2));
    let started = Instant::now();
    assert_committed(pay(&client).await.unwrap());
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(sound.received().len(), 1);
}

#[tokio::test]
async fn a_node_without_a_leader_is_asked_again_until_it_has_one() {
    let node = FakeNode::start(|request| match request.number {
        0..3 => Reply::Answer(503, problem(503, "no_leader", true, "not_applied")),
        _ => accept(request),
    });
    assert_committed(pay(&client(&[&node.url], LONG)).await.unwrap());
    assert_eq!(node.received().len(), 4);
}

#[tokio::test]
async fn a_refusal_is_final_and_not_repeated() {
    let node = FakeNode::start(|request| {
        let mut refusal = problem(409, "insufficient_funds", false, "not_applied");
        let mut rejected = payment_for(request);
        rejected["status"] = json!("rejected");
        refusal["payment"] = rejected;
        Reply::Answer(409, refusal)
    });
    let Outcome::Refused(refusal) = pay(&client(&[&node.url], LONG)).await.unwrap() else { panic!("not refused") };
    assert_eq!(refusal.code, "insufficient_funds");
    assert_eq!(refusal.payment.unwrap().status(), PaymentStatus::Rejected);
    assert_eq!(node.received().len(), 1);
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_by_its_key() {
    let node = FakeNode::start(|request| {
        if is_lookup(request) {
            let asked = Received { body: serde_json::to_value(payment()).unwrap(), ..request.clone() };
            return Reply::Answer(200, json!({"state": "committed", "payment": payment_for(&asked), "as_of_index": 9}));
        }
        Reply::Answer(504, problem(504, "outcome_unknown", true, "unknown"))
    });
    let done = assert_committed(pay(&client(&[&node.url], SHORT)).await.unwrap());
    assert!(done.replayed);
    assert!(node.received().iter().filter(|request| is_lookup(request)).count() == 1);
}

#[tokio::test]
async fn a_refused_payment_found_by_its_key_is_a_refusal() {
    let node = FakeNode::start(|request| {
        if is_lookup(request) {
            let asked = Received { body: serde_json::to_value(payment()).unwrap(), ..request.clone() };
            let mut rejected = payment_for(&asked);
            rejected["status"] = json!("rejected");
            rejected["rejection"] = json!("insufficient_funds");
            return Reply::Answer(200, json!({"state": "committed", "payment": rejected, "as_of_index": 9}));
        }
        Reply::Drop
    });
    let Outcome::Refused(refusal) = pay(&client(&[&node.url], SHORT)).await.unwrap() else { panic!("not refused") };
    assert_eq!(refusal.code, "insufficient_funds");
}

#[tokio::test]
async fn an_outcome_that_nobody_can_tell_stays_unknown_and_never_becomes_a_refusal() {
    let node = FakeNode::start(|request| match request.method.as_str() {
        "GET" => Reply::Answer(200, json!({"state": "unknown", "as_of_index": 9})),
        // The last answer is "not applied", but that concerns only the last attempt.
        _ if request.number > 0 => Reply::Answer(503, problem(503, "no_leader", true, "not_applied")),
        _ => Reply::Drop,
    });
    let Outcome::Unknown { by_key_url, .. } = pay(&client(&[&node.url], SHORT)).await.unwrap() else {
        panic!("settled")
    };
    assert_eq!(by_key_url.unwrap(), format!("{}/v1/payments/by-key/order%201001%2Fa", node.url));
}

#[tokio::test]
async fn without_any_node_the_caller_learns_that_nothing_was_sent() {
    let (one, other) = (nobody(), nobody());
    let error = pay(&client(&[&one, &other], SHORT)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn something_that_is_no_node_is_told_from_one() {
    let stranger = FakeNode::start(|_| Reply::Answer(404, json!({"hello": "world"})));
    let error = pay(&client(&[&stranger.url], LONG)).await.unwrap_err();
    assert!(matches!(&error, ClientError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn a_listing_sends_its_filter_and_its_page() {
    let node = FakeNode::start(|_| Reply::Answer(200, json!({"payments": [], "next_cursor": "c2"})));
    let filter = PaymentFilter {
        account: Some(AccountId::parse("shop:42").unwrap()),
        status: Some(PaymentStatus::Succeeded),
        ..PaymentFilter::default()
    };
    let page = Page { cursor: Some("c 1".to_owned()), limit: Some(20) };
    let listed = client(&[&node.url], LONG).payments(&filter, &page).await.unwrap();
    assert_eq!(listed.next_cursor.as_deref(), Some("c2"));
    let path = &node.received()[0].path;
    assert_eq!(path, "/v1/payments?cursor=c+1&limit=20&account=shop%3A42&status=succeeded");
}

#[tokio::test]
async fn a_node_that_is_not_ready_yet_is_waited_for_and_one_that_never_is_says_why() {
    let starting = FakeNode::start(|request| match request.number {
        0 => Reply::Answer(503, problem(503, "not_ready", true, "not_applied")),
        _ => Reply::Answer(
            200,
            json!({
                "status": "ready", "node_id": "node2", "role": "follower", "leader": "node1", "zookeeper": "connected",
            }),
        ),
    });
    assert_eq!(client(&[&starting.url], LONG).ready().await.unwrap().node_id.as_str(), "node2");
    assert_eq!(starting.received()[0].path, "/readyz");
    let stuck = FakeNode::start(|_| Reply::Answer(503, problem(503, "not_ready", true, "not_applied")));
    let error = client(&[&stuck.url], SHORT).ready().await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(problem) if problem.code == "not_ready"), "{error}");
}

#[test]
fn a_base_url_must_be_http_with_a_host() {
    for bad in ["", "127.0.0.1:7101", "wss://node", "ftp://node", "http://"] {
        let error = Client::new(&[bad.to_owned()], LONG).unwrap_err();
        assert!(matches!(error, ClientError::Url { .. }), "{bad}");
    }
}

fn changed(status: &str) -> serde_json::Value {
    json!({
        "id": PAYMENT_ID, "status": status, "from": "external:card", "to": "shop:42", "amount": 900, "currency": "USD",
        "captured": 600, "refunded": 0, "held": 300, "expires_at": "2026-01-08T00:00:00Z",
        "change": {"type": "capture", "amount": 600, "created_at": "2026-01-01T00:00:00Z", "index": 9},
        "balances": {"from": -600, "to": 600}, "index": 9, "epoch": 3,
    })
}

#[tokio::test]
async fn a_capture_whose_answer_was_lost_is_asked_for_again_once_its_key_is_known_to_be_committed() {
    let looked_up = AtomicBool::new(false);
    let node = FakeNode::start(move |request| match request.method.as_str() {
        "GET" => {
            looked_up.store(true, Ordering::Relaxed);
            Reply::Answer(200, json!({"state": "committed", "change": changed("partially_captured"), "as_of_index": 9}))
        }
        _ if looked_up.load(Ordering::Relaxed) => Reply::Answer(200, changed("partially_captured")),
        _ => Reply::Drop,
    });
    let client = client(&[&node.url], SHORT);
    let done = match client.capture(&key(), PAYMENT_ID, Some(MinorUnits::new(600))).await.unwrap() {
        Outcome::Committed(done) => done,
        other => panic!("expected a capture, got {other:?}"),
    };
    assert_eq!(done.value.status, PaymentStatus::PartiallyCaptured);
    assert_eq!((done.value.held, done.value.change.unwrap().amount), (MinorUnits::new(300), MinorUnits::new(600)));
    let sent: Vec<_> = node.received().into_iter().filter(|request| request.method == "POST").collect();
    assert!(
        sent.iter().all(
            |request| request.path == format!("/v1/payments/{PAYMENT_ID}/capture") && request.body["amount"] == 600
        )
    );
    assert!(sent.iter().all(|request| request.key.as_deref() == Some(key().as_str())));
}

#[tokio::test]
async fn a_refused_change_names_its_code_and_shows_the_payment_as_it_stands() {
    let node = FakeNode::start(|_| {
        let mut refusal = problem(409, "nothing_held", false, "not_applied");
        let mut stands = changed("voided");
        stands.as_object_mut().unwrap().remove("change");
        stands.as_object_mut().unwrap().remove("balances");
        refusal["payment"] = stands;
        Reply::Answer(409, refusal)
    });
    let outcome = client(&[&node.url], LONG).void(&key(), PAYMENT_ID).await.unwrap();
    let Outcome::Refused(refusal) = outcome else { panic!("not refused") };
    assert_eq!((&*refusal.code, refusal.payment.unwrap().status()), ("nothing_held", PaymentStatus::Voided));
}

#[tokio::test]
async fn a_payment_whose_key_was_fenced_meanwhile_is_refused_and_not_unknown() {
    let node = FakeNode::start(|request| match request.method.as_str() {
        "GET" => Reply::Answer(200, json!({"state": "fenced", "index": 7, "as_of_index": 9})),
        _ => Reply::Drop,
    });
    let Outcome::Refused(refusal) = pay(&client(&[&node.url], SHORT)).await.unwrap() else { panic!("not refused") };
    assert_eq!(refusal.code, "idempotency_key_fenced");
}

#[tokio::test]
async fn a_fence_that_came_too_late_tells_what_was_done() {
    let node = FakeNode::start(|request| {
        let asked = Received { body: serde_json::to_value(payment()).unwrap(), ..request.clone() };
        Reply::Answer(200, json!({"state": "committed", "payment": payment_for(&asked), "as_of_index": 9}))
    });
    let outcome = client(&[&node.url], LONG).fence(&key()).await.unwrap();
    let Outcome::Committed(done) = outcome else { panic!("no answer") };
    assert_eq!(done.value.state, KeyState::Committed);
    let request = &node.received()[0];
    assert_eq!(request.path, "/v1/payments/by-key/order%201001%2Fa/fence");
    assert_eq!(request.key, None);
}

#[tokio::test]
async fn an_aborted_batch_is_a_refusal_with_the_payments_to_blame() {
    let node = FakeNode::start(|request| {
        let mut refusal = problem(409, "batch_aborted", false, "not_applied");
        refusal["failed"] = json!([1]);
        refusal["results"] = request.payments().iter().map(payment_for).collect();
        Reply::Answer(409, refusal)
    });
    let mut lines = BatchLines::default();
    for _ in 0..2 {
        lines.push(&BatchItem { idempotency_key: None, payment: payment() }).unwrap();
    }
    let outcome = client(&[&node.url], LONG).batch_lines(&key(), &lines, true).await.unwrap();
    let Outcome::Refused(refusal) = outcome else { panic!("not refused") };
    assert_eq!((refusal.failed.as_slice(), refusal.results.map_or(0, |results| results.len())), ([1].as_slice(), 2));
    assert_eq!(node.received()[0].path, "/v1/payments/batch?atomic=true");
}

#[tokio::test]
async fn all_payments_come_page_after_page_and_an_empty_page_is_not_the_end() {
    let node = FakeNode::start(|request| {
        let one = payment_for(&Received { body: serde_json::to_value(payment()).unwrap(), ..request.clone() });
        let (payments, next) = match request.number {
            0 => (json!([one, one]), json!("c1")),
            1 => (json!([]), json!("c2")),
            _ => (json!([one]), json!(null)),
        };
        Reply::Answer(200, json!({"payments": payments, "next_cursor": next}))
    });
    let (client, filter) = (client(&[&node.url], LONG), PaymentFilter::default());
    let all: Vec<Payment> = client.all_payments(&filter).try_collect().await.unwrap();
    assert_eq!(all.len(), 3);
    let paths: Vec<_> = node.received().into_iter().map(|request| request.path).collect();
    assert_eq!(paths[2], "/v1/payments?cursor=c2&limit=500");
}

#[tokio::test]
async fn an_export_is_read_to_its_end_and_one_that_breaks_off_is_incomplete() {
    let whole = "index,payment_id\n1,p1\ncomplete,1,7,\n";
    let node = FakeNode::start(move |request| match request.number {
        0 => Reply::Text(whole.to_owned(), whole.len()),
        1 => Reply::Text("index,payment_id\n1,p1\n".to_owned(), 22),
        _ => Reply::Text("index,payment_id\n1,".to_owned(), 1_000),
    });
    let client = client(&[&node.url], SHORT);
    let read = async || {
        let mut export = client.export_ledger(LogIndex(1), ExportFormat::Csv).await.unwrap();
        let mut text = Vec::new();
        while let Some(piece) = export.chunk().await? {
            text.extend_from_slice(&piece);
        }
        Ok::<_, ClientError>(String::from_utf8(text).unwrap())
    };
    assert_eq!(read().await.unwrap(), whole);
    for _ in ["without its last line", "cut off"] {
        assert!(matches!(read().await.unwrap_err(), ClientError::Incomplete { .. }));
    }
    assert_eq!(node.received()[0].path, "/v1/ledger?from_index=1&format=csv");
}
