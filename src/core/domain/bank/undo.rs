//! Taking back what was applied: what each touched thing was before.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{AccountId, AccountStatus, Currency, OrderId, Overdraft, PaymentId, PaymentState};
use super::state::{AccountState, Balance};
use super::{Bank, OrderRecord};

/// How to take one applied operation back.
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
}

impl Undo {
    /// The accounts that the operation touched.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.0.iter().filter_map(|step| match step {
            UndoStep::Created(id) | UndoStep::Balance(id, ..) | UndoStep::Policy(id, ..) => Some(id),
            UndoStep::Payment(..) | UndoStep::Order(..) => None,
        })
    }

    /// What accounts were before the operation, given what they were after it (`None`: it did not exist). Others than
    /// those given are left out.
    pub fn rewind_accounts(&self, states: &mut BTreeMap<AccountId, Option<AccountState>>) {
        for step in self.0.iter().rev() {
            let account = match step {
                UndoStep::Created(id) | UndoStep::Balance(id, ..) | UndoStep::Policy(id, ..) => id,
                UndoStep::Payment(..) | UndoStep::Order(..) => continue,
            };
            let Some(state) = states.get_mut(account) else { continue };
            match (step, state.as_mut()) {
                (UndoStep::Created(_), _) => *state = None,
                (UndoStep::Balance(_, currency, before), Some(state)) => state.balances.put_back(*currency, *before),
                (UndoStep::Policy(_, overdraft, status), Some(state)) => {
                    (state.overdraft, state.status) = (*overdraft, *status);
                }
                _ => {}
            }
        }
    }

    /// What payments were before the operation, given what they were after it; those that memory did not hold are left
    /// out.
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

impl Bank {
    /// Takes one operation back. Operations are taken back newest first.
    pub fn undo(&mut self, undo: &Undo) {
        self.undo_after(undo, 0);
    }

    /// Takes back the steps of an operation from its `kept`-th on.
    pub(super) fn undo_after(&mut self, undo: &Undo, kept: usize) {
        const FOLLOWS: &str = "an undo follows the operation that it undoes";
        for step in undo.0[kept..].iter().rev() {
            match step {
                UndoStep::Created(id) => {
                    self.accounts.remove(id);
                }
                UndoStep::Balance(id, currency, before) => {
                    let state = self.accounts.get_mut(id).expect(FOLLOWS);
                    let after = state.balances.get(*currency);
                    state.balances.put_back(*currency, *before);
                    self.add_up(*currency, after.posted, before.unwrap_or_default().posted);
                }
                UndoStep::Policy(id, overdraft, status) => {
                    let state = self.accounts.get_mut(id).expect(FOLLOWS);
                    (state.overdraft, state.status) = (*overdraft, *status);
                }
                UndoStep::Payment(id, before) => self.put_payment(*id, before.as_deref().cloned()),
                UndoStep::Order(id, before) => self.put_order(id, *before),
            }
        }
    }
}
