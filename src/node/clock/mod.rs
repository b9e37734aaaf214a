//! The one file that reads the clocks.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use quorapay_core::replication::Now;
use quorapay_core::time::Reading;

/// The monotonic clock starts at a millisecond, so that zero is before every event of this process.
const FIRST_US: u64 = 1_000;

/// What shows the Unix time in microseconds.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl WallClock {
    /// A wall clock that shows what this returns.
    #[must_use]
    pub fn new(unix_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(unix_us))
    }

    /// The machine's.
    #[must_use]
    pub fn of_the_system() -> Self {
        // Before 1970 counts as 1970: timestamps never decrease anyway.
        Self::new(|| micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&(self.0)()).finish()
    }
}

/// The process's clocks. Decisions use the monotonic one; the wall clock only stamps entries.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
    wall: WallClock,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn start(wall: WallClock) -> Self {
        Self { started: Instant::now(), wall }
    }

    /// The current time of both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let monotonic_us = micros(self.started.elapsed()) + FIRST_US;
        Now::of(Reading { monotonic_us, wall_us: (self.wall.0)() })
    }
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
