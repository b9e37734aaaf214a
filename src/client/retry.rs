//! How long to go on and how long to rest in between.

use std::time::{Duration, Instant};

/// The first rest, after every URL has failed once.
const FIRST_REST: Duration = Duration::from_millis(20);

/// A rest never grows beyond this: a failover takes less, and a slow answer should not be slower than that.
const LONGEST_REST: Duration = Duration::from_millis(400);

/// No attempt is given less than this while that much is left: shorter ones would fail for no reason.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(250);

/// What is left of one call's time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    end: Instant,
    rest: Duration,
}

impl Budget {
    pub(super) fn new(total: Duration) -> Self {
        Self { end: Instant::now() + total, rest: FIRST_REST }
    }

    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// How long the next attempt may take: half of what is left, so that a node that hangs never takes the time in
    /// which another could answer. `None` when the time is over.
    pub(super) fn attempt(&self) -> Option<Duration> {
        let left = self.left();
        if left.is_zero() { None } else { Some((left / 2).max(SHORTEST_ATTEMPT).min(left)) }
    }

    /// Rests between two rounds over the URLs; twice as long each time, with half of it random so that callers who
    /// failed together do not come back together.
    pub(super) async fn rest(&mut self) {
        let half = self.rest / 2;
        let jittered = half + rand::random_range(Duration::ZERO..=half);
        tokio::time::sleep(jittered.min(self.left())).await;
        self.rest = (self.rest * 2).min(LONGEST_REST);
    }
}
