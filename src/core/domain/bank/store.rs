//! The bank's state with its elementary operations. Every operation on accounts, payments and orders goes through them
//! and can be undone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use super::state::{AccountState, Balance};
use super::undo::{OrderRecord, Undo, UndoStep};
use crate::domain::{
    AccountId, ApiKeyId, ApiKeyState, Currency, LogIndex, MinorUnits, OrderId, OrderState, Overdraft, PaymentId,
    PaymentState, RuleVersion,
};

/// All accounts, the open holds with their orders, and recently used payments and orders. Sorted maps, so that
/// iteration has the same order on every node.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    /// The rules by which the next entry is decided: those that the newest start of an epoch named.
    pub(super) rules: RuleVersion,
    pub(super) accounts: BTreeMap<AccountId, AccountState>,
    /// The sum of all posted balances, by currency. Always zero: every posting debits one account and credits another.
    sums: BTreeMap<Currency, i128>,
    /// Every payment with an open hold, and others whose last change the views may not hold yet.
    pub(super) payments: BTreeMap<PaymentId, PaymentState>,
    /// The open holds by the time at which they expire.
    expiries: BTreeSet<(u64, PaymentId)>,
    /// Every order with an open hold, and others whose last change the views may not hold yet.
    pub(super) orders: BTreeMap<OrderId, OrderRecord>,
    /// All API keys. Shared with those who check callers.
    pub(super) api_keys: BTreeMap<ApiKeyId, Arc<ApiKeyState>>,
    /// Closed payments and orders, which may be forgotten once the views hold the entry at the index.
    forgettable: VecDeque<(LogIndex, Forgettable)>,
}

#[derive(Clone, Debug)]
enum Forgettable {
    Payment(PaymentId),
    Order(OrderId),
}

/// Each call forgets at least this fraction of the backlog, so that memory stays bounded at any rate of new payments.
const BACKLOG_DIVISOR: usize = 16;

impl Bank {
    /// The rules by which the next entry is decided.
    #[must_use]
    pub const fn rules(&self) -> RuleVersion {
        self.rules
    }

    /// Restores the rules when a bank is loaded from the views.
    pub const fn restore_rules(&mut self, rules: RuleVersion) {
        self.rules = rules;
    }

    /// An epoch begins: from here on these rules decide.
    pub fn begin_epoch(&mut self, rules: RuleVersion) -> Undo {
        let before = std::mem::replace(&mut self.rules, rules);
        Undo(vec![UndoStep::Rules(before)])
    }

    /// All API keys as of the last applied operation, revoked ones included.
    #[must_use]
    pub const fn api_keys(&self) -> &BTreeMap<ApiKeyId, Arc<ApiKeyState>> {
        &self.api_keys
    }

    /// Restores the API keys when a bank is loaded.
    pub fn restore_api_keys(&mut self, keys: BTreeMap<ApiKeyId, Arc<ApiKeyState>>) {
        self.api_keys = keys;
    }

    /// An account as of the last applied operation.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<&AccountState> {
        self.accounts.get(id)
    }

    /// All accounts after `after`, sorted by id.
    pub fn accounts_after<'bank>(
        &'bank self,
        after: Option<&AccountId>,
    ) -> impl Iterator<Item = (&'bank AccountId, &'bank AccountState)> + 'bank {
        let start = after.map_or(Bound::Unbounded, |id| Bound::Excluded(id.clone()));
        self.accounts.range((start, Bound::Unbounded))
    }

    /// A payment as of the last applied operation, if memory holds it.
    #[must_use]
    pub fn payment(&self, id: PaymentId) -> Option<&PaymentState> {
        self.payments.get(&id)
    }

    /// All open holds, sorted by the time at which they expire.
    pub fn open_holds(&self) -> impl Iterator<Item = (PaymentId, &PaymentState)> {
        self.expiries.iter().map(|(_, id)| (*id, &self.payments[id]))
    }

    /// The number of open holds.
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

    /// The number of accounts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is no account.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// The sum of all posted balances, by currency, updated with every posting. Double entry keeps each at zero.
    #[must_use]
    pub const fn sums(&self) -> &BTreeMap<Currency, i128> {
        &self.sums
    }

    /// A currency whose sum is not zero, which only a bug or damage can cause.
    #[must_use]
    pub fn unbalanced(&self) -> Option<(Currency, i128)> {
        self.sums.iter().map(|(currency, sum)| (*currency, *sum)).find(|(_, sum)| *sum != 0)
    }

    /// The same sums, computed from all accounts.
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

    /// Restores an account when a bank is loaded from the views.
    pub fn restore_account(&mut self, id: AccountId, state: AccountState) {
        for (currency, balance) in state.balances.iter() {
            self.update_sum(currency, MinorUnits::ZERO, balance.posted);
        }
        self.accounts.insert(id, state);
    }

    /// Restores an open hold, with the state of its order. The restored account's balance already contains the held
    /// amount.
    pub fn restore_hold(&mut self, id: PaymentId, state: PaymentState, order: Option<OrderState>) {
        if let Some((order_id, state)) = state.order.clone().zip(order) {
            let record =
                self.orders.entry(order_id).or_insert(OrderRecord { state, open_holds: 0, last_change: LogIndex(0) });
            record.open_holds += 1;
        }
        self.put_payment(id, Some(state));
    }

    /// Brings a payment into memory as the disk holds it, unless memory holds it already.
    pub fn recall_payment(&mut self, id: PaymentId, state: PaymentState) {
        if !self.payments.contains_key(&id) {
            self.put_payment(id, Some(state));
        }
    }

    /// Brings an order into memory as the disk holds it, unless memory holds it already.
    pub fn recall_order(&mut self, id: &OrderId, state: OrderState) {
        if !self.orders.contains_key(id) {
            self.put_order(id, Some(OrderRecord { state, open_holds: 0, last_change: LogIndex(0) }));
        }
    }

    /// Forgets closed payments and orders whose last change is not above `index`: up to `limit`, or more if the backlog
    /// is large.
    pub fn forget_up_to(&mut self, index: LogIndex, limit: usize) {
        for _ in 0..limit.max(self.forgettable.len() / BACKLOG_DIVISOR) {
            let Some((_, forgettable)) = self.forgettable.pop_front_if(|(since, _)| *since <= index) else { return };
            match forgettable {
                Forgettable::Payment(id) => {
                    if self.payments.get(&id).is_some_and(|state| !state.is_held() && state.last_change <= index) {
                        self.payments.remove(&id);
                    }
                }
                Forgettable::Order(id) => {
                    let is_closed = |record: &OrderRecord| record.open_holds == 0 && record.last_change <= index;
                    if self.orders.get(&id).is_some_and(is_closed) {
                        self.orders.remove(&id);
                    }
                }
            }
        }
    }
}

/// The elementary changes.
impl Bank {
    /// Stores or removes a payment, and updates the expiries.
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
        if record.open_holds == 0 {
            self.forgettable.push_back((record.last_change, Forgettable::Order(id.clone())));
        }
        self.orders.insert(id.clone(), record);
    }

    /// Stores a payment's next state, undoably.
    pub(super) fn set_payment(&mut self, id: PaymentId, state: PaymentState, undo: &mut Undo) {
        let before = self.payments.get(&id).cloned().map(Box::new);
        undo.0.push(UndoStep::Payment(id, before));
        self.put_payment(id, Some(state));
    }

    /// Stores an order's next state, undoably.
    pub(super) fn set_order(&mut self, id: &OrderId, record: OrderRecord, undo: &mut Undo) {
        undo.0.push(UndoStep::Order(id.clone(), self.orders.get(id).copied()));
        self.put_order(id, Some(record));
    }

    /// Stores or removes an API key, undoably.
    pub(super) fn set_api_key(&mut self, id: ApiKeyId, state: Option<Arc<ApiKeyState>>, undo: &mut Undo) {
        let before = match state {
            Some(state) => self.api_keys.insert(id, state),
            None => self.api_keys.remove(&id),
        };
        undo.0.push(UndoStep::ApiKey(id, before));
    }

    /// Sets a balance, undoably. Creates the account if it does not exist.
    pub(super) fn set_balance(&mut self, id: &AccountId, currency: Currency, balance: Balance, undo: &mut Undo) {
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
        self.update_sum(currency, before.unwrap_or_default().posted, balance.posted);
    }

    /// Updates the sum of a currency by the change of one balance.
    fn update_sum(&mut self, currency: Currency, before: MinorUnits, after: MinorUnits) {
        if before != after {
            *self.sums.entry(currency).or_default() += i128::from(after.get()) - i128::from(before.get());
        }
    }

    /// Creates an account, undoably.
    pub(super) fn open_account(&mut self, id: &AccountId, overdraft: Overdraft, undo: &mut Undo) {
        undo.0.push(UndoStep::Created(id.clone()));
        self.accounts.insert(id.clone(), AccountState { overdraft, ..AccountState::default() });
    }

    pub(super) fn balance(&self, id: &AccountId, currency: Currency) -> Balance {
        self.accounts.get(id).map_or_else(Balance::default, |state| state.balances.get(currency))
    }
}

impl Bank {
    /// Undoes one operation. Operations are undone newest first.
    pub fn undo(&mut self, undo: &Undo) {
        const FOLLOWS: &str = "an undo follows the operation that it undoes";
        for step in undo.0.iter().rev() {
            match step {
                UndoStep::Created(id) => {
                    self.accounts.remove(id);
                }
                UndoStep::Balance(id, currency, before) => {
                    let state = self.accounts.get_mut(id).expect(FOLLOWS);
                    let after = state.balances.get(*currency);
                    state.balances.restore(*currency, *before);
                    self.update_sum(*currency, after.posted, before.unwrap_or_default().posted);
                }
                UndoStep::Policy(id, overdraft, status) => {
                    let state = self.accounts.get_mut(id).expect(FOLLOWS);
                    (state.overdraft, state.status) = (*overdraft, *status);
                }
                UndoStep::Payment(id, before) => self.put_payment(*id, before.as_deref().cloned()),
                UndoStep::Order(id, before) => self.put_order(id, *before),
                UndoStep::Rules(before) => self.rules = *before,
                UndoStep::ApiKey(id, Some(before)) => {
                    self.api_keys.insert(*id, Arc::clone(before));
                }
                UndoStep::ApiKey(id, None) => {
                    self.api_keys.remove(id);
                }
            }
        }
    }
}
