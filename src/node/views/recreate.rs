//! Makes damaged views anew beside their readers, whose connections are to the old file.

use std::path::Path;

use super::error::ViewsError;
use super::files::{OpenViews, open, remove, views_path};
use super::reader::ViewsReader;
use crate::read_gate::ReadGate;
use quorapay_core::replication::StoreId;

/// Removes the views of a data directory, however damaged, and opens empty ones in their place. Their writer must be
/// closed.
///
/// # Errors
/// [`ViewsError::File`] or [`ViewsError::Sql`] if the disk fails.
pub async fn recreate(data_dir: &Path, cluster_id: &str, store_id: StoreId) -> Result<OpenViews, ViewsError> {
    remove(&views_path(data_dir))?;
    open(data_dir, cluster_id, store_id).await
}

impl ViewsReader {
    /// Whether the views may be read. While it is closed, every read fails.
    #[must_use]
    pub const fn gate(&self) -> &ReadGate {
        &self.readers.gate
    }

    /// Reads the same file through connections of its own.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { readers: self.readers.apart() }
    }

    /// Opens all connections, so that no read has to wait for one to be opened.
    ///
    /// # Errors
    /// [`ViewsError::Sql`] if the file cannot be opened.
    pub async fn connect(&self) -> Result<(), ViewsError> {
        Ok(self.readers.connect().await?)
    }

    /// Closes the connections to the file as it was. They are opened again when they are needed. The gate must be closed.
    ///
    /// # Errors
    /// [`ViewsError::Sql`] if a read does not end.
    pub async fn reconnect(&self) -> Result<(), ViewsError> {
        Ok(self.readers.reconnect().await?)
    }
}
