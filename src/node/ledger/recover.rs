//! Makes the first ledger of a new cluster: from a surviving ledger of a lost one, or from entries that somebody else
//! has kept.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Connection};

use super::error::LedgerError;
use super::files::{DirectoryLock, ledger_path, reader_options, sync_directory, writer_options};
use super::open::{Identity, OpenLedger, migrate, open};
use super::start::{load, read_meta};
use super::watermark::Watermark;
use super::writer::LedgerWriter;
use crate::sqlite::{FILE_SUFFIXES, suffixed};
use quorapay_core::domain::{Epoch, RuleVersion, Timestamp};
use quorapay_core::replication::{
    Configuration, Entry, EntryBody, EpochSpan, NodeId, Persist, PersistId, Position, Promise, ReplicaStart, StoreId,
    UnchainedEntry, Voter,
};

/// The first node of the new cluster, which is its only voter until it admits the others.
#[derive(Clone, Debug)]
pub struct FirstVoter {
    /// The new cluster's id and the node's.
    pub identity: Identity,
    /// The node's URL for peers.
    pub peer_url: String,
    /// The random id of the new ledger.
    pub store_id: StoreId,
}

/// Copies the ledger in `source` to the empty directory `target`, as the ledger of `first` in a new cluster, and
/// appends an epoch whose configuration names `first` alone. All entries are kept, and from now on they are committed.
/// Returns the position of the new last entry.
///
/// The file appears under its name only when it is complete and synced. The source is not changed.
///
/// # Errors
/// [`LedgerError::Locked`] if a node uses one of the directories, [`LedgerError::NotEmpty`] if the target holds a ledger,
/// [`LedgerError::Damaged`] if the source cannot be loaded; otherwise if a disk fails.
pub async fn recover(source: &Path, target: &Path, first: &FirstVoter) -> Result<Position, LedgerError> {
    let source_path = ledger_path(source);
    fs::metadata(&source_path).map_err(LedgerError::file(&source_path))?;
    let _source_lock = DirectoryLock::take(source)?;
    let _target_lock = DirectoryLock::take(target)?;
    let path = ledger_path(target);
    if path.exists() || Watermark::in_directory(target).path().exists() {
        return Err(LedgerError::NotEmpty(target.to_owned()));
    }
    let unfinished = suffixed(&path, ".unfinished");
    remove(&unfinished)?;
    copy(&source_path, &unfinished).await?;
    let last = found(target, &unfinished, first).await?;
    File::open(&unfinished).and_then(|file| file.sync_all()).map_err(LedgerError::file(&unfinished))?;
    fs::rename(&unfinished, &path).map_err(LedgerError::file(&path))?;
    sync_directory(target)?;
    Ok(last)
}

/// Removes what an earlier attempt that was interrupted left behind.
fn remove(path: &Path) -> Result<(), LedgerError> {
    for file in FILE_SUFFIXES.map(|suffix| suffixed(path, suffix)) {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(LedgerError::file(file)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Copies a database with what its WAL holds, without writing to it.
async fn copy(source: &Path, target: &Path) -> Result<(), LedgerError> {
    // `query_only` forbids writing to every file, the copy too; the source is opened read-only all the same.
    let options = reader_options(source).pragma("query_only", "off");
    let mut connection = options.connect().await.map_err(LedgerError::from_read)?;
    let copied = sqlx::query("VACUUM INTO ?").bind(target.to_string_lossy()).execute(&mut connection).await;
    copied.map_err(LedgerError::from_read)?;
    connection.close().await.map_err(LedgerError::from_read)
}

/// Makes the copy the ledger of the new cluster's first node.
async fn found(data_dir: &Path, path: &Path, first: &FirstVoter) -> Result<Position, LedgerError> {
    let mut connection = writer_options(path).connect().await.map_err(LedgerError::from_read)?;
    migrate(&mut connection, data_dir).await?;
    rename_owner(&mut connection, first).await?;
    let meta = read_meta(&mut connection).await?;
    let meta = meta.ok_or_else(|| LedgerError::Damaged("it does not say whose it is".to_owned()))?;
    let start = load(&mut connection, meta, None).await?;
    let write = first_epoch(&LogEnd::of(&start), first);
    let last = write.entries.last().map_or(start.last, |entry| entry.position());
    let mut writer = LedgerWriter::new(connection, path, &start);
    writer.persist(&[write]).await?;
    writer.close().await?;
    Ok(last)
}

async fn rename_owner(connection: &mut SqliteConnection, first: &FirstVoter) -> Result<(), LedgerError> {
    sqlx::query("UPDATE meta SET cluster_id = ?, node_id = ?, store_id = ?")
        .bind(&first.identity.cluster_id)
        .bind(first.identity.node_id.as_str())
        .bind(first.store_id.to_string())
        .execute(connection)
        .await
        .map_err(LedgerError::OutcomeUnknown)?;
    Ok(())
}

/// What the first epoch of a new cluster follows.
struct LogEnd {
    last: Position,
    /// The ledger's time there.
    time: Timestamp,
    /// The rules by which the last entry was decided.
    rules: RuleVersion,
    /// The highest epoch that may have been promised.
    promised: Epoch,
}

impl LogEnd {
    fn of(start: &ReplicaStart) -> Self {
        Self {
            last: start.last,
            time: start.tail.last().map_or(Timestamp::default(), |entry| entry.timestamp),
            rules: EpochSpan::rules_after(&start.spans, start.last.index),
            promised: start.promise.as_ref().map_or(Epoch::default(), |promise| promise.epoch),
        }
    }
}

/// An epoch above everything that was stored or promised. Its configuration has one voter, so a quorum holds every
/// entry.
fn first_epoch(end: &LogEnd, first: &FirstVoter) -> Persist {
    let epoch = Epoch(end.last.epoch.max(end.promised).0 + 1);
    let leader: NodeId = first.identity.node_id.clone();
    let voter = Voter { store_id: first.store_id, peer_url: first.peer_url.clone() };
    let configuration = Configuration { voters: [(leader.clone(), voter)].into() };
    let mut before = end.last;
    // A new cluster changes who votes, and nothing else.
    let start = EntryBody::EpochStart { leader: leader.clone(), rules: end.rules };
    let bodies = [start, EntryBody::Configuration(configuration)];
    let entries: Vec<Arc<Entry>> = bodies
        .into_iter()
        .map(|body| {
            let timestamp = end.time;
            let entry = UnchainedEntry { index: before.index.next(), epoch, timestamp, principal: None, body }
                .chain(&before.hash);
            before = entry.position();
            Arc::new(entry)
        })
        .collect();
    Persist {
        id: PersistId(1),
        promise: Some(Promise { epoch, leader }),
        truncate_after: None,
        entries,
        commit_index: before.index,
    }
}

/// The ledger of a new cluster's first node while it is written from entries that somebody else has kept.
pub struct FoundingLedger {
    ledger: OpenLedger,
    first: FirstVoter,
    end: LogEnd,
}

impl FoundingLedger {
    /// Begins one in an empty directory, which is created if it is missing.
    ///
    /// # Errors
    /// [`LedgerError`] if the directory is in use or the disk fails.
    pub async fn begin(data_dir: &Path, first: FirstVoter) -> Result<Self, LedgerError> {
        let store_id = first.store_id;
        let ledger = open(data_dir, &first.identity, || store_id).await?;
        let end = LogEnd::of(&ledger.start);
        Ok(Self { ledger, first, end })
    }

    /// The position of the last entry so far.
    #[must_use]
    pub const fn last(&self) -> Position {
        self.end.last
    }

    /// Appends entries, which must follow those before them in the chain, in one transaction.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] if they do not follow, [`LedgerError::UnknownRules`] if a newer program decided them,
    /// otherwise if the disk fails.
    pub async fn append(&mut self, entries: Vec<Arc<Entry>>) -> Result<(), LedgerError> {
        for entry in &entries {
            if !entry.follows(&self.end.last) {
                return Err(LedgerError::Damaged(format!("the hash chain breaks at index {}", entry.index)));
            }
            if let EntryBody::EpochStart { rules, .. } = entry.body {
                if rules > RuleVersion::NEWEST {
                    return Err(LedgerError::UnknownRules { index: entry.index, rules });
                }
                self.end.rules = rules;
            }
            (self.end.last, self.end.time) = (entry.position(), entry.timestamp);
        }
        // They come from a quorum.
        let commit_index = self.end.last.index;
        let write = Persist { id: PersistId(1), promise: None, truncate_after: None, entries, commit_index };
        self.ledger.writer.persist(&[write]).await?;
        self.ledger.writer.checkpoint_if_due().await?;
        Ok(())
    }

    /// Appends the first epoch of the new cluster and closes the files. Returns the position of the last entry.
    ///
    /// # Errors
    /// [`LedgerError`] if the disk fails.
    pub async fn finish(mut self) -> Result<Position, LedgerError> {
        let write = first_epoch(&self.end, &self.first);
        let last = write.entries.last().map_or(self.end.last, |entry| entry.position());
        self.ledger.writer.persist(&[write]).await?;
        self.ledger.reader.close().await;
        self.ledger.writer.close().await?;
        Ok(last)
    }
}

/// Moves the ledger of the directory `made` to the directory `target`, which must hold none. It is there as a whole or not
/// at all, also after a power cut.
///
/// # Errors
/// [`LedgerError::NotEmpty`] and [`LedgerError::File`].
pub fn move_ledger(made: &Path, target: &Path) -> Result<(), LedgerError> {
    let (from, to) = (ledger_path(made), ledger_path(target));
    if to.exists() || Watermark::in_directory(target).path().exists() {
        return Err(LedgerError::NotEmpty(target.to_owned()));
    }
    File::open(&from).and_then(|file| file.sync_all()).map_err(LedgerError::file(&from))?;
    fs::rename(&from, &to).map_err(LedgerError::file(&to))?;
    sync_directory(target)
}
