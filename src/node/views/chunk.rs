//! What a chunk of consecutive entries changes in the views, added up in memory: each account, balance, payment and order
//! once, keys in the order of their digests. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, AccountStatus, Currency, DecidedPayment, KeyDigest,
    MinorUnits, Operation, OrderDigest, OrderId, Overdraft, PaymentChange, PaymentChangeKind, PaymentChangeOutcome,
    PaymentId, PaymentOutcome, PaymentState, PaymentStatus, Posting, Stamp,
};
use quorapay_core::replication::Entry;

/// What happened to one account.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Its policy, unless it was there before the chunk.
    pub(super) born: Overdraft,
    /// The policy that it was opened with or given, if it was.
    pub(super) overdraft: Option<Overdraft>,
    /// The status that it was given, if it was.
    pub(super) status: Option<AccountStatus>,
    /// What became of its money, by currency.
    pub(super) balances: BTreeMap<Currency, Moved>,
    /// The entries that moved it, oldest first, each once.
    pub(super) entries: Vec<LogIndex>,
}

/// What happened to one balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// The last posted balance, if anything was posted.
    pub(super) posted: Option<MinorUnits>,
    /// By how much more, or less, is set aside.
    pub(super) held: i64,
}

/// What happened to one payment after it was decided.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The entry that changed it last, and its status since.
    pub(super) last: Option<(LogIndex, PaymentStatus)>,
    /// Its hold, as it stands now.
    pub(super) hold: Hold,
}

/// Whether something is set aside for a payment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// As before the chunk.
    #[default]
    Untouched,
    Open(Box<PaymentState>),
    Ended,
}

/// What happened to one order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ordered {
    pub(super) id: OrderId,
    pub(super) currency: Currency,
    /// What its payments name; `None` if none was made in this chunk, so that the views know it.
    pub(super) total: Option<MinorUnits>,
    /// By how much more, or less, is charged.
    pub(super) used: i64,
}

/// The changes of a chunk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Sorted by digest.
    pub(super) keys: Vec<(KeyDigest, LogIndex)>,
    /// Sorted by id.
    pub(super) accounts: BTreeMap<AccountId, Touched>,
    /// Payments that were set aside or changed.
    pub(super) payments: BTreeMap<PaymentId, Changed>,
    pub(super) orders: BTreeMap<OrderDigest, Ordered>,
    /// Sorted.
    pub(super) order_payments: Vec<(OrderDigest, LogIndex, u16)>,
    /// How many payments were decided, refused ones too.
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
            Operation::Account(AccountChange { account, change, outcome: AccountOutcome::Applied, .. }) => {
                let (overdraft, status) = match *change {
                    AccountChangeKind::Open(overdraft) => (Some(overdraft), None),
                    AccountChangeKind::Change { overdraft, status } => (overdraft, status),
                };
                let touched = self.touched(account, Overdraft::None);
                touched.overdraft = overdraft.or(touched.overdraft);
                touched.status = status.or(touched.status);
            }
            Operation::Account(_) | Operation::Payment(_) | Operation::Batch(_) | Operation::KeyFence(_) => {}
        }
    }

    fn add_payment(&mut self, payment: DecidedPayment<'_>, stamp: Stamp) {
        let request = payment.request;
        let applied = matches!(payment.outcome, PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. });
        if applied && request.opens_accounts {
            self.touched(&request.from, Overdraft::Unlimited);
            self.touched(&request.to, Overdraft::Unlimited);
        }
        if let Some(posting) = payment.posting(stamp) {
            self.post(&posting, stamp.index);
        }
        if let (PaymentOutcome::Authorized { .. }, Some(state)) =
            (payment.outcome, PaymentState::decided(request, payment.outcome))
        {
            self.hold(&request.from, request.currency, request.amount.get());
            self.payments.entry(PaymentId::derive(stamp, payment.item)).or_default().hold = Hold::Open(Box::new(state));
        }
        let Some(order) = &request.order else { return };
        if !payment.is_decided() {
            return;
        }
        self.order_payments.push((order.id.digest(), stamp.index, payment.item));
        if applied {
            let ordered = self.ordered(&order.id, request.currency);
            ordered.total = Some(order.total);
            ordered.used += request.amount.get();
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
            let touched = self.touched(id, Overdraft::None);
            touched.balances.entry(posting.currency).or_default().posted = Some(balance);
            if touched.entries.last() != Some(&index) {
                touched.entries.push(index);
            }
        }
    }

    fn hold(&mut self, id: &AccountId, currency: Currency, more: i64) {
        self.touched(id, Overdraft::None).balances.entry(currency).or_default().held += more;
    }

    /// What was set aside is free again, for the account and for the order.
    fn release(&mut self, payment: &PaymentState, amount: MinorUnits) {
        self.hold(&payment.from, payment.currency, -amount.get());
        if let Some(order) = &payment.order {
            self.ordered(order, payment.currency).used -= amount.get();
        }
    }

    fn set_payment(&mut self, id: PaymentId, before: &PaymentState, after: PaymentState) {
        let changed = self.payments.entry(id).or_default();
        changed.last = Some((after.last_change, after.status()));
        if after.is_held() {
            changed.hold = Hold::Open(Box::new(after));
        } else if before.is_held() {
            changed.hold = Hold::Ended;
        }
    }

    fn ordered(&mut self, id: &OrderId, currency: Currency) -> &mut Ordered {
        let new = || Ordered { id: id.clone(), currency, total: None, used: 0 };
        self.orders.entry(id.digest()).or_insert_with(new)
    }

    /// `born` is the policy of the account if this is the first that the ledger says of it.
    fn touched(&mut self, id: &AccountId, born: Overdraft) -> &mut Touched {
        // Looked up first: cloning the id for each of an account's payments would cost more than the second look.
        if !self.accounts.contains_key(id) {
            self.accounts.insert(id.clone(), Touched { born, ..Touched::default() });
        }
        self.accounts.get_mut(id).expect("it was just put there")
    }
}
