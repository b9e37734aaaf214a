//! What clients were told, held against what the ledgers say in the end.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, posted, totals};

/// What a client was told of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The money moved.
    Succeeded { index: u64, id: String },
    /// The bank refused, for good.
    Rejected { index: u64, code: String },
    /// Nothing moved: nobody took it.
    Refused { status: u16, code: String },
    /// Either.
    Unknown(String),
}

/// One payment of a client.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) amount: i64,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

/// All payments of some clients.
pub(crate) struct History {
    pub(crate) records: Vec<Record>,
}

impl History {
    /// Every payment got a definite answer of the bank: a failover is a slow answer and not an error.
    #[track_caller]
    pub(crate) fn assert_no_error(&self) {
        let errors: Vec<&Record> = self.errors().collect();
        assert!(errors.is_empty(), "{} of {} payments failed: {errors:#?}", errors.len(), self.records.len());
    }

    fn errors(&self) -> impl Iterator<Item = &Record> {
        let is_error = |record: &&Record| matches!(record.outcome, Outcome::Refused { .. } | Outcome::Unknown(_));
        self.records.iter().filter(is_error)
    }

    /// The longest that a client waited for an answer.
    pub(crate) fn slowest(&self) -> Duration {
        self.records.iter().map(|record| record.took).max().unwrap_or_default()
    }

    /// Nothing acknowledged is lost, nothing is doubled, nothing refused is there, and the balances are what the
    /// entries add up to, on every running node.
    #[track_caller]
    pub(crate) fn assert_kept_by(&self, cluster: &Cluster) {
        let ledger = cluster.ledger();
        let by_key = payments_by_key(&ledger);
        for record in &self.records {
            let entry = by_key.get(record.key.as_str());
            match (&record.outcome, entry) {
                (Outcome::Succeeded { index, id }, Some(entry)) => {
                    assert_eq!((&entry["status"], &entry["payment_id"]), (&"succeeded".into(), &id.as_str().into()));
                    assert_eq!((&entry["index"], &entry["amount"]), (&(*index).into(), &record.amount.into()));
                }
                (Outcome::Rejected { index, code }, Some(entry)) => {
                    assert_eq!((&entry["status"], &entry["rejection"]), (&"rejected".into(), &code.as_str().into()));
                    assert_eq!(entry["index"], *index);
                }
                (Outcome::Refused { .. }, None) | (Outcome::Unknown(_), _) => {}
                (Outcome::Refused { .. }, Some(entry)) => panic!("{record:?} was refused and applied: {entry}"),
                (_, None) => panic!("{record:?} was acknowledged and is lost"),
            }
        }
        assert_balances(cluster, &ledger);
    }
}

/// The payments in a ledger; no key may be there twice.
fn payments_by_key(ledger: &[Value]) -> HashMap<&str, &Value> {
    let mut by_key = HashMap::new();
    for entry in ledger {
        if let Some(key) = entry["idempotency_key"].as_str() {
            let earlier = by_key.insert(key, entry);
            assert_eq!(earlier, None, "the key is in the ledger twice, again in {entry}");
        }
    }
    by_key
}

fn assert_balances(cluster: &Cluster, ledger: &[Value]) {
    let mut expected: HashMap<&str, i64> = HashMap::new();
    for entry in ledger.iter().filter(|entry| entry["kind"] == "payment" && entry["status"] == "succeeded") {
        let amount = entry["amount"].as_i64().unwrap();
        *expected.entry(entry["from"].as_str().unwrap()).or_default() -= amount;
        *expected.entry(entry["to"].as_str().unwrap()).or_default() += amount;
    }
    let node = &cluster.nodes[cluster.leader()];
    let accounts = node.accounts();
    for (account, balance) in expected {
        assert_eq!(posted(&accounts[account], "EUR"), balance, "{account} at {}", node.id);
    }
    assert!(totals(&accounts).values().all(|total| *total == 0), "money came from nowhere: {accounts:?}");
}
