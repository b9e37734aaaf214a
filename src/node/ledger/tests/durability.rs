//! What an opening returns is durable, whatever the process before it left behind.

use std::time::Duration;

use super::*;
use crate::ledger::durable::make_durable;

/// The files as a process leaves them that is killed now. A connection that is dropped is closed, which writes the WAL
/// back.
fn killed(dir: &Path) -> TempDir {
    let left = tempfile::tempdir().unwrap();
    for name in ["ledger.db", "ledger.db-wal"] {
        fs::copy(dir.join(name), left.path().join(name)).unwrap();
    }
    left
}

/// Opens a copy of the database file without its WAL: what is there was written into it, and a WAL is only emptied after
/// the sync of that file.
async fn without_wal(dir: &Path) -> (TempDir, OpenLedger) {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.join("ledger.db"), copy.path().join("ledger.db")).unwrap();
    let ledger = opened(copy.path()).await;
    (copy, ledger)
}

fn wal_bytes(dir: &Path) -> u64 {
    fs::metadata(dir.join("ledger.db-wal")).map_or(0, |wal| wal.len())
}

#[tokio::test]
async fn what_an_opening_returns_is_in_the_database_file_and_no_longer_in_the_wal() {
    let chain = Chain::of_payments(300);
    let source = tempfile::tempdir().unwrap();
    let mut ledger = opened(source.path()).await;
    let promise = Promise { epoch: Epoch(9), leader: node("node3") };
    let write = Persist { promise: Some(promise.clone()), ..chain.persist_after(LogIndex(0)) };
    ledger.writer.persist(&[write]).await.unwrap();
    let dir = killed(source.path());
    assert!(wal_bytes(dir.path()) > 0);
    let again = opened(dir.path()).await;
    assert_eq!((&again.start.promise, again.start.last), (&Some(promise.clone()), chain.last()));
    assert_eq!(wal_bytes(dir.path()), 0);
    let (_copy, copied) = without_wal(dir.path()).await;
    assert_eq!((copied.start.promise, copied.start.last), (Some(promise), chain.last()));
}

/// A checkpoint that a reader holds up writes into the database file and does not sync it.
#[tokio::test]
async fn an_opening_writes_again_what_a_checkpoint_had_written_and_not_synced() {
    let chain = Chain::of_payments(400);
    let source = tempfile::tempdir().unwrap();
    let mut ledger = opened(source.path()).await;
    let part = |from: usize, to: usize| Persist { entries: chain.entries[from..to].to_vec(), ..Persist::default() };
    ledger.writer.persist(&[part(0, 200)]).await.unwrap();
    let mut reader = for_people(source.path()).await;
    sqlx::query("BEGIN; SELECT * FROM meta").execute(&mut reader).await.unwrap();
    ledger.writer.persist(&[part(200, chain.entries.len())]).await.unwrap();
    let mut other = for_people(source.path()).await;
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut other).await.unwrap();
    let dir = killed(source.path());
    // What the kernel dropped after a failed sync is not in the file after a power cut.
    let lost = fs::File::options().write(true).open(dir.path().join("ledger.db")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&lost, &[0; 8 * 4096], 8 * 4096).unwrap();
    let again = opened(dir.path()).await;
    assert_eq!((again.damaged, again.start.last), (None, chain.last()));
    let (_copy, copied) = without_wal(dir.path()).await;
    assert_eq!((copied.damaged, copied.start.last), (None, chain.last()));
}

#[tokio::test]
async fn an_opening_refuses_a_file_that_another_program_keeps_open_and_names_the_program() {
    let dir = stored(&Chain::of_payments(5), LogIndex(5)).await;
    let mut reader = for_people(dir.path()).await;
    sqlx::query("SELECT * FROM meta").execute(&mut reader).await.unwrap();
    let error = make_durable(&dir.path().join("ledger.db"), Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, LedgerError::Held { .. }), "{error}");
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    sqlx::Connection::close(reader).await.unwrap();
    assert_eq!(opened(dir.path()).await.start.last.index, LogIndex(5));
    assert!(aside(dir.path()).is_empty());
}

#[tokio::test]
async fn an_opening_waits_for_a_program_that_closes_the_file_soon() {
    let dir = stored(&Chain::of_payments(5), LogIndex(5)).await;
    let mut reader = for_people(dir.path()).await;
    sqlx::query("SELECT * FROM meta").execute(&mut reader).await.unwrap();
    let mut opening = std::pin::pin!(opened(dir.path()));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut opening).await;
    assert!(early.is_err(), "it waits");
    sqlx::Connection::close(reader).await.unwrap();
    assert_eq!(opening.await.damaged, None);
}
