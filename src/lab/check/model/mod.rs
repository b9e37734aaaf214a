//! A second implementation of accounts, payments and orders: the expected outcome of every entry, and the state of every
//! account as of any index. It shares nothing with the real bank except the types of requests and outcomes.

mod changes;
mod payments;
mod versions;

use std::collections::{BTreeMap, HashMap};

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountId, AccountStatus, Currency, HoldEnd, OrderId, Overdraft, PaymentId, PaymentStatus, Rejection, Stamp,
};

use versions::Versions;

/// The number of an account in this check, which takes less memory than its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountNumber(u32);

/// An account's balances in one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Money {
    pub(super) posted: i64,
    /// Held for captures.
    pub(super) held: i64,
}

/// An account's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountRules {
    pub(super) overdraft: Overdraft,
    pub(super) status: AccountStatus,
}

/// An account with its whole history.
#[derive(Debug)]
struct Account {
    id: AccountId,
    /// Empty for an account that was named but never existed.
    rules: Versions<AccountRules>,
    money: Vec<(Currency, Versions<Money>)>,
    /// The last posted balances that entries of the ledger contain.
    written: Vec<(Currency, i64)>,
}

/// A payment that was decided.
#[derive(Debug)]
pub(super) struct PaymentRecord {
    pub(super) from: AccountNumber,
    pub(super) to: AccountNumber,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    order: Option<Box<OrderId>>,
    expires_at_ms: Option<u64>,
    amounts: Versions<PaymentAmounts>,
}

/// The state of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PaymentAmounts {
    pub(super) held: i64,
    pub(super) captured: i64,
    pub(super) refunded: i64,
    end: HoldEnd,
    changes: u32,
}

/// The payments of an order.
#[derive(Clone, Copy, Debug)]
struct Order {
    currency: Currency,
    total: i64,
    used: i64,
}

/// An account as of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AccountAsOf {
    pub(super) overdraft: Overdraft,
    pub(super) status: AccountStatus,
    pub(super) money: BTreeMap<Currency, (i64, i64)>,
}

/// The state of the bank after the entries replayed so far, with its history.
#[derive(Debug, Default)]
pub(super) struct Model {
    numbers: HashMap<AccountId, AccountNumber>,
    accounts: Vec<Account>,
    payments: HashMap<PaymentId, PaymentRecord>,
    orders: HashMap<OrderId, Order>,
    /// What the current entry has changed, for [`Self::undo`].
    touched: Touched,
}

#[derive(Debug, Default)]
struct Touched {
    accounts: Vec<AccountNumber>,
    payments: Vec<PaymentId>,
    orders: Vec<(OrderId, Option<Order>)>,
}

impl Account {
    fn exists(&self) -> bool {
        self.rules.latest().is_some()
    }

    fn is_external(&self) -> bool {
        is_external(&self.id)
    }

    fn money(&self, currency: Currency) -> Money {
        let held = self.money.iter().find(|(known, _)| *known == currency);
        held.and_then(|(_, versions)| versions.latest()).unwrap_or_default()
    }

    /// The lowest unheld balance that payments may leave.
    fn floor(&self) -> i64 {
        self.floor_under(self.rules.latest().map_or(Overdraft::None, |rules| rules.overdraft))
    }

    fn floor_under(&self, overdraft: Overdraft) -> i64 {
        match overdraft {
            _ if self.is_external() => i64::MIN,
            Overdraft::None => 0,
            Overdraft::Limit(limit) => -limit.get(),
            Overdraft::Unlimited => i64::MIN,
        }
    }
}

fn is_external(id: &AccountId) -> bool {
    id.as_str().starts_with("external:")
}

impl Model {
    /// The account's number; a new one for an account that is named for the first time.
    pub(super) fn number(&mut self, id: &AccountId) -> AccountNumber {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = AccountNumber(u32::try_from(self.accounts.len()).expect("a ledger names fewer accounts"));
        let (rules, money, written) = (Versions::default(), Vec::new(), Vec::new());
        self.accounts.push(Account { id: id.clone(), rules, money, written });
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

    /// A payment by its id.
    pub(super) fn payment(&self, id: PaymentId) -> Option<&PaymentRecord> {
        self.payments.get(&id)
    }

    fn account(&self, number: AccountNumber) -> &Account {
        &self.accounts[usize::try_from(number.0).expect("a u32 fits")]
    }

    fn account_mut(&mut self, number: AccountNumber) -> &mut Account {
        self.touched.accounts.push(number);
        &mut self.accounts[usize::try_from(number.0).expect("a u32 fits")]
    }

    fn existing(&self, number: AccountNumber) -> Option<&Account> {
        Some(self.account(number)).filter(|account| account.exists())
    }

    fn money(&self, number: AccountNumber, currency: Currency) -> Money {
        self.account(number).money(currency)
    }

    /// Sets an account's balances. The account exists from then on.
    fn set_money(&mut self, index: LogIndex, number: AccountNumber, currency: Currency, money: Money) {
        let account = self.account_mut(number);
        if !account.exists() {
            account.rules.set(index, AccountRules { overdraft: Overdraft::None, status: AccountStatus::Active });
        }
        match account.money.iter_mut().find(|(known, _)| *known == currency) {
            Some((_, versions)) => versions.set(index, money),
            None => {
                let mut versions = Versions::default();
                versions.set(index, money);
                account.money.push((currency, versions));
            }
        }
    }

    /// Begins the next entry. The one before it can no longer be undone.
    pub(super) fn begin_entry(&mut self) {
        self.touched = Touched::default();
    }

    /// Undoes everything that the entry at `index` has changed so far.
    pub(super) fn undo(&mut self, index: LogIndex) {
        let Touched { accounts, payments, orders } = std::mem::take(&mut self.touched);
        for number in accounts {
            let account = &mut self.accounts[usize::try_from(number.0).expect("a u32 fits")];
            account.rules.undo(index);
            account.money.iter_mut().for_each(|(_, versions)| versions.undo(index));
            account.money.retain(|(_, versions)| versions.latest().is_some());
        }
        for id in payments {
            self.payments.remove(&id);
        }
        for (id, before) in orders.into_iter().rev() {
            match before {
                Some(order) => self.orders.insert(id, order),
                None => self.orders.remove(&id),
            };
        }
    }

    /// Records a posted balance that an entry contains.
    pub(super) fn record_written(&mut self, number: AccountNumber, currency: Currency, posted: i64) {
        let written = &mut self.accounts[usize::try_from(number.0).expect("a u32 fits")].written;
        match written.iter_mut().find(|(known, _)| *known == currency) {
            Some((_, balance)) => *balance = posted,
            None => written.push((currency, posted)),
        }
    }

    /// An account as of an index; `None` if it did not exist then.
    pub(super) fn account_as_of(&self, id: &AccountId, index: LogIndex) -> Option<AccountAsOf> {
        let account = self.account(self.find(id)?);
        let AccountRules { overdraft, status } = account.rules.as_of(index)?;
        let overdraft = if account.is_external() { Overdraft::Unlimited } else { overdraft };
        let money = account.money.iter().filter_map(|(currency, versions)| {
            let Money { posted, held } = versions.as_of(index)?;
            Some((*currency, (posted, held)))
        });
        Some(AccountAsOf { overdraft, status, money: money.collect() })
    }

    /// The sums of the last posted balances in the ledger by currency, which must be zero.
    pub(super) fn sums(&self) -> BTreeMap<Currency, i128> {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for (currency, balance) in self.accounts.iter().flat_map(|account| &account.written) {
            *sums.entry(*currency).or_default() += i128::from(*balance);
        }
        sums
    }

    /// Accounts below their policy, with the last posted balance in the ledger.
    pub(super) fn below_policy(&self) -> impl Iterator<Item = (&AccountId, Currency, i64)> {
        self.accounts.iter().flat_map(|account| {
            let below = account.written.iter().filter(|(_, balance)| *balance < account.floor());
            below.map(|(currency, balance)| (&account.id, *currency, *balance))
        })
    }
}

impl PaymentRecord {
    /// Its state as of an index and all later states.
    pub(super) fn amounts_from(&self, index: LogIndex) -> impl Iterator<Item = (PaymentAmounts, PaymentStatus)> {
        self.amounts.from(index).map(|amounts| (amounts, self.status(&amounts)))
    }

    /// Its state after its decision.
    pub(super) fn first_amounts(&self) -> (PaymentAmounts, PaymentStatus) {
        let amounts = self.amounts.first().expect("a payment has a standing from its decision on");
        (amounts, self.status(&amounts))
    }

    /// Its state as of an index; `None` before its decision.
    pub(super) fn amounts_at(&self, index: LogIndex) -> Option<(PaymentAmounts, PaymentStatus)> {
        self.amounts.as_of(index).map(|amounts| (amounts, self.status(&amounts)))
    }

    fn status(&self, amounts: &PaymentAmounts) -> PaymentStatus {
        let PaymentAmounts { held, captured, refunded, end, .. } = *amounts;
        match (end, held, captured, refunded) {
            (HoldEnd::Rejected, ..) => PaymentStatus::Rejected,
            (HoldEnd::Voided, _, 0, _) => PaymentStatus::Voided,
            (HoldEnd::Expired, _, 0, _) => PaymentStatus::Expired,
            (_, 1.., 0, _) => PaymentStatus::Authorized,
            (_, 1.., ..) => PaymentStatus::PartiallyCaptured,
            _ if refunded == captured => PaymentStatus::Refunded,
            _ if refunded > 0 => PaymentStatus::PartiallyRefunded,
            _ if self.expires_at_ms.is_some() => PaymentStatus::Captured,
            _ => PaymentStatus::Succeeded,
        }
    }
}

/// The index of an entry.
pub(super) const fn index_of(stamp: Stamp) -> LogIndex {
    stamp.index
}

/// Checks that the unheld balance is not below the floor.
fn check_floor(money: Money, floor: i64) -> Result<Money, Rejection> {
    let unheld = i128::from(money.posted) - i128::from(money.held);
    if unheld < i128::from(i64::MIN) {
        Err(Rejection::BalanceOverflow)
    } else if unheld < i128::from(floor) {
        Err(Rejection::InsufficientFunds)
    } else {
        Ok(money)
    }
}

fn add(money: Money, amount: i64) -> Result<Money, Rejection> {
    let posted = money.posted.checked_add(amount).ok_or(Rejection::BalanceOverflow)?;
    Ok(Money { posted, ..money })
}
