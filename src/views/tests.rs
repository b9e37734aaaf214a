//! The views against real files: what is projected is what a bank and a list say, and all of it may be deleted.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sqlx::ConnectOptions;

use super::*;
use crate::domain::Operation;
use crate::replication::sample::{Chain, account, payment};
use crate::replication::{LogIndex, Position, StoreId};

async fn opened(dir: &Path) -> OpenViews {
    open(dir, "test", StoreId(1)).await.unwrap()
}

fn mixed_chain() -> Chain {
    let mut chain = Chain::of_payments(700);
    chain.one_of_each();
    for number in 0..400 {
        chain.request(payment("a", &format!("customer-{}", number % 7), 1 + number % 50, None, None));
    }
    chain
}

/// Whether the views say of the chain what a walk over its entries says.
async fn assert_shows(reader: &ViewsReader, chain: &Chain) {
    let (position, bank) = reader.load_bank().await.unwrap();
    assert_eq!(position, chain.last());
    assert_eq!(bank, chain.bank);
    let mut expected = BTreeSet::new();
    let mut of_customer = Vec::new();
    for entry in chain.entries.iter().rev() {
        let Some(operation) = entry.operation() else { continue };
        let digest = operation.key().digest();
        assert_eq!(reader.key(digest).await.unwrap(), Some(entry.index));
        expected.insert(digest);
        if let Operation::Payment(payment) = operation
            && operation.rejection().is_none()
            && payment.request.to == account("customer-3")
        {
            of_customer.push(entry.index);
        }
    }
    let mut digests = Vec::new();
    assert_eq!(reader.each_digest(|digest| digests.push(digest)).await.unwrap(), chain.last());
    assert_eq!(digests, expected.into_iter().collect::<Vec<_>>());
    let found = reader.account_entries(&account("customer-3"), LogIndex(u64::MAX), 10_000).await.unwrap();
    assert_eq!(found, of_customer);
    let page = reader.account_entries(&account("customer-3"), of_customer[1], 3).await.unwrap();
    assert_eq!(page, of_customer[2..5]);
    assert_eq!(reader.account_entries(&account("nobody"), LogIndex(u64::MAX), 10).await.unwrap(), []);
}

#[tokio::test]
async fn views_show_what_the_entries_say_whatever_the_chunks_were() {
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
async fn views_go_on_where_they_stopped() {
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
async fn a_chunk_that_does_not_fit_is_refused_and_changes_nothing() {
    let chain = mixed_chain();
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    views.writer.project(&chain.entries[..10]).await.unwrap();
    for start in [0, 9, 11] {
        let refused = views.writer.project(&chain.entries[start..20]).await.unwrap_err();
        assert!(matches!(refused, ViewsError::NotConsecutive { expected: LogIndex(11), .. }), "{refused}");
    }
    views.writer.project(&chain.entries[10..]).await.unwrap();
    assert_shows(&views.reader, &chain).await;
}

#[tokio::test]
async fn views_that_are_missing_damaged_or_of_another_ledger_are_begun_anew() {
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
async fn views_of_a_history_that_was_taken_back_can_be_emptied() {
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
async fn a_projection_that_fails_on_a_full_disk_goes_on_when_there_is_room() {
    let chain = Chain::of_payments(20_000);
    let dir = tempfile::tempdir().unwrap();
    let mut views = opened(dir.path()).await;
    views.writer.limit_pages(60).await;
    views.writer.project(&chain.entries[..500]).await.unwrap();
    let failure = views.writer.project(&chain.entries[500..]).await.unwrap_err();
    assert!(matches!(failure, ViewsError::Sql(_)), "{failure}");
    // The next call opens the file anew, which takes the limit away, and finds what is really there.
    views.writer.project(&chain.entries[500..]).await.unwrap();
    assert_eq!(views.reader.load_bank().await.unwrap(), (chain.last(), chain.bank));
}

/// Not a test of behaviour but of cost; run it optimised, with `--ignored --nocapture`.
#[tokio::test]
#[ignore = "measures"]
async fn entries_are_projected_at_a_few_microseconds_each() {
    let chain = Chain::of_payments(400_000);
    for chunk in [1_024, 8_192, 65_536] {
        let dir = tempfile::tempdir().unwrap();
        let mut views = opened(dir.path()).await;
        let begun = std::time::Instant::now();
        for entries in chain.entries.chunks(chunk) {
            views.writer.project(entries).await.unwrap();
        }
        let projected = begun.elapsed();
        let begun = std::time::Instant::now();
        let mut digests = 0;
        views.reader.each_digest(|_| digests += 1).await.unwrap();
        println!(
            "chunks of {chunk}: {} ns each; {digests} digests in {:?}",
            projected.as_nanos() / 400_000,
            begun.elapsed()
        );
    }
}

#[tokio::test]
async fn a_write_needs_no_folder_for_temporary_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut connection = files::writer_options(&dir.path().join("views.db")).connect().await.unwrap();
    let in_memory: i64 = sqlx::query_scalar("PRAGMA temp_store").fetch_one(&mut connection).await.unwrap();
    assert_eq!(in_memory, 2);
}
