//! Compares what clients were answered with the ledgers.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, posted, totals};

/// The outcome of a payment as its client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ObservedOutcome {
    /// The payment was made.
    Succeeded { index: u64, id: String },
    /// The bank rejected it.
    Rejected { index: u64, code: String },
    /// It was definitely not applied.
    Refused { status: u16, code: String },
    /// It may or may not have been made.
    Unknown(String),
}

/// One payment of a client.
#[derive(Clone, Debug)]
pub(crate) struct PaymentRecord {
    pub(crate) key: String,
    pub(crate) amount: i64,
    pub(crate) outcome: ObservedOutcome,
    pub(crate) took: Duration,
}

/// All payments of some clients.
pub(crate) struct PaymentHistory {
    pub(crate) records: Vec<PaymentRecord>,
}

impl PaymentHistory {
    /// Checks that every payment was decided by the bank: a failover may delay an answer and must not cause an error.
    #[track_caller]
    pub(crate) fn assert_no_error(&self) {
        let errors: Vec<&PaymentRecord> = self.errors().collect();
        assert!(errors.is_empty(), "{} of {} payments failed: {errors:#?}", errors.len(), self.records.len());
    }

    fn errors(&self) -> impl Iterator<Item = &PaymentRecord> {
        let is_error = |record: &&PaymentRecord| {
            matches!(record.outcome, ObservedOutcome::Refused { .. } | ObservedOutcome::Unknown(_))
        };
        self.records.iter().filter(is_error)
    }

    /// The longest time that a client waited for an answer.
    pub(crate) fn slowest(&self) -> Duration {
        self.records.iter().map(|record| record.took).max().unwrap_or_default()
    }

    /// Checks on every running node that no acknowledged payment is lost, none is doubled, no refused one is there, and
    /// the balances are the sums of the entries.
    #[track_caller]
    pub(crate) fn assert_consistent_with(&self, cluster: &Cluster) {
        let ledger = cluster.ledger();
        let by_key = payments_by_key(&ledger);
        for record in &self.records {
            let entry = by_key.get(record.key.as_str());
            match (&record.outcome, entry) {
                (ObservedOutcome::Succeeded { index, id }, Some(entry)) => {
                    assert_eq!((&entry["status"], &entry["payment_id"]), (&"succeeded".into(), &id.as_str().into()));
                    assert_eq!((&entry["index"], &entry["amount"]), (&(*index).into(), &record.amount.into()));
                }
                (ObservedOutcome::Rejected { index, code }, Some(entry)) => {
                    assert_eq!((&entry["status"], &entry["rejection"]), (&"rejected".into(), &code.as_str().into()));
                    assert_eq!(entry["index"], *index);
                }
                (ObservedOutcome::Refused { .. }, None) | (ObservedOutcome::Unknown(_), _) => {}
                (ObservedOutcome::Refused { .. }, Some(entry)) => panic!("{record:?} was refused and applied: {entry}"),
                (_, None) => panic!("{record:?} was acknowledged and is lost"),
            }
        }
        assert_balances(cluster, &ledger);
    }
}

/// The payments of a ledger by key. No key may occur twice.
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
