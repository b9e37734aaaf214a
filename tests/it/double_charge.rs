//! Double charges: two hundred concurrent requests for one order at all nodes, while the leader is killed. The order is
//! charged once, and every caller learns the outcome of its request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::cluster::{Cluster, wait_until};
use crate::support::http::{Connection, Request, Response};

/// How many requests are made for the order.
const CALLERS: usize = 200;
/// The number of answers after which the leader is killed.
const ANSWERS_BEFORE_THE_KILL: usize = 10;

/// What one caller was answered.
struct Told {
    key: String,
    /// The answer to its own request; `None` if its node died before it answered.
    answer: Option<Response>,
}

#[test]
fn two_hundred_requests_with_different_keys_charge_an_order_once_though_the_leader_dies() {
    let mut cluster = Cluster::start(3);
    let told = charge(&mut cluster, |caller| format!("key-{caller}"));
    let outcomes: Vec<&str> = told.iter().map(|told| settle(&cluster, told)).collect();
    let charged = outcomes.iter().filter(|outcome| **outcome == "charged").count();
    assert_eq!(charged, 1, "{outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == "refused").count(), CALLERS - 1, "{outcomes:?}");
    assert_eq!(cluster.nodes[cluster.leader()].balance("shop"), 100);
}

#[test]
fn two_hundred_requests_with_one_key_charge_an_order_once_and_get_one_answer_though_the_leader_dies() {
    let mut cluster = Cluster::start(3);
    let told = charge(&mut cluster, |_| "the-key".to_owned());
    let mut bodies: Vec<&[u8]> = told
        .iter()
        .filter_map(|told| told.answer.as_ref())
        .filter(|answer| answer.status == 201)
        .map(|answer| &*answer.body)
        .collect();
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "all who were answered got the identical answer");
    assert!(told.iter().all(|told| settle(&cluster, told) == "charged"));
    assert_eq!(cluster.nodes[cluster.leader()].balance("shop"), 100);
}

/// Sends all requests at once, spread over the nodes, and kills the leader when some are answered.
fn charge(cluster: &mut Cluster, key: impl Fn(usize) -> String) -> Vec<Told> {
    let (start, answered, told) = (Barrier::new(CALLERS + 1), AtomicUsize::new(0), Mutex::new(Vec::new()));
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let leader = cluster.leader();
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (key, port) = (key(caller), ports[caller % ports.len()]);
            let (start, answered, told) = (&start, &answered, &told);
            scope.spawn(move || {
                let mut connection = Connection::to(port);
                start.wait();
                let answer = connection.send(&request(&key)).ok();
                answered.fetch_add(1, Ordering::Relaxed);
                told.lock().unwrap().push(Told { key, answer });
            });
        }
        start.wait();
        wait_until("some requests are answered", || answered.load(Ordering::Relaxed) >= ANSWERS_BEFORE_THE_KILL);
        cluster.kill(leader);
    });
    cluster.wait_ready();
    told.into_inner().unwrap()
}

fn request(key: &str) -> Request {
    let body = json!({
        "from": "external:card", "to": "shop", "amount": 100, "currency": "EUR",
        "order": {"id": "#1001", "total": 100},
    });
    Request::post("/v1/payments").key(key).json(body.to_string())
}

/// The outcome of a caller's request, from its own answer or by its key.
fn settle(cluster: &Cluster, told: &Told) -> &'static str {
    let definite = told.answer.as_ref().filter(|answer| matches!(answer.status, 201 | 409));
    if let Some(answer) = definite {
        return outcome_of(answer.status, &answer.json());
    }
    // An answer without a definite outcome is settled by the same request under the same key.
    if let Some(answer) = &told.answer {
        assert!(matches!(answer.status, 503 | 504), "{}", answer.text());
    }
    let node = &cluster.nodes[cluster.leader()];
    let looked_up = node.send(&Request::get(format!("/v1/payments/by-key/{}", told.key))).expect(200);
    let again = node.send(&request(&told.key));
    if looked_up["state"] == "committed" {
        assert_eq!(again.header("Idempotent-Replayed"), Some("true"), "a committed key is answered from the ledger");
    }
    outcome_of(again.status, &again.json())
}

fn outcome_of(status: u16, body: &Value) -> &'static str {
    match (status, body["code"].as_str()) {
        (201, _) => "charged",
        (409, Some("order_total_exceeded")) => "refused",
        other => panic!("{other:?}: {body}"),
    }
}
