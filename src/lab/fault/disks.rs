//! A disk for every node: a file with a file system, mounted in this program's private mount namespace.
//!
//! A disk can lose its power: its file system stops at once, and what was not synced is gone when it is mounted again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::local::{LocalError, Reaper, run};

/// Environment variable that tells this program that it runs in private namespaces already.
pub(crate) const PRIVATE_VARIABLE: &str = "QUORAPAY_CHAOS_PRIVATE";

/// Size of a node's disk. Its image is sparse and grows with what is written.
const DISK_BYTES: &str = "8G";

/// How often a file system is unmounted again that is busy for a moment after its last process has ended.
const MAX_UNMOUNTS: u32 = 50;
const UNMOUNT_INTERVAL: Duration = Duration::from_millis(20);

/// What this machine allows.
#[derive(Debug)]
pub(crate) struct Disks {
    /// Whether every node can have a disk.
    pub(crate) mountable: Result<(), String>,
    /// Whether a disk can lose its power.
    pub(crate) stoppable: Result<(), String>,
    /// Whether every second disk is XFS, so that both kinds of file systems lose their power.
    with_xfs: bool,
}

/// The kind of a disk's file system.
#[derive(Clone, Copy, Debug)]
enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    async fn create(self, image: &Path) -> Result<(), LocalError> {
        let (program, options): (&str, &[&str]) = match self {
            // No blocks are reserved for root, so that a full disk is full for every user.
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"]),
        };
        let arguments = options.iter().map(AsRef::as_ref).chain([image.as_os_str()]);
        run(program, arguments).await.map(drop)
    }
}

impl Disks {
    pub(crate) fn unavailable(why: String) -> Self {
        Self { mountable: Err(why.clone()), stoppable: Err(why), with_xfs: false }
    }

    /// Mounts a disk on trial, and takes its power away if that is wanted.
    pub(crate) async fn detect(stopping: bool) -> Self {
        if std::env::var_os(PRIVATE_VARIABLE).is_none() {
            return Self::unavailable("only root can mount disks".to_owned());
        }
        let reaper = match Reaper::with_folder("quorapay-chaos-disk") {
            Ok(reaper) => reaper,
            Err(error) => return Self::unavailable(error.to_string()),
        };
        let trial = |name: &str| (name.to_owned(), reaper.folder().join(name));
        let (name, mounted_at) = trial("ext4");
        if let Err(error) = make(FileSystem::Ext4, &name, &mounted_at).await {
            return Self::unavailable(format!("a disk cannot be made: {error}"));
        }
        if !stopping {
            return Self { mountable: Ok(()), stoppable: Err("not wanted".to_owned()), with_xfs: false };
        }
        let stoppable = stop_and_mount(&name, &mounted_at).await.map_err(|error| error.to_string());
        let (name, mounted_at) = trial("xfs");
        let with_xfs = make(FileSystem::Xfs, &name, &mounted_at).await.is_ok();
        Self { mountable: Ok(()), with_xfs: with_xfs && stop_and_mount(&name, &mounted_at).await.is_ok(), stoppable }
    }

    /// Whether every node can have one.
    pub(crate) fn available(&self) -> bool {
        self.mountable.is_ok()
    }

    /// Mounts a disk for a node, or creates a folder where disks are not available.
    pub(crate) async fn provide(&self, number: usize, name: &str, data_dir: &Path) -> Result<(), LocalError> {
        if self.available() {
            let kind = if self.with_xfs && number % 2 == 1 { FileSystem::Xfs } else { FileSystem::Ext4 };
            return make(kind, name, data_dir).await;
        }
        std::fs::create_dir_all(data_dir).map_err(LocalError::io(data_dir.display().to_string()))
    }
}

async fn stop_and_mount(name: &str, mount_point: &Path) -> Result<(), LocalError> {
    lose_power(mount_point).await?;
    mount_again(name, mount_point).await
}

/// The file that a disk is in, beside its mount point.
fn image_of(name: &str, mount_point: &Path) -> PathBuf {
    mount_point.with_file_name(format!("{name}.disk"))
}

async fn make(kind: FileSystem, name: &str, mount_point: &Path) -> Result<(), LocalError> {
    let image = image_of(name, mount_point);
    std::fs::create_dir_all(mount_point).map_err(LocalError::io(mount_point.display().to_string()))?;
    run("truncate", ["-s".as_ref(), DISK_BYTES.as_ref(), image.as_os_str()]).await?;
    kind.create(&image).await?;
    mount(&image, mount_point).await
}

async fn mount(image: &Path, mount_point: &Path) -> Result<(), LocalError> {
    run("mount", ["-o".as_ref(), "loop".as_ref(), image.as_os_str(), mount_point.as_os_str()]).await.map(drop)
}

/// Stops a file system without writing anything more, not even its journal. Every later call on its files fails.
pub(crate) async fn lose_power(mount_point: &Path) -> Result<(), LocalError> {
    run("xfs_io", ["-x".as_ref(), "-c".as_ref(), "shutdown".as_ref(), mount_point.as_os_str()]).await.map(drop)
}

/// Mounts a stopped disk again, as after a power loss. No process may have a file of it open.
pub(crate) async fn mount_again(name: &str, mount_point: &Path) -> Result<(), LocalError> {
    let mut attempts = 1;
    while let Err(error) = run("umount", [mount_point]).await {
        if attempts == MAX_UNMOUNTS {
            return Err(error);
        }
        attempts += 1;
        tokio::time::sleep(UNMOUNT_INTERVAL).await;
    }
    mount(&image_of(name, mount_point), mount_point).await
}
