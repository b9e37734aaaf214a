//! Changes of existing payments: captures, voids, refunds, expiries.

use super::super::{
    Expiry, MinorUnits, Operation, PaymentChange, PaymentChangeKind, PaymentChangeOutcome, PaymentId, PaymentState,
    Rejection, Stamp,
};
use super::outcome::check_outcome;
use super::payments::{check_floor, credited, debited};
use super::state::Balance;
use super::store::Bank;
use super::undo::Undo;
use crate::planted::{Bug, planted};

/// Captures and refunds of one payment: every answer about a payment contains its history. A void or an expiry may
/// still follow.
const MAX_CHANGES: u32 = 1_000;

impl Bank {
    /// Decides a change of a payment and executes it.
    pub(super) fn change_payment(
        &mut self,
        stamp: Stamp,
        id: PaymentId,
        change: PaymentChangeKind,
        undo: &mut Undo,
    ) -> PaymentChangeOutcome {
        let Some(payment) = self.payments.get(&id).cloned() else {
            return PaymentChangeOutcome::Rejected(Rejection::PaymentNotFound);
        };
        let decided = match change {
            PaymentChangeKind::Capture(amount) => self.check_capture(stamp, &payment, amount),
            PaymentChangeKind::Void => self.check_void(&payment),
            PaymentChangeKind::Refund(amount) => self.check_refund(&payment, amount),
        };
        let (amount, from, to) = match decided {
            Ok(decided) => decided,
            Err(rejection) => return PaymentChangeOutcome::Rejected(rejection),
        };
        let after = payment.changed(change, amount, stamp.index);
        self.set_balance(&payment.from, payment.currency, from, undo);
        if !matches!(change, PaymentChangeKind::Void) {
            self.set_balance(&payment.to, payment.currency, to, undo);
        }
        let released = if matches!(change, PaymentChangeKind::Void) { amount } else { MinorUnits::ZERO };
        self.close_hold(stamp, &payment, &after, released, undo);
        self.set_payment(id, after, undo);
        PaymentChangeOutcome::Applied { amount, from_balance: from.posted, to_balance: to.posted }
    }

    /// Applies a change that the leader decided.
    pub(super) fn apply_payment_change(
        &mut self,
        stamp: Stamp,
        change: &PaymentChange,
        undo: &mut Undo,
    ) -> Result<(), String> {
        match (self.payments.get(&change.payment), change.before.as_deref()) {
            (Some(known), before) => check_outcome(&Some(known), &before)?,
            (None, Some(before)) if before.is_held() => return Err("its hold is not known here".to_owned()),
            (None, Some(before)) => self.recall_payment(change.payment, before.clone()),
            (None, None) => {}
        }
        let decided = self.change_payment(stamp, change.payment, change.change, undo);
        check_outcome(&decided, &change.outcome)
    }

    /// Expires a hold. Call only for an open hold that has expired by the stamp's time.
    pub fn expire(&mut self, stamp: Stamp, id: PaymentId) -> Option<(Operation, Undo)> {
        let before = self.payments.get(&id)?.clone();
        let mut undo = Undo::default();
        let expiry = Expiry { payment: id, before };
        self.apply_expiry(stamp, &expiry, &mut undo).ok()?;
        Some((Operation::Expiry(expiry), undo))
    }

    /// Applies an expiry that the leader decided.
    pub(super) fn apply_expiry(&mut self, stamp: Stamp, expiry: &Expiry, undo: &mut Undo) -> Result<(), String> {
        let id = expiry.payment;
        let payment = self.payments.get(&id).filter(|payment| payment.is_held()).cloned();
        let Some(payment) = payment else { return Err(format!("{id} is not on hold here")) };
        check_outcome(&payment, &expiry.before)?;
        if payment.expires_at_ms.is_none_or(|expires_at_ms| expires_at_ms > stamp.timestamp.0) {
            return Err(format!("{id} expires later"));
        }
        let after = payment.expired(stamp.index);
        let from = self.balance(&payment.from, payment.currency);
        let from = Balance { held: from.held.less(payment.held), ..from };
        self.set_balance(&payment.from, payment.currency, from, undo);
        self.close_hold(stamp, &payment, &after, payment.held, undo);
        self.set_payment(id, after, undo);
        Ok(())
    }

    fn check_capture(
        &self,
        stamp: Stamp,
        payment: &PaymentState,
        amount: Option<MinorUnits>,
    ) -> Result<(MinorUnits, Balance, Balance), Rejection> {
        if !payment.is_held() {
            return Err(payment.why_not_held());
        }
        let expired = payment.expires_at_ms.is_some_and(|expires_at_ms| expires_at_ms <= stamp.timestamp.0);
        if expired && !planted(Bug::LateCapture) {
            return Err(Rejection::PaymentExpired);
        }
        let amount = amount.unwrap_or(payment.held);
        if amount > payment.held {
            return Err(Rejection::AmountExceedsHeld);
        }
        self.check_changeable(payment)?;
        let from = self.balance(&payment.from, payment.currency);
        let from = debited(Balance { held: from.held.less(amount), ..from }, amount)?;
        let to = credited(self.balance(&payment.to, payment.currency), amount)?;
        Ok((amount, from, to))
    }

    fn check_void(&self, payment: &PaymentState) -> Result<(MinorUnits, Balance, Balance), Rejection> {
        if !payment.is_held() {
            return Err(payment.why_not_held());
        }
        let from = self.balance(&payment.from, payment.currency);
        let from = Balance { held: from.held.less(payment.held), ..from };
        Ok((payment.held, from, self.balance(&payment.to, payment.currency)))
    }

    fn check_refund(
        &self,
        payment: &PaymentState,
        amount: Option<MinorUnits>,
    ) -> Result<(MinorUnits, Balance, Balance), Rejection> {
        let refundable = if planted(Bug::RefundsNotAddedUp) { payment.captured } else { payment.refundable() };
        if payment.status() == super::super::PaymentStatus::Rejected {
            return Err(Rejection::PaymentRejected);
        }
        if refundable == MinorUnits::ZERO {
            return Err(Rejection::NothingToRefund);
        }
        let amount = amount.unwrap_or(refundable);
        if amount > refundable {
            return Err(Rejection::AmountExceedsRefundable);
        }
        self.check_changeable(payment)?;
        let floor = self.accounts.get(&payment.to).map_or(MinorUnits::ZERO, |state| state.floor(&payment.to));
        let to = check_floor(debited(self.balance(&payment.to, payment.currency), amount)?, floor)?;
        let from = credited(self.balance(&payment.from, payment.currency), amount)?;
        Ok((amount, from, to))
    }

    fn check_changeable(&self, payment: &PaymentState) -> Result<(), Rejection> {
        if payment.changes >= MAX_CHANGES {
            return Err(Rejection::TooManyChanges);
        }
        self.check_usable(&payment.from)?;
        self.check_usable(&payment.to)
    }

    /// When a hold ends: the released amount no longer counts against the order, and the hold no longer keeps the order
    /// in memory.
    fn close_hold(
        &mut self,
        stamp: Stamp,
        before: &PaymentState,
        after: &PaymentState,
        released: MinorUnits,
        undo: &mut Undo,
    ) {
        let Some(order) = before.order.as_ref().filter(|_| before.is_held() && !after.is_held()) else { return };
        let Some(mut record) = self.orders.get(order).copied() else { return };
        record.state.used = record.state.used.less(released);
        record.open_holds = record.open_holds.saturating_sub(1);
        record.last_change = stamp.index;
        self.set_order(order, record, undo);
    }
}
