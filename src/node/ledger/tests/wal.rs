//! The WAL is written back without anybody's waiting, whoever reads the ledger.

use std::time::{Duration, Instant};

use super::*;

/// No single write may take longer, whatever a reader does: far above what one takes on a busy machine, and far below
/// the 5 s that SQLite waits for a reader if it is told to.
const MAX_WRITE: Duration = Duration::from_secs(2);

/// A ledger that grows by about a mebibyte with each write.
struct Growing {
    dir: TempDir,
    ledger: OpenLedger,
    chain: Chain,
    metadata: String,
}

impl Growing {
    async fn begun() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = opened(dir.path()).await;
        Self { dir, ledger, chain: Chain::begun(), metadata: format!("\"{}\"", "x".repeat(4_000)) }
    }

    /// Writes as the writer's task does. Returns the largest size of the WAL's file.
    async fn write(&mut self, times: usize) -> u64 {
        let mut largest = 0;
        for _ in 0..times {
            let after = self.ledger.writer.last_index();
            for _ in 0..256 {
                self.chain.request(payment("external:card", "a", 1, None, Some(&self.metadata)));
            }
            let began = Instant::now();
            self.ledger.writer.persist(&[self.chain.persist_after(after)]).await.unwrap();
            self.ledger.writer.checkpoint_if_due().await.unwrap();
            assert!(began.elapsed() < MAX_WRITE, "a write took {:?}", began.elapsed());
            largest = largest.max(self.ledger.writer.wal_bytes());
        }
        largest
    }
}

#[tokio::test]
async fn the_wal_is_written_back_before_it_grows_without_end() {
    let mut growing = Growing::begun().await;
    let largest = growing.write(80).await;
    // 20,000 entries of 4 KiB went through it.
    assert!(largest < 48 << 20, "{largest} bytes");
    let Growing { dir, ledger, chain, .. } = growing;
    drop(ledger);
    assert_eq!(opened(dir.path()).await.start.last, chain.last());
}

#[tokio::test]
async fn a_reader_that_holds_an_old_state_keeps_no_write_waiting_and_the_wal_shrinks_when_it_ends() {
    let mut growing = Growing::begun().await;
    growing.write(1).await;
    let mut reader = for_people(growing.dir.path()).await;
    sqlx::query("BEGIN; SELECT * FROM meta").execute(&mut reader).await.unwrap();
    // More than the 256 MiB at which checkpoints once began to wait.
    assert!(growing.write(260).await > 256 << 20);
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    sqlx::Connection::close(reader).await.unwrap();
    // Writes continue while it is copied, so how many it takes depends on the disk.
    let mut writes = 0;
    while growing.ledger.writer.wal_bytes() > 64 << 20 {
        assert!(writes < 1_000, "the WAL still has {} bytes", growing.ledger.writer.wal_bytes());
        growing.write(1).await;
        writes += 1;
    }
    closed(growing.ledger).await;
}

#[tokio::test]
async fn a_writer_closes_while_a_reader_holds_an_old_state() {
    let mut growing = Growing::begun().await;
    growing.write(1).await;
    let mut reader = for_people(growing.dir.path()).await;
    sqlx::query("BEGIN; SELECT * FROM meta").execute(&mut reader).await.unwrap();
    growing.write(20).await;
    let began = Instant::now();
    closed(growing.ledger).await;
    assert!(began.elapsed() < MAX_WRITE, "the close took {:?}", began.elapsed());
    sqlx::Connection::close(reader).await.unwrap();
    assert_eq!(opened(growing.dir.path()).await.start.last, growing.chain.last());
}

/// A page with its header in the WAL.
const FRAME_BYTES: u64 = 24 + 4096;

#[tokio::test]
async fn a_payment_with_a_new_commit_index_is_one_page_of_the_wal_and_a_commit_index_alone_is_one() {
    let chain = Chain::of_payments(8);
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = opened(dir.path()).await;
    let mut grows_by = async |from: usize, to: usize, commit_index: u64| {
        let before = ledger.writer.wal_bytes();
        let entries = chain.entries[from..to].to_vec();
        let write = Persist { entries, commit_index: LogIndex(commit_index), ..Persist::default() };
        ledger.writer.persist(&[write]).await.unwrap();
        ledger.writer.wal_bytes() - before
    };
    grows_by(0, 4, 0).await;
    assert_eq!(grows_by(4, 6, 0).await, FRAME_BYTES);
    assert_eq!(grows_by(6, 7, 5).await, FRAME_BYTES);
    assert_eq!(grows_by(7, 7, 6).await, FRAME_BYTES);
    assert_eq!(grows_by(7, 7, 6).await, 0, "there is nothing to write");
    assert_eq!(grows_by(7, 8, 6).await, FRAME_BYTES);
    closed(ledger).await;
}
