//! The readers that a query uses, and single entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::{ReadError, unreadable};
use super::newest::NewestFirst;
use crate::ledger::LedgerReader;
use crate::views::ViewsReader;
use quorapay_core::domain::{Epoch, KeyDigest, LogIndex, PaymentId, PaymentState};
use quorapay_core::replication::{Entry, NodeId};

/// What queries need of the engine: the state that is too young for the views.
pub trait EngineMemory: Clone + Send + Sync + 'static {
    /// The present states of those of the payments that the engine has in memory.
    fn payments(
        &self,
        ids: BTreeSet<PaymentId>,
    ) -> impl Future<Output = Result<BTreeMap<PaymentId, PaymentState>, ReadError>> + Send;

    /// The entry that holds an idempotency key, committed or not, if the key is too young for the views.
    fn recent_key(&self, digest: KeyDigest) -> impl Future<Output = Result<Option<LogIndex>, ReadError>> + Send;

    /// Highest index in the views. May be a little out of date, and is then too low, which only makes a query read more
    /// of the ledger.
    fn projected_index(&self) -> LogIndex;
}

/// Answers queries from a node's ledger, its views and its engine's memory. Cheap to clone.
#[derive(Clone)]
pub struct Queries<M> {
    pub(super) ledger: LedgerReader,
    pub(super) views: ViewsReader,
    pub(super) memory: M,
}

impl<M: EngineMemory> Queries<M> {
    /// Queries over these readers.
    pub const fn new(ledger: LedgerReader, views: ViewsReader, memory: M) -> Self {
        Self { ledger, views, memory }
    }

    /// The entry at an index, if this node's ledger holds it.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entry(&self, index: LogIndex) -> Result<Option<Arc<Entry>>, ReadError> {
        self.ledger.entry(index).await.map_err(unreadable)
    }

    /// Consecutive entries in the order of their indexes, from `from` up to and including `to`, at most `limit`; fewer,
    /// but at least one, if they are large. Empty if `from` is above `to`.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entries(&self, from: LogIndex, to: LogIndex, limit: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.ledger.entries(from, to, limit).await.map_err(unreadable)
    }

    /// How many payments were decided up to `at`, rejected ones included.
    ///
    /// The views have counted them up to their projected index, which may be a little before or after `at`; the ledger
    /// gives the difference.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn payment_count(&self, at: LogIndex) -> Result<u64, ReadError> {
        let (projected, counted) = self.views.payment_count().await.map_err(unreadable)?;
        if projected <= at {
            Ok(counted + self.ledger.count_payments(projected, at).await.map_err(unreadable)?)
        } else {
            Ok(counted.saturating_sub(self.ledger.count_payments(at, projected).await.map_err(unreadable)?))
        }
    }

    /// Who led in the epochs from `first` to `last`, as far as this node's ledger holds their first entries.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn leaders(&self, first: Epoch, last: Epoch) -> Result<BTreeMap<Epoch, NodeId>, ReadError> {
        self.ledger.leaders(first, last).await.map_err(unreadable)
    }

    /// The entry that holds an idempotency key on this node, committed or not.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full, [`ReadError::Storage`] if the views cannot be read.
    pub async fn find_key(&self, digest: KeyDigest) -> Result<Option<LogIndex>, ReadError> {
        match self.memory.recent_key(digest).await? {
            Some(index) => Ok(Some(index)),
            None => self.views.key(digest).await.map_err(unreadable),
        }
    }

    pub(super) fn newest_first(&self) -> NewestFirst<'_> {
        NewestFirst { ledger: &self.ledger, views: &self.views, projected: self.memory.projected_index() }
    }
}
