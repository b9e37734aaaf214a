//! The views with real files: they equal the bank and the lists of the same entries, and may be deleted.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use sqlx::ConnectOptions;

use super::*;
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{KeyDigest, Operation, PaymentId, PaymentOutcome, PaymentStatus};
use quorapay_core::replication::sample::{Chain, account, assert_same_money, payment};
use quorapay_core::replication::{Entry, Position, StoreId};

pub(super) async fn opened(dir: &Path) -> OpenViews {
    open(dir, "test", StoreId(1)).await.unwrap()
}

pub(super) fn mixed_chain() -> Chain {
    let mut chain = Chain::of_payments(700);
    chain.one_of_each();
    for number in 0..400 {
        chain.request(payment("a", &format!("customer-{}", number % 7), 1 + number % 50, None, None));
    }
    chain
}

/// Checks the views of the chain against its entries.
pub(super) async fn assert_shows(reader: &ViewsReader, chain: &Chain) {
    let (position, bank) = reader.load_bank().await.unwrap();
    assert_eq!(position, chain.last());
    assert_same_money(&bank, &chain.bank);
    assert_shows_keys(reader, chain).await;
    assert_shows_postings(reader, chain).await;
    assert_shows_payments(reader, chain).await;
    let operations = chain.entries.iter().filter_map(|entry| entry.operation());
    let decided = operations.flat_map(Operation::payments).filter(|payment| payment.is_decided()).count();
    assert_eq!(reader.payment_count().await.unwrap(), (chain.last().index, decided as u64));
}

async fn assert_shows_keys(reader: &ViewsReader, chain: &Chain) {
    let mut expected = BTreeMap::new();
    for entry in &chain.entries {
        for key in entry.operation().into_iter().flat_map(Operation::keys) {
            expected.insert(key.digest(), entry.index);
        }
    }
    let unknown = KeyDigest([7; 16]);
    let found = reader.keys(expected.keys().copied().chain([unknown])).await.unwrap();
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
    for (digest, index) in expected.into_iter().take(20) {
        assert_eq!(reader.key(digest).await.unwrap(), Some(index));
    }
    assert_eq!(reader.key(unknown).await.unwrap(), None);
}

async fn assert_shows_postings(reader: &ViewsReader, chain: &Chain) {
    for id in ["customer-3", "a", "shop:2", "external:card"].map(account) {
        let moved = |entry: &&Arc<Entry>| {
            let operation = entry.operation();
            operation.is_some_and(|op| op.postings(entry.stamp()).any(|moved| *moved.from == id || *moved.to == id))
        };
        let expected: Vec<_> = chain.entries.iter().rev().filter(moved).map(|entry| entry.index).collect();
        assert_eq!(reader.account_entries(&id, LogIndex(u64::MAX), 10_000).await.unwrap(), expected);
        if let [_, below, rest @ ..] = &expected[..] {
            assert_eq!(reader.account_entries(&id, *below, 3).await.unwrap(), rest[..3.min(rest.len())]);
        }
    }
    assert_eq!(reader.account_entries(&account("nobody"), LogIndex(u64::MAX), 10).await.unwrap(), []);
}

/// Checks latest changes, statuses and orders.
async fn assert_shows_payments(reader: &ViewsReader, chain: &Chain) {
    let (mut changed, mut orders) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
    for entry in &chain.entries {
        let Some(operation) = entry.operation() else { continue };
        match operation {
            Operation::PaymentChange(change) if operation.rejection().is_none() => {
                changed.insert(change.payment, (entry.index, change.after(entry.stamp()).unwrap().status()));
            }
            Operation::Expiry(expiry) => {
                changed.insert(expiry.payment, (entry.index, expiry.after(entry.stamp()).status()));
            }
            _ => {}
        }
        for payment in
            operation.payments().filter(|payment| !matches!(payment.outcome, PaymentOutcome::Repeated { .. }))
        {
            if let Some(order) = &payment.request.order {
                orders.entry(order.id.clone()).or_default().insert(0, (entry.index, payment.item));
            }
        }
    }
    let unchanged = PaymentId::derive(chain.entries[5].stamp(), 0);
    let found = reader.last_changes(changed.keys().copied().chain([unchanged])).await.unwrap();
    assert!(
        found
            .into_iter()
            .collect::<BTreeMap<_, _>>()
            .iter()
            .eq(changed.iter().map(|(id, (at, _))| (id, at)).collect::<Vec<_>>())
    );
    for status in PaymentStatus::all() {
        let of_status = changed.iter().filter(|(_, (_, now))| *now == status);
        let mut expected: Vec<_> = of_status.map(|(id, _)| (id.index(), id.item())).collect();
        expected.sort_unstable_by(|one, other| other.cmp(one));
        let end = (LogIndex(u64::MAX), 0);
        let (_, found) = reader.changed_to(status, LogIndex(1), end, 1_000).await.unwrap();
        assert_eq!(found, expected, "{status}");
    }
    for (order, expected) in &orders {
        assert_eq!(&reader.order_payments(order, (LogIndex(u64::MAX), 0), 1_000).await.unwrap(), expected);
    }
    let states: BTreeMap<_, _> = reader.orders(orders.keys()).await.unwrap().into_iter().collect();
    let expected = orders.keys().filter_map(|order| Some((order.clone(), chain.bank.order(order)?)));
    assert_eq!(states, expected.collect());
    assert_shows_decisions(reader, chain).await;
}

/// Checks the lists of payments by how they were decided.
async fn assert_shows_decisions(reader: &ViewsReader, chain: &Chain) {
    let decided = |outcome| match outcome {
        PaymentOutcome::Rejected(_) => Some(PaymentStatus::Rejected),
        PaymentOutcome::Authorized { .. } => Some(PaymentStatus::Authorized),
        _ => None,
    };
    for status in [PaymentStatus::Rejected, PaymentStatus::Authorized] {
        let listed = |entry: &&Arc<Entry>| {
            let mut payments = entry.operation().into_iter().flat_map(Operation::payments);
            payments.any(|payment| decided(payment.outcome) == Some(status))
        };
        let expected: Vec<_> = chain.entries.iter().rev().filter(listed).map(|entry| entry.index).collect();
        assert_eq!(reader.decided_as(status, LogIndex(u64::MAX), 1_000).await.unwrap(), expected, "{status}");
        if let [newest, rest @ ..] = &expected[..] {
            assert_eq!(reader.decided_as(status, *newest, 1).await.unwrap(), rest[..1.min(rest.len())], "{status}");
        }
    }
}

#[tokio::test]
async fn views_equal_their_entries_whatever_the_chunks_were() {
    let chain = mixed_chain();
    for size in [1_usize, 63, 64, 65, 500, 10_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut views = opened(dir.path()).await;
        for chunk in chain.entries.chunks(size) {
            views.writer.project(chunk).await.unwrap();
        }
        assert_shows(&views.reader, &chain).await;
    }
}

#[tokio::test]
async fn projection_continues_where_it_stopped() {
    let chain = mixed_chain();
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    views.writer.project(&chain.entries[..600]).await.unwrap();
    drop(views);
    let mut views = opened(dir.path()).await;
    assert_eq!(views.projected, chain.entries[599].position());
    views.writer.project(&chain.entries[600..]).await.unwrap();
    assert_shows(&views.reader, &chain).await;
}

#[tokio::test]
async fn a_chunk_that_does_not_fit_is_rejected_and_changes_nothing() {
    let chain = mixed_chain();
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    views.writer.project(&chain.entries[..10]).await.unwrap();
    for start in [0, 9, 11] {
        let error = views.writer.project(&chain.entries[start..20]).await.unwrap_err();
        assert!(matches!(error, ViewsError::NotConsecutive { expected: LogIndex(11), .. }), "{error}");
    }
    views.writer.project(&chain.entries[10..]).await.unwrap();
    assert_shows(&views.reader, &chain).await;
}

#[tokio::test]
async fn views_that_are_missing_damaged_or_of_another_ledger_are_created_anew() {
    let chain = mixed_chain();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("views.db");
    let spoil: [fn(&Path); 3] = [
        |file| fs::remove_file(file).unwrap(),
        |file| fs::write(file, [0x5a; 20_480]).unwrap(),
        |file| fs::write(file, "short").unwrap(),
    ];
    for spoil in spoil {
        let mut views = opened(dir.path()).await;
        assert_eq!(views.projected, Position::default());
        views.writer.project(&chain.entries).await.unwrap();
        assert_shows(&views.reader, &chain).await;
        views.reader.close().await;
        views.writer.close().await.unwrap();
        spoil(&file);
    }
    let mut views = opened(dir.path()).await;
    views.writer.project(&chain.entries).await.unwrap();
    drop(views);
    let other = open(dir.path(), "test", StoreId(2)).await.unwrap();
    assert_eq!(other.projected, Position::default());
}

#[tokio::test]
async fn views_of_a_truncated_history_can_be_emptied() {
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    views.writer.project(&Chain::of_payments(900).entries).await.unwrap();
    views.writer.reset().await.unwrap();
    assert_eq!(views.writer.projected(), Position::default());
    let chain = mixed_chain();
    views.writer.project(&chain.entries).await.unwrap();
    assert_shows(&views.reader, &chain).await;
}

#[tokio::test]
async fn a_projection_that_fails_on_a_full_disk_continues_when_there_is_room() {
    let chain = Chain::of_payments(20_000);
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    sqlx::query("PRAGMA max_page_count = 90").execute(views.writer.connection()).await.unwrap();
    views.writer.project(&chain.entries[..500]).await.unwrap();
    let failure = views.writer.project(&chain.entries[500..]).await.unwrap_err();
    assert!(matches!(failure, ViewsError::Sql(_)), "{failure}");
    // The next call reopens the file, without the limit, and reads what is stored.
    views.writer.project(&chain.entries[500..]).await.unwrap();
    let (position, bank) = views.reader.load_bank().await.unwrap();
    assert_eq!(position, chain.last());
    assert_same_money(&bank, &chain.bank);
}

#[tokio::test]
async fn a_write_needs_no_folder_for_temporary_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = files::writer_options(&dir.path().join("views.db")).connect().await.unwrap();
    let in_memory: i64 = sqlx::query_scalar("PRAGMA temp_store").fetch_one(&mut connection).await.unwrap();
    assert_eq!(in_memory, 2);
}
