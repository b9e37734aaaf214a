//! The one file that reads the clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use quorapay_core::replication::Now;

/// The process's clocks. Decisions use the monotonic one; the wall clock only stamps entries.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The current time of both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        // A wall clock before 1970 counts as 1970: timestamps never decrease anyway.
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Starts at one, so that zero is before every event of this process.
        Now { monotonic_ms: millis(self.started.elapsed()) + 1, unix_ms: millis(unix) }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
