//! The nodes' wall clocks, which can be set off while a node runs.

use std::path::{Path, PathBuf};

use super::error::FaultError;
use crate::local::{LocalError, run};

/// The nodes' wall clocks, set by the library of faketime, which is preloaded.
#[derive(Debug)]
pub(crate) struct Clocks {
    pub(crate) preload: Result<String, String>,
}

impl Clocks {
    /// Asks `faketime` which library it loads.
    pub(crate) async fn detect() -> Self {
        let shown = run("faketime", ["-m", "-f", "+0s", "env"]).await;
        let preload = shown.map_err(|_| "faketime is not there".to_owned()).and_then(|environment| {
            let line = environment.lines().find_map(|line| line.strip_prefix("LD_PRELOAD="));
            line.map(str::to_owned).ok_or_else(|| "faketime does not say what it loads".to_owned())
        });
        Self { preload }
    }

    /// Clocks that can be set off, or such that cannot.
    ///
    /// # Errors
    /// [`FaultError::Impossible`] if they are wanted and this machine has no faketime.
    pub(crate) async fn wanted(wanted: bool) -> Result<Self, FaultError> {
        if !wanted {
            return Ok(Self { preload: Err("not wanted".to_owned()) });
        }
        let clocks = Self::detect().await;
        match &clocks.preload {
            Ok(_) => Ok(clocks),
            Err(why) => Err(FaultError::Impossible(format!("{why}: apt-get install faketime, or leave --clocks out"))),
        }
    }

    /// Creates the file that sets a node's wall clock; `None` without faketime.
    pub(crate) fn file_of(&self, node: &str, folder: &Path) -> Option<PathBuf> {
        let file = folder.join(format!("{node}.clock"));
        (self.preload.is_ok() && set_clock(&file, 0).is_ok()).then_some(file)
    }

    /// The environment that makes a process read its wall clock from a file. Its monotonic clock and timers are not changed.
    pub(crate) fn environment(&self, file: &Path) -> Vec<(String, String)> {
        let Ok(preload) = &self.preload else { return Vec::new() };
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            set("LD_PRELOAD", preload),
            set("FAKETIME_TIMESTAMP_FILE", &file.display().to_string()),
            set("FAKETIME_CACHE_DURATION", "1"),
            set("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}

/// Removes what the library leaves in shared memory when its process is killed.
pub(crate) fn remove_shared_memory(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // Usually the file does not exist.
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

/// Sets a node's wall clock off by milliseconds. The file is replaced atomically, because half a line is another time.
pub(crate) fn set_clock(file: &Path, off_ms: i64) -> Result<(), LocalError> {
    let (sign, size) = (if off_ms < 0 { '-' } else { '+' }, off_ms.unsigned_abs());
    let fresh = file.with_extension("clock.new");
    let write = || {
        std::fs::write(&fresh, format!("{sign}{}.{:03}", size / 1_000, size % 1_000))?;
        std::fs::rename(&fresh, file)
    };
    write().map_err(LocalError::io("a node's clock"))
}
