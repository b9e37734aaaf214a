//! What the history reads: single entries, stretches of the ledger, payments with what became of them, exports.
//!
//! Nothing here waits for an index. Callers first take a [`super::ReadPoint`] and ask for nothing above its applied
//! index; everything up to there is in this node's files or memory.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::Stream;

use quorapay_core::domain::{
    AccountId, Currency, MinorUnits, Operation, OrderId, PaymentId, PaymentState, PaymentStatus, PostingKind,
};
use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::replication::{Entry, NodeId};

use super::find::{changed_states, state_after};
use super::handle::{NodeHandle, ReadError};

/// Entries, or lines of a statement, that an export reads at a time.
const EXPORTED_AT_ONCE: usize = 1_000;

/// A payment with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRecord {
    /// The entry that decided it.
    pub entry: Arc<Entry>,
    /// Its number within the entry.
    pub item: u16,
    /// Where it stands.
    pub state: PaymentState,
    /// The entries that changed it, oldest first; refused changes are not among them. Empty in a list.
    pub history: Vec<Arc<Entry>>,
}

/// Which payments a list shows: all that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Pays or receives.
    pub account: Option<AccountId>,
    /// Stands so now.
    pub status: Option<PaymentStatus>,
    /// Is in this currency.
    pub currency: Option<Currency>,
    /// Pays for this order.
    pub order: Option<OrderId>,
    /// Was appended at this time or later.
    pub from_time: Option<Timestamp>,
    /// Was appended before this time.
    pub to_time: Option<Timestamp>,
}

/// Which lines a statement shows: all that meet every condition given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatementFilter {
    /// Are in this currency.
    pub currency: Option<Currency>,
    /// Were appended at this time or later.
    pub from_time: Option<Timestamp>,
    /// Were appended before this time.
    pub to_time: Option<Timestamp>,
}

/// A place in a list that is shown newest first: a payment or a posting within an entry. The next page holds what stands
/// before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The entry.
    pub index: LogIndex,
    /// The number within the entry: zero but for batches.
    pub item: u16,
}

/// One page of a list, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found, at most as much as asked for. May be less, or nothing, before the end of the list: the work for
    /// one page is bounded.
    pub found: Vec<T>,
    /// The next page holds what stands before this place; `None` at the end of the list.
    pub next_before: Option<Cursor>,
}

/// Money that an account paid or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// Where it stands.
    pub cursor: Cursor,
    /// When it was appended.
    pub timestamp: Timestamp,
    /// The payment that it belongs to.
    pub payment: PaymentId,
    /// Why it moved.
    pub kind: PostingKind,
    /// Negative if the account paid.
    pub amount: MinorUnits,
    /// Of what.
    pub currency: Currency,
    /// The account's posted balance in this currency right after.
    pub balance: MinorUnits,
    /// The other account.
    pub counterparty: AccountId,
}

impl NodeHandle {
    /// The entry at an index, if this node's ledger holds it.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entry(&self, index: LogIndex) -> Result<Option<Arc<Entry>>, ReadError> {
        self.shared.ledger.entry(index).await.map_err(unreadable)
    }

    /// Consecutive entries in the order of their indexes, from `from` up to and including `to`, at most `limit`; fewer, but
    /// at least one, if they are heavy. Empty if `from` is above `to`.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entries(&self, from: LogIndex, to: LogIndex, limit: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.shared.ledger.entries(from, to, limit).await.map_err(unreadable)
    }

    /// How many payments were decided up to `at`, refused ones too.
    ///
    /// The views know it up to where they go, which may be a little before `at` or a little beyond; the ledger knows the
    /// difference.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn payment_count(&self, at: LogIndex) -> Result<u64, ReadError> {
        let (projected, counted) = self.shared.views.payment_count().await.map_err(unreadable)?;
        let ledger = &self.shared.ledger;
        if projected <= at {
            Ok(counted + ledger.count_payments(projected, at).await.map_err(unreadable)?)
        } else {
            Ok(counted.saturating_sub(ledger.count_payments(at, projected).await.map_err(unreadable)?))
        }
    }

    /// Who led in the epochs from `first` to `last`, as far as this node's ledger holds their first entries.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn leaders(&self, first: Epoch, last: Epoch) -> Result<BTreeMap<Epoch, NodeId>, ReadError> {
        self.shared.ledger.leaders(first, last).await.map_err(unreadable)
    }

    /// A payment as of `at`, with its history.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read, [`ReadError::Overloaded`] if the loop's queue is
    /// full.
    pub async fn payment(&self, id: PaymentId, at: LogIndex) -> Result<Option<PaymentRecord>, ReadError> {
        let index = id.index();
        if index == LogIndex(0) || index > at {
            return Ok(None);
        }
        let Some(entry) = self.entry(index).await? else { return Ok(None) };
        let Some(decided) = state_after(&entry, id) else { return Ok(None) };
        let mut states = self.current_states(vec![(id, decided)], at).await?;
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
            last = before(&entry).map_or(LogIndex(0), |before| before.last_change);
            history.push(entry);
        }
        history.reverse();
        Ok(history)
    }

    async fn changing_entry(&self, index: LogIndex) -> Result<Arc<Entry>, ReadError> {
        let entry = self.entry(index).await?;
        entry.ok_or_else(|| unreadable(format!("entry {index}, which changed a payment, is missing")))
    }

    /// Where payments stand as of `at`, in the order given; each is given with how it was decided.
    ///
    /// Memory is asked first: what it has forgotten by then is in the views, whenever they are asked after that.
    pub(super) async fn current_states(
        &self,
        decided: Vec<(PaymentId, PaymentState)>,
        at: LogIndex,
    ) -> Result<Vec<PaymentState>, ReadError> {
        let ids: BTreeSet<PaymentId> = decided.iter().map(|(id, _)| *id).collect();
        let mut in_memory = self.query(move |engine, _| engine.payments(&ids)).await?;
        let unknown = decided.iter().map(|(id, _)| *id).filter(|id| !in_memory.contains_key(id));
        let on_disk = changed_states(&self.shared.views, &self.shared.ledger, unknown).await.map_err(unreadable)?;
        let mut states = Vec::with_capacity(decided.len());
        for (id, decided) in decided {
            let mut state = in_memory.remove(&id).or_else(|| on_disk.get(&id).cloned()).unwrap_or(decided);
            while state.last_change > at {
                let entry = self.changing_entry(state.last_change).await?;
                state = before(&entry).cloned().ok_or_else(|| unreadable(format!("{id} changed out of nothing")))?;
            }
            states.push(state);
        }
        Ok(states)
    }

    /// All entries from `from` up to and including `to`, oldest first, some at a time. Ends after the first error, and with
    /// one if an entry is missing.
    pub fn export_entries(
        &self,
        from: LogIndex,
        to: LogIndex,
    ) -> impl Stream<Item = Result<Vec<Arc<Entry>>, ReadError>> + Send + use<> {
        let node = self.clone();
        futures_util::stream::try_unfold(from, move |from| {
            let node = node.clone();
            async move {
                if from > to {
                    return Ok(None);
                }
                let entries = node.entries(from, to, EXPORTED_AT_ONCE).await?;
                let last = entries.last().ok_or_else(|| unreadable(format!("entry {from} is missing")))?;
                let next = last.index.next();
                Ok(Some((entries, next)))
            }
        })
    }

    /// Everything that moved an account's money up to `at`, newest first, some lines at a time, which may be none. Ends
    /// after the first error.
    pub fn export_statement(
        &self,
        account: AccountId,
        filter: StatementFilter,
        at: LogIndex,
    ) -> impl Stream<Item = Result<Vec<StatementLine>, ReadError>> + Send + use<> {
        let node = self.clone();
        let newest = Cursor { index: at.next(), item: 0 };
        futures_util::stream::try_unfold(Some(newest), move |before| {
            let (node, account) = (node.clone(), account.clone());
            async move {
                let Some(before) = before else { return Ok(None) };
                let page = node.statement(&account, filter, at, Some(before), EXPORTED_AT_ONCE).await?;
                Ok(Some((page.found, page.next_before)))
            }
        })
    }
}

/// Where the payment that an entry changed stood before.
fn before(entry: &Entry) -> Option<&PaymentState> {
    match entry.operation()? {
        Operation::PaymentChange(change) => change.before.as_deref(),
        Operation::Expiry(expiry) => Some(&expiry.before),
        Operation::Payment(_) | Operation::Account(_) | Operation::Batch(_) | Operation::KeyFence(_) => None,
    }
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> ReadError {
    tracing::error!(%error, "this node could not read its files");
    ReadError::Storage
}
