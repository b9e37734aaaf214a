//! Data directories for tests: real files with a given history, to be read or damaged.

#![allow(clippy::unwrap_used)]

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

use crate::ledger::{self, Identity, OpenLedger};
use crate::views;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::sample::{Chain, node};
use quorapay_core::replication::{Persist, StoreId};

/// Opens the ledger in a data directory; a new one gets this store id.
pub(crate) async fn opened(dir: &TempDir, new_store: StoreId) -> OpenLedger {
    let identity = Identity { cluster_id: "test".to_owned(), node_id: node("node1") };
    ledger::open(dir.path(), &identity, || new_store).await.unwrap()
}

/// A data directory with the whole chain, committed, and views of its first `projected` entries.
pub(crate) async fn stored(chain: &Chain, projected: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(&dir, StoreId(1)).await;
    let write = Persist { commit_index: chain.last().index, ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    ledger.reader.close().await;
    ledger.writer.close().await.unwrap();
    let mut opened = views::open(dir.path(), "test", StoreId(1)).await.unwrap();
    opened.writer.project(&chain.entries[..projected]).await.unwrap();
    opened.reader.close().await;
    opened.writer.close().await.unwrap();
    dir
}

/// Changes one of the files behind the program's back.
pub(crate) async fn tamper(dir: &TempDir, file: &str, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(dir.path().join(file)).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    assert!(changes(&mut connection).await > 0, "the statement changed nothing");
    connection.close().await.unwrap();
}

async fn changes(connection: &mut sqlx::SqliteConnection) -> i64 {
    sqlx::query_scalar("SELECT total_changes()").fetch_one(connection).await.unwrap()
}
