//! Reads of single payments from real files, many at a time.

#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::*;
use crate::stored::{opened, stored, tamper};
use crate::views;
use quorapay_core::domain::KeyDigest;
use quorapay_core::replication::StoreId;
use quorapay_core::replication::sample::{Chain, batch, item};

/// An engine that remembers nothing and counts how often it is asked.
#[derive(Clone, Default)]
struct Forgetful(Arc<AtomicUsize>);

impl EngineMemory for Forgetful {
    async fn payments(&self, _: BTreeSet<PaymentId>) -> Result<BTreeMap<PaymentId, PaymentState>, ReadError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(BTreeMap::new())
    }

    async fn recent_key(&self, _: KeyDigest) -> Result<Option<LogIndex>, ReadError> {
        Ok(None)
    }

    fn projected_index(&self) -> LogIndex {
        LogIndex(0)
    }
}

struct Reads {
    reads: PaymentReads<Forgetful>,
    engine: Forgetful,
    dir: tempfile::TempDir,
}

/// Reads of a chain that is applied and projected, of which memory holds nothing.
async fn reads_of(chain: &Chain) -> Reads {
    let dir = stored(chain, chain.entries.len()).await;
    let ledger = opened(&dir, StoreId(2)).await.reader;
    let views = views::open(dir.path(), "test", StoreId(1)).await.unwrap().reader;
    let (engine, recent) = (Forgetful::default(), Recent::new(chain.last().index, 0));
    Reads { reads: PaymentReads::new(QueryFiles { ledger, views }, engine.clone(), recent), engine, dir }
}

fn ids(chain: &Chain) -> Vec<PaymentId> {
    let with_payment =
        |entry: &&Arc<Entry>| entry.operation().is_some_and(|operation| operation.payments().count() > 0);
    chain.entries.iter().filter(with_payment).map(|entry| PaymentId::derive(entry.stamp(), 0)).collect()
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_share_a_read_and_each_gets_its_own_payment() {
    let chain = Chain::of_payments(200);
    let Reads { reads, engine, dir: _dir } = reads_of(&chain).await;
    let (ids, at) = (ids(&chain), chain.last().index);
    let found = join_all(ids.iter().chain(&ids).map(|id| reads.payment(*id, at))).await;
    for (id, found) in ids.iter().chain(&ids).zip(found) {
        let FoundPayment { entry, latest } = found.unwrap().unwrap();
        assert_eq!(entry, chain.entries[usize::try_from(id.index().0).unwrap() - 1]);
        assert!(matches!(latest, Latest::Change(LatestChange::None)));
    }
    let asked = engine.0.load(Ordering::Relaxed);
    assert!(asked <= MAX_READS, "the engine was asked {asked} times for {} payments", ids.len());
    // What was read stays in memory.
    assert!(ids.iter().all(|id| reads.recent.payment(*id, at).is_some()));
    let absent = PaymentId::derive(chain.entries[5].stamp(), 1);
    assert!(reads.payment(absent, at).await.unwrap().is_none());
}

#[tokio::test]
async fn a_damaged_row_is_an_error_for_those_who_asked_for_it_only() {
    let chain = Chain::of_payments(50);
    let Reads { reads, dir, .. } = reads_of(&chain).await;
    tamper(&dir, "ledger.db", "UPDATE entries SET currency = '???' WHERE log_index = 20").await;
    let (ids, at) = (ids(&chain), chain.last().index);
    let found = join_all(ids.iter().map(|id| reads.payment(*id, at))).await;
    for (id, found) in ids.iter().zip(found) {
        assert_eq!(found.err(), (id.index() == LogIndex(20)).then_some(ReadError::Storage), "{id}");
    }
    assert_eq!(reads.recent.entry(LogIndex(20)), None);
}

#[tokio::test]
async fn a_payment_of_a_large_batch_is_found_beside_others() {
    let mut chain = Chain::of_payments(10);
    let payments = (0..2_000).map(|_| item("external:card", "a", 1, None)).collect();
    chain.request(batch(false, payments));
    let (large, last, at) = (chain.last(), chain.last_payment(1_999), chain.last().index);
    let Reads { reads, dir: _dir, .. } = reads_of(&chain).await;
    let wanted = [last, chain.last_payment(2_000), ids(&chain)[0], chain.last_payment(0)];
    let found = join_all(wanted.map(|id| reads.payment(id, at))).await;
    let index = |found: &Answer| found.as_ref().unwrap().as_ref().map(|found| found.entry.index);
    assert_eq!(found.iter().map(index).collect::<Vec<_>>(), [Some(large.index), None, Some(LogIndex(3)), Some(at)]);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_and_one_who_gives_up_spoils_nothing() {
    let chain = Chain::of_payments(20);
    let Reads { reads, dir: _dir, .. } = reads_of(&chain).await;
    let (id, at) = (ids(&chain)[0], chain.last().index);
    let mut waiting: Vec<_> = (0..MAX_WAITING).map(|_| Box::pin(reads.payment(id, at))).collect();
    assert!(waiting.iter_mut().all(|waiting| waiting.as_mut().now_or_never().is_none()));
    let refused = reads.payment(id, at).now_or_never().unwrap();
    assert_eq!(refused.err(), Some(ReadError::Overloaded));
    waiting.truncate(1);
    assert!(waiting.remove(0).await.unwrap().is_some());
    assert!(reads.payment(id, at).await.unwrap().is_some(), "there is room again");
}
