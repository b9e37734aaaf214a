//! The ledger with real files: what survives, what is rejected, what is found to be damaged.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;

use super::*;
use quorapay_core::domain::{
    AccountId, Currency, DecidedPayment, Operation, OperationRequest, OrderId, PaymentId, PaymentOutcome,
};
use quorapay_core::domain::{Epoch, LogIndex, RuleVersion, Timestamp};
use quorapay_core::replication::sample::{Chain, account, batch, item, node, payment};
use quorapay_core::replication::{Entry, Hash, Persist, Position, Promise, StoreId};

mod any_entry;
mod cost;
mod damage;
mod durability;
mod reading;
mod wal;

fn identity() -> Identity {
    Identity { cluster_id: "test".to_owned(), node_id: node("node1") }
}

async fn opened(dir: &Path) -> OpenLedger {
    open(dir, &identity(), || StoreId(1)).await.unwrap()
}

async fn closed(ledger: OpenLedger) {
    ledger.reader.close().await;
    ledger.writer.close().await.unwrap();
}

/// A directory whose ledger holds the chain, closed.
async fn stored(chain: &Chain, commit_index: LogIndex) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let write = Persist { commit_index, ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    closed(ledger).await;
    dir
}

/// Changes the file behind the program's back, as a bad disk would.
async fn tamper(dir: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(dir.join("ledger.db")).connect().await.unwrap();
    assert!(sqlx::query(sql).execute(&mut connection).await.unwrap().rows_affected() > 0);
    sqlx::Connection::close(connection).await.unwrap();
}

fn aside(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("ledger.db.damaged-")).collect()
}

async fn for_people(dir: &Path) -> sqlx::SqliteConnection {
    SqliteConnectOptions::new().filename(dir.join("ledger.db")).connect().await.unwrap()
}

#[tokio::test]
async fn every_kind_of_entry_reads_back_as_it_was_written() {
    let mut chain = Chain::begun();
    chain.one_of_each();
    let dir = stored(&chain, LogIndex(3)).await;
    let ledger = opened(dir.path()).await;
    assert_eq!(ledger.damaged, None);
    assert_eq!(ledger.start.tail, chain.entries);
    let read = ledger.reader.entries(LogIndex(1), LogIndex(100), 100).await.unwrap();
    assert_eq!(read, chain.entries);
}

#[tokio::test]
async fn a_ledger_reopens_as_it_was_closed() {
    let mut chain = Chain::of_payments(5_000);
    chain.start_epoch(4);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let promise = Promise { epoch: Epoch(9), leader: node("node3") };
    let write =
        Persist { promise: Some(promise.clone()), commit_index: LogIndex(4_990), ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    // Dropped, not closed: like a process that is killed.
    drop(ledger);

    let start = opened(dir.path()).await.start;
    assert_eq!((start.store_id, start.promise, start.commit_index), (StoreId(1), Some(promise), LogIndex(4_990)));
    assert_eq!(start.last, chain.last());
    assert_eq!(start.tail, chain.entries[5_001 - 4_096..]);
    let spans: Vec<_> = start.spans.iter().map(|span| (span.epoch.0, span.start.0)).collect();
    assert_eq!(spans, [(1, 1), (4, 5_001)]);
    assert_eq!(start.configurations.len(), 1);
    assert_eq!(start.configurations[0].0, LogIndex(2));
}

#[tokio::test]
async fn the_commit_index_is_stored_with_every_write_and_survives_a_kill() {
    let chain = Chain::of_payments(200);
    let dir = tempfile::tempdir().unwrap();
    let part = |from: usize, to: usize, commit_index: u64| Persist {
        entries: chain.entries[from..to].to_vec(),
        commit_index: LogIndex(commit_index),
        ..Persist::default()
    };
    let nothing = |commit_index| Persist { commit_index: LogIndex(commit_index), ..Persist::default() };
    let truncated = Persist { truncate_after: Some(LogIndex(180)), ..nothing(170) };
    // With entries, alone, without news, behind a row that knew less, and when the row that knew it is removed.
    for (write, known) in [
        (part(0, 100, 90), 90),
        (nothing(100), 100),
        (part(100, 150, 100), 100),
        (part(150, 160, 160), 160),
        (part(160, 190, 170), 170),
        (truncated, 170),
    ] {
        let mut ledger = opened(dir.path()).await;
        ledger.writer.persist(&[write]).await.unwrap();
        drop(ledger);
        assert_eq!(inspect(dir.path()).await.unwrap().commit_index, LogIndex(known));
        let opened = opened(dir.path()).await;
        assert_eq!(opened.start.commit_index, LogIndex(known));
    }
}

#[tokio::test]
async fn a_batch_of_entries_is_stored_by_one_statement_though_more_is_committed() {
    let chain = Chain::of_payments(20_000);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let meta = async || {
        let mut reader = SqliteConnectOptions::new().filename(dir.path().join("ledger.db")).connect().await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT commit_index FROM meta").fetch_one(&mut reader).await.unwrap()
    };
    let mut behind = Vec::new();
    for entries in chain.entries.chunks(50) {
        let commit_index = entries[0].index.previous();
        let write = Persist { entries: entries.to_vec(), commit_index, ..Persist::default() };
        ledger.writer.persist(&[write]).await.unwrap();
        behind.push(commit_index.0 - u64::try_from(meta().await).unwrap());
    }
    let written = behind.iter().skip(1).filter(|behind| **behind == 0).count();
    assert!(behind.iter().all(|behind| *behind < 4_096) && written == 4, "{written} of {} writes", behind.len());
    closed(ledger).await;
    assert_eq!(meta().await, 19_950);
}

#[tokio::test]
async fn everything_above_the_commit_index_is_loaded_however_much_it_is() {
    let chain = Chain::of_payments(6_000);
    let dir = stored(&chain, LogIndex(500)).await;
    assert_eq!(opened(dir.path()).await.start.tail, chain.entries[500..]);
}

#[tokio::test]
async fn a_conflicting_tail_is_replaced_in_one_write() {
    let old = Chain::of_payments(200);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    ledger.writer.persist(&[old.persist_after(LogIndex(0))]).await.unwrap();

    let mut new = Chain::of_payments(100);
    new.start_epoch(2);
    new.pay();
    let write = Persist { truncate_after: Some(LogIndex(100)), ..new.persist_after(LogIndex(100)) };
    ledger.writer.persist(&[write]).await.unwrap();
    assert_eq!(ledger.writer.last_index(), LogIndex(102));
    drop(ledger);
    assert_eq!(opened(dir.path()).await.start.tail, new.entries);
}

#[tokio::test]
async fn writes_that_truncate_each_other_in_one_call_leave_what_the_last_one_says() {
    let chain = Chain::of_payments(10);
    let mut other = Chain::of_payments(5);
    other.start_epoch(2);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let writes = [
        chain.persist_after(LogIndex(0)),
        Persist { truncate_after: Some(LogIndex(7)), ..Persist::default() },
        Persist { truncate_after: Some(LogIndex(5)), ..other.persist_after(LogIndex(5)) },
    ];
    ledger.writer.persist(&writes).await.unwrap();
    drop(ledger);
    assert_eq!(opened(dir.path()).await.start.tail, other.entries);
}

#[tokio::test]
async fn a_write_that_would_leave_a_hole_is_rejected_and_stores_nothing() {
    let chain = Chain::of_payments(10);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let error = ledger.writer.persist(&[chain.persist_after(LogIndex(1))]).await.unwrap_err();
    assert!(matches!(error, LedgerError::NotConsecutive { expected: LogIndex(1), found: LogIndex(2) }));
    ledger.writer.persist(&[chain.persist_after(LogIndex(0))]).await.unwrap();
    let again = ledger.writer.persist(&[chain.persist_after(LogIndex(0))]).await.unwrap_err();
    assert!(matches!(again, LedgerError::NotConsecutive { .. }));
}

#[tokio::test]
async fn a_write_that_would_truncate_committed_entries_is_rejected_and_stores_nothing() {
    let chain = Chain::of_payments(10);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let write = Persist { commit_index: LogIndex(8), ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    let truncate = |after| [Persist { truncate_after: Some(LogIndex(after)), ..Persist::default() }];
    let error = ledger.writer.persist(&truncate(7)).await.unwrap_err();
    assert!(matches!(error, LedgerError::TakesBackCommitted { after: LogIndex(7), commit_index: LogIndex(8) }));
    ledger.writer.persist(&truncate(8)).await.unwrap();
    assert_eq!(ledger.writer.last_index(), LogIndex(8));
}

#[tokio::test]
async fn a_second_process_cannot_open_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = opened(dir.path()).await;
    let error = open(dir.path(), &identity(), || StoreId(2)).await.err().unwrap();
    assert!(matches!(error, LedgerError::Locked(_)), "{error}");
}

#[tokio::test]
async fn the_ledger_of_another_cluster_or_node_is_rejected_by_name() {
    let dir = stored(&Chain::begun(), LogIndex(0)).await;
    let other = Identity { cluster_id: "other".to_owned(), ..identity() };
    let error = open(dir.path(), &other, || StoreId(2)).await.err().unwrap().to_string();
    assert!(error.contains("\"test\"") && error.contains("\"other\""), "{error}");
    let other = Identity { node_id: node("node2"), ..identity() };
    let error = open(dir.path(), &other, || StoreId(2)).await.err().unwrap().to_string();
    assert!(error.contains("\"node1\"") && error.contains("\"node2\""), "{error}");
    assert!(aside(dir.path()).is_empty());
}

#[tokio::test]
async fn a_full_disk_fails_the_write_and_every_later_one_and_loses_nothing_reported_durable() {
    let chain = Chain::of_payments(20_000);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    ledger.writer.limit_pages(40).await;
    let mut durable = 0;
    let failure = loop {
        let entries = chain.entries[durable..durable + 64].to_vec();
        match ledger.writer.persist(&[Persist { entries, ..Persist::default() }]).await {
            Ok(()) => durable += 64,
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, LedgerError::OutcomeUnknown(_)), "{failure}");
    assert!(durable > 0);
    let entries = chain.entries[durable..=durable].to_vec();
    for _ in 0..3 {
        let write = Persist { entries: entries.clone(), ..Persist::default() };
        assert!(matches!(ledger.writer.persist(&[write]).await, Err(LedgerError::Closed)));
    }
    let last = ledger.reader.entry(LogIndex(u64::try_from(durable).unwrap())).await.unwrap();
    assert_eq!(last.unwrap(), chain.entries[durable - 1]);
    drop(ledger);
    let again = opened(dir.path()).await;
    assert_eq!(again.damaged, None);
    assert!(again.start.last.index.0 >= u64::try_from(durable).unwrap());
    let kept = usize::try_from(again.start.last.index.0).unwrap();
    assert_eq!(again.start.last, chain.entries[kept - 1].position());
}

#[tokio::test]
async fn a_write_that_is_abandoned_halfway_closes_the_writer() {
    let chain = Chain::of_payments(2_000);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let write = [chain.persist_after(LogIndex(0))];
    let finished = futures_util::FutureExt::now_or_never(ledger.writer.persist(&write));
    assert!(finished.is_none());
    assert!(matches!(ledger.writer.persist(&write).await, Err(LedgerError::Closed)));
}
