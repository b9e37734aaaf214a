//! Accounts, payments and orders as plain as can be: a second opinion on what every entry should have led to, and what
//! every account held as of any index. Shares nothing with the real bank but the types of requests and outcomes.

mod changes;
mod payments;
mod steps;

use std::collections::{BTreeMap, HashMap};

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountId, AccountStatus, Currency, HoldEnd, OrderId, Overdraft, PaymentId, PaymentStatus, Rejection, Stamp,
};

use steps::Steps;

/// An account by its number in this check: shorter than its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AccountNumber(u32);

/// What an account has of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Money {
    pub(super) posted: i64,
    /// Set aside for captures.
    pub(super) held: i64,
}

/// An account's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) overdraft: Overdraft,
    pub(super) status: AccountStatus,
}

/// One account's whole history.
#[derive(Debug)]
struct Account {
    id: AccountId,
    /// Empty for an account that was named but never came to exist.
    rules: Steps<Rules>,
    money: Vec<(Currency, Steps<Money>)>,
    /// The posted balances that the ledger itself wrote down last.
    written: Vec<(Currency, i64)>,
}

/// A payment that was decided.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) from: AccountNumber,
    pub(super) to: AccountNumber,
    pub(super) amount: i64,
    pub(super) currency: Currency,
    order: Option<Box<OrderId>>,
    expires_at_ms: Option<u64>,
    standing: Steps<Standing>,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) held: i64,
    pub(super) captured: i64,
    pub(super) refunded: i64,
    end: HoldEnd,
    changes: u32,
}

/// How far an order is paid.
#[derive(Clone, Copy, Debug)]
struct Order {
    currency: Currency,
    total: i64,
    used: i64,
}

/// An account as of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) overdraft: Overdraft,
    pub(super) status: AccountStatus,
    pub(super) money: BTreeMap<Currency, (i64, i64)>,
}

/// Everything that money depends on.
#[derive(Debug, Default)]
pub(super) struct Model {
    numbers: HashMap<AccountId, AccountNumber>,
    accounts: Vec<Account>,
    payments: HashMap<PaymentId, Known>,
    orders: HashMap<OrderId, Order>,
    /// What the entry that is being replayed has touched, to be taken back if all of it has to be.
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
        let held = self.money.iter().find(|(held, _)| *held == currency);
        held.and_then(|(_, steps)| steps.latest()).unwrap_or_default()
    }

    /// The lowest unheld balance that paying may bring it to.
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
    /// The account's number; a new one for an account that was never named before.
    pub(super) fn number(&mut self, id: &AccountId) -> AccountNumber {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = AccountNumber(u32::try_from(self.accounts.len()).expect("a ledger names fewer accounts"));
        let (rules, money, written) = (Steps::default(), Vec::new(), Vec::new());
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
    pub(super) fn payment(&self, id: PaymentId) -> Option<&Known> {
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

    /// Puts an account's money down. The account exists from then on.
    fn put(&mut self, index: LogIndex, number: AccountNumber, currency: Currency, money: Money) {
        let account = self.account_mut(number);
        if !account.exists() {
            account.rules.set(index, Rules { overdraft: Overdraft::None, status: AccountStatus::Active });
        }
        match account.money.iter_mut().find(|(held, _)| *held == currency) {
            Some((_, steps)) => steps.set(index, money),
            None => {
                let mut steps = Steps::default();
                steps.set(index, money);
                account.money.push((currency, steps));
            }
        }
    }

    /// Begins another entry: what the one before it did stays.
    pub(super) fn begin(&mut self) {
        self.touched = Touched::default();
    }

    /// Takes back everything that the entry at `index` did so far.
    pub(super) fn take_back(&mut self, index: LogIndex) {
        let Touched { accounts, payments, orders } = std::mem::take(&mut self.touched);
        for number in accounts {
            let account = &mut self.accounts[usize::try_from(number.0).expect("a u32 fits")];
            account.rules.take_back(index);
            account.money.iter_mut().for_each(|(_, steps)| steps.take_back(index));
            account.money.retain(|(_, steps)| steps.latest().is_some());
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

    /// Notes a posted balance as the ledger wrote it down.
    pub(super) fn wrote(&mut self, number: AccountNumber, currency: Currency, posted: i64) {
        let written = &mut self.accounts[usize::try_from(number.0).expect("a u32 fits")].written;
        match written.iter_mut().find(|(held, _)| *held == currency) {
            Some((_, balance)) => *balance = posted,
            None => written.push((currency, posted)),
        }
    }

    /// An account as of an index; `None` if it did not exist then.
    pub(super) fn shown(&self, id: &AccountId, index: LogIndex) -> Option<Shown> {
        let account = self.account(self.find(id)?);
        let Rules { overdraft, status } = account.rules.as_of(index)?;
        let overdraft = if account.is_external() { Overdraft::Unlimited } else { overdraft };
        let money = account.money.iter().filter_map(|(currency, steps)| {
            let Money { posted, held } = steps.as_of(index)?;
            Some((*currency, (posted, held)))
        });
        Some(Shown { overdraft, status, money: money.collect() })
    }

    /// The sum over all accounts of what the ledger wrote down last, by currency: zero, always.
    pub(super) fn sums(&self) -> BTreeMap<Currency, i128> {
        let mut sums: BTreeMap<Currency, i128> = BTreeMap::new();
        for (currency, balance) in self.accounts.iter().flat_map(|account| &account.written) {
            *sums.entry(*currency).or_default() += i128::from(*balance);
        }
        sums
    }

    /// Accounts below what their policy allows, with the balance that the ledger wrote down.
    pub(super) fn below_policy(&self) -> impl Iterator<Item = (&AccountId, Currency, i64)> {
        self.accounts.iter().flat_map(|account| {
            let below = account.written.iter().filter(|(_, balance)| *balance < account.floor());
            below.map(|(currency, balance)| (&account.id, *currency, *balance))
        })
    }
}

impl Known {
    /// Where it stands as of an index, and every later step: what may be shown as of then or a moment after.
    pub(super) fn standing_from(&self, index: LogIndex) -> impl Iterator<Item = (Standing, PaymentStatus)> {
        self.standing.from(index).map(|standing| (standing, self.status(&standing)))
    }

    /// Where it stood right after it was decided.
    pub(super) fn first_standing(&self) -> (Standing, PaymentStatus) {
        let standing = self.standing.first().expect("a payment has a standing from its decision on");
        (standing, self.status(&standing))
    }

    /// Where it stands as of an index at which it is there.
    pub(super) fn standing_at(&self, index: LogIndex) -> Option<(Standing, PaymentStatus)> {
        self.standing.as_of(index).map(|standing| (standing, self.status(&standing)))
    }

    fn status(&self, standing: &Standing) -> PaymentStatus {
        let Standing { held, captured, refunded, end, .. } = *standing;
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

/// Where an entry stands, for what depends on its time.
pub(super) const fn index_of(stamp: Stamp) -> LogIndex {
    stamp.index
}

/// What is not set aside, if it is not below the floor.
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
