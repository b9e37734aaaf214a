//! Payments.

use super::{
    AccountNumber, AccountRules, Model, Money, Order, PaymentAmounts, PaymentRecord, Versions, add, check_floor,
    index_of, is_external,
};
use quorapay_core::domain::{
    AccountId, AccountStatus, Capture, HoldEnd, MinorUnits, Overdraft, PaymentId, PaymentOutcome, PaymentRequest,
    Rejection, Stamp,
};

impl Model {
    /// Decides a payment and applies it. `item` is its number within its entry.
    pub(in crate::check) fn pay(&mut self, stamp: Stamp, item: u16, request: &PaymentRequest) -> PaymentOutcome {
        let (from, to) = (self.number(&request.from), self.number(&request.to));
        let outcome = match self.decide(request, from, to) {
            Ok(after) => self.apply(stamp, request, (from, to), after),
            Err(rejection) => PaymentOutcome::Rejected(rejection),
        };
        self.record(stamp, item, request, (from, to), outcome);
        outcome
    }

    /// The balances of both accounts after the payment, or why it must be refused.
    fn decide(
        &self,
        request: &PaymentRequest,
        from: AccountNumber,
        to: AccountNumber,
    ) -> Result<(Money, Money), Rejection> {
        let payer = self.existing(from);
        if payer.is_none() && !is_external(&request.from) && !request.opens_accounts {
            return Err(Rejection::AccountNotFound);
        }
        self.check_usable(from)?;
        self.check_usable(to)?;
        self.check_order(request)?;
        let amount = request.amount.get();
        let before = self.money(from, request.currency);
        let paid = match request.capture {
            Capture::Automatic => add(before, -amount)?,
            Capture::Manual { .. } => {
                Money { held: before.held.checked_add(amount).ok_or(Rejection::BalanceOverflow)?, ..before }
            }
        };
        let floor = match payer {
            Some(payer) => payer.floor(),
            None if is_external(&request.from) || request.opens_accounts => i64::MIN,
            None => 0,
        };
        let paid = check_floor(paid, floor)?;
        let received = self.money(to, request.currency);
        match request.capture {
            Capture::Automatic => Ok((paid, add(received, amount)?)),
            Capture::Manual { .. } => Ok((paid, received)),
        }
    }

    /// Whether an account may pay and receive. An account that does not exist yet may.
    pub(super) fn check_usable(&self, number: AccountNumber) -> Result<(), Rejection> {
        match self.account(number).rules.latest().map(|rules| rules.status) {
            None | Some(AccountStatus::Active) => Ok(()),
            Some(AccountStatus::Frozen) => Err(Rejection::AccountFrozen),
            Some(AccountStatus::Closed) => Err(Rejection::AccountClosed),
        }
    }

    /// Checks that the payments of an order do not exceed its total.
    fn check_order(&self, request: &PaymentRequest) -> Result<(), Rejection> {
        let Some(cap) = &request.order else { return Ok(()) };
        let used = match self.orders.get(&cap.id) {
            Some(order) if (order.total, order.currency) != (cap.total.get(), request.currency) => {
                return Err(Rejection::OrderMismatch);
            }
            Some(order) => order.used,
            None => 0,
        };
        match used.checked_add(request.amount.get()) {
            Some(used) if used <= cap.total.get() => Ok(()),
            _ => Err(Rejection::OrderTotalExceeded),
        }
    }

    fn apply(
        &mut self,
        stamp: Stamp,
        request: &PaymentRequest,
        (from, to): (AccountNumber, AccountNumber),
        (paid, received): (Money, Money),
    ) -> PaymentOutcome {
        let index = index_of(stamp);
        if request.opens_accounts {
            self.open_unlimited(stamp, &request.from);
            self.open_unlimited(stamp, &request.to);
        }
        self.set_money(index, from, request.currency, paid);
        if let Some(cap) = &request.order {
            let before = self.orders.get(&cap.id).copied();
            self.touched.orders.push((cap.id.clone(), before));
            let used = before.map_or(0, |order| order.used) + request.amount.get();
            let order = Order { currency: request.currency, total: cap.total.get(), used };
            self.orders.insert(cap.id.clone(), order);
        }
        match request.capture {
            Capture::Automatic => {
                self.set_money(index, to, request.currency, received);
                let (from_balance, to_balance) = (MinorUnits::new(paid.posted), MinorUnits::new(received.posted));
                PaymentOutcome::Succeeded { from_balance, to_balance }
            }
            Capture::Manual { expires_in_s } => PaymentOutcome::Authorized {
                from_held: MinorUnits::new(paid.held),
                expires_at_ms: stamp.timestamp.0 + 1_000 * u64::from(expires_in_s),
            },
        }
    }

    fn open_unlimited(&mut self, stamp: Stamp, id: &AccountId) {
        let number = self.number(id);
        if self.existing(number).is_none() {
            let rules = AccountRules { overdraft: Overdraft::Unlimited, status: AccountStatus::Active };
            self.account_mut(number).rules.set(index_of(stamp), rules);
        }
    }

    fn record(
        &mut self,
        stamp: Stamp,
        item: u16,
        request: &PaymentRequest,
        (from, to): (AccountNumber, AccountNumber),
        outcome: PaymentOutcome,
    ) {
        let amount = request.amount.get();
        let (held, captured, expires_at_ms, end) = match outcome {
            PaymentOutcome::Succeeded { .. } => (0, amount, None, HoldEnd::None),
            PaymentOutcome::Authorized { expires_at_ms, .. } => (amount, 0, Some(expires_at_ms), HoldEnd::None),
            PaymentOutcome::Rejected(_) => (0, 0, None, HoldEnd::Rejected),
            PaymentOutcome::Repeated { .. } => return,
        };
        let mut amounts = Versions::default();
        amounts.set(index_of(stamp), PaymentAmounts { held, captured, refunded: 0, end, changes: 0 });
        let order = request.order.as_ref().map(|cap| Box::new(cap.id.clone()));
        let currency = request.currency;
        let id = PaymentId::derive(stamp, item);
        self.touched.payments.push(id);
        self.payments.insert(id, PaymentRecord { from, to, amount, currency, order, expires_at_ms, amounts });
    }

    /// Records a payment as refused that an aborted batch had tried.
    pub(in crate::check) fn refused(&mut self, stamp: Stamp, item: u16, request: &PaymentRequest, why: Rejection) {
        let parties = (self.number(&request.from), self.number(&request.to));
        self.record(stamp, item, request, parties, PaymentOutcome::Rejected(why));
    }
}
