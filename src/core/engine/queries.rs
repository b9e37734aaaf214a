//! What the engine shows to reads: everything as of the applied index, which the bank is ahead of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::{
    AccountId, AccountState, ApiKeyId, ApiKeyState, Bank, KeyDigest, LogIndex, PaymentId, PaymentState,
};
use crate::replication::Replica;

use super::keys::KeyStatus;
use super::state::Engine;
use super::unprojected::ViewsLag;

/// How much an engine holds in memory that grows with its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldInMemory {
    /// Entries that can be undone.
    pub undo: u64,
    /// Idempotency keys that are held exactly.
    pub recent_keys: u64,
    /// Callers that wait for an entry to commit.
    pub waiting: u64,
    /// Proposals that wait for a lookup on disk.
    pub parked: usize,
    /// Their bytes.
    pub parked_bytes: usize,
}

impl Engine {
    /// How much is in memory, for checks of its bounds.
    #[must_use]
    pub fn held_in_memory(&self) -> HeldInMemory {
        let waiting: usize = self.waiting.values().map(Vec::len).sum();
        HeldInMemory {
            undo: self.undo.len() as u64,
            recent_keys: self.keys.recent() as u64,
            waiting: waiting as u64,
            parked: self.pending_lookups.len(),
            parked_bytes: self.pending_lookups.bytes(),
        }
    }

    /// The replica, for its status.
    #[must_use]
    pub const fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Highest index that is committed and durable here: what reads show.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        self.replica.applied_index()
    }

    /// Everything up to here is in the views.
    #[must_use]
    pub fn projected_index(&self) -> LogIndex {
        self.keys.projected()
    }

    /// How far the views are behind.
    #[must_use]
    pub const fn views_lag(&self) -> ViewsLag {
        self.unprojected.lag()
    }

    /// Whether the views are as far behind as they may be: at the leader proposals have to wait, and at a follower what it
    /// would have to store.
    #[must_use]
    pub fn holds_writes(&self) -> bool {
        self.unprojected.is_full(&self.replica.limits())
    }

    /// Whether proposals have to wait: this node leads, and its views are as far behind as they may be. Whoever feeds the
    /// engine keeps them until this is no longer so; if it does not, nothing but memory suffers.
    #[must_use]
    pub fn holds_proposals(&self) -> bool {
        self.replica.takes_proposals() && self.holds_writes()
    }

    /// Index of the entry that holds a key, if it is above the projected index.
    #[must_use]
    pub fn recent_key(&self, digest: KeyDigest) -> Option<LogIndex> {
        match self.keys.find(digest) {
            KeyStatus::UsedAt(index) => Some(index),
            KeyStatus::PerhapsInViews | KeyStatus::Unused => None,
        }
    }

    /// How many callers wait for an answer.
    #[must_use]
    pub fn waiting_callers(&self) -> usize {
        self.waiting.values().map(Vec::len).sum::<usize>() + self.pending_lookups.len()
    }

    /// The API keys as of the applied index. They are copied, so this is for when one has changed.
    #[must_use]
    pub fn api_keys(&self) -> BTreeMap<ApiKeyId, Arc<ApiKeyState>> {
        let mut keys = self.bank.api_keys().clone();
        self.undo.iter().rev().for_each(|(_, undo)| undo.rewind_api_keys(&mut keys));
        keys
    }

    /// An account as of the applied index.
    #[must_use]
    pub fn account(&self, id: &AccountId) -> Option<AccountState> {
        self.rewound_accounts([id].into_iter()).remove(id).flatten()
    }

    /// The first accounts after `after`, sorted by id, as of the applied index.
    #[must_use]
    pub fn accounts(&self, after: Option<&AccountId>, limit: usize) -> Vec<(AccountId, AccountState)> {
        let changed = self.undo.iter().flat_map(|(_, undo)| undo.accounts());
        let mut rewound = self.rewound_accounts(changed.filter(|id| after.is_none_or(|after| *id > after)));
        let as_of_applied = |(id, state): (&AccountId, &AccountState)| {
            let state = rewound.remove(id).unwrap_or_else(|| Some(state.clone()));
            state.map(|state| (id.clone(), state))
        };
        self.bank.accounts_after(after).filter_map(as_of_applied).take(limit).collect()
    }

    /// Accounts as of the applied index; `None` for one that did not exist then. One pass over the undo list, however
    /// many accounts are requested.
    fn rewound_accounts<'id>(
        &self,
        ids: impl Iterator<Item = &'id AccountId>,
    ) -> BTreeMap<AccountId, Option<AccountState>> {
        let mut states: BTreeMap<AccountId, Option<AccountState>> =
            ids.map(|id| (id.clone(), self.bank.account(id).cloned())).collect();
        for (_, undo) in self.undo.iter().rev() {
            undo.rewind_accounts(&mut states);
        }
        states
    }

    /// Payments as of the applied index, as far as memory holds them: open holds, and payments that changed above the
    /// projected index. The disk holds the others. One pass over the undo list, however many payments are requested.
    #[must_use]
    pub fn payments(&self, ids: &BTreeSet<PaymentId>) -> BTreeMap<PaymentId, PaymentState> {
        let mut states: BTreeMap<PaymentId, PaymentState> =
            ids.iter().filter_map(|id| Some((*id, self.bank.payment(*id)?.clone()))).collect();
        for (_, undo) in self.undo.iter().rev() {
            undo.rewind_payments(ids, &mut states);
        }
        states
    }

    /// The bank as of the end of the log, for checks.
    #[must_use]
    pub const fn bank(&self) -> &Bank {
        &self.bank
    }
}
