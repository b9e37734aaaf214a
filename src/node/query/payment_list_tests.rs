//! Lists in real files, as of any index and with views that are behind it or ahead of it.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::query::queries::QueryFiles;
use crate::query::{Recent, state_after};
use crate::stored::{opened, stored, tamper};
use crate::views;
use quorapay_core::domain::{KeyDigest, Operation, PaymentChangeKind};
use quorapay_core::replication::StoreId;
use quorapay_core::replication::sample::{Chain, batch, hold, item};

const STATUSES: [PaymentStatus; 9] = [
    PaymentStatus::Succeeded,
    PaymentStatus::Authorized,
    PaymentStatus::Rejected,
    PaymentStatus::PartiallyCaptured,
    PaymentStatus::Captured,
    PaymentStatus::Voided,
    PaymentStatus::Expired,
    PaymentStatus::PartiallyRefunded,
    PaymentStatus::Refunded,
];

/// An engine that remembers what the views do not have yet.
#[derive(Clone)]
struct Young {
    projected: LogIndex,
    states: BTreeMap<PaymentId, PaymentState>,
}

impl Young {
    fn of(chain: &Chain, projected: usize) -> Self {
        let mut states = BTreeMap::new();
        for entry in &chain.entries[projected..] {
            let changed = match entry.operation() {
                Some(Operation::PaymentChange(change)) => change.payment,
                Some(Operation::Expiry(expiry)) => expiry.payment,
                _ => continue,
            };
            states.extend(state_after(entry, changed).map(|state| (changed, state)));
        }
        Self { projected: LogIndex(u64::try_from(projected).unwrap()), states }
    }
}

impl EngineMemory for Young {
    async fn payments(&self, ids: BTreeSet<PaymentId>) -> Result<BTreeMap<PaymentId, PaymentState>, ReadError> {
        Ok(ids.into_iter().filter_map(|id| Some((id, self.states.get(&id)?.clone()))).collect())
    }

    async fn recent_key(&self, _: KeyDigest) -> Result<Option<LogIndex>, ReadError> {
        Ok(None)
    }

    fn projected_index(&self) -> LogIndex {
        self.projected
    }
}

/// Every payment up to `at` that has this status there, newest first, each looked up by its id.
async fn expected(queries: &Queries<Young>, chain: &Chain, status: PaymentStatus, at: LogIndex) -> Vec<PaymentId> {
    let mut ids = Vec::new();
    for entry in chain.entries.iter().filter(|entry| entry.index <= at).rev() {
        let Some(operation) = entry.operation() else { continue };
        let mut decided: Vec<_> = operation.payments().filter(|payment| payment.is_decided()).collect();
        decided.reverse();
        for payment in decided {
            let id = PaymentId::derive(entry.stamp(), payment.item);
            let record = queries.payment(id, at).await.unwrap();
            ids.extend(record.filter(|record| record.state.status() == status).map(|_| id));
        }
    }
    ids
}

async fn listed(queries: &Queries<Young>, status: PaymentStatus, at: LogIndex, limit: usize) -> Vec<PaymentId> {
    let filter = PaymentFilter { status: Some(status), ..PaymentFilter::default() };
    let (mut ids, mut before) = (Vec::new(), None);
    loop {
        let page = queries.list_payments(&filter, at, before, limit).await.unwrap();
        ids.extend(page.found.iter().map(|found| PaymentId::derive(found.entry.stamp(), found.item)));
        before = page.next_before;
        if before.is_none() {
            return ids;
        }
    }
}

/// Queries with views of the first `projected` entries and a memory of those after the first `forgotten`.
async fn queries_over(chain: &Chain, projected: usize, forgotten: usize) -> (Queries<Young>, tempfile::TempDir) {
    let dir = stored(chain, projected).await;
    let ledger = opened(&dir, StoreId(2)).await.reader;
    let views = views::open(dir.path(), "test", StoreId(1)).await.unwrap().reader;
    let recent = Recent::new(LogIndex(u64::try_from(forgotten).unwrap()), 0);
    recent.follow(chain.last().index, |index| {
        chain.entries.get(usize::try_from(index.0).unwrap().checked_sub(1).unwrap()).cloned()
    });
    let files = QueryFiles { ledger, views };
    (Queries::new(files.clone(), files, Young::of(chain, projected), recent), dir)
}

#[tokio::test]
async fn a_payment_that_changes_its_status_while_it_is_listed_is_listed_by_the_status_that_it_had() {
    let mut chain = Chain::begun();
    chain.request(hold("external:card", "shop", 100, None));
    let payment = chain.last_payment(0);
    chain.change(payment, PaymentChangeKind::Capture(None));
    let captured = chain.last().index;
    chain.change(payment, PaymentChangeKind::Refund(None));
    // The read began when the capture was the last entry. Meanwhile the refund was committed and projected.
    for forgotten in [0, chain.entries.len()] {
        let (queries, _dir) = queries_over(&chain, chain.entries.len(), forgotten).await;
        assert_eq!(listed(&queries, PaymentStatus::Captured, captured, 10).await, [payment]);
        assert!(listed(&queries, PaymentStatus::Refunded, captured, 10).await.is_empty());
        assert_eq!(listed(&queries, PaymentStatus::Refunded, chain.last().index, 10).await, [payment]);
    }
}

#[tokio::test]
async fn every_list_by_status_is_as_of_its_index_wherever_the_views_are() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let end = chain.entries.len();
    for (projected, forgotten) in [(0, end), (end / 2, 0), (end / 2, end), (end - 3, end / 3), (end, end - 5)] {
        let (queries, _dir) = queries_over(&chain, projected, forgotten).await;
        for at in (end / 3..=end).step_by(3).chain([end]).map(|at| LogIndex(u64::try_from(at).unwrap())) {
            for status in STATUSES {
                let expected = expected(&queries, &chain, status, at).await;
                for limit in [2, 100] {
                    let listed = listed(&queries, status, at, limit).await;
                    assert_eq!(
                        listed, expected,
                        "{status} at {at}, views at {projected}, memory from {forgotten}, pages of {limit}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_payment_is_the_same_by_its_id_from_memory_and_from_the_files_as_of_any_index() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let end = chain.entries.len();
    let (from_files, _dir) = queries_over(&chain, end, end).await;
    let mut changed = 0;
    for (projected, forgotten) in [(0, 0), (end / 2, 0), (end, end / 2)] {
        let (queries, _dir) = queries_over(&chain, projected, forgotten).await;
        for entry in chain.entries.iter().filter(|entry| entry.operation().is_some()) {
            let payments = entry.operation().unwrap().payments().map(|payment| payment.item).chain([77]);
            for id in payments.map(|item| PaymentId::derive(entry.stamp(), item)) {
                for at in (entry.index.0..=end as u64).map(LogIndex) {
                    let expected = from_files.payment(id, at).await.unwrap();
                    changed += usize::from(expected.as_ref().is_some_and(|record| !record.history.is_empty()));
                    assert_eq!(queries.payment(id, at).await.unwrap(), expected, "{id} at {at}");
                }
            }
        }
    }
    assert!(changed > 0);
}

#[tokio::test]
async fn a_page_reads_no_more_batches_than_it_shows() {
    let mut chain = Chain::begun();
    let payments = || (0..200).map(|_| item("external:card", "a", 1, None)).collect();
    (0..4).for_each(|_| chain.request(batch(false, payments())));
    let (queries, dir) = queries_over(&chain, 0, chain.entries.len()).await;
    // The page ends within the newest batch: it must not even look at the oldest, which is damaged.
    tamper(&dir, "ledger.db", "UPDATE entries SET detail = 'x' WHERE log_index = 3").await;
    let filter = PaymentFilter::default();
    let page = queries.list_payments(&filter, chain.last().index, None, 50).await.unwrap();
    assert_eq!(page.found.len(), 50);
    assert_eq!(page.next_before, Some(Cursor { index: chain.last().index, item: 150 }));
}
