//! The calls that concern the ledger and the nodes.

use futures_util::{Stream, TryStreamExt, stream};

use super::call::Call;
use super::error::ClientError;
use super::send::Client;
use super::{ClusterView, LedgerEntry, LedgerPage, Readiness};
use quorapay_api::query;
use quorapay_core::domain::LogIndex;

/// Entries on a page when all are wanted.
const ENTRIES_PER_PAGE: u32 = 500;

impl Client {
    /// A page of the ledger, oldest first: at most `limit` entries, 1 to 1,000; fewer if they are large, none at the
    /// end.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ledger(&self, from: LogIndex, limit: u32) -> Result<LedgerPage, ClientError> {
        let query = vec![(query::FROM_INDEX, from.to_string()), (query::LIMIT, limit.to_string())];
        self.read(&Call::read(&["v1", "ledger"], query), self.deadline).await
    }

    /// The ledger from an index to its end, page after page. Each has a deadline of its own.
    pub fn whole_ledger(&self, from: LogIndex) -> impl Stream<Item = Result<LedgerEntry, ClientError>> {
        stream::try_unfold(from, async move |from| {
            let page = self.ledger(from, ENTRIES_PER_PAGE).await?;
            let next = (!page.entries.is_empty()).then_some(page.next_index);
            Ok::<_, ClientError>(next.map(|next| (stream::iter(page.entries.into_iter().map(Ok)), next)))
        })
        .try_flatten()
    }

    /// Every node as the first node that answers sees it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn cluster(&self) -> Result<ClusterView, ClientError> {
        self.read(&Call::read(&["v1", "cluster"], Vec::new()), self.deadline).await
    }

    /// Waits until one of the nodes can serve, within the deadline.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the node's reasons if it answered to the end that it cannot.
    pub async fn ready(&self) -> Result<Readiness, ClientError> {
        self.read(&Call::read(&["readyz"], Vec::new()), self.deadline).await
    }
}
