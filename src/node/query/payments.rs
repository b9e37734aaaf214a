//! A payment with its state as of an index and the entries that changed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decisions::{each_entry, state_after};
use super::error::{ReadError, unreadable};
use super::payment_reads::{FoundPayment, Latest, latest};
use super::queries::{EngineMemory, Queries};
use super::recent::LatestChange;
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
        let found = match self.recent.payment(id, at) {
            Some((entry, change)) => FoundPayment { entry, latest: Latest::Change(change) },
            None => match self.payment_reads.payment(id, at).await? {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        let FoundPayment { entry, latest } = found;
        let Some(decided) = state_after(&entry, id) else { return Ok(None) };
        let state = self.state_at(id, decided, latest, at).await?;
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
    pub(super) async fn states_at(
        &self,
        decided: Vec<(PaymentId, PaymentState)>,
        at: LogIndex,
    ) -> Result<Vec<PaymentState>, ReadError> {
        let ids = decided.iter().map(|(id, _)| *id);
        let mut latest = latest(&self.files, &self.memory, &self.recent, ids, at).await?;
        self.read_changes(&mut latest).await?;
        let mut states = Vec::with_capacity(decided.len());
        for (id, decided) in decided {
            let latest = latest.remove(&id).unwrap_or(Latest::Change(LatestChange::None));
            states.push(self.state_at(id, decided, latest, at).await?);
        }
        Ok(states)
    }

    /// Reads the latest changes that memory does not hold, many at a time.
    async fn read_changes(&self, latest: &mut BTreeMap<PaymentId, Latest>) -> Result<(), ReadError> {
        let missing = |latest: &Latest| match latest {
            Latest::Change(LatestChange::At(index)) if self.recent.entry(*index).is_none() => Some(*index),
            Latest::Change(_) | Latest::State(_) => None,
        };
        let indexes: BTreeSet<LogIndex> = latest.values().filter_map(missing).collect();
        let mut entries = BTreeMap::new();
        each_entry(&self.files.ledger, indexes.into_iter().collect(), |entry| {
            entries.insert(entry.index, Arc::clone(entry));
            Ok(())
        })
        .await
        .map_err(unreadable)?;
        for (id, latest) in latest {
            if let Latest::Change(LatestChange::At(index)) = latest
                && let Some(state) = entries.get(index).and_then(|entry| state_after(entry, *id))
            {
                *latest = Latest::State(state);
            }
        }
        Ok(())
    }

    /// A payment's state as of `at`: what changed it later is undone.
    async fn state_at(
        &self,
        id: PaymentId,
        decided: PaymentState,
        latest: Latest,
        at: LogIndex,
    ) -> Result<PaymentState, ReadError> {
        let mut state = match latest {
            Latest::State(state) => state,
            Latest::Change(LatestChange::None) => decided,
            Latest::Change(LatestChange::At(index)) => {
                let entry = self.changing_entry(index).await?;
                state_after(&entry, id).ok_or_else(|| unreadable(format!("entry {index} did not change {id}")))?
            }
        };
        while state.last_change > at {
            let entry = self.changing_entry(state.last_change).await?;
            let before = state_before(&entry).cloned();
            state = before.ok_or_else(|| unreadable(format!("{id} changed without having been decided")))?;
        }
        Ok(state)
    }
}

/// The state, before this entry, of the payment that the entry changed.
fn state_before(entry: &Entry) -> Option<&PaymentState> {
    match entry.operation()? {
        Operation::PaymentChange(change) => change.before.as_deref(),
        Operation::Expiry(expiry) => Some(&expiry.before),
        Operation::Payment(_)
        | Operation::Account(_)
        | Operation::Batch(_)
        | Operation::KeyFence(_)
        | Operation::ApiKey(_) => None,
    }
}
