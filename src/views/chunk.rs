//! What a chunk of consecutive entries changes in the views, added up in memory: each account and balance once, keys in
//! the order of their digests. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{
    AccountChangeKind, AccountId, AccountOutcome, Currency, KeyDigest, MinorUnits, Operation, Overdraft, PaymentOutcome,
};
use crate::replication::{Entry, LogIndex};

/// What happened to one account.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// The policy that it was opened with or given, if it was.
    pub(super) overdraft: Option<Overdraft>,
    /// The last balance of each currency that moved.
    pub(super) balances: BTreeMap<Currency, MinorUnits>,
    /// The payments that moved them, oldest first.
    pub(super) postings: Vec<LogIndex>,
}

/// The changes of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Sorted by digest.
    pub(super) keys: Vec<(KeyDigest, LogIndex)>,
    /// Sorted by id.
    pub(super) accounts: BTreeMap<AccountId, Touched>,
}

impl Chunk {
    pub(super) fn of(entries: &[Arc<Entry>]) -> Self {
        let mut chunk = Self::default();
        for entry in entries {
            if let Some(operation) = entry.operation() {
                chunk.keys.push((operation.key().digest(), entry.index));
                chunk.add(operation, entry.index);
            }
        }
        chunk.keys.sort_unstable();
        chunk
    }

    fn add(&mut self, operation: &Operation, index: LogIndex) {
        match operation {
            Operation::Payment(payment) => {
                let PaymentOutcome::Succeeded { from_balance, to_balance } = payment.outcome else { return };
                let request = &payment.request;
                self.post(&request.from, request.currency, from_balance, index);
                self.post(&request.to, request.currency, to_balance, index);
            }
            Operation::Account(change) if change.outcome == AccountOutcome::Applied => {
                let (AccountChangeKind::Open(overdraft) | AccountChangeKind::SetOverdraft(overdraft)) = change.change;
                self.touched(&change.account).overdraft = Some(overdraft);
            }
            Operation::Account(_) => {}
        }
    }

    fn post(&mut self, id: &AccountId, currency: Currency, balance: MinorUnits, index: LogIndex) {
        let touched = self.touched(id);
        touched.balances.insert(currency, balance);
        touched.postings.push(index);
    }

    fn touched(&mut self, id: &AccountId) -> &mut Touched {
        // Looked up first: cloning the id for each of an account's payments would cost more than the second look.
        if !self.accounts.contains_key(id) {
            self.accounts.insert(id.clone(), Touched::default());
        }
        self.accounts.get_mut(id).expect("it was just put there")
    }
}
