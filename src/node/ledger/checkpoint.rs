//! When and how the WAL is written back into the database file.
//!
//! A checkpoint never waits, neither for readers nor for the writer: it is always SQLite's `PASSIVE`, which copies what
//! it can. Anybody may read the ledger with `sqlite3` for as long as they like; meanwhile the WAL grows.
//!
//! Copying 16 MiB takes a tenth of a second, so another connection does it while the writer continues. What is written
//! meanwhile is little. The writer copies that itself, and then its next write begins the WAL anew.
//!
//! If a reader uses an older state, a checkpoint ends there. The next one is due when the WAL has grown by as much again:
//! attempts cost a fixed part of what is written, and the WAL is copied soon after the reader has ended.

use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Connection, Row};
use tokio::task::JoinHandle;

use super::files::checkpoint_options;
use super::writer::PAGE_BYTES;
use crate::sqlite::{is_busy, suffixed};

/// The WAL is written back when it has grown by about this much: little disk space, and rarely.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// A WAL that holds this much is reported: somebody reads an old state, and the disk fills.
const LARGE_BYTES: u64 = 256 << 20;

/// What is left to do.
pub(super) enum Due {
    Nothing,
    /// A checkpoint in the background began or ended.
    Progress,
    /// The writer must write back the rest.
    Rest,
}

/// The state of the WAL after a checkpoint.
#[derive(Clone, Copy)]
pub(super) struct Checkpoint {
    /// Bytes in use.
    size: u64,
    /// Bytes of these that are not in the database file.
    left: u64,
}

impl Checkpoint {
    /// Writes back what can be. `None` if another program does so at the moment.
    pub(super) async fn run(connection: &mut SqliteConnection) -> Result<Option<Self>, sqlx::Error> {
        let row = match sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await {
            Ok(row) => row,
            Err(error) if is_busy(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (busy, frames, copied): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let bytes = |frames: i64| u64::try_from(frames).unwrap_or(0) * PAGE_BYTES;
        Ok((busy == 0).then(|| Self { size: bytes(frames), left: bytes(frames - copied) }))
    }
}

/// The checkpoints of one writer.
pub(super) struct Checkpoints {
    path: PathBuf,
    /// About how many bytes of the WAL are not yet in the database file.
    left: u64,
    /// The next checkpoint begins when so many are left.
    due_at: u64,
    /// Bytes written since the checkpoint in the background began.
    since: u64,
    background: Option<JoinHandle<Result<Option<Checkpoint>, sqlx::Error>>>,
    /// Whether the WAL's size was reported.
    reported: bool,
}

impl Checkpoints {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), left: 0, due_at: CHECKPOINT_BYTES, since: 0, background: None, reported: false }
    }

    /// The writer has appended about so many bytes.
    pub(super) fn written(&mut self, bytes: u64) {
        self.left += bytes;
        self.since += bytes;
    }

    /// The size of the WAL's file.
    pub(super) fn file_bytes(&self) -> u64 {
        std::fs::metadata(suffixed(&self.path, "-wal")).map_or(0, |metadata| metadata.len())
    }

    /// Begins a checkpoint in the background, or takes its result.
    pub(super) async fn due(&mut self) -> Result<Due, sqlx::Error> {
        match self.background.take() {
            None if self.left < self.due_at => {}
            None => {
                self.since = 0;
                self.background = Some(tokio::spawn(write_back(self.path.clone())));
                return Ok(Due::Progress);
            }
            Some(running) if !running.is_finished() => self.background = Some(running),
            Some(finished) => {
                let checkpoint = finished.await.expect("writing back does not panic")?;
                self.finished(checkpoint.map(|copied| Checkpoint { left: copied.left + self.since, ..copied }));
                // The rest is short, unless a reader holds it up or writes are faster than the disk copies.
                if checkpoint.is_some_and(|copied| copied.left == 0) && self.left < CHECKPOINT_BYTES {
                    return Ok(Due::Rest);
                }
                return Ok(Due::Progress);
            }
        }
        Ok(Due::Nothing)
    }

    /// Takes the state after a checkpoint, and plans the next one.
    pub(super) fn finished(&mut self, checkpoint: Option<Checkpoint>) {
        if let Some(checkpoint) = checkpoint {
            self.left = checkpoint.left;
            self.report(checkpoint);
        }
        self.due_at = self.left + CHECKPOINT_BYTES;
    }

    fn report(&mut self, checkpoint: Checkpoint) {
        let large = checkpoint.left >= LARGE_BYTES;
        if large && !self.reported {
            let (bytes, left) = (checkpoint.size, checkpoint.left);
            tracing::warn!(
                bytes,
                left,
                "the ledger's WAL grows, because some program reads an old state of the ledger"
            );
        }
        self.reported = large;
    }

    /// Waits for the checkpoint in the background. There is none afterwards.
    pub(super) async fn end(&mut self) -> Result<(), sqlx::Error> {
        match self.background.take() {
            Some(running) => running.await.expect("writing back does not panic").map(drop),
            None => Ok(()),
        }
    }
}

/// Writes the WAL back over a connection of its own.
async fn write_back(path: PathBuf) -> Result<Option<Checkpoint>, sqlx::Error> {
    let mut connection = match checkpoint_options(&path).connect().await {
        Ok(connection) => connection,
        Err(error) if is_busy(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let checkpoint = Checkpoint::run(&mut connection).await?;
    connection.close().await?;
    Ok(checkpoint)
}
