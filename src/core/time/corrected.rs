//! A clock that follows what a majority of clocks shows. It never goes back and runs evenly: it is slewed, by at most
//! [`MAX_SLEW_PPM`], and jumps only forwards, when it is behind by more than [`STEP_US`].

use super::{MILLION, clamped};

/// How much faster or slower than the monotonic clock it runs to make up for a difference: 10 ms a second. One second
/// ahead takes a hundred.
const MAX_SLEW_PPM: i64 = 10_000;
/// A clock that is behind by more than this jumps: slewing would take over 13 seconds.
const STEP_US: i64 = 128_000;
/// A small difference is made up for in about this time.
const SETTLES_IN_US: i64 = 100_000;

/// See the module. Times are in microseconds.
#[derive(Clone, Debug, Default)]
pub struct CorrectedClock(Option<Course>);

/// Where the clock was at a moment, and how it has run since.
#[derive(Clone, Copy, Debug)]
struct Course {
    monotonic_us: u64,
    shown_us: i64,
    /// How much faster than the monotonic clock it runs.
    rate_ppm: i64,
}

impl Course {
    fn shown_at_us(&self, monotonic_us: u64) -> i64 {
        let elapsed = i128::from(monotonic_us.saturating_sub(self.monotonic_us));
        let gained = elapsed * i128::from(self.rate_ppm) / i128::from(MILLION);
        clamped(i128::from(self.shown_us) + elapsed + gained)
    }
}

impl CorrectedClock {
    /// What it shows, in microseconds since 1970; `None` until a majority of clocks agreed for the first time.
    #[must_use]
    pub fn shows_us(&self, monotonic_us: u64) -> Option<i64> {
        self.0.map(|course| course.shown_at_us(monotonic_us))
    }

    /// Sets its course for a majority's time, which is `target_us` now; without one it runs on as the monotonic clock does.
    pub fn follow(&mut self, monotonic_us: u64, target_us: Option<i64>) {
        let Some(course) = self.0 else {
            self.0 = target_us.map(|shown_us| Course { monotonic_us, shown_us, rate_ppm: 0 });
            return;
        };
        let shown_us = course.shown_at_us(monotonic_us);
        let behind_us = target_us.map_or(0, |target_us| target_us.saturating_sub(shown_us));
        self.0 = Some(if behind_us > STEP_US {
            Course { monotonic_us, shown_us: shown_us.saturating_add(behind_us), rate_ppm: 0 }
        } else {
            let rate_ppm = behind_us.saturating_mul(MILLION) / SETTLES_IN_US;
            Course { monotonic_us, shown_us, rate_ppm: rate_ppm.clamp(-MAX_SLEW_PPM, MAX_SLEW_PPM) }
        });
    }
}
