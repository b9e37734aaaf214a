//! One backup.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::copy::copy;
use super::error::TakeError;
use quorapay_client::Client;
use quorapay_core::domain::LogIndex;
use quorapay_node::backup::{BackupFile, BackupWriter, Header, Moment, PartFile};

/// A backup that was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Backup {
    /// The cluster.
    pub cluster_id: String,
    /// What its entries follow.
    pub after: Moment,
    /// The last entry in it.
    pub end: Moment,
    /// Its size.
    pub bytes: u64,
    /// Whether an earlier attempt had begun it.
    pub continued: bool,
}

/// Writes a backup to a file: a full one, or what came after an earlier one. Continues what an interruption left behind.
/// `progress` is called with the last index so far and the last one that is wanted.
///
/// # Errors
/// [`TakeError`]; the file is not there then, and the same call goes on where this one stopped.
pub async fn take(
    client: &Client,
    path: &Path,
    earlier: Option<&Path>,
    progress: &mut dyn FnMut(LogIndex, LogIndex),
) -> Result<Backup, TakeError> {
    let header = header(client, earlier).await?;
    let mut part = PartFile::begin(path, &header)?;
    copy(client, &mut part, progress).await?;
    let (end, continued) = (part.end(), part.is_continued());
    let bytes = part.finish()?;
    Ok(Backup { cluster_id: header.cluster_id, after: header.after, end, bytes, continued })
}

/// Writes a backup to any output. It cannot be continued.
///
/// # Errors
/// [`TakeError`]; what was written is no backup then, and is known not to be one.
pub async fn write_to(
    client: &Client,
    out: impl Write,
    earlier: Option<&Path>,
    progress: &mut dyn FnMut(LogIndex, LogIndex),
) -> Result<Backup, TakeError> {
    let header = header(client, earlier).await?;
    let mut writer = BackupWriter::begin(out, &header).map_err(TakeError::Output)?;
    copy(client, &mut writer, progress).await?;
    let end = writer.end();
    let (_, bytes) = writer.finish().map_err(TakeError::Output)?;
    Ok(Backup { cluster_id: header.cluster_id, after: header.after, end, bytes, continued: false })
}

/// The header of a new backup.
async fn header(client: &Client, earlier: Option<&Path>) -> Result<Header, TakeError> {
    let earlier = earlier.map(BackupFile::open).transpose()?;
    let cluster_id = cluster_id(client).await?;
    let after = earlier.as_ref().map_or_else(Moment::default, BackupFile::end);
    match earlier {
        Some(earlier) if earlier.header().cluster_id != cluster_id => {
            let (path, found) = (PathBuf::from(earlier.path()), earlier.header().cluster_id.clone());
            Err(TakeError::OtherCluster { path, found, asked: cluster_id })
        }
        _ => Ok(Header { cluster_id, after }),
    }
}

/// The id of the cluster, as the node that answers says.
async fn cluster_id(client: &Client) -> Result<String, TakeError> {
    let nodes = client.cluster().await?.nodes;
    let report = nodes.into_iter().find_map(|node| node.status);
    // The node that answers is always among them.
    report.map(|report| report.cluster_id).ok_or(TakeError::NoReport)
}
