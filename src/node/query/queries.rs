//! The readers that a query uses, and single entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decisions::LookupError;
use super::error::{ReadError, unreadable};
use super::newest::NewestFirst;
use super::payment_reads::PaymentReads;
use super::recent::Recent;
use crate::blocking::Blocking;
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

/// Readers of both files.
#[derive(Clone, Debug)]
pub struct QueryFiles {
    /// The entries.
    pub ledger: LedgerReader,
    /// What says where they are.
    pub views: ViewsReader,
}

impl QueryFiles {
    /// The same connections, whose reads are awaited like this.
    #[must_use]
    pub fn awaited(self, blocking: &Blocking) -> Self {
        Self { ledger: self.ledger.awaited(blocking), views: self.views.awaited(blocking) }
    }
}

/// Answers queries from a node's ledger, its views and what is in memory. Cheap to clone.
#[derive(Clone)]
pub struct Queries<M> {
    /// For lists, statements and exports.
    pub(super) files: QueryFiles,
    pub(super) memory: M,
    pub(super) recent: Recent,
    pub(super) payment_reads: PaymentReads<M>,
}

impl<M: EngineMemory> Queries<M> {
    /// Queries that read single payments and everything else from readers of their own, so that neither waits for the
    /// other's connections.
    pub fn new(single: QueryFiles, files: QueryFiles, memory: M, recent: Recent) -> Self {
        let payment_reads = PaymentReads::new(single, memory.clone(), recent.clone());
        Self { files, memory, recent, payment_reads }
    }

    /// The entry at an index, if this node's ledger holds it.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entry(&self, index: LogIndex) -> Result<Option<Arc<Entry>>, ReadError> {
        if let Some(entry) = self.recent.entry(index) {
            return Ok(Some(entry));
        }
        let applied = self.recent.applied();
        let entry = self.files.ledger.entry(index).await.map_err(unreadable)?;
        if let Some(entry) = entry.as_ref().filter(|_| index <= applied) {
            self.recent.keep(entry);
        }
        Ok(entry)
    }

    /// Consecutive entries in the order of their indexes, from `from` up to and including `to`, at most `limit`; fewer,
    /// but at least one, if they are large. Empty if `from` is above `to`.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entries(&self, from: LogIndex, to: LogIndex, limit: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.files.ledger.entries(from, to, limit).await.map_err(unreadable)
    }

    /// How many payments were decided up to `at`, rejected ones included.
    ///
    /// Memory counts them. Only if it lost count, or `at` is long ago, they are counted again.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn payment_count(&self, at: LogIndex) -> Result<u64, ReadError> {
        if let Some(count) = self.recent.payment_count(at) {
            return Ok(count);
        }
        let count = count_payments(&self.files, at).await.map_err(unreadable)?;
        self.recent.recount(at, count);
        Ok(count)
    }

    /// Who led in the epochs from `first` to `last`, as far as this node's ledger holds their first entries.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn leaders(&self, first: Epoch, last: Epoch) -> Result<BTreeMap<Epoch, NodeId>, ReadError> {
        self.files.ledger.leaders(first, last).await.map_err(unreadable)
    }

    /// The entry that holds an idempotency key on this node, committed or not.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full, [`ReadError::Storage`] if the views cannot be read.
    pub async fn find_key(&self, digest: KeyDigest) -> Result<Option<LogIndex>, ReadError> {
        match self.memory.recent_key(digest).await? {
            Some(index) => Ok(Some(index)),
            None => self.files.views.key(digest).await.map_err(unreadable),
        }
    }

    pub(super) fn newest_first(&self) -> NewestFirst<'_> {
        NewestFirst {
            ledger: &self.files.ledger,
            views: &self.files.views,
            recent: &self.recent,
            projected: self.memory.projected_index(),
        }
    }
}

/// How many payments were decided up to `at`, rejected ones included, counted in the files.
///
/// The views have counted them up to their projected index, which may be before or after `at`; the ledger gives the
/// difference.
///
/// # Errors
/// [`LookupError`] if the ledger or the views cannot be read.
pub(crate) async fn count_payments(files: &QueryFiles, at: LogIndex) -> Result<u64, LookupError> {
    let (projected, counted) = files.views.payment_count().await?;
    if projected <= at {
        Ok(counted + files.ledger.count_payments(projected, at).await?)
    } else {
        Ok(counted.saturating_sub(files.ledger.count_payments(at, projected).await?))
    }
}
