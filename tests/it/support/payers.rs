//! Clients that pay in the background, each payment under its own key, and remember every answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::cluster::{Cluster, TIMEOUT};
use super::history::{ObservedOutcome, PaymentHistory, PaymentRecord};
use super::http::{Connection, Request, Response};

/// A client's pause between two payments, because other tests run at the same time.
const PAUSE: Duration = Duration::from_millis(4);

/// Clients that pay until they are stopped.
pub(crate) struct Payers {
    state: Arc<PayerState>,
    threads: Vec<JoinHandle<Vec<PaymentRecord>>>,
}

#[derive(Default)]
struct PayerState {
    stop: AtomicBool,
    acknowledged: Mutex<usize>,
    more: Condvar,
}

impl Payers {
    /// Starts two clients for each of the nodes.
    pub(crate) fn start(cluster: &Cluster, through: &[usize]) -> Self {
        let state = Arc::new(PayerState::default());
        let threads = through.iter().flat_map(|node| [(*node, 'a'), (*node, 'b')]).map(|(node, letter)| {
            let (state, node) = (Arc::clone(&state), &cluster.nodes[node]);
            let (name, port) = (format!("{}-{letter}", node.id), node.port);
            thread::spawn(move || pay_until_stopped(&state, &name, port))
        });
        Self { threads: threads.collect(), state }
    }

    /// Waits until this many more payments have been acknowledged.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, payments: usize) {
        let acknowledged = self.state.acknowledged.lock().unwrap();
        let wanted = *acknowledged + payments;
        let (now, waited) =
            self.state.more.wait_timeout_while(acknowledged, TIMEOUT, |acknowledged| *acknowledged < wanted).unwrap();
        assert!(!waited.timed_out(), "{} more payments were wanted after {TIMEOUT:?}", wanted - *now);
    }

    /// Waits until each client has finished its last payment.
    pub(crate) fn stop(mut self) -> PaymentHistory {
        self.state.stop.store(true, Ordering::Relaxed);
        let records = self.threads.drain(..).flat_map(|thread| thread.join().expect("a client does not panic"));
        PaymentHistory { records: records.collect() }
    }
}

impl Drop for Payers {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
    }
}

/// Pays to a shop of its own and every third time from it, sometimes more than it has.
fn pay_until_stopped(state: &PayerState, name: &str, port: u16) -> Vec<PaymentRecord> {
    let mut connection = Connection::to(port);
    let mut records = Vec::new();
    let shop = format!("shop:{name}");
    for number in 0_i64.. {
        if state.stop.load(Ordering::Relaxed) {
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
            Err(error) => ObservedOutcome::Unknown(format!("the connection to port {port}: {error}")),
        };
        if matches!(outcome, ObservedOutcome::Succeeded { .. } | ObservedOutcome::Rejected { .. }) {
            *state.acknowledged.lock().unwrap() += 1;
            state.more.notify_all();
        }
        records.push(PaymentRecord { key, amount, outcome, took: began.elapsed() });
        thread::sleep(PAUSE);
    }
    records
}

fn outcome_of(answer: &Response) -> ObservedOutcome {
    let body = answer.json();
    let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
    match answer.status {
        201 => ObservedOutcome::Succeeded { index: body["index"].as_u64().unwrap(), id: text("id") },
        409 => ObservedOutcome::Rejected { index: body["payment"]["index"].as_u64().unwrap(), code: text("code") },
        status if text("outcome") == "not_applied" => ObservedOutcome::Refused { status, code: text("code") },
        status => ObservedOutcome::Unknown(format!("{status} {}", answer.text())),
    }
}
