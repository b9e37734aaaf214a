//! Changes of accounts and of payments.

use super::{AccountRules, Model, Money, PaymentAmounts, PaymentRecord, add, check_floor, index_of};
use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountOutcome, AccountStatus, HoldEnd, MinorUnits, PaymentChangeKind,
    PaymentChangeOutcome, PaymentId, Rejection, Stamp,
};

/// Maximum number of captures and refunds of one payment.
const MAX_CHANGES: u32 = 1_000;

impl Model {
    /// Decides a change of an account and applies it.
    pub(in crate::check) fn change_account(
        &mut self,
        stamp: Stamp,
        id: &AccountId,
        change: AccountChangeKind,
    ) -> AccountOutcome {
        let number = self.number(id);
        match self.decide_rules(number, change) {
            Ok(rules) => {
                self.account_mut(number).rules.set(index_of(stamp), rules);
                AccountOutcome::Applied
            }
            Err(rejection) => AccountOutcome::Rejected(rejection),
        }
    }

    fn decide_rules(&self, number: super::AccountNumber, change: AccountChangeKind) -> Result<AccountRules, Rejection> {
        let account = self.account(number);
        let (overdraft, status) = match (change, account.exists()) {
            (AccountChangeKind::Open(_), true) => return Err(Rejection::AccountExists),
            (AccountChangeKind::Open(overdraft), false) => {
                return Ok(AccountRules { overdraft, status: AccountStatus::Active });
            }
            (AccountChangeKind::Change { .. }, false) => return Err(Rejection::AccountNotFound),
            (AccountChangeKind::Change { overdraft, status }, true) => (overdraft, status),
        };
        let before = account.rules.latest().expect("it exists");
        if before.status == AccountStatus::Closed {
            return Err(Rejection::AccountClosed);
        }
        let money = || account.money.iter().filter_map(|(_, versions)| versions.latest());
        if let Some(overdraft) = overdraft {
            let floor = account.floor_under(overdraft);
            if money().any(|money| check_floor(money, floor).is_err()) {
                return Err(Rejection::OverdraftInUse);
            }
        }
        if status == Some(AccountStatus::Closed) && money().any(|money| money != Money::default()) {
            return Err(Rejection::AccountNotEmpty);
        }
        Ok(AccountRules { overdraft: overdraft.unwrap_or(before.overdraft), status: status.unwrap_or(before.status) })
    }

    /// Decides a capture, a void or a refund and applies it.
    pub(in crate::check) fn change_payment(
        &mut self,
        stamp: Stamp,
        id: PaymentId,
        change: PaymentChangeKind,
    ) -> PaymentChangeOutcome {
        let Some(payment) = self.payments.get(&id) else {
            return PaymentChangeOutcome::Rejected(Rejection::PaymentNotFound);
        };
        let amounts = payment.latest();
        let decided = match change {
            PaymentChangeKind::Capture(amount) => self.check_capture(stamp, payment, &amounts, amount),
            PaymentChangeKind::Void => self.check_void(payment, &amounts),
            PaymentChangeKind::Refund(amount) => self.check_refund(payment, &amounts, amount),
        };
        let (amount, from_money, to_money) = match decided {
            Ok(decided) => decided,
            Err(rejection) => return PaymentChangeOutcome::Rejected(rejection),
        };
        let (from, to, currency) = (payment.from, payment.to, payment.currency);
        let mut after = PaymentAmounts { changes: amounts.changes + 1, ..amounts };
        match change {
            PaymentChangeKind::Capture(_) => {
                (after.held, after.captured) = (after.held - amount, after.captured + amount);
            }
            PaymentChangeKind::Void => (after.held, after.end) = (0, HoldEnd::Voided),
            PaymentChangeKind::Refund(_) => after.refunded += amount,
        }
        self.set_money(index_of(stamp), from, currency, from_money);
        if change == PaymentChangeKind::Void {
            self.release(id, amount);
        } else {
            self.set_money(index_of(stamp), to, currency, to_money);
        }
        self.set_amounts(stamp, id, after);
        PaymentChangeOutcome::Applied {
            amount: MinorUnits::new(amount),
            from_balance: MinorUnits::new(from_money.posted),
            to_balance: MinorUnits::new(to_money.posted),
        }
    }

    /// Ends an expired hold, or says why it must not end.
    pub(in crate::check) fn expire(&mut self, stamp: Stamp, id: PaymentId) -> Result<(), String> {
        let payment = self.payments.get(&id).ok_or_else(|| format!("there is no payment {id}"))?;
        let amounts = payment.latest();
        if amounts.held == 0 {
            return Err(format!("nothing of payment {id} is held"));
        }
        if payment.expires_at_ms.is_none_or(|at| at > stamp.timestamp.0) {
            return Err(format!("the hold of payment {id} has not expired by then"));
        }
        let (from, currency) = (payment.from, payment.currency);
        let before = self.money(from, currency);
        let after = PaymentAmounts { held: 0, end: HoldEnd::Expired, changes: amounts.changes + 1, ..amounts };
        self.set_money(index_of(stamp), from, currency, Money { held: before.held - amounts.held, ..before });
        self.release(id, amounts.held);
        self.set_amounts(stamp, id, after);
        Ok(())
    }

    fn set_amounts(&mut self, stamp: Stamp, id: PaymentId, amounts: PaymentAmounts) {
        if let Some(payment) = self.payments.get_mut(&id) {
            payment.amounts.set(index_of(stamp), amounts);
        }
    }

    /// Released money no longer counts against the order's total.
    fn release(&mut self, id: PaymentId, amount: i64) {
        let order = self.payments.get(&id).and_then(|payment| payment.order.as_deref());
        if let Some(order) = order.and_then(|order| self.orders.get_mut(order)) {
            order.used -= amount;
        }
    }

    fn check_capture(
        &self,
        stamp: Stamp,
        payment: &PaymentRecord,
        amounts: &PaymentAmounts,
        amount: Option<MinorUnits>,
    ) -> Result<(i64, Money, Money), Rejection> {
        if amounts.held == 0 {
            return Err(why_not_held(amounts));
        }
        if payment.expires_at_ms.is_some_and(|at| at <= stamp.timestamp.0) {
            return Err(Rejection::PaymentExpired);
        }
        let amount = amount.map_or(amounts.held, MinorUnits::get);
        if amount > amounts.held {
            return Err(Rejection::AmountExceedsHeld);
        }
        self.check_changeable(payment, amounts)?;
        let from = self.money(payment.from, payment.currency);
        let from = add(Money { held: from.held - amount, ..from }, -amount)?;
        Ok((amount, from, add(self.money(payment.to, payment.currency), amount)?))
    }

    fn check_void(&self, payment: &PaymentRecord, amounts: &PaymentAmounts) -> Result<(i64, Money, Money), Rejection> {
        if amounts.held == 0 {
            return Err(why_not_held(amounts));
        }
        let from = self.money(payment.from, payment.currency);
        let from = Money { held: from.held - amounts.held, ..from };
        Ok((amounts.held, from, self.money(payment.to, payment.currency)))
    }

    fn check_refund(
        &self,
        payment: &PaymentRecord,
        amounts: &PaymentAmounts,
        amount: Option<MinorUnits>,
    ) -> Result<(i64, Money, Money), Rejection> {
        let refundable = amounts.captured - amounts.refunded;
        if amounts.end == HoldEnd::Rejected {
            return Err(Rejection::PaymentRejected);
        }
        if refundable == 0 {
            return Err(Rejection::NothingToRefund);
        }
        let amount = amount.map_or(refundable, MinorUnits::get);
        if amount > refundable {
            return Err(Rejection::AmountExceedsRefundable);
        }
        self.check_changeable(payment, amounts)?;
        let to = add(self.money(payment.to, payment.currency), -amount)?;
        let to = check_floor(to, self.account(payment.to).floor())?;
        Ok((amount, add(self.money(payment.from, payment.currency), amount)?, to))
    }

    fn check_changeable(&self, payment: &PaymentRecord, amounts: &PaymentAmounts) -> Result<(), Rejection> {
        if amounts.changes >= MAX_CHANGES {
            return Err(Rejection::TooManyChanges);
        }
        self.check_usable(payment.from)?;
        self.check_usable(payment.to)
    }
}

impl PaymentRecord {
    fn latest(&self) -> PaymentAmounts {
        self.amounts.latest().expect("a payment has a standing from its decision on")
    }
}

const fn why_not_held(amounts: &PaymentAmounts) -> Rejection {
    match amounts.end {
        HoldEnd::Rejected => Rejection::PaymentRejected,
        HoldEnd::Voided => Rejection::PaymentVoided,
        HoldEnd::Expired => Rejection::PaymentExpired,
        HoldEnd::None => Rejection::NothingHeld,
    }
}
