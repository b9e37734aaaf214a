//! Undoing an applied operation: the earlier state of everything that it changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::state::{AccountState, Balance};
use crate::domain::{
    AccountId, AccountStatus, ApiKeyId, ApiKeyState, Currency, LogIndex, OrderId, OrderState, Overdraft, PaymentId,
    PaymentState, RuleVersion,
};

/// An order in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderRecord {
    pub(super) state: OrderState,
    /// While there are any, the order is kept in memory.
    pub(super) open_holds: u32,
    /// Index of the last entry that changed it.
    pub(super) last_change: LogIndex,
}

/// How to undo one applied operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undo(pub(super) Vec<UndoStep>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UndoStep {
    /// The account did not exist.
    Created(AccountId),
    Balance(AccountId, Currency, Option<Balance>),
    Policy(AccountId, Overdraft, AccountStatus),
    Payment(PaymentId, Option<Box<PaymentState>>),
    Order(OrderId, Option<OrderRecord>),
    Rules(RuleVersion),
    ApiKey(ApiKeyId, Option<Arc<ApiKeyState>>),
}

impl Undo {
    /// The accounts that the operation changed.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.0.iter().filter_map(|step| match step {
            UndoStep::Created(id) | UndoStep::Balance(id, ..) | UndoStep::Policy(id, ..) => Some(id),
            UndoStep::Payment(..) | UndoStep::Order(..) | UndoStep::Rules(_) | UndoStep::ApiKey(..) => None,
        })
    }

    /// Turns the states of accounts after the operation into those before it; `None` for an account that did not exist.
    /// Accounts that are not in `states` are not added.
    pub fn rewind_accounts(&self, states: &mut BTreeMap<AccountId, Option<AccountState>>) {
        for step in self.0.iter().rev() {
            let account = match step {
                UndoStep::Created(id) | UndoStep::Balance(id, ..) | UndoStep::Policy(id, ..) => id,
                UndoStep::Payment(..) | UndoStep::Order(..) | UndoStep::Rules(_) | UndoStep::ApiKey(..) => continue,
            };
            let Some(state) = states.get_mut(account) else { continue };
            match (step, state.as_mut()) {
                (UndoStep::Created(_), _) => *state = None,
                (UndoStep::Balance(_, currency, before), Some(state)) => state.balances.restore(*currency, *before),
                (UndoStep::Policy(_, overdraft, status), Some(state)) => {
                    (state.overdraft, state.status) = (*overdraft, *status);
                }
                _ => {}
            }
        }
    }

    /// Turns the API keys after the operation into those before it.
    pub fn rewind_api_keys(&self, keys: &mut BTreeMap<ApiKeyId, Arc<ApiKeyState>>) {
        for step in self.0.iter().rev() {
            match step {
                UndoStep::ApiKey(id, Some(before)) => {
                    keys.insert(*id, Arc::clone(before));
                }
                UndoStep::ApiKey(id, None) => {
                    keys.remove(id);
                }
                _ => {}
            }
        }
    }

    /// Turns the states of payments after the operation into those before it, for the given ids. A payment that memory
    /// did not hold before the operation is removed.
    pub fn rewind_payments(&self, ids: &BTreeSet<PaymentId>, states: &mut BTreeMap<PaymentId, PaymentState>) {
        for step in self.0.iter().rev() {
            match step {
                UndoStep::Payment(id, before) if ids.contains(id) => match before.as_deref() {
                    Some(before) => {
                        states.insert(*id, before.clone());
                    }
                    None => {
                        states.remove(id);
                    }
                },
                _ => {}
            }
        }
    }
}
