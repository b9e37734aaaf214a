//! Opens the ledger of a data directory, in whatever state it is.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions, Connection};
use tokio::time::Instant;

use super::durable::{HELD_TIMEOUT, make_durable};
use super::error::LedgerError;
use super::files::{
    DirectoryLock, clear_condemned, condemn_after, condemned, ledger_path, move_aside, readers, writer_options,
};
use super::reader::LedgerReader;
use super::start::{Meta, last_index, load, read_meta, spans};
use super::watermark::Watermark;
use super::writer::LedgerWriter;
use crate::schema;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{NodeId, ReplicaStart, StoreId};

/// The cluster and the node that the ledger must belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: String,
    /// The node's id.
    pub node_id: NodeId,
}

/// What opening a ledger took, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpeningTimes {
    /// Writing again what the WAL holds.
    pub written: Duration,
    /// Loading and verifying the end of the log.
    pub verified: Duration,
}

/// An open ledger.
pub struct OpenLedger {
    /// What the replica starts from.
    pub start: ReplicaStart,
    /// The one writer.
    pub writer: LedgerWriter,
    /// The readers.
    pub reader: LedgerReader,
    /// The watermark, to be advanced as entries are committed and durable here.
    pub watermark: Watermark,
    /// Why an earlier ledger was moved aside, if it was. This one is then empty and has a new store id: the node has
    /// lost what it acknowledged and must not vote until it is admitted again.
    pub damaged: Option<String>,
    /// What opening it took.
    pub took: OpeningTimes,
    /// Keeps other processes out until it is dropped.
    pub lock: DirectoryLock,
}

/// Opens the ledger in `data_dir`, which is created if it is missing. What it returns is durable. A damaged ledger is
/// moved aside for operators to inspect, and a new one is created in its place. `new_store_id` returns the random id of
/// a new ledger.
///
/// # Errors
/// [`LedgerError::Held`] if another program keeps the file open; [`LedgerError::Locked`], [`LedgerError::OtherCluster`],
/// [`LedgerError::OtherNode`] and [`LedgerError::OtherVersion`] if this ledger is not for this process;
/// [`LedgerError::File`] and [`LedgerError::Read`] if the disk fails.
pub async fn open(
    data_dir: &Path,
    identity: &Identity,
    new_store_id: impl FnOnce() -> StoreId,
) -> Result<OpenLedger, LedgerError> {
    let lock = DirectoryLock::take(data_dir)?;
    let watermark = Watermark::in_directory(data_dir);
    let path = ledger_path(data_dir);
    let mut new_store_id = Some(new_store_id);
    let (opened, damaged) = match try_open(data_dir, identity, &watermark, &mut new_store_id).await {
        Ok(opened) => (opened, None),
        Err(LedgerError::Damaged(reason)) => {
            move_aside(&path, &watermark)?;
            clear_condemned(data_dir)?;
            tracing::error!(%reason, "the ledger is damaged and was moved aside; this node begins again as a learner");
            (try_open(data_dir, identity, &watermark, &mut new_store_id).await?, Some(reason))
        }
        Err(other) => {
            if let LedgerError::Read(error) = &other {
                condemn_after(data_dir, error);
            }
            return Err(other);
        }
    };
    let Loaded { start, connection, took } = opened;
    let writer = LedgerWriter::new(connection, &path, &start);
    Ok(OpenLedger { start, writer, reader: LedgerReader::new(readers(&path)), watermark, damaged, took, lock })
}

/// What an opened file holds.
struct Loaded {
    start: ReplicaStart,
    connection: SqliteConnection,
    took: OpeningTimes,
}

/// Opens the file or creates it, and loads it. The connection is closed on every error, so that the files can be moved.
async fn try_open(
    data_dir: &Path,
    identity: &Identity,
    watermark: &Watermark,
    new_store_id: &mut Option<impl FnOnce() -> StoreId>,
) -> Result<Loaded, LedgerError> {
    let path = ledger_path(data_dir);
    if let Some(reason) = condemned(data_dir)? {
        return Err(LedgerError::Damaged(reason));
    }
    let mark = watermark.read()?;
    if let Some(mark) = mark
        && !path.exists()
    {
        return Err(LedgerError::Damaged(format!("it is gone; its watermark says that it held entry {}", mark.index)));
    }
    let began = Instant::now();
    if path.exists() {
        make_durable(&path, HELD_TIMEOUT).await?;
    }
    let written = began.elapsed();
    let mut connection = writer_options(&path).connect().await.map_err(LedgerError::from_read)?;
    let loaded = async {
        migrate(&mut connection, data_dir).await?;
        let meta = match read_meta(&mut connection).await? {
            Some(meta) => meta,
            None => write_identity(&mut connection, identity, mark.is_some(), new_store_id).await?,
        };
        check_owner(data_dir, identity, &meta)?;
        load(&mut connection, meta, mark).await
    };
    match loaded.await {
        Ok(start) => {
            let took = OpeningTimes { written, verified: began.elapsed().saturating_sub(written) };
            Ok(Loaded { start, connection, took })
        }
        Err(error) => {
            if let Err(close_error) = connection.close().await {
                tracing::debug!(%close_error, "the ledger that could not be loaded could not be closed");
            }
            Err(error)
        }
    }
}

/// A ledger that was opened for reading only.
#[derive(Clone, Debug)]
pub struct InspectedLedger {
    /// The id of its cluster.
    pub cluster_id: String,
    /// The id of the file.
    pub store_id: StoreId,
    /// A lower bound of the commit index.
    pub commit_index: LogIndex,
    /// The last index of the log, committed or not.
    pub last_index: LogIndex,
    /// Reads the entries.
    pub reader: LedgerReader,
}

/// Opens the ledger in `data_dir` without changing or locking anything, whether its node runs or not.
///
/// # Errors
/// [`LedgerError::File`] if there is no ledger, [`LedgerError::Damaged`] if its metadata cannot be read,
/// [`LedgerError::UnknownRules`] if a newer program decided its entries.
pub async fn inspect(data_dir: &Path) -> Result<InspectedLedger, LedgerError> {
    let path = ledger_path(data_dir);
    std::fs::metadata(&path).map_err(LedgerError::file(&path))?;
    let reader = LedgerReader::new(readers(&path));
    let mut connection = reader.readers.acquire().await.map_err(LedgerError::from_read)?;
    let meta = read_meta(&mut connection).await?;
    let meta = meta.ok_or_else(|| LedgerError::Damaged("it does not say whose it is".to_owned()))?;
    // The reader finds and names all damage; only an older program's rules would make it name what is none.
    if let Err(unknown @ LedgerError::UnknownRules { .. }) = spans(&mut connection).await {
        return Err(unknown);
    }
    let last_index = last_index(&mut connection).await?;
    drop(connection);
    let Meta { cluster_id, store_id, commit_index, .. } = meta;
    Ok(InspectedLedger { cluster_id, store_id, commit_index, last_index, reader })
}

pub(super) async fn migrate(connection: &mut SqliteConnection, data_dir: &Path) -> Result<(), LedgerError> {
    schema::LEDGER.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::Execute(inner) | MigrateError::ExecuteMigration(inner, _) => LedgerError::from_read(inner),
        other => LedgerError::OtherVersion { data_dir: data_dir.to_owned(), reason: other.to_string() },
    })
}

/// Writes the identity into a new file. A file with entries or a watermark has lost its identity and is damaged.
async fn write_identity(
    connection: &mut SqliteConnection,
    identity: &Identity,
    marked: bool,
    new_store_id: &mut Option<impl FnOnce() -> StoreId>,
) -> Result<Meta, LedgerError> {
    let entries = sqlx::query("SELECT 1 FROM entries LIMIT 1").fetch_optional(&mut *connection).await;
    if marked || entries.map_err(LedgerError::from_read)?.is_some() {
        return Err(LedgerError::Damaged("it does not say whose it is".to_owned()));
    }
    let make = new_store_id.take().expect("a ledger is created at most once: nothing in a new one can be damaged");
    let store_id = make();
    sqlx::query("INSERT INTO meta (only, cluster_id, node_id, store_id, commit_index) VALUES (1, ?, ?, ?, 0)")
        .bind(&identity.cluster_id)
        .bind(identity.node_id.as_str())
        .bind(store_id.to_string())
        .execute(connection)
        .await
        .map_err(LedgerError::from_read)?;
    Ok(Meta::new(identity.cluster_id.clone(), identity.node_id.as_str().to_owned(), store_id))
}

fn check_owner(data_dir: &Path, identity: &Identity, meta: &Meta) -> Result<(), LedgerError> {
    let data_dir = || data_dir.to_owned();
    if meta.cluster_id != identity.cluster_id {
        let (found, expected) = (meta.cluster_id.clone(), identity.cluster_id.clone());
        return Err(LedgerError::OtherCluster { data_dir: data_dir(), found, expected });
    }
    if meta.node_id != identity.node_id.as_str() {
        let (found, expected) = (meta.node_id.clone(), identity.node_id.to_string());
        return Err(LedgerError::OtherNode { data_dir: data_dir(), found, expected });
    }
    Ok(())
}
