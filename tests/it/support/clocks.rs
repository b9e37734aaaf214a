//! Wall clocks that can be set wrong, by the library of faketime in the process that reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The wall clock of one process.
pub(crate) struct WallClock {
    file: PathBuf,
    preload: String,
}

impl WallClock {
    /// A right clock, kept in a folder. `None`, and a line that says so, without faketime.
    pub(crate) fn of(name: &str, folder: &Path) -> Option<Self> {
        let shown = Command::new("faketime").args(["-m", "-f", "+0s", "env"]).output();
        let shown = shown.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        let preload =
            shown.as_deref().and_then(|shown| shown.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")));
        let Some(preload) = preload else {
            eprintln!("skipped: faketime is not there");
            return None;
        };
        let clock = Self { file: folder.join(format!("{name}.clock")), preload: preload.to_owned() };
        clock.set_off(0);
        Some(clock)
    }

    /// The variables with which a process reads this clock. Its monotonic clock and its timers stay right.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let file = self.file.display().to_string();
        let variables = [
            ("LD_PRELOAD", self.preload.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
    }

    /// Sets it off by this many seconds, within a second. The file is replaced at once: half a line is another time.
    pub(crate) fn set_off(&self, seconds: i64) {
        let fresh = self.file.with_extension("fresh");
        fs::write(&fresh, format!("{seconds:+}")).unwrap();
        fs::rename(fresh, &self.file).unwrap();
    }
}

/// Removes what the library leaves in shared memory when its process is killed.
pub(crate) fn forget_process(pid: u32) {
    for name in [format!("faketime_shm_{pid}"), format!("sem.faketime_sem_{pid}")] {
        // Usually there is none.
        let _ = fs::remove_file(Path::new("/dev/shm").join(name));
    }
}
