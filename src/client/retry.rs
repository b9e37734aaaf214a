//! How long a call may take, and how long to wait between attempts.

use std::time::{Duration, Instant};

/// The first pause, after every URL has failed once.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause. A failover takes less, and longer pauses would delay the answer after it.
const MAX_PAUSE: Duration = Duration::from_millis(400);

/// The shortest timeout of an attempt, if that much time is left: shorter ones would fail without a reason.
const MIN_ATTEMPT_TIMEOUT: Duration = Duration::from_millis(250);

/// The time of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    end: Instant,
    pause: Duration,
}

impl Budget {
    pub(super) fn new(total: Duration) -> Self {
        Self { end: Instant::now() + total, pause: FIRST_PAUSE }
    }

    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// The timeout of the next attempt: half of the time that is left, so that another node can still answer after one
    /// that hangs. `None` when the time is over.
    pub(super) fn attempt_timeout(&self) -> Option<Duration> {
        let left = self.left();
        if left.is_zero() { None } else { Some((left / 2).max(MIN_ATTEMPT_TIMEOUT).min(left)) }
    }

    /// Waits between two rounds over the URLs. Each pause is twice as long as the one before, and half of it is random,
    /// so that callers that failed at the same time do not retry at the same time.
    pub(super) async fn pause(&mut self) {
        let half = self.pause / 2;
        let jittered = half + rand::random_range(Duration::ZERO..=half);
        tokio::time::sleep(jittered.min(self.left())).await;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }
}
