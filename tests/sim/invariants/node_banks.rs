//! Invariant: every node's bank equals the replay of the committed history up to its applied index.

use std::collections::BTreeSet;

use quorapay_core::domain::{AccountId, Operation, PaymentId};
use quorapay_core::engine::Engine;
use quorapay_core::replication::Entry;

use super::money::{self, Money};

fn compare(node: usize, engine: &Engine, known: &Money, account: &AccountId) {
    let (index, shown) = (engine.applied_index(), engine.account(account));
    let expected = known.as_of(account, index);
    let equal = money::matches(expected, shown.as_ref());
    assert!(equal, "node{} shows {account} as {shown:?} at {index}, the history says {expected:?}", node + 1);
}

fn compare_payment(node: usize, engine: &Engine, known: &Money, id: PaymentId) {
    let (index, shown) = (engine.applied_index(), engine.payments(&BTreeSet::from([id])).remove(&id));
    let expected = &known.charges[&id];
    let fits = match &shown {
        Some(state) => expected.matches(state),
        // Memory holds all open holds; the disk holds the rest.
        None => expected.held == 0,
    };
    assert!(fits, "node{} shows {id} as {shown:?} at {index}, the history says {expected:?}", node + 1);
}

/// Compares the accounts of an entry with the model right after that entry: cheap enough for every step.
pub(super) fn compare_touched(node: usize, engine: &Engine, known: &Money, entry: &Entry) {
    let Some(operation) = entry.operation() else { return };
    for payment in operation.payments() {
        compare(node, engine, known, &payment.request.from);
        compare(node, engine, known, &payment.request.to);
    }
    let changed = match operation {
        Operation::PaymentChange(change) => change.before.as_deref(),
        Operation::Expiry(expiry) => Some(&expiry.before),
        Operation::Account(change) => {
            compare(node, engine, known, &change.account);
            None
        }
        Operation::Payment(_) | Operation::Batch(_) | Operation::KeyFence(_) | Operation::ApiKey(_) => None,
    };
    if let Some(payment) = changed {
        compare(node, engine, known, &payment.from);
        compare(node, engine, known, &payment.to);
    }
}

/// Compares every account and every payment, for a node that has applied the whole history.
pub(super) fn compare_all(node: usize, engine: &Engine, known: &Money) {
    known.accounts().for_each(|account| compare(node, engine, known, account));
    known.charges.keys().for_each(|payment| compare_payment(node, engine, known, *payment));
}
