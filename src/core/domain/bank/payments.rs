//! Payments: money moved or held.

use super::super::{
    AccountId, AccountStatus, Capture, MinorUnits, OrderState, Overdraft, Payment, PaymentId, PaymentOutcome,
    PaymentRequest, PaymentState, Rejection, Stamp,
};
use super::outcome::check_outcome;
use super::state::{AccountState, Balance, floor};
use super::store::Bank;
use super::undo::{OrderRecord, Undo};
use crate::domain::LogIndex;
use crate::planted::{Bug, planted};

impl Bank {
    /// The state of a request's order before the payment.
    pub(super) fn order_before(&self, request: &PaymentRequest) -> Option<OrderState> {
        self.order(&request.order.as_ref()?.id)
    }

    /// Decides a payment and executes it. `item` is its number within its entry.
    pub(super) fn pay(&mut self, stamp: Stamp, item: u16, request: &PaymentRequest, undo: &mut Undo) -> PaymentOutcome {
        let (paid, received) = match self.check_payment(request) {
            Ok(balances) => balances,
            Err(rejection) => return PaymentOutcome::Rejected(rejection),
        };
        if request.opens_accounts {
            for id in [&request.from, &request.to] {
                if !self.accounts.contains_key(id) {
                    self.open_account(id, Overdraft::Unlimited, undo);
                }
            }
        }
        self.set_balance(&request.from, request.currency, paid, undo);
        self.charge_order(stamp, request, undo);
        match request.capture {
            Capture::Automatic => {
                self.set_balance(&request.to, request.currency, received, undo);
                PaymentOutcome::Succeeded { from_balance: paid.posted, to_balance: received.posted }
            }
            Capture::Manual { expires_in_s } => {
                let expires_at_ms = stamp.timestamp.0 + 1_000 * u64::from(expires_in_s);
                let outcome = PaymentOutcome::Authorized { from_held: paid.held, expires_at_ms };
                if let Some(state) = PaymentState::decided(request, outcome) {
                    self.set_payment(PaymentId::derive(stamp, item), state, undo);
                }
                outcome
            }
        }
    }

    /// The balances of both accounts after the payment, if it is allowed. Each account is looked up once: these
    /// look-ups are most of what a decision costs.
    fn check_payment(&self, request: &PaymentRequest) -> Result<(Balance, Balance), Rejection> {
        self.check_amount(request)?;
        let (from, to) = (self.accounts.get(&request.from), self.accounts.get(&request.to));
        check_parties(request, from, to)?;
        self.check_order(request)?;
        let paid = check_funds(request, from)?;
        let received = balance(to, request);
        match request.capture {
            Capture::Automatic => Ok((paid, credited(received, request.amount)?)),
            Capture::Manual { .. } => Ok((paid, received)),
        }
    }

    /// Applies a payment that the leader decided.
    pub(super) fn apply_payment(&mut self, stamp: Stamp, payment: &Payment, undo: &mut Undo) -> Result<(), String> {
        self.recall_order_of(&payment.request, payment.order_before)?;
        let decided = self.pay(stamp, 0, &payment.request, undo);
        check_outcome(&decided, &payment.outcome)
    }

    /// Before a decided payment is applied: recalls its order as the leader saw it, or checks that memory agrees.
    pub(super) fn recall_order_of(
        &mut self,
        request: &PaymentRequest,
        before: Option<OrderState>,
    ) -> Result<(), String> {
        let Some(order) = &request.order else { return check_outcome(&None, &before) };
        match (self.order(&order.id), before) {
            (None, Some(state)) => {
                self.recall_order(&order.id, state);
                Ok(())
            }
            (known, before) => check_outcome(&known, &before),
        }
    }

    /// Only trial rules refuse an amount; it stands here so that upgrades are tested with rules that differ.
    fn check_amount(&self, request: &PaymentRequest) -> Result<(), Rejection> {
        let refused = self.rules.refuses_amounts_ending_in_seven() && request.amount.get() % 10 == 7;
        if refused { Err(Rejection::InsufficientFunds) } else { Ok(()) }
    }

    /// Checks that an account may pay and receive. One that does not exist yet may.
    pub(super) fn check_usable(&self, id: &AccountId) -> Result<(), Rejection> {
        check_usable(self.accounts.get(id))
    }

    fn check_order(&self, request: &PaymentRequest) -> Result<(), Rejection> {
        let Some(order) = &request.order else { return Ok(()) };
        let used = match self.order(&order.id) {
            None => MinorUnits::ZERO,
            Some(state) if (state.total, state.currency) != (order.total, request.currency) => {
                return Err(Rejection::OrderMismatch);
            }
            Some(state) => state.used,
        };
        match used.checked_add(request.amount) {
            Some(used) if used <= order.total => Ok(()),
            _ => Err(Rejection::OrderTotalExceeded),
        }
    }

    /// Adds the payment to its order.
    fn charge_order(&mut self, stamp: Stamp, request: &PaymentRequest, undo: &mut Undo) {
        let Some(order) = &request.order else { return };
        let holds = u32::from(matches!(request.capture, Capture::Manual { .. }));
        let charged =
            if planted(Bug::HoldsNotCountedInOrders) && holds > 0 { MinorUnits::ZERO } else { request.amount };
        let new = OrderState { currency: request.currency, total: order.total, used: MinorUnits::ZERO };
        let record = self.orders.get(&order.id).copied();
        let mut record = record.unwrap_or(OrderRecord { state: new, open_holds: 0, last_change: LogIndex(0) });
        record.state.used = record.state.used.plus(charged);
        record.open_holds += holds;
        record.last_change = stamp.index;
        self.set_order(&order.id, record, undo);
    }
}

fn check_parties(
    request: &PaymentRequest,
    from: Option<&AccountState>,
    to: Option<&AccountState>,
) -> Result<(), Rejection> {
    if from.is_none() && !request.from.is_external() && !request.opens_accounts {
        return Err(Rejection::AccountNotFound);
    }
    check_usable(from)?;
    check_usable(to)
}

fn check_usable(account: Option<&AccountState>) -> Result<(), Rejection> {
    match account.map_or(AccountStatus::Active, |state| state.status) {
        AccountStatus::Active => Ok(()),
        AccountStatus::Frozen => Err(Rejection::AccountFrozen),
        AccountStatus::Closed => Err(Rejection::AccountClosed),
    }
}

/// The paying account's balance after the payment, if it has the funds.
fn check_funds(request: &PaymentRequest, from: Option<&AccountState>) -> Result<Balance, Rejection> {
    let opened = if request.opens_accounts { Overdraft::Unlimited } else { Overdraft::None };
    let overdraft = from.map_or(opened, |state| state.overdraft);
    let before = balance(from, request);
    let after = match request.capture {
        Capture::Automatic => debited(before, request.amount)?,
        Capture::Manual { .. } => {
            let held = before.held.checked_add(request.amount).ok_or(Rejection::BalanceOverflow)?;
            Balance { held, ..before }
        }
    };
    check_floor(after, floor(&request.from, overdraft))
}

/// An account's balance in the currency of a payment.
fn balance(account: Option<&AccountState>, request: &PaymentRequest) -> Balance {
    account.map_or_else(Balance::default, |state| state.balances.get(request.currency))
}

/// The balance minus an amount.
pub(super) fn debited(balance: Balance, amount: MinorUnits) -> Result<Balance, Rejection> {
    let posted = balance.posted.checked_sub(amount).ok_or(Rejection::BalanceOverflow)?;
    Ok(Balance { posted, ..balance })
}

/// The balance plus an amount.
pub(super) fn credited(balance: Balance, amount: MinorUnits) -> Result<Balance, Rejection> {
    let posted = balance.posted.checked_add(amount).ok_or(Rejection::BalanceOverflow)?;
    Ok(Balance { posted, ..balance })
}

/// The balance, if its part that is not held is not below the floor.
pub(super) fn check_floor(balance: Balance, floor: MinorUnits) -> Result<Balance, Rejection> {
    let unheld = if planted(Bug::HeldMoneySpent) { i128::from(balance.posted.get()) } else { balance.unheld() };
    if unheld < i128::from(i64::MIN) {
        Err(Rejection::BalanceOverflow)
    } else if unheld < i128::from(floor.get()) {
        Err(Rejection::InsufficientFunds)
    } else {
        Ok(balance)
    }
}

impl AccountState {
    /// Whether every balance respects a floor.
    pub(super) fn respects(&self, floor: MinorUnits) -> bool {
        self.balances.iter().all(|(_, balance)| check_floor(balance, floor).is_ok())
    }
}
