//! Times in which the cluster decided nothing although it had been asked to.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A gap without a decision that is longer than this is a stall.
pub(super) const STALL: Duration = Duration::from_millis(100);

/// How often, and how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct StallCounts {
    pub(super) count: u64,
    pub(super) longest_ms: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// When the newest request was decided.
    decided: Option<Instant>,
    /// The scheduled start of the oldest request since then that ended without a decision.
    open_since: Option<Instant>,
    counts: StallCounts,
}

/// Watches all callers of all threads.
#[derive(Debug)]
pub(super) struct Stalls {
    measured_from: Instant,
    progress: Mutex<Progress>,
}

impl Stalls {
    pub(super) fn new(measured_from: Instant) -> Self {
        Self { measured_from, progress: Mutex::default() }
    }

    /// A request has ended: with a decision of the cluster, or because it failed.
    pub(super) fn ended(&self, intended: Instant, ended: Instant, decided: bool) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let open_since = progress.open_since.map_or(intended, |earlier| earlier.min(intended));
        if decided {
            progress.count(open_since.max(self.measured_from), ended);
            progress.open_since = None;
            progress.decided = progress.decided.max(Some(ended));
        } else {
            progress.open_since = Some(open_since);
        }
    }

    /// The stalls of a run that has ended at this moment.
    pub(super) fn counts(&self, end: Instant) -> StallCounts {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open_since) = progress.open_since.take() {
            progress.count(open_since.max(self.measured_from), end);
        }
        progress.counts
    }
}

impl Progress {
    fn count(&mut self, open_since: Instant, until: Instant) {
        let from = self.decided.map_or(open_since, |decided| decided.max(open_since));
        let gap = until.saturating_duration_since(from);
        if gap > STALL {
            self.counts.count += 1;
            let ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
            self.counts.longest_ms = self.counts.longest_ms.max(ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stalls of requests with their scheduled start, their end (in milliseconds) and whether they were decided.
    fn stalls(measured_from_ms: u64, end_ms: u64, requests: &[(u64, u64, bool)]) -> (u64, u64) {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let stalls = Stalls::new(at(measured_from_ms));
        requests.iter().for_each(|(intended, ended, decided)| stalls.ended(at(*intended), at(*ended), *decided));
        let counts = stalls.counts(at(end_ms));
        (counts.count, counts.longest_ms)
    }

    #[test]
    fn a_gap_counts_if_a_request_waited_and_not_if_none_was_under_way() {
        assert_eq!(stalls(0, 500, &[(0, 5, true), (5, 305, true)]), (1, 300));
        // A low rate leaves gaps in which nothing is asked.
        assert_eq!(stalls(0, 500, &[(0, 5, true), (400, 405, true)]), (0, 0));
        // Of many callers the slowest one is no stall while others are answered.
        assert_eq!(stalls(0, 500, &[(5, 90, true), (90, 170, true), (0, 250, true)]), (0, 0));
    }

    #[test]
    fn a_stall_lasts_over_requests_that_fail() {
        let failing = [(0, 5, true), (6, 7, false), (20, 21, false), (280, 281, false), (290, 306, true)];
        assert_eq!(stalls(0, 500, &failing), (1, 300));
        assert_eq!(stalls(0, 500, &failing[..4]), (1, 494));
    }

    #[test]
    fn the_warm_up_does_not_count() {
        assert_eq!(stalls(250, 500, &[(0, 5, true), (5, 300, true)]), (0, 0));
    }
}
