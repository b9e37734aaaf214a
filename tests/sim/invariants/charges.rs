//! Invariants: no payment is captured beyond what was held or refunded beyond what was captured, an expired or voided
//! hold moves nothing, and no order is charged beyond its total, whatever keys its callers used. The oracle's books of
//! payments and orders; the accounts stand in the file beside.

use quorapay_core::domain::{
    AccountId, Capture, Currency, MinorUnits, OrderId, Overdraft, PaymentChangeKind, PaymentChangeOutcome, PaymentId,
    PaymentOutcome, PaymentRequest, PaymentState, PaymentStatus, Rejection,
};
use quorapay_core::replication::Entry;

use super::money::{Money, Order};

/// Why a charge is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Alive,
    Voided,
    Expired,
    Refused,
}

/// A payment as the oracle keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) from: AccountId,
    to: AccountId,
    pub(super) currency: Currency,
    asked: i64,
    pub(super) held: i64,
    taken: i64,
    returned: i64,
    dies_at_ms: Option<u64>,
    fate: Fate,
    order: Option<OrderId>,
}

impl Charge {
    pub(super) fn is_refused(&self) -> bool {
        self.fate == Fate::Refused
    }

    fn status(&self) -> PaymentStatus {
        match (self.fate, self.held, self.taken, self.returned) {
            (Fate::Refused, ..) => PaymentStatus::Rejected,
            (Fate::Voided, _, 0, _) => PaymentStatus::Voided,
            (Fate::Expired, _, 0, _) => PaymentStatus::Expired,
            (_, 1.., 0, _) => PaymentStatus::Authorized,
            (_, 1.., ..) => PaymentStatus::PartiallyCaptured,
            (_, _, taken, returned) if taken == returned => PaymentStatus::Refunded,
            (_, _, _, 1..) => PaymentStatus::PartiallyRefunded,
            _ if self.dies_at_ms.is_some() => PaymentStatus::Captured,
            _ => PaymentStatus::Succeeded,
        }
    }

    /// Whether a node shows the payment as the oracle has it.
    pub(super) fn is_shown_by(&self, state: &PaymentState) -> bool {
        let amounts = [state.amount, state.held, state.captured, state.refunded].map(MinorUnits::get);
        amounts == [self.asked, self.held, self.taken, self.returned]
            && (&state.from, &state.to, state.currency) == (&self.from, &self.to, self.currency)
            && state.status() == self.status()
            && state.expires_at_ms == self.dies_at_ms
    }
}

impl Money {
    /// What must become of a payment, and its effect on the books.
    pub(super) fn pay(&mut self, entry: &Entry, item: u16, request: &PaymentRequest) -> PaymentOutcome {
        if let Err(rejection) = self.may_pay(request) {
            self.refuse(entry, item, request);
            return PaymentOutcome::Rejected(rejection);
        }
        let (index, currency, amount) = (entry.index, request.currency, request.amount.get());
        for id in [&request.from, &request.to] {
            if request.opens_accounts && !self.exists(id) {
                self.open(id, index, Overdraft::Unlimited);
            }
        }
        if let Some(order) = &request.order {
            let new = Order { total: order.total.get(), currency };
            self.orders.entry(order.id.clone()).or_insert(new);
        }
        let mut charge = new_charge(request);
        let outcome = match request.capture {
            Capture::Automatic => {
                charge.taken = amount;
                self.shift(&request.from, index, currency, -amount, 0);
                self.shift(&request.to, index, currency, amount, 0);
                let balance = |id| MinorUnits::new(self.purse(id, currency).posted);
                PaymentOutcome::Succeeded { from_balance: balance(&request.from), to_balance: balance(&request.to) }
            }
            Capture::Manual { expires_in_s } => {
                let expires_at_ms = entry.timestamp.0 + u64::from(expires_in_s) * 1_000;
                (charge.held, charge.dies_at_ms) = (amount, Some(expires_at_ms));
                self.shift(&request.from, index, currency, 0, amount);
                let from_held = MinorUnits::new(self.purse(&request.from, currency).held);
                PaymentOutcome::Authorized { from_held, expires_at_ms }
            }
        };
        self.charges.insert(PaymentId::derive(entry.stamp(), item), charge);
        outcome
    }

    /// Notes a payment that was refused.
    pub(super) fn refuse(&mut self, entry: &Entry, item: u16, request: &PaymentRequest) {
        let charge = Charge { fate: Fate::Refused, order: None, ..new_charge(request) };
        self.charges.insert(PaymentId::derive(entry.stamp(), item), charge);
    }

    fn may_pay(&self, request: &PaymentRequest) -> Result<(), Rejection> {
        let (from, to, amount) = (&request.from, &request.to, request.amount.get());
        let outside = from.as_str().starts_with("external:");
        if !self.exists(from) && !outside && !request.opens_accounts {
            return Err(Rejection::AccountNotFound);
        }
        self.usable(from)?;
        self.usable(to)?;
        if let Some(order) = &request.order {
            if let Some(known) = self.orders.get(&order.id)
                && (known.total, known.currency) != (order.total.get(), request.currency)
            {
                return Err(Rejection::OrderMismatch);
            }
            if self.charged(&order.id) + amount > order.total.get() {
                return Err(Rejection::OrderTotalExceeded);
            }
        }
        let opened_by_it = !self.exists(from) && request.opens_accounts;
        if !opened_by_it && !self.can_spare(from, request.currency, amount) {
            return Err(Rejection::InsufficientFunds);
        }
        Ok(())
    }

    /// What an order was charged: live holds and captures.
    fn charged(&self, order: &OrderId) -> i64 {
        let of_order = self.charges.values().filter(|charge| charge.order.as_ref() == Some(order));
        of_order.map(|charge| charge.held + charge.taken).sum()
    }

    /// What must become of a change of a payment, and its effect on the books.
    pub(super) fn change_payment(
        &mut self,
        entry: &Entry,
        id: PaymentId,
        change: PaymentChangeKind,
    ) -> PaymentChangeOutcome {
        let Some(mut charge) = self.charges.get(&id).cloned() else {
            return PaymentChangeOutcome::Rejected(Rejection::PaymentNotFound);
        };
        let amount = match self.may_change(entry, &charge, change) {
            Ok(amount) => amount,
            Err(rejection) => return PaymentChangeOutcome::Rejected(rejection),
        };
        let (index, currency) = (entry.index, charge.currency);
        match change {
            PaymentChangeKind::Capture(_) => {
                (charge.held, charge.taken) = (charge.held - amount, charge.taken + amount);
                self.shift(&charge.from, index, currency, -amount, -amount);
                self.shift(&charge.to, index, currency, amount, 0);
            }
            PaymentChangeKind::Void => {
                (charge.held, charge.fate) = (0, Fate::Voided);
                self.shift(&charge.from, index, currency, 0, -amount);
            }
            PaymentChangeKind::Refund(_) => {
                charge.returned += amount;
                self.shift(&charge.to, index, currency, -amount, 0);
                self.shift(&charge.from, index, currency, amount, 0);
            }
        }
        let balance = |id| MinorUnits::new(self.purse(id, currency).posted);
        let (from_balance, to_balance) = (balance(&charge.from), balance(&charge.to));
        self.charges.insert(id, charge);
        PaymentChangeOutcome::Applied { amount: MinorUnits::new(amount), from_balance, to_balance }
    }

    fn may_change(&self, entry: &Entry, charge: &Charge, change: PaymentChangeKind) -> Result<i64, Rejection> {
        let over = match charge.fate {
            Fate::Refused => Rejection::PaymentRejected,
            Fate::Voided => Rejection::PaymentVoided,
            Fate::Expired => Rejection::PaymentExpired,
            Fate::Alive => Rejection::NothingHeld,
        };
        match change {
            PaymentChangeKind::Void => {
                if charge.held > 0 {
                    Ok(charge.held)
                } else {
                    Err(over)
                }
            }
            PaymentChangeKind::Capture(_) if charge.held == 0 => Err(over),
            PaymentChangeKind::Capture(amount) => {
                if charge.dies_at_ms.is_some_and(|dies_at_ms| dies_at_ms <= entry.timestamp.0) {
                    return Err(Rejection::PaymentExpired);
                }
                let amount = amount.map_or(charge.held, MinorUnits::get);
                if amount > charge.held {
                    return Err(Rejection::AmountExceedsHeld);
                }
                self.usable(&charge.from).and_then(|()| self.usable(&charge.to)).map(|()| amount)
            }
            PaymentChangeKind::Refund(amount) => {
                let left = charge.taken - charge.returned;
                let amount = amount.map_or(left, MinorUnits::get);
                if charge.is_refused() {
                    return Err(Rejection::PaymentRejected);
                }
                if left == 0 {
                    return Err(Rejection::NothingToRefund);
                }
                if amount > left {
                    return Err(Rejection::AmountExceedsRefundable);
                }
                self.usable(&charge.from).and_then(|()| self.usable(&charge.to))?;
                let spared = self.can_spare(&charge.to, charge.currency, amount);
                if spared { Ok(amount) } else { Err(Rejection::InsufficientFunds) }
            }
        }
    }

    /// A hold's time is up.
    pub(super) fn expire(&mut self, entry: &Entry, id: PaymentId) {
        let charge = self.charges.get_mut(&id).expect("only payments expire");
        let due = charge.dies_at_ms.is_some_and(|dies_at_ms| dies_at_ms <= entry.timestamp.0);
        assert!(due && charge.held > 0, "{id} expires at {} though it is not due: {charge:?}", entry.index);
        let (from, currency, held) = (charge.from.clone(), charge.currency, charge.held);
        (charge.held, charge.fate) = (0, Fate::Expired);
        self.shift(&from, entry.index, currency, 0, -held);
    }

    /// No cap is exceeded.
    pub(super) fn check_caps(&self) {
        for (id, charge) in &self.charges {
            let within = charge.held + charge.taken <= charge.asked && charge.returned <= charge.taken;
            assert!(within, "{id} exceeds what was asked for: {charge:?}");
        }
        for (id, order) in &self.orders {
            let charged = self.charged(id);
            assert!(charged <= order.total, "{id} was charged {charged} of {}", order.total);
        }
    }
}

fn new_charge(request: &PaymentRequest) -> Charge {
    Charge {
        from: request.from.clone(),
        to: request.to.clone(),
        currency: request.currency,
        asked: request.amount.get(),
        held: 0,
        taken: 0,
        returned: 0,
        dies_at_ms: None,
        fate: Fate::Alive,
        order: request.order.as_ref().map(|order| order.id.clone()),
    }
}

/// Whether an outcome in a batch says only that the payment's key is used up.
pub(super) fn follows_from_its_key(outcome: PaymentOutcome) -> bool {
    matches!(
        outcome,
        PaymentOutcome::Repeated { .. }
            | PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced)
    )
}

/// What an outcome becomes in a batch that was to be all or none, and is none.
pub(super) fn aborted(outcome: PaymentOutcome) -> PaymentOutcome {
    match outcome {
        PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. } => {
            PaymentOutcome::Rejected(Rejection::BatchAborted)
        }
        PaymentOutcome::Rejected(_) | PaymentOutcome::Repeated { .. } => outcome,
    }
}
