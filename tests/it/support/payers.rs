//! Clients that pay in the background, each payment under its own key, and remember every answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Cluster, PATIENCE};
use super::history::{History, Outcome, Record};
use super::http::{Answer, Connection, Request};

/// A client's rest between two payments: the processors are shared with everything else that is tested meanwhile.
const REST: Duration = Duration::from_millis(4);

/// Clients that pay until they are stopped.
pub(crate) struct Payers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Vec<Record>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: Mutex<usize>,
    more: Condvar,
}

impl Payers {
    /// Starts two clients for each of the nodes.
    pub(crate) fn start(cluster: &Cluster, through: &[usize]) -> Self {
        let shared = Arc::new(Shared::default());
        let threads = through.iter().flat_map(|node| [(*node, 'a'), (*node, 'b')]).map(|(node, letter)| {
            let (shared, node) = (Arc::clone(&shared), &cluster.nodes[node]);
            let (name, port) = (format!("{}-{letter}", node.id), node.port);
            thread::spawn(move || pay_until_stopped(&shared, &name, port))
        });
        Self { threads: threads.collect(), shared }
    }

    /// Waits until this many more payments have been acknowledged.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, payments: usize) {
        let acknowledged = self.shared.acknowledged.lock().unwrap();
        let wanted = *acknowledged + payments;
        let (now, waited) =
            self.shared.more.wait_timeout_while(acknowledged, PATIENCE, |acknowledged| *acknowledged < wanted).unwrap();
        assert!(!waited.timed_out(), "{} more payments were wanted after {PATIENCE:?}", wanted - *now);
    }

    /// Lets each client finish its last payment.
    pub(crate) fn stop(mut self) -> History {
        self.shared.stop.store(true, Ordering::Relaxed);
        let records = self.threads.drain(..).flat_map(|thread| thread.join().expect("a client does not panic"));
        History { records: records.collect() }
    }
}

impl Drop for Payers {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Pays into a shop of its own and, every third time, out of it, at times more than it has.
fn pay_until_stopped(shared: &Shared, name: &str, port: u16) -> Vec<Record> {
    let mut connection = Connection::to(port);
    let mut records = Vec::new();
    let shop = format!("shop:{name}");
    for number in 0_i64.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let (from, to, amount) = match number % 3 {
            2 => (shop.as_str(), "external:bank", number % 17 * 20),
            _ => ("external:bank", shop.as_str(), 1 + number % 100),
        };
        let amount = amount.max(1);
        let key = format!("{name}-{number}");
        let body = json!({"from": from, "to": to, "amount": amount, "currency": "EUR"}).to_string();
        let began = Instant::now();
        let outcome = match connection.send(&Request::post("/v1/payments").key(&key).json(body)) {
            Ok(answer) => outcome_of(&answer),
            Err(error) => Outcome::Unknown(format!("the connection to port {port}: {error}")),
        };
        if matches!(outcome, Outcome::Succeeded { .. } | Outcome::Rejected { .. }) {
            *shared.acknowledged.lock().unwrap() += 1;
            shared.more.notify_all();
        }
        records.push(Record { key, amount, outcome, took: began.elapsed() });
        thread::sleep(REST);
    }
    records
}

fn outcome_of(answer: &Answer) -> Outcome {
    let body = answer.json();
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    match answer.status {
        201 => Outcome::Succeeded { index: body["index"].as_u64().unwrap(), id: text("id") },
        409 => Outcome::Rejected { index: body["payment"]["index"].as_u64().unwrap(), code: text("code") },
        status if text("outcome") == "not_applied" => Outcome::Refused { status, code: text("code") },
        status => Outcome::Unknown(format!("{status} {}", answer.text())),
    }
}
