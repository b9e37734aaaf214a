//! Accounts and balances.

use super::super::{AccountId, AccountStatus, Currency, MinorUnits, Overdraft};

/// An account's money in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// The sum of all postings.
    pub posted: MinorUnits,
    /// The sum of all open holds. Never negative.
    pub held: MinorUnits,
}

impl Balance {
    /// The posted balance without the held part. As `i128`, because callers check its range.
    #[must_use]
    pub fn unheld(self) -> i128 {
        i128::from(self.posted.get()) - i128::from(self.held.get())
    }

    /// What may be paid before the account reaches its floor.
    #[must_use]
    pub fn available(self, floor: MinorUnits) -> i128 {
        self.unheld() - i128::from(floor.get())
    }
}

/// Balances by currency, sorted. Nearly every account has one or two currencies, so a vector is smaller and faster than
/// a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balances(Vec<(Currency, Balance)>);

impl Balances {
    /// The balance in a currency; zero where the account never had any.
    #[must_use]
    pub fn get(&self, currency: Currency) -> Balance {
        self.find(currency).unwrap_or_default()
    }

    /// The balance in a currency, if the account ever had one.
    #[must_use]
    pub fn find(&self, currency: Currency) -> Option<Balance> {
        self.position(currency).ok().map(|at| self.0[at].1)
    }

    /// All balances, sorted by currency.
    pub fn iter(&self) -> impl Iterator<Item = (Currency, Balance)> + '_ {
        self.0.iter().copied()
    }

    /// Sets a balance.
    pub fn set(&mut self, currency: Currency, balance: Balance) {
        match self.position(currency) {
            Ok(at) => self.0[at].1 = balance,
            Err(at) => self.0.insert(at, (currency, balance)),
        }
    }

    /// Restores an earlier balance, or its absence.
    pub(super) fn restore(&mut self, currency: Currency, before: Option<Balance>) {
        match (before, self.position(currency)) {
            (Some(balance), _) => self.set(currency, balance),
            (None, Ok(at)) => {
                self.0.remove(at);
            }
            (None, Err(_)) => {}
        }
    }

    fn position(&self, currency: Currency) -> Result<usize, usize> {
        self.0.binary_search_by_key(&currency, |(held, _)| *held)
    }
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// How far below zero it may go.
    pub overdraft: Overdraft,
    /// Whether it may be used.
    pub status: AccountStatus,
    /// Its money.
    pub balances: Balances,
}

impl AccountState {
    /// The lowest unheld balance to which the account may pay.
    #[must_use]
    pub fn floor(&self, id: &AccountId) -> MinorUnits {
        floor(id, self.overdraft)
    }
}

/// The floor of an account under a policy. External accounts have none.
pub(super) fn floor(id: &AccountId, overdraft: Overdraft) -> MinorUnits {
    if id.is_external() { Overdraft::Unlimited.floor() } else { overdraft.floor() }
}
