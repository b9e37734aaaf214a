//! Invariants: no payment is captured beyond its hold or refunded beyond its captures, an expired or voided hold moves
//! no money, and no order is charged beyond its total, whatever keys were used. This file models payments and orders,
//! `money` models accounts.

use quorapay_core::domain::{
    AccountId, Capture, Currency, MinorUnits, OrderId, Overdraft, PaymentChangeKind, PaymentChangeOutcome, PaymentId,
    PaymentOutcome, PaymentRequest, PaymentState, PaymentStatus, Rejection, RuleVersion,
};
use quorapay_core::replication::Entry;

use super::money::{Money, Order};

/// How a charge ended, other than by captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChargeEnd {
    None,
    Voided,
    Expired,
    Refused,
}

/// The model of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) from: AccountId,
    to: AccountId,
    pub(super) currency: Currency,
    amount: i64,
    pub(super) held: i64,
    captured: i64,
    refunded: i64,
    expires_at_ms: Option<u64>,
    end: ChargeEnd,
    order: Option<OrderId>,
}

impl Charge {
    pub(super) fn is_refused(&self) -> bool {
        self.end == ChargeEnd::Refused
    }

    fn status(&self) -> PaymentStatus {
        match (self.end, self.held, self.captured, self.refunded) {
            (ChargeEnd::Refused, ..) => PaymentStatus::Rejected,
            (ChargeEnd::Voided, _, 0, _) => PaymentStatus::Voided,
            (ChargeEnd::Expired, _, 0, _) => PaymentStatus::Expired,
            (_, 1.., 0, _) => PaymentStatus::Authorized,
            (_, 1.., ..) => PaymentStatus::PartiallyCaptured,
            (_, _, captured, refunded) if captured == refunded => PaymentStatus::Refunded,
            (_, _, _, 1..) => PaymentStatus::PartiallyRefunded,
            _ if self.expires_at_ms.is_some() => PaymentStatus::Captured,
            _ => PaymentStatus::Succeeded,
        }
    }

    /// Whether a node's payment equals the model's.
    pub(super) fn matches(&self, state: &PaymentState) -> bool {
        let amounts = [state.amount, state.held, state.captured, state.refunded].map(MinorUnits::get);
        amounts == [self.amount, self.held, self.captured, self.refunded]
            && (&state.from, &state.to, state.currency) == (&self.from, &self.to, self.currency)
            && state.status() == self.status()
            && state.expires_at_ms == self.expires_at_ms
    }
}

impl Money {
    /// The expected outcome of a payment, and its effect on the model.
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
                charge.captured = amount;
                self.shift(&request.from, index, currency, -amount, 0);
                self.shift(&request.to, index, currency, amount, 0);
                let balance = |id| MinorUnits::new(self.funds(id, currency).posted);
                PaymentOutcome::Succeeded { from_balance: balance(&request.from), to_balance: balance(&request.to) }
            }
            Capture::Manual { expires_in_s } => {
                let expires_at_ms = entry.timestamp.0 + u64::from(expires_in_s) * 1_000;
                (charge.held, charge.expires_at_ms) = (amount, Some(expires_at_ms));
                self.shift(&request.from, index, currency, 0, amount);
                let from_held = MinorUnits::new(self.funds(&request.from, currency).held);
                PaymentOutcome::Authorized { from_held, expires_at_ms }
            }
        };
        self.charges.insert(PaymentId::derive(entry.stamp(), item), charge);
        outcome
    }

    /// Adds a payment that was refused.
    pub(super) fn refuse(&mut self, entry: &Entry, item: u16, request: &PaymentRequest) {
        let charge = Charge { end: ChargeEnd::Refused, order: None, ..new_charge(request) };
        self.charges.insert(PaymentId::derive(entry.stamp(), item), charge);
    }

    fn may_pay(&self, request: &PaymentRequest) -> Result<(), Rejection> {
        let (from, to, amount) = (&request.from, &request.to, request.amount.get());
        if self.rules == RuleVersion::TRIAL && amount % 10 == 7 {
            return Err(Rejection::InsufficientFunds);
        }
        let external = from.as_str().starts_with("external:");
        if !self.exists(from) && !external && !request.opens_accounts {
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
        if !opened_by_it && !self.can_pay(from, request.currency, amount) {
            return Err(Rejection::InsufficientFunds);
        }
        Ok(())
    }

    /// What an order was charged: open holds and captures.
    fn charged(&self, order: &OrderId) -> i64 {
        let of_order = self.charges.values().filter(|charge| charge.order.as_ref() == Some(order));
        of_order.map(|charge| charge.held + charge.captured).sum()
    }

    /// The expected outcome of a change of a payment, and its effect on the model.
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
                (charge.held, charge.captured) = (charge.held - amount, charge.captured + amount);
                self.shift(&charge.from, index, currency, -amount, -amount);
                self.shift(&charge.to, index, currency, amount, 0);
            }
            PaymentChangeKind::Void => {
                (charge.held, charge.end) = (0, ChargeEnd::Voided);
                self.shift(&charge.from, index, currency, 0, -amount);
            }
            PaymentChangeKind::Refund(_) => {
                charge.refunded += amount;
                self.shift(&charge.to, index, currency, -amount, 0);
                self.shift(&charge.from, index, currency, amount, 0);
            }
        }
        let balance = |id| MinorUnits::new(self.funds(id, currency).posted);
        let (from_balance, to_balance) = (balance(&charge.from), balance(&charge.to));
        self.charges.insert(id, charge);
        PaymentChangeOutcome::Applied { amount: MinorUnits::new(amount), from_balance, to_balance }
    }

    fn may_change(&self, entry: &Entry, charge: &Charge, change: PaymentChangeKind) -> Result<i64, Rejection> {
        let over = match charge.end {
            ChargeEnd::Refused => Rejection::PaymentRejected,
            ChargeEnd::Voided => Rejection::PaymentVoided,
            ChargeEnd::Expired => Rejection::PaymentExpired,
            ChargeEnd::None => Rejection::NothingHeld,
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
                if charge.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= entry.timestamp.0) {
                    return Err(Rejection::PaymentExpired);
                }
                let amount = amount.map_or(charge.held, MinorUnits::get);
                if amount > charge.held {
                    return Err(Rejection::AmountExceedsHeld);
                }
                self.usable(&charge.from).and_then(|()| self.usable(&charge.to)).map(|()| amount)
            }
            PaymentChangeKind::Refund(amount) => {
                let left = charge.captured - charge.refunded;
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
                let spared = self.can_pay(&charge.to, charge.currency, amount);
                if spared { Ok(amount) } else { Err(Rejection::InsufficientFunds) }
            }
        }
    }

    /// A hold expires.
    pub(super) fn expire(&mut self, entry: &Entry, id: PaymentId) {
        let charge = self.charges.get_mut(&id).expect("only payments expire");
        let due = charge.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= entry.timestamp.0);
        assert!(due && charge.held > 0, "{id} expires at {} though it is not due: {charge:?}", entry.index);
        let (from, currency, held) = (charge.from.clone(), charge.currency, charge.held);
        (charge.held, charge.end) = (0, ChargeEnd::Expired);
        self.shift(&from, entry.index, currency, 0, -held);
    }

    /// Checks that no limit is exceeded.
    pub(super) fn check_caps(&self) {
        for (id, charge) in &self.charges {
            let within = charge.held + charge.captured <= charge.amount && charge.refunded <= charge.captured;
            assert!(within, "{id} exceeds what was amount for: {charge:?}");
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
        amount: request.amount.get(),
        held: 0,
        captured: 0,
        refunded: 0,
        expires_at_ms: None,
        end: ChargeEnd::None,
        order: request.order.as_ref().map(|order| order.id.clone()),
    }
}

/// Whether an item's outcome follows only from its key being used.
pub(super) fn follows_from_its_key(outcome: PaymentOutcome) -> bool {
    matches!(
        outcome,
        PaymentOutcome::Repeated { .. }
            | PaymentOutcome::Rejected(Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced)
    )
}

/// An item's outcome after its batch was aborted.
pub(super) fn aborted(outcome: PaymentOutcome) -> PaymentOutcome {
    match outcome {
        PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. } => {
            PaymentOutcome::Rejected(Rejection::BatchAborted)
        }
        PaymentOutcome::Rejected(_) | PaymentOutcome::Repeated { .. } => outcome,
    }
}
