//! A small disk for a directory, which can become full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for a new ledger and a minute of payments.
const SIZE: &str = "size=12m";

/// A file system in memory. Unmounted when dropped.
pub(crate) struct SmallDisk {
    mounted_at: PathBuf,
}

impl SmallDisk {
    /// `None`, and a line that says so, if this process may not mount.
    pub(crate) fn at(directory: &Path) -> Option<Self> {
        fs::create_dir_all(directory).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "quorapay-it"]).arg(directory).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: only root can mount a small disk");
            return None;
        }
        Some(Self { mounted_at: directory.to_owned() })
    }

    /// Fills it with a file until nothing fits any more.
    pub(crate) fn fill(&self, name: &str) {
        let mut file = fs::File::create(self.mounted_at.join(name)).unwrap();
        while file.write_all(&[0; 4_096]).is_ok() {}
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that still has a file open there keeps it until it ends.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted_at).status();
    }
}
