//! A payment with its state as of an index and the entries that changed it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decisions::{changed_states, state_after};
use super::error::{ReadError, unreadable};
use super::queries::{EngineMemory, Queries};
use quorapay_core::domain::{LogIndex, Operation, PaymentId, PaymentState};
use quorapay_core::replication::Entry;

/// A payment and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRecord {
    /// The entry that decided it.
    pub entry: Arc<Entry>,
    /// Its number within the entry.
    pub item: u16,
    /// Its state.
    pub state: PaymentState,
    /// The entries that changed it, oldest first; rejected changes are not among them. Empty in a list.
    pub history: Vec<Arc<Entry>>,
}

impl<M: EngineMemory> Queries<M> {
    /// A payment as of `at`, with its history.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read, [`ReadError::Overloaded`] if the loop's queue
    /// is full.
    pub async fn payment(&self, id: PaymentId, at: LogIndex) -> Result<Option<PaymentRecord>, ReadError> {
        let index = id.index();
        if index == LogIndex(0) || index > at {
            return Ok(None);
        }
        let Some(entry) = self.entry(index).await? else { return Ok(None) };
        let Some(decided) = state_after(&entry, id) else { return Ok(None) };
        let mut states = self.states_at(vec![(id, decided)], at).await?;
        let state = states.pop().expect("one state was asked for");
        let history = self.history(&state).await?;
        Ok(Some(PaymentRecord { entry, item: id.item(), state, history }))
    }

    /// The entries that led to a state, oldest first. Each names the one before, and a payment has a bounded number.
    async fn history(&self, state: &PaymentState) -> Result<Vec<Arc<Entry>>, ReadError> {
        let mut history = Vec::new();
        let mut last = state.last_change;
        while last > LogIndex(0) {
            let entry = self.changing_entry(last).await?;
            last = state_before(&entry).map_or(LogIndex(0), |before| before.last_change);
            history.push(entry);
        }
        history.reverse();
        Ok(history)
    }

    async fn changing_entry(&self, index: LogIndex) -> Result<Arc<Entry>, ReadError> {
        let entry = self.entry(index).await?;
        entry.ok_or_else(|| unreadable(format!("entry {index}, which changed a payment, is missing")))
    }

    /// The states of payments as of `at`, in the order given; each comes with the state in which it was decided.
    ///
    /// Memory is read first: what it has forgotten by then is in the views when they are read afterwards.
    pub(super) async fn states_at(
        &self,
        decided: Vec<(PaymentId, PaymentState)>,
        at: LogIndex,
    ) -> Result<Vec<PaymentState>, ReadError> {
        let ids: BTreeSet<PaymentId> = decided.iter().map(|(id, _)| *id).collect();
        let mut in_memory = self.memory.payments(ids).await?;
        let unknown = decided.iter().map(|(id, _)| *id).filter(|id| !in_memory.contains_key(id));
        let on_disk = changed_states(&self.views, &self.ledger, unknown).await.map_err(unreadable)?;
        let mut states = Vec::with_capacity(decided.len());
        for (id, decided) in decided {
            let mut state = in_memory.remove(&id).or_else(|| on_disk.get(&id).cloned()).unwrap_or(decided);
            while state.last_change > at {
                let entry = self.changing_entry(state.last_change).await?;
                let before = state_before(&entry).cloned();
                state = before.ok_or_else(|| unreadable(format!("{id} changed without having been decided")))?;
            }
            states.push(state);
        }
        Ok(states)
    }
}

/// The state, before this entry, of the payment that the entry changed.
fn state_before(entry: &Entry) -> Option<&PaymentState> {
    match entry.operation()? {
        Operation::PaymentChange(change) => change.before.as_deref(),
        Operation::Expiry(expiry) => Some(&expiry.before),
        Operation::Payment(_) | Operation::Account(_) | Operation::Batch(_) | Operation::KeyFence(_) => None,
    }
}
