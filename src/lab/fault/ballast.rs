//! Fills a disk with one file.

use std::path::{Path, PathBuf};

use crate::local::{LocalError, run};

/// Fills the disk that a folder is on.
pub(crate) async fn fill(folder: &Path) -> Result<PathBuf, LocalError> {
    let ballast = folder.join("ballast");
    let mut wanted = free_bytes(folder).await?;
    // The file system needs part of the space for metadata, so the rest is allocated in ever smaller pieces.
    while wanted >= 4_096 {
        let at = std::fs::metadata(&ballast).map_or(0, |file| file.len());
        let (offset, length) = (at.to_string(), wanted.to_string());
        let path = ballast.as_os_str();
        let taken = run("fallocate", ["-o".as_ref(), offset.as_ref(), "-l".as_ref(), length.as_ref(), path]).await;
        wanted = if taken.is_ok() { wanted.min(free_bytes(folder).await?) } else { wanted / 2 };
    }
    Ok(ballast)
}

async fn free_bytes(folder: &Path) -> Result<u64, LocalError> {
    let shown = run("df", ["--block-size=1".as_ref(), "--output=avail".as_ref(), folder.as_os_str()]).await?;
    let said = || LocalError::Command { command: "df".to_owned(), said: shown.trim().to_owned() };
    shown.lines().last().and_then(|line| line.trim().parse().ok()).ok_or_else(said)
}
