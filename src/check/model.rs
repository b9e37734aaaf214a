//! Accounts as plain as can be: a second opinion on what every entry should have led to, and what every account held as
//! of any index. Shares nothing with the real bank but the types of requests and refusals.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{AccountChangeKind, AccountId, Currency, Overdraft, PaymentRequest, Rejection};
use crate::replication::LogIndex;

/// An account by its number in this check: shorter than its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountNumber(u32);

/// A value's whole history: each step holds from its index on.
#[derive(Clone, Debug)]
struct Steps<T>(Vec<(LogIndex, T)>);

/// One account's whole history.
#[derive(Clone, Debug)]
struct Account {
    id: AccountId,
    /// Empty for an account that was named but never came to exist.
    policy: Steps<Overdraft>,
    balances: Vec<(Currency, Steps<i64>)>,
}

/// An account as of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) overdraft: Overdraft,
    /// Posted balances.
    pub(super) balances: BTreeMap<Currency, i64>,
}

/// All accounts.
#[derive(Debug, Default)]
pub(super) struct Model {
    numbers: HashMap<AccountId, AccountNumber>,
    accounts: Vec<Account>,
}

impl<T: Copy> Steps<T> {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn latest(&self) -> Option<T> {
        self.0.last().map(|(_, value)| *value)
    }

    fn as_of(&self, index: LogIndex) -> Option<T> {
        let after = self.0.partition_point(|(since, _)| *since <= index);
        after.checked_sub(1).map(|at| self.0[at].1)
    }

    fn set(&mut self, index: LogIndex, value: T) {
        self.0.push((index, value));
    }
}

impl Account {
    fn latest(&self, currency: Currency) -> i64 {
        let held = self.balances.iter().find(|(held, _)| *held == currency);
        held.and_then(|(_, steps)| steps.latest()).unwrap_or(0)
    }

    /// The lowest balance that paying may bring it to.
    fn floor(&self, overdraft: Overdraft) -> i64 {
        match overdraft {
            _ if self.id.as_str().starts_with("external:") => i64::MIN,
            Overdraft::None => 0,
            Overdraft::Limit(limit) => -limit.get(),
            Overdraft::Unlimited => i64::MIN,
        }
    }

    fn latest_floor(&self) -> i64 {
        self.floor(self.policy.latest().unwrap_or_default())
    }
}

impl Model {
    /// The account's number; a new one for an account that was never named before.
    pub(super) fn number(&mut self, id: &AccountId) -> AccountNumber {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = AccountNumber(u32::try_from(self.accounts.len()).expect("a ledger names fewer accounts"));
        self.accounts.push(Account { id: id.clone(), policy: Steps::new(), balances: Vec::new() });
        self.numbers.insert(id.clone(), number);
        number
    }

    /// The account's number, if it was ever named.
    pub(super) fn find(&self, id: &AccountId) -> Option<AccountNumber> {
        self.numbers.get(id).copied()
    }

    /// The account's id.
    pub(super) fn id(&self, number: AccountNumber) -> &AccountId {
        &self.account(number).id
    }

    fn account(&self, number: AccountNumber) -> &Account {
        &self.accounts[usize::try_from(number.0).expect("a u32 fits")]
    }

    fn account_mut(&mut self, number: AccountNumber) -> &mut Account {
        &mut self.accounts[usize::try_from(number.0).expect("a u32 fits")]
    }

    /// What a payment leads to: the balances of both accounts after it, or why it must be refused.
    pub(super) fn decide_payment(&self, request: &PaymentRequest) -> Result<(i64, i64), Rejection> {
        let existing = |id| self.find(id).map(|number| self.account(number)).filter(|account| account.exists());
        let payer = existing(&request.from);
        if payer.is_none() && !request.from.as_str().starts_with("external:") {
            return Err(Rejection::AccountNotFound);
        }
        let (currency, amount) = (request.currency, request.amount.get());
        let held = |account: Option<&Account>| account.map_or(0, |account| account.latest(currency));
        let paid = held(payer).checked_sub(amount).ok_or(Rejection::BalanceOverflow)?;
        if paid < payer.map_or(i64::MIN, Account::latest_floor) {
            return Err(Rejection::InsufficientFunds);
        }
        let received = held(existing(&request.to)).checked_add(amount).ok_or(Rejection::BalanceOverflow)?;
        Ok((paid, received))
    }

    /// Puts a balance down. The account exists from its first one.
    pub(super) fn post(&mut self, index: LogIndex, number: AccountNumber, currency: Currency, balance: i64) {
        let account = self.account_mut(number);
        if !account.exists() {
            account.policy.set(index, Overdraft::None);
        }
        match account.balances.iter_mut().find(|(held, _)| *held == currency) {
            Some((_, steps)) => steps.set(index, balance),
            None => account.balances.push((currency, Steps(vec![(index, balance)]))),
        }
    }

    /// What a change of an account leads to: nothing to say, or why it must be refused.
    pub(super) fn decide_change(&self, id: &AccountId, change: AccountChangeKind) -> Result<(), Rejection> {
        let account = self.find(id).map(|number| self.account(number)).filter(|account| account.exists());
        match (change, account) {
            (AccountChangeKind::Open(_), Some(_)) => Err(Rejection::AccountExists),
            (AccountChangeKind::Open(_), None) => Ok(()),
            (AccountChangeKind::SetOverdraft(_), None) => Err(Rejection::AccountNotFound),
            (AccountChangeKind::SetOverdraft(overdraft), Some(account)) => {
                let floor = account.floor(overdraft);
                let below = |(_, steps): &(Currency, Steps<i64>)| steps.latest().is_some_and(|balance| balance < floor);
                if account.balances.iter().any(below) { Err(Rejection::OverdraftInUse) } else { Ok(()) }
            }
        }
    }

    /// Carries a change out.
    pub(super) fn change(&mut self, index: LogIndex, number: AccountNumber, change: AccountChangeKind) {
        let (AccountChangeKind::Open(overdraft) | AccountChangeKind::SetOverdraft(overdraft)) = change;
        self.account_mut(number).policy.set(index, overdraft);
    }

    /// An account as of an index; `None` if it did not exist then.
    pub(super) fn shown(&self, id: &AccountId, index: LogIndex) -> Option<Shown> {
        let account = self.account(self.find(id)?);
        let overdraft = account.policy.as_of(index)?;
        let balances = account.balances.iter();
        let balances = balances.filter_map(|(currency, steps)| Some((*currency, steps.as_of(index)?)));
        Some(Shown { overdraft, balances: balances.collect() })
    }

    /// The sum over all accounts, by currency: zero, always.
    pub(super) fn sums(&self) -> BTreeMap<Currency, i128> {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for (currency, steps) in self.accounts.iter().flat_map(|account| &account.balances) {
            *sums.entry(*currency).or_default() += i128::from(steps.latest().unwrap_or(0));
        }
        sums
    }

    /// Accounts below what their policy allows, with the balance.
    pub(super) fn below_policy(&self) -> impl Iterator<Item = (&AccountId, Currency, i64)> {
        self.accounts.iter().flat_map(|account| {
            let balances = account.balances.iter().filter_map(|(currency, steps)| Some((*currency, steps.latest()?)));
            let below = balances.filter(|(_, balance)| *balance < account.latest_floor());
            below.map(|(currency, balance)| (&account.id, currency, balance))
        })
    }
}

impl Account {
    fn exists(&self) -> bool {
        !self.policy.0.is_empty()
    }
}
