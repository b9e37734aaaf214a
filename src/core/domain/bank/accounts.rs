//! Opening and changing accounts.

use super::super::{AccountChangeKind, AccountId, AccountOutcome, AccountStatus, Overdraft, Rejection};
use super::state::{AccountState, Balance, floor};
use super::store::Bank;
use super::undo::{Undo, UndoStep};

impl Bank {
    /// Decides a change of an account and executes it.
    pub(super) fn change_account(
        &mut self,
        id: &AccountId,
        change: AccountChangeKind,
        undo: &mut Undo,
    ) -> AccountOutcome {
        let changed = match change {
            AccountChangeKind::Open(overdraft) => self.open(id, overdraft, undo),
            AccountChangeKind::Change { overdraft, status } => self.change(id, overdraft, status, undo),
        };
        changed.map_or_else(AccountOutcome::Rejected, |()| AccountOutcome::Applied)
    }

    fn open(&mut self, id: &AccountId, overdraft: Overdraft, undo: &mut Undo) -> Result<(), Rejection> {
        if self.accounts.contains_key(id) {
            return Err(Rejection::AccountExists);
        }
        self.open_account(id, overdraft, undo);
        Ok(())
    }

    fn change(
        &mut self,
        id: &AccountId,
        overdraft: Option<Overdraft>,
        status: Option<AccountStatus>,
        undo: &mut Undo,
    ) -> Result<(), Rejection> {
        let account = self.accounts.get_mut(id).ok_or(Rejection::AccountNotFound)?;
        if account.status == AccountStatus::Closed {
            return Err(Rejection::AccountClosed);
        }
        if overdraft.is_some_and(|overdraft| !account.respects(floor(id, overdraft))) {
            return Err(Rejection::OverdraftInUse);
        }
        if status == Some(AccountStatus::Closed) && !account.is_empty() {
            return Err(Rejection::AccountNotEmpty);
        }
        undo.0.push(UndoStep::Policy(id.clone(), account.overdraft, account.status));
        account.overdraft = overdraft.unwrap_or(account.overdraft);
        account.status = status.unwrap_or(account.status);
        Ok(())
    }
}

impl AccountState {
    fn is_empty(&self) -> bool {
        self.balances.iter().all(|(_, balance)| balance == Balance::default())
    }
}
