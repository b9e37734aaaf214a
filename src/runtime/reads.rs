//! What the history reads: single entries, stretches of the ledger, lists of payments and statements.
//!
//! Nothing here waits for an index. Callers first take a [`super::ReadPoint`] and ask for nothing above its applied
//! index; everything up to there is in this node's files or memory.

use std::sync::Arc;

use crate::domain::{AccountId, Currency};
use crate::replication::{Entry, LogIndex, Timestamp};

use super::handle::{NodeHandle, ReadError};

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentStatus {
    /// The money moved.
    Succeeded,
    /// The bank refused it.
    Rejected,
}

/// Which payments a list shows: all that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Pays or receives.
    pub account: Option<AccountId>,
    /// Stands so.
    pub status: Option<PaymentStatus>,
    /// Is in this currency.
    pub currency: Option<Currency>,
    /// Was appended at this time or later.
    pub from_time: Option<Timestamp>,
    /// Was appended before this time.
    pub to_time: Option<Timestamp>,
}

/// One page of a list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, at most as many as asked for. May be fewer, or none, before the end of the list: the work for one
    /// page is bounded.
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page begins; `None` at the end of the list.
    pub next_below: Option<LogIndex>,
}

impl NodeHandle {
    /// The entry at an index, if this node's ledger holds it.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entry(&self, _index: LogIndex) -> Result<Option<Arc<Entry>>, ReadError> {
        todo!()
    }

    /// Consecutive entries in the order of their indexes, from `from` up to and including `to`, at most `limit`. Empty
    /// if `from` is above `to`. A page may hold fewer than `limit` before `to`, but at least one: its bytes are bounded.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entries(&self, _from: LogIndex, _to: LogIndex, _limit: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        todo!()
    }

    /// Payments that meet the filter at indexes below `below`, newest first. Go on while `next_below` is there, also
    /// after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn list_payments(
        &self,
        _filter: &PaymentFilter,
        _below: LogIndex,
        _limit: usize,
    ) -> Result<Page, ReadError> {
        todo!()
    }

    /// Payments that moved money of an account (refused ones move none) at indexes below `below`, newest first. Go on
    /// while `next_below` is there, also after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn statement(&self, _account: &AccountId, _below: LogIndex, _limit: usize) -> Result<Page, ReadError> {
        todo!()
    }
}
