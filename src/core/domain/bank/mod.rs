//! The bank: a deterministic state machine over accounts, holds and orders.
//!
//! The leader *executes* a request against it; every other node *applies* the decided operation, which decides it again
//! and compares: a node whose bank differs finds out at the first operation that shows it. What is applied before it is
//! committed can be undone, newest first.
//!
//! In memory for good are the accounts, the open holds and the orders that these pay for. Any other payment or order is
//! *recalled* when an operation concerns it, by the leader from its disk, by the others from the operation itself, and
//! *forgotten* once the disk knows of its last change.

mod accounts;
mod batches;
mod changes;
mod payments;
mod state;
#[cfg(test)]
mod tests;
mod undo;

use crate::domain::LogIndex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    AccountId, Currency, Fingerprint, KeyDigest, MinorUnits, Operation, OperationRequest, OrderId, OrderState,
    Overdraft, Payment, PaymentId, PaymentState, Proposal, Stamp,
};

pub use state::{AccountState, Balance, Balances};
pub use undo::Undo;

use undo::UndoStep;

/// All accounts, and of payments and orders what is in motion. Sorted maps, so that listings and iteration are the same on
/// every node.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    accounts: BTreeMap<AccountId, AccountState>,
    /// What all accounts together hold, by currency. Always zero: every posting takes from one what it gives to another.
    sums: BTreeMap<Currency, i128>,
    /// Every payment with an open hold, and others whose last change the disk may not know yet.
    payments: BTreeMap<PaymentId, PaymentState>,
    /// The open holds by the time at which they expire.
    expiries: BTreeSet<(u64, PaymentId)>,
    /// Every order with a live hold, and others whose last change the disk may not know yet.
    orders: BTreeMap<OrderId, OrderRecord>,
    /// What may be forgotten, once the disk knows the entry at the index given.
    forgettable: VecDeque<(LogIndex, Forgettable)>,
}

/// An order, and for how long it must be kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderRecord {
    state: OrderState,
    live_holds: u32,
    /// Index of the last entry that changed it.
    touched: LogIndex,
}

#[derive(Clone, Debug)]
enum Forgettable {
    Payment(PaymentId),
    Order(OrderId),
}

/// An operation does not fit this bank: deciding the same request here gives another outcome. The node's state or the
/// ledger is damaged, and going on would spread it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bank differs from the ledger: {0}")]
pub struct Divergence(String);

/// What holds an idempotency key that one of a batch's payments names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// The entry that holds it.
    pub index: LogIndex,
    /// Fingerprint of the request that it holds under the key; `None` if that is a fence.
    pub fingerprint: Option<Fingerprint>,
}

/// The holders of those keys of a batch's payments that are used up already.
pub type KeyHolders = BTreeMap<KeyDigest, KeyHolder>;

impl Bank {
    /// An account as of the last applied operation.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&AccountState> {
        self.accounts.get(id)
    }

    /// All accounts in the order of their ids, from after `after`.
    pub fn accounts_after<'bank>(
        &'bank self,
        after: Option<&AccountId>,
    ) -> impl Iterator<Item = (&'bank AccountId, &'bank AccountState)> + 'bank {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        self.accounts.range((start, Bound::Unbounded))
    }

    /// A payment as of the last applied operation, if memory holds it.
    #[must_use]
    pub fn payment(&self, id: PaymentId) -> Option<&PaymentState> {
        self.payments.get(&id)
    }

    /// Every open hold, the first to expire first.
    pub fn open_holds(&self) -> impl Iterator<Item = (PaymentId, &PaymentState)> {
        self.expiries.iter().map(|(_, id)| (*id, &self.payments[id]))
    }

    /// How many payments are on hold.
    #[must_use]
    pub fn open_hold_count(&self) -> usize {
        self.expiries.len()
    }

    /// The hold that expires first, and when, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn first_expiry(&self) -> Option<(u64, PaymentId)> {
        self.expiries.first().copied()
    }

    /// An order as of the last applied operation, if memory holds it.
    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<OrderState> {
        self.orders.get(id).map(|record| record.state)
    }

    /// How many accounts exist.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether no account exists.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The sum over all accounts, by currency, as kept up with every posting. Double entry keeps each at zero, always.
    #[must_use]
    pub const fn sums(&self) -> &BTreeMap<Currency, i128> {
        &self.sums
    }

    /// A currency in which money came out of nothing or went into it, if there is one.
    #[must_use]
    pub fn unbalanced(&self) -> Option<(Currency, i128)> {
        self.sums.iter().map(|(currency, sum)| (*currency, *sum)).find(|(_, sum)| *sum != 0)
    }

    /// The same sums, added up anew over all accounts.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<Currency, i128> {
        let mut totals = BTreeMap::new();
        for state in self.accounts.values() {
            for (currency, balance) in state.balances.iter() {
                *totals.entry(currency).or_default() += i128::from(balance.posted.get());
            }
        }
        totals
    }

    /// Puts an account back as it was stored, when a bank is loaded from a view of the ledger.
    pub fn restore_account(&mut self, id: AccountId, state: AccountState) {
        for (currency, balance) in state.balances.iter() {
            self.add_up(currency, MinorUnits::ZERO, balance.posted);
        }
        self.accounts.insert(id, state);
    }

    /// Puts an open hold back, and the order that it pays for as far as that is paid by everything. The account's
    /// balance holds the amount already.
    pub fn restore_hold(&mut self, id: PaymentId, state: PaymentState, order: Option<OrderState>) {
        if let Some((order_id, state)) = state.order.clone().zip(order) {
            let record =
                self.orders.entry(order_id).or_insert(OrderRecord { state, live_holds: 0, touched: LogIndex(0) });
            record.live_holds += 1;
        }
        self.put_payment(id, Some(state));
    }

    /// Brings a payment into memory as the disk knows it, unless memory knows better.
    pub fn recall_payment(&mut self, id: PaymentId, state: PaymentState) {
        if !self.payments.contains_key(&id) {
            self.put_payment(id, Some(state));
        }
    }

    /// Brings an order into memory as the disk knows it, unless memory knows better.
    pub fn recall_order(&mut self, id: &OrderId, state: OrderState) {
        if !self.orders.contains_key(id) {
            self.put_order(id, Some(OrderRecord { state, live_holds: 0, touched: LogIndex(0) }));
        }
    }

    /// Forgets payments and orders that are at rest and whose last change is not above `index`: up to `most`, or more
    /// where so many wait that memory would grow.
    pub fn forget_up_to(&mut self, index: LogIndex, most: usize) {
        for _ in 0..most.max(self.forgettable.len() / 16) {
            let Some((_, forgettable)) = self.forgettable.pop_front_if(|(since, _)| *since <= index) else { return };
            match forgettable {
                Forgettable::Payment(id) => {
                    if self.payments.get(&id).is_some_and(|state| !state.is_held() && state.last_change <= index) {
                        self.payments.remove(&id);
                    }
                }
                Forgettable::Order(id) => {
                    let at_rest = |record: &OrderRecord| record.live_holds == 0 && record.touched <= index;
                    if self.orders.get(&id).is_some_and(at_rest) {
                        self.orders.remove(&id);
                    }
                }
            }
        }
    }

    /// Decides a request against the bank as it is, and changes the bank accordingly. `holders` says which keys of a
    /// batch's payments are used up already.
    ///
    /// A payment that memory does not hold counts as not existing, and an order as new: whoever may know better recalls
    /// them first.
    pub fn execute(&mut self, stamp: Stamp, proposal: Proposal, holders: &KeyHolders) -> (Operation, Undo) {
        let fingerprint = proposal.request.fingerprint();
        let mut undo = Undo::default();
        let key = proposal.key;
        let operation = match proposal.request {
            OperationRequest::Payment(request) => {
                let order_before = self.order_before(&request);
                let outcome = self.pay(stamp, 0, &request, &mut undo);
                Operation::Payment(Payment { key, fingerprint, request, order_before, outcome })
            }
            OperationRequest::Account { account, change } => {
                let outcome = self.change_account(&account, change, &mut undo);
                Operation::Account(super::AccountChange { key, fingerprint, account, change, outcome })
            }
            OperationRequest::PaymentChange { payment, change } => {
                let before = self.payments.get(&payment).cloned().map(Box::new);
                let outcome = self.change_payment(stamp, payment, change, &mut undo);
                Operation::PaymentChange(super::PaymentChange { key, fingerprint, payment, change, before, outcome })
            }
            OperationRequest::Batch(request) => {
                Operation::Batch(self.execute_batch(stamp, key, fingerprint, request, holders, &mut undo))
            }
            OperationRequest::KeyFence => Operation::KeyFence(super::KeyFence { key, fingerprint }),
        };
        (operation, undo)
    }

    /// Applies a decided operation and says how to take it back.
    ///
    /// # Errors
    /// [`Divergence`] if deciding the same request here gives another outcome. Nothing is changed then.
    pub fn apply(&mut self, stamp: Stamp, operation: &Operation) -> Result<Undo, Divergence> {
        let mut undo = Undo::default();
        let applied = match operation {
            Operation::Payment(payment) => self.apply_payment(stamp, payment, &mut undo),
            Operation::Account(change) => {
                let decided = self.change_account(&change.account, change.change, &mut undo);
                same(&decided, &change.outcome)
            }
            Operation::PaymentChange(change) => self.apply_payment_change(stamp, change, &mut undo),
            Operation::Expiry(expiry) => self.apply_expiry(stamp, expiry, &mut undo),
            Operation::Batch(batch) => self.apply_batch(stamp, batch, &mut undo),
            Operation::KeyFence(_) => Ok(()),
        };
        match applied {
            Ok(()) => Ok(undo),
            Err(difference) => {
                self.undo(&undo);
                let key = operation.key().map_or("no key", super::IdempotencyKey::as_str);
                Err(Divergence(format!("the operation under {key:?}: {difference}")))
            }
        }
    }

    /// Stores or removes a payment, and keeps the list of expiries to it.
    fn put_payment(&mut self, id: PaymentId, state: Option<PaymentState>) {
        if let Some(old) = self.payments.remove(&id)
            && let Some(expires_at_ms) = old.expires_at_ms
        {
            self.expiries.remove(&(expires_at_ms, id));
        }
        let Some(state) = state else { return };
        match state.expires_at_ms {
            Some(expires_at_ms) if state.is_held() => {
                self.expiries.insert((expires_at_ms, id));
            }
            _ => self.forgettable.push_back((state.last_change, Forgettable::Payment(id))),
        }
        self.payments.insert(id, state);
    }

    /// Stores or removes an order.
    fn put_order(&mut self, id: &OrderId, record: Option<OrderRecord>) {
        let Some(record) = record else {
            self.orders.remove(id);
            return;
        };
        if record.live_holds == 0 {
            self.forgettable.push_back((record.touched, Forgettable::Order(id.clone())));
        }
        self.orders.insert(id.clone(), record);
    }

    /// Stores a payment's next state, and notes how to take that back.
    fn set_payment(&mut self, id: PaymentId, state: PaymentState, undo: &mut Undo) {
        let before = self.payments.get(&id).cloned().map(Box::new);
        undo.0.push(UndoStep::Payment(id, before));
        self.put_payment(id, Some(state));
    }

    /// Stores an order's next state, and notes how to take that back.
    fn set_order(&mut self, id: &OrderId, record: OrderRecord, undo: &mut Undo) {
        undo.0.push(UndoStep::Order(id.clone(), self.orders.get(id).copied()));
        self.put_order(id, Some(record));
    }

    /// Sets a balance, making the account if need be, and notes how to take that back.
    fn set_balance(&mut self, id: &AccountId, currency: Currency, balance: Balance, undo: &mut Undo) {
        let state = match self.accounts.get_mut(id) {
            Some(state) => state,
            None => {
                undo.0.push(UndoStep::Created(id.clone()));
                self.accounts.entry(id.clone()).or_default()
            }
        };
        let before = state.balances.find(currency);
        undo.0.push(UndoStep::Balance(id.clone(), currency, before));
        state.balances.set(currency, balance);
        self.add_up(currency, before.unwrap_or_default().posted, balance.posted);
    }

    /// Keeps the sum to what became of one balance.
    fn add_up(&mut self, currency: Currency, before: MinorUnits, after: MinorUnits) {
        if before != after {
            *self.sums.entry(currency).or_default() += i128::from(after.get()) - i128::from(before.get());
        }
    }

    /// Makes an account with a policy, and notes how to take that back.
    fn open_account(&mut self, id: &AccountId, overdraft: Overdraft, undo: &mut Undo) {
        undo.0.push(UndoStep::Created(id.clone()));
        self.accounts.insert(id.clone(), AccountState { overdraft, ..AccountState::default() });
    }

    fn balance(&self, id: &AccountId, currency: Currency) -> Balance {
        self.accounts.get(id).map_or_else(Balance::default, |state| state.balances.get(currency))
    }
}

/// What was decided here is what was written.
fn same<T: PartialEq + std::fmt::Debug>(here: &T, written: &T) -> Result<(), String> {
    if here == written { Ok(()) } else { Err(format!("it was written as {written:?}, here it is {here:?}")) }
}
