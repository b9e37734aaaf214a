//! What the history reads: single entries, stretches of the ledger, payments with what became of them, statements.
//!
//! Nothing here waits for an index. Callers first take a [`super::ReadPoint`] and ask for nothing above its applied
//! index; everything up to there is in this node's files or memory.

use std::sync::Arc;

use futures_util::Stream;

use crate::domain::{AccountId, Currency, MinorUnits, OrderId, PaymentId, PaymentState, PaymentStatus, PostingKind};
use crate::replication::{Entry, LogIndex, Timestamp};

use super::handle::{NodeHandle, ReadError};

/// A payment with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentView {
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
pub struct Place {
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
    pub next_before: Option<Place>,
}

/// Money that an account paid or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// Where it stands.
    pub place: Place,
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

    /// A payment as of `at`, with its history.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read, [`ReadError::Overloaded`] if the loop's queue is
    /// full.
    pub async fn payment(&self, _id: PaymentId, _at: LogIndex) -> Result<Option<PaymentView>, ReadError> {
        todo!()
    }

    /// Payments as of `at` that meet the filter and stand before `before`, newest first; without one, from the newest on.
    /// Go on while `next_before` is there, also after an empty page.
    ///
    /// # Errors
    /// Like [`Self::payment`].
    pub async fn list_payments(
        &self,
        _filter: &PaymentFilter,
        _at: LogIndex,
        _before: Option<Place>,
        _limit: usize,
    ) -> Result<Page<PaymentView>, ReadError> {
        todo!()
    }

    /// What moved an account's money up to `at`, before `before`, newest first; without one, from the newest on. Go on
    /// while `next_before` is there, also after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn statement(
        &self,
        _account: &AccountId,
        _filter: StatementFilter,
        _at: LogIndex,
        _before: Option<Place>,
        _limit: usize,
    ) -> Result<Page<StatementLine>, ReadError> {
        todo!()
    }

    /// All entries from `from` up to and including `to`, oldest first, a few at a time. Ends after the first error.
    pub fn export_entries(
        &self,
        _from: LogIndex,
        _to: LogIndex,
    ) -> impl Stream<Item = Result<Vec<Arc<Entry>>, ReadError>> + Send + use<> {
        futures_util::stream::empty()
    }

    /// Everything that moved an account's money up to `at`, newest first, a few lines at a time, which may be none. Ends
    /// after the first error.
    pub fn export_statement(
        &self,
        _account: AccountId,
        _filter: StatementFilter,
        _at: LogIndex,
    ) -> impl Stream<Item = Result<Vec<StatementLine>, ReadError>> + Send + use<> {
        futures_util::stream::empty()
    }
}

fn unreadable(error: impl std::fmt::Display) -> ReadError {
    tracing::error!(%error, "this node could not read its files");
    ReadError::Storage
}
