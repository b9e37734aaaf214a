//! Invariant: every node's bank is the replay of the committed history up to the index that it has applied.

use quorapay::domain::{AccountId, Operation};
use quorapay::engine::Engine;
use quorapay::replication::Entry;

use super::money::{self, Money};

fn compare(node: usize, engine: &Engine, known: &Money, account: &AccountId) {
    let (index, shown) = (engine.applied_index(), engine.account(account));
    let expected = known.as_of(account, index);
    let equal = money::same(expected, shown.as_ref());
    assert!(equal, "node{} shows {account} as {shown:?} at {index}, the history says {expected:?}", node + 1);
}

/// Compares the accounts that an entry names: cheap enough for every step.
pub(super) fn compare_touched(node: usize, engine: &Engine, known: &Money, entry: &Entry) {
    match entry.operation() {
        Some(Operation::Payment(payment)) => {
            compare(node, engine, known, &payment.request.from);
            compare(node, engine, known, &payment.request.to);
        }
        Some(Operation::Account(change)) => compare(node, engine, known, &change.account),
        None => {}
    }
}

/// Compares every account.
pub(super) fn compare_all(node: usize, engine: &Engine, known: &Money) {
    known.accounts().for_each(|account| compare(node, engine, known, account));
}
