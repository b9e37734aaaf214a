//! Invariants: every currency sums to zero over all accounts, no payment brings an account below its policy, and
//! every outcome in the ledger is the one that the accounts before it demand. Told by a bank of the oracle's own, as
//! plain as can be, which shares no code with the real one but the types of a request.

use std::collections::BTreeMap;

use quorapay::domain::{
    AccountChangeKind, AccountId, AccountOutcome, AccountState, Currency, Operation, Overdraft, Payment,
    PaymentOutcome, Rejection,
};
use quorapay::replication::LogIndex;

/// An account as the oracle keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    overdraft: Overdraft,
    balances: BTreeMap<Currency, i64>,
}

impl Account {
    fn floor(&self, id: &AccountId) -> i64 {
        match self.overdraft {
            _ if id.as_str().starts_with("external:") => i64::MIN,
            Overdraft::None => 0,
            Overdraft::Limit(limit) => -limit.get(),
            Overdraft::Unlimited => i64::MIN,
        }
    }
}

/// Every account's whole history, by the index from which each state holds.
#[derive(Default)]
pub(super) struct Money(BTreeMap<AccountId, Vec<(LogIndex, Account)>>);

impl Money {
    /// An account as of an index.
    pub(super) fn as_of(&self, id: &AccountId, index: LogIndex) -> Option<&Account> {
        self.0.get(id)?.iter().rev().find(|(since, _)| *since <= index).map(|(_, account)| account)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.0.keys()
    }

    fn latest(&self, id: &AccountId) -> Option<&Account> {
        self.0.get(id)?.last().map(|(_, account)| account)
    }

    fn put(&mut self, id: &AccountId, index: LogIndex, account: Account) {
        self.0.entry(id.clone()).or_default().push((index, account));
    }

    pub(super) fn committed(&mut self, index: LogIndex, operation: &Operation) {
        let refused = operation.rejection();
        let expected = match operation {
            Operation::Payment(payment) => self.pay(index, payment),
            Operation::Account(change) => {
                let applied = self.change(index, &change.account, change.change);
                assert_eq!(applied.is_ok(), change.outcome == AccountOutcome::Applied, "outcome at {index}");
                applied
            }
        };
        assert_eq!(refused, expected.err(), "the outcome at {index} is not what the accounts demand: {operation:?}");
    }

    fn pay(&mut self, index: LogIndex, payment: &Payment) -> Result<(), Rejection> {
        let request = &payment.request;
        let payer = self.latest(&request.from).cloned();
        if payer.is_none() && !request.from.as_str().starts_with("external:") {
            return Err(Rejection::AccountNotFound);
        }
        let mut payer = payer.unwrap_or_default();
        let mut payee = self.latest(&request.to).cloned().unwrap_or_default();
        let floor = payer.floor(&request.from);
        let paid = payer.balances.entry(request.currency).or_default();
        *paid -= request.amount.get();
        if *paid < floor {
            return Err(Rejection::InsufficientFunds);
        }
        let received = payee.balances.entry(request.currency).or_default();
        *received += request.amount.get();
        if let PaymentOutcome::Succeeded { from_balance, to_balance } = payment.outcome {
            let written = (from_balance.get(), to_balance.get());
            assert_eq!(written, (*paid, *received), "the balances written at {index} are others");
        }
        self.put(&request.from, index, payer);
        self.put(&request.to, index, payee);
        Ok(())
    }

    fn change(&mut self, index: LogIndex, id: &AccountId, change: AccountChangeKind) -> Result<(), Rejection> {
        let account = match (change, self.latest(id)) {
            (AccountChangeKind::Open(_), Some(_)) => return Err(Rejection::AccountExists),
            (AccountChangeKind::SetOverdraft(_), None) => return Err(Rejection::AccountNotFound),
            (AccountChangeKind::Open(overdraft), None) => Account { overdraft, balances: BTreeMap::new() },
            (AccountChangeKind::SetOverdraft(overdraft), Some(account)) => {
                let changed = Account { overdraft, ..account.clone() };
                let floor = changed.floor(id);
                if changed.balances.values().any(|balance| *balance < floor) {
                    return Err(Rejection::OverdraftInUse);
                }
                changed
            }
        };
        self.put(id, index, account);
        Ok(())
    }

    /// Double entry: nothing was made and nothing lost.
    pub(super) fn check_sums(&self) {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for (id, account) in self.0.iter().filter_map(|(id, states)| states.last().map(|(_, account)| (id, account))) {
            for (currency, balance) in &account.balances {
                assert!(*balance >= account.floor(id), "{id} is below its policy: {account:?}");
                *sums.entry(*currency).or_default() += i128::from(*balance);
            }
        }
        assert!(sums.values().all(|sum| *sum == 0), "the accounts do not sum to zero: {sums:?}");
    }
}

/// Whether a node shows an account as the oracle has it.
pub(super) fn same(known: Option<&Account>, shown: Option<&AccountState>) -> bool {
    match (known, shown) {
        (None, None) => true,
        (Some(known), Some(shown)) => {
            let balances = shown.balances.iter().map(|(currency, balance)| (currency, balance.get()));
            known.overdraft == shown.overdraft && known.balances == balances.collect()
        }
        _ => false,
    }
}
