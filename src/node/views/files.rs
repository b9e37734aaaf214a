//! Opens the views of a data directory, or creates them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sqlx::ConnectOptions;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};

use super::error::{ViewsError, damaged};
use super::reader::ViewsReader;
use super::segment::Catalog;
use super::writer::{ViewsWriter, read_state};
use crate::schema;
use crate::sqlite::{self, FILE_SUFFIXES, Readers, suffixed};
use quorapay_core::replication::{Position, StoreId};

const VIEWS_FILE: &str = "views.db";
/// Prepared statements that the writer keeps: each table has one per number of rows in its last statement.
const CACHED_STATEMENTS: usize = 600;

/// Pages in the WAL after which a COMMIT writes them back: few enough that no transaction takes long.
const CHECKPOINT_PAGES: &str = "1000";

/// Open views.
pub struct OpenViews {
    /// The one writer.
    pub writer: ViewsWriter,
    /// The readers.
    pub reader: ViewsReader,
    /// The projected position. The caller compares it with its ledger and resets the views if they differ.
    pub projected: Position,
}

/// Opens the views of the ledger `store_id`. Views that are missing, damaged or of another ledger are created anew.
///
/// # Errors
/// [`ViewsError::File`] or [`ViewsError::Sql`] if the disk fails.
pub async fn open(data_dir: &Path, cluster_id: &str, store_id: StoreId) -> Result<OpenViews, ViewsError> {
    let path = views_path(data_dir);
    let (connection, projected, segments) = match try_open(&path, cluster_id, store_id).await {
        Err(ViewsError::Damaged(reason)) => {
            tracing::warn!(%reason, "the views are rebuilt from the ledger");
            remove(&path)?;
            try_open(&path, cluster_id, store_id).await?
        }
        other => other?,
    };
    let writer = ViewsWriter::new(writer_options(&path), connection, projected, segments);
    Ok(OpenViews { writer, reader: ViewsReader::new(readers(&path)), projected })
}

/// Opens views for reading only; `None` if there are none.
#[must_use]
pub fn open_read_only(data_dir: &Path) -> Option<ViewsReader> {
    let path = views_path(data_dir);
    path.exists().then(|| ViewsReader::new(readers(&path)))
}

async fn try_open(
    path: &Path,
    cluster_id: &str,
    store_id: StoreId,
) -> Result<(SqliteConnection, Position, Catalog), ViewsError> {
    let mut connection = writer_options(path).connect().await?;
    let loaded = async {
        schema::VIEWS.run_direct(None, &mut connection, false).await.map_err(|error| match error {
            MigrateError::Execute(inner) | MigrateError::ExecuteMigration(inner, _) => ViewsError::from(inner),
            other => damaged(other.to_string()),
        })?;
        check_owner(&mut connection, cluster_id, store_id).await?;
        read_state(&mut connection).await
    };
    match loaded.await {
        Ok((projected, segments)) => Ok((connection, projected, segments)),
        Err(error) => {
            if let Err(close_error) = sqlx::Connection::close(connection).await {
                tracing::debug!(%close_error, "views that could not be loaded could not be closed");
            }
            Err(error)
        }
    }
}

/// Writes the owner into new views, and checks it in others.
async fn check_owner(connection: &mut SqliteConnection, cluster_id: &str, store_id: StoreId) -> Result<(), ViewsError> {
    let owner: Option<(String, String)> =
        sqlx::query_as("SELECT cluster_id, store_id FROM meta").fetch_optional(&mut *connection).await?;
    let expected = (cluster_id.to_owned(), store_id.to_string());
    match owner {
        Some(owner) if owner == expected => Ok(()),
        Some((cluster, store)) => Err(damaged(format!("they are of store {store} in cluster {cluster:?}"))),
        None => {
            sqlx::query("INSERT INTO meta VALUES (1, ?, ?, 0, 0, zeroblob(32), 0)")
                .bind(expected.0)
                .bind(expected.1)
                .execute(connection)
                .await?;
            Ok(())
        }
    }
}

pub(super) fn writer_options(path: &Path) -> SqliteConnectOptions {
    sqlite::writer_options(path, "views-writer")
        // A power cut takes the views back to an earlier projected index, consistently, which costs nothing but work.
        .synchronous(SqliteSynchronous::Normal)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .statement_cache_capacity(CACHED_STATEMENTS)
}

fn readers(path: &Path) -> Readers {
    Readers::new(sqlite::reader_options(path, "views-reader"))
}

/// The views of a data directory.
pub(super) fn views_path(data_dir: &Path) -> PathBuf {
    data_dir.join(VIEWS_FILE)
}

pub(super) fn remove(path: &Path) -> Result<(), ViewsError> {
    for path in FILE_SUFFIXES.map(|suffix| suffixed(path, suffix)) {
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(ViewsError::File { path, source }),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
