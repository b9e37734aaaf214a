//! Invariants: every currency sums to zero over all accounts, no account falls below its policy, no hold or refund
//! exceeds its payment, no order its total, and every outcome in the ledger follows from the entries before it. Checked
//! by a simple model that shares no code with the real bank except the types of requests.

use std::collections::BTreeMap;

use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountOutcome, AccountState, AccountStatus, Batch, Currency, LogIndex, Operation,
    OrderId, Overdraft, PaymentId, Rejection, RuleVersion,
};
use quorapay_core::replication::Entry;

use super::charges::{self, Charge};

/// Money in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Funds {
    pub(super) posted: i64,
    pub(super) held: i64,
}

/// The model of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    overdraft: Overdraft,
    status: AccountStatus,
    funds: BTreeMap<Currency, Funds>,
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

    fn is_within(&self, id: &AccountId) -> bool {
        let floor = i128::from(self.floor(id));
        self.funds.values().all(|funds| i128::from(funds.posted) - i128::from(funds.held) >= floor)
    }
}

/// The model of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) total: i64,
    pub(super) currency: Currency,
}

/// The model's state after the committed history.
#[derive(Default)]
pub(crate) struct Money {
    /// Every account's whole history: each state with the index of the entry that set it.
    accounts: BTreeMap<AccountId, Vec<(LogIndex, Account)>>,
    pub(super) charges: BTreeMap<PaymentId, Charge>,
    pub(super) orders: BTreeMap<OrderId, Order>,
    /// The rules in force.
    pub(super) rules: RuleVersion,
}

impl Money {
    /// An epoch begins: these rules decide from here on.
    pub(super) fn begin_epoch(&mut self, rules: RuleVersion) {
        self.rules = rules;
    }

    /// An account as of an index.
    pub(super) fn as_of(&self, id: &AccountId, index: LogIndex) -> Option<&Account> {
        self.accounts.get(id)?.iter().rev().find(|(since, _)| *since <= index).map(|(_, account)| account)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.accounts.keys()
    }

    fn latest(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.get(id)?.last().map(|(_, account)| account)
    }

    fn put(&mut self, id: &AccountId, index: LogIndex, account: Account) {
        self.accounts.entry(id.clone()).or_default().push((index, account));
    }

    pub(super) fn exists(&self, id: &AccountId) -> bool {
        self.latest(id).is_some()
    }

    pub(super) fn funds(&self, id: &AccountId, currency: Currency) -> Funds {
        self.latest(id).and_then(|account| account.funds.get(&currency)).copied().unwrap_or_default()
    }

    /// Changes an account's posted and held amounts.
    pub(super) fn shift(&mut self, id: &AccountId, index: LogIndex, currency: Currency, posted: i64, held: i64) {
        let mut account = self.latest(id).cloned().unwrap_or_default();
        let funds = account.funds.entry(currency).or_default();
        funds.posted += posted;
        funds.held += held;
        assert!(funds.held >= 0, "{id} has a negative held amount at {index}");
        self.put(id, index, account);
    }

    pub(super) fn open(&mut self, id: &AccountId, index: LogIndex, overdraft: Overdraft) {
        self.put(id, index, Account { overdraft, ..Account::default() });
    }

    /// Whether an account can pay an amount without touching its holds.
    pub(super) fn can_pay(&self, id: &AccountId, currency: Currency, amount: i64) -> bool {
        let floor = self.latest(id).cloned().unwrap_or_default().floor(id);
        let funds = self.funds(id, currency);
        i128::from(funds.posted) - i128::from(funds.held) - i128::from(amount) >= i128::from(floor)
    }

    pub(super) fn usable(&self, id: &AccountId) -> Result<(), Rejection> {
        match self.latest(id).map(|account| account.status) {
            Some(AccountStatus::Frozen) => Err(Rejection::AccountFrozen),
            Some(AccountStatus::Closed) => Err(Rejection::AccountClosed),
            Some(AccountStatus::Active) | None => Ok(()),
        }
    }

    /// Applies the next committed entry to the model and compares the outcomes.
    pub(super) fn committed(&mut self, entry: &Entry, operation: &Operation) {
        let index = entry.index;
        match operation {
            Operation::Payment(payment) => {
                let expected = self.pay(entry, 0, &payment.request);
                assert_eq!(payment.outcome, expected, "the outcome at {index} is not what the model computes");
            }
            Operation::Batch(batch) => self.batch(entry, batch),
            Operation::PaymentChange(change) => {
                let expected = self.change_payment(entry, change.payment, change.change);
                assert_eq!(
                    change.outcome, expected,
                    "the outcome at {index} is not what the model computes: {change:?}"
                );
            }
            Operation::Expiry(expiry) => self.expire(entry, expiry.payment),
            Operation::Account(change) => {
                let expected = self.change(index, &change.account, change.change);
                let expected = expected.map_or_else(AccountOutcome::Rejected, |()| AccountOutcome::Applied);
                assert_eq!(
                    change.outcome, expected,
                    "the outcome at {index} is not what the model computes: {change:?}"
                );
            }
            Operation::KeyFence(_) | Operation::ApiKey(_) => {}
        }
    }

    fn batch(&mut self, entry: &Entry, batch: &Batch) {
        let orders = self.orders.clone();
        let mut expected = Vec::new();
        for (number, item) in (0_u16..).zip(&batch.items) {
            let taken_as_written = charges::follows_from_its_key(item.outcome);
            expected.push(if taken_as_written { item.outcome } else { self.pay(entry, number, &item.request) });
        }
        if batch.atomic && expected.iter().any(|outcome| outcome.rejection().is_some()) {
            self.orders = orders;
            self.charges.retain(|id, _| id.index() != entry.index);
            for history in self.accounts.values_mut() {
                history.retain(|(since, _)| *since != entry.index);
            }
            self.accounts.retain(|_, history| !history.is_empty());
            expected.iter_mut().for_each(|outcome| *outcome = charges::aborted(*outcome));
        }
        for ((number, item), outcome) in (0_u16..).zip(&batch.items).zip(&expected) {
            if outcome.rejection().is_some() {
                self.refuse(entry, number, &item.request);
            }
        }
        let written: Vec<_> = batch.items.iter().map(|item| item.outcome).collect();
        assert_eq!(written, expected, "the outcomes at {} are not what the model computes", entry.index);
    }

    fn change(&mut self, index: LogIndex, id: &AccountId, change: AccountChangeKind) -> Result<(), Rejection> {
        let account = match (change, self.latest(id).cloned()) {
            (AccountChangeKind::Open(_), Some(_)) => return Err(Rejection::AccountExists),
            (AccountChangeKind::Change { .. }, None) => return Err(Rejection::AccountNotFound),
            (AccountChangeKind::Open(overdraft), None) => Account { overdraft, ..Account::default() },
            (AccountChangeKind::Change { overdraft, status }, Some(account)) => {
                if account.status == AccountStatus::Closed {
                    return Err(Rejection::AccountClosed);
                }
                let changed = Account { overdraft: overdraft.unwrap_or(account.overdraft), ..account };
                if overdraft.is_some() && !changed.is_within(id) {
                    return Err(Rejection::OverdraftInUse);
                }
                let idle = changed.funds.values().all(|funds| *funds == Funds::default());
                if status == Some(AccountStatus::Closed) && !idle {
                    return Err(Rejection::AccountNotEmpty);
                }
                Account { status: status.unwrap_or(changed.status), ..changed }
            }
        };
        self.put(id, index, account);
        Ok(())
    }

    /// Checks double entry, and that the held amounts equal the open holds.
    pub(super) fn check_sums(&self) {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        let mut holds: BTreeMap<(&AccountId, Currency), i64> = BTreeMap::new();
        for charge in self.charges.values().filter(|charge| charge.held > 0) {
            *holds.entry((&charge.from, charge.currency)).or_default() += charge.held;
        }
        let latest = |(id, states): (_, &Vec<(LogIndex, Account)>)| Some((id, states.last()?.1.clone()));
        for (id, account) in self.accounts.iter().filter_map(latest) {
            assert!(account.is_within(id), "{id} is below its policy: {account:?}");
            for (currency, funds) in &account.funds {
                *sums.entry(*currency).or_default() += i128::from(funds.posted);
                let held = holds.get(&(id, *currency)).copied().unwrap_or_default();
                assert_eq!(funds.held, held, "the held amount of {id} in {currency:?} is not the sum of its holds");
            }
        }
        assert!(sums.values().all(|sum| *sum == 0), "the accounts do not sum to zero: {sums:?}");
        self.check_caps();
    }
}

/// Whether a node's account equals the model's.
pub(super) fn matches(known: Option<&Account>, shown: Option<&AccountState>) -> bool {
    match (known, shown) {
        (None, None) => true,
        (Some(known), Some(shown)) => {
            let funds = |balance: quorapay_core::domain::Balance| Funds {
                posted: balance.posted.get(),
                held: balance.held.get(),
            };
            let funds = shown.balances.iter().map(|(currency, balance)| (currency, funds(balance)));
            (known.overdraft, known.status) == (shown.overdraft, shown.status) && known.funds == funds.collect()
        }
        _ => false,
    }
}
