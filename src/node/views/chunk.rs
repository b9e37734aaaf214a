//! What a chunk of consecutive entries changes in the views, aggregated in memory: each account, balance, payment and
//! order once, keys in the order of their digests. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, AccountStatus, Currency, DecidedPayment, KeyDigest,
    MinorUnits, Operation, OrderDigest, OrderId, Overdraft, PaymentChange, PaymentChangeKind, PaymentChangeOutcome,
    PaymentId, PaymentOutcome, PaymentState, PaymentStatus, Posting, Stamp,
};
use quorapay_core::replication::Entry;

/// The changes of one account.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AccountDelta {
    /// The policy with which the chunk creates it if the views do not have it yet.
    pub(super) initial_overdraft: Overdraft,
    /// The policy that an operation set, if any did.
    pub(super) overdraft: Option<Overdraft>,
    /// The status that an operation set, if any did.
    pub(super) status: Option<AccountStatus>,
    /// The changes of its balances, by currency.
    pub(super) balances: BTreeMap<Currency, BalanceDelta>,
    /// The entries that moved its money, oldest first, each once.
    pub(super) entries: Vec<LogIndex>,
}

/// The change of one balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BalanceDelta {
    /// The last posted balance, if anything was posted.
    pub(super) posted: Option<MinorUnits>,
    /// The change of the held amount.
    pub(super) held: i64,
}

/// The change of one payment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaymentDelta {
    /// The entry that changed it last, and its status since.
    pub(super) last: Option<(LogIndex, PaymentStatus)>,
    /// The change of its hold.
    pub(super) hold: HoldDelta,
}

/// The change of a payment's hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum HoldDelta {
    /// None.
    #[default]
    Unchanged,
    Open(Box<PaymentState>),
    Ended,
}

/// The change of one order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OrderDelta {
    pub(super) id: OrderId,
    pub(super) currency: Currency,
    /// The total that its payments name; `None` if this chunk has none of them, so that the views already have it.
    pub(super) total: Option<MinorUnits>,
    /// The change of the charged amount.
    pub(super) used: i64,
}

/// The changes of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Sorted by digest.
    pub(super) keys: Vec<(KeyDigest, LogIndex)>,
    /// Sorted by id.
    pub(super) accounts: BTreeMap<AccountId, AccountDelta>,
    /// Payments that were authorized or changed.
    pub(super) payments: BTreeMap<PaymentId, PaymentDelta>,
    pub(super) orders: BTreeMap<OrderDigest, OrderDelta>,
    /// Sorted.
    pub(super) order_payments: Vec<(OrderDigest, LogIndex, u16)>,
    /// Entries with rejected payments. Sorted.
    pub(super) rejected: Vec<LogIndex>,
    /// Entries with payments that were authorized. Sorted.
    pub(super) authorized: Vec<LogIndex>,
    /// How many payments were decided, rejected ones included.
    pub(super) decided: u64,
}

impl Chunk {
    pub(super) fn of(entries: &[Arc<Entry>]) -> Self {
        let mut chunk = Self::default();
        chunk.keys.reserve(entries.len());
        for entry in entries {
            if let Some(operation) = entry.operation() {
                chunk.keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
                chunk.add(operation, entry.stamp());
            }
        }
        chunk.keys.sort_unstable();
        chunk.order_payments.sort_unstable();
        chunk
    }

    fn add(&mut self, operation: &Operation, stamp: Stamp) {
        for payment in operation.payments() {
            self.decided += u64::from(payment.is_decided());
            self.add_payment(payment, stamp);
        }
        match operation {
            Operation::PaymentChange(change) => self.add_change(change, stamp),
            Operation::Expiry(expiry) => {
                self.release(&expiry.before, expiry.before.held);
                self.set_payment(expiry.payment, &expiry.before, expiry.after(stamp));
            }
            Operation::Account(AccountChange { account: id, change, outcome: AccountOutcome::Applied, .. }) => {
                let (overdraft, status) = match *change {
                    AccountChangeKind::Open(overdraft) => (Some(overdraft), None),
                    AccountChangeKind::Change { overdraft, status } => (overdraft, status),
                };
                let account = self.account(id, Overdraft::None);
                account.overdraft = overdraft.or(account.overdraft);
                account.status = status.or(account.status);
            }
            Operation::Account(_)
            | Operation::Payment(_)
            | Operation::Batch(_)
            | Operation::KeyFence(_)
            | Operation::ApiKey(_) => {}
        }
    }

    fn add_payment(&mut self, payment: DecidedPayment<'_>, stamp: Stamp) {
        let request = payment.request;
        let decided_so = match payment.outcome {
            PaymentOutcome::Rejected(_) => Some(&mut self.rejected),
            PaymentOutcome::Authorized { .. } => Some(&mut self.authorized),
            PaymentOutcome::Succeeded { .. } | PaymentOutcome::Repeated { .. } => None,
        };
        if let Some(entries) = decided_so.filter(|entries| entries.last() != Some(&stamp.index)) {
            entries.push(stamp.index);
        }
        let applied = matches!(payment.outcome, PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. });
        if applied && request.opens_accounts {
            self.account(&request.from, Overdraft::Unlimited);
            self.account(&request.to, Overdraft::Unlimited);
        }
        if let Some(posting) = payment.posting(stamp) {
            self.post(&posting, stamp.index);
        }
        if let (PaymentOutcome::Authorized { .. }, Some(state)) =
            (payment.outcome, PaymentState::decided(request, payment.outcome))
        {
            self.hold(&request.from, request.currency, request.amount.get());
            self.payments.entry(PaymentId::derive(stamp, payment.item)).or_default().hold =
                HoldDelta::Open(Box::new(state));
        }
        let Some(order) = &request.order else { return };
        if !payment.is_decided() {
            return;
        }
        self.order_payments.push((order.id.digest(), stamp.index, payment.item));
        if applied {
            let delta = self.order(&order.id, request.currency);
            delta.total = Some(order.total);
            delta.used += request.amount.get();
        }
    }

    fn add_change(&mut self, change: &PaymentChange, stamp: Stamp) {
        let (Some(before), PaymentChangeOutcome::Applied { amount, .. }) = (change.before.as_deref(), change.outcome)
        else {
            return;
        };
        if let Some(posting) = change.posting() {
            self.post(&posting, stamp.index);
        }
        match change.change {
            PaymentChangeKind::Capture(_) => self.hold(&before.from, before.currency, -amount.get()),
            PaymentChangeKind::Void => self.release(before, amount),
            PaymentChangeKind::Refund(_) => {}
        }
        if let Some(after) = change.after(stamp) {
            self.set_payment(change.payment, before, after);
        }
    }

    fn post(&mut self, posting: &Posting<'_>, index: LogIndex) {
        for (id, balance) in [(posting.from, posting.from_balance), (posting.to, posting.to_balance)] {
            let account = self.account(id, Overdraft::None);
            account.balances.entry(posting.currency).or_default().posted = Some(balance);
            if account.entries.last() != Some(&index) {
                account.entries.push(index);
            }
        }
    }

    fn hold(&mut self, id: &AccountId, currency: Currency, more: i64) {
        self.account(id, Overdraft::None).balances.entry(currency).or_default().held += more;
    }

    /// Releases a held amount, for the account and for the order.
    fn release(&mut self, payment: &PaymentState, amount: MinorUnits) {
        self.hold(&payment.from, payment.currency, -amount.get());
        if let Some(order) = &payment.order {
            self.order(order, payment.currency).used -= amount.get();
        }
    }

    fn set_payment(&mut self, id: PaymentId, before: &PaymentState, after: PaymentState) {
        let changed = self.payments.entry(id).or_default();
        changed.last = Some((after.last_change, after.status()));
        if after.is_held() {
            changed.hold = HoldDelta::Open(Box::new(after));
        } else if before.is_held() {
            changed.hold = HoldDelta::Ended;
        }
    }

    fn order(&mut self, id: &OrderId, currency: Currency) -> &mut OrderDelta {
        let new = || OrderDelta { id: id.clone(), currency, total: None, used: 0 };
        self.orders.entry(id.digest()).or_insert_with(new)
    }

    /// The changes of an account, which gets this policy if the ledger has not mentioned it before.
    fn account(&mut self, id: &AccountId, initial_overdraft: Overdraft) -> &mut AccountDelta {
        // Looked up first: cloning the id for each of an account's payments would cost more than a second lookup.
        if !self.accounts.contains_key(id) {
            self.accounts.insert(id.clone(), AccountDelta { initial_overdraft, ..AccountDelta::default() });
        }
        self.accounts.get_mut(id).expect("it was inserted just now")
    }
}
