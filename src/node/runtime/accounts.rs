//! Reads of accounts and of the whole bank, from the engine's memory.

use std::collections::BTreeMap;

use crate::query::ReadError;
use quorapay_core::domain::{AccountId, AccountState, Currency, LogIndex};

use super::handle::NodeHandle;

/// Most accounts on one page, whatever the caller requests: the event loop copies them.
const MAX_ACCOUNTS: usize = 1_000;

/// An account as of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// The account's id.
    pub id: AccountId,
    /// Its state.
    pub state: AccountState,
}

/// Totals of the bank.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BankSummary {
    /// Number of open holds.
    pub open_holds: usize,
    /// The sum over all accounts, by currency. Always zero; anything else is damage.
    pub sums: BTreeMap<Currency, i128>,
}

impl NodeHandle {
    /// An account as of the applied index, and that index.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn account(&self, id: AccountId) -> Result<(LogIndex, Option<AccountSnapshot>), ReadError> {
        self.shared
            .engine
            .ask(move |engine, _| {
                let state = engine.account(&id);
                (engine.applied_index(), state.map(|state| AccountSnapshot { id, state }))
            })
            .await
    }

    /// Accounts in the order of their ids as of the applied index, at most 1,000.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<(LogIndex, Vec<AccountSnapshot>), ReadError> {
        self.shared
            .engine
            .ask(move |engine, _| {
                let accounts = engine.accounts(after.as_ref(), limit.min(MAX_ACCOUNTS));
                let snapshots = accounts.into_iter().map(|(id, state)| AccountSnapshot { id, state }).collect();
                (engine.applied_index(), snapshots)
            })
            .await
    }

    /// Totals of the bank, as of the end of this node's log.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn bank_summary(&self) -> Result<BankSummary, ReadError> {
        self.shared
            .engine
            .ask(|engine, _| {
                let bank = engine.bank();
                BankSummary { open_holds: bank.open_hold_count(), sums: bank.sums().clone() }
            })
            .await
    }
}
