//! When requests start: in a closed loop after the last answer, in an open loop on a fixed schedule.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::plan::{Extent, Load, Plan};
use super::stalls::Stalls;

/// Minimum sleep of the schedule's thread: waking up for every payment of a high rate costs more than the payments.
const MIN_SLEEP: Duration = Duration::from_micros(100);

/// Permission to start one request: a payment or a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// Unique within the run; the keys and receivers of the request's payments follow from it.
    pub(super) number: u64,
    /// When the payment is scheduled to start.
    pub(super) intended: Instant,
    /// Whether it is measured or belongs to the warm-up.
    pub(super) measured: bool,
}

/// Hands out tickets to all callers of all threads.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) start: Instant,
    /// When the first measured payment is scheduled to start.
    pub(super) measured_from: Instant,
    /// Told of every request that has ended.
    pub(super) stalls: Stalls,
    next: AtomicU64,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Closed {
        end: Option<Instant>,
        max_requests: Option<u64>,
        measured: AtomicU64,
    },
    /// `warm_up` and `total` count requests.
    Open {
        schedule: Schedule,
        warm_up: u64,
        total: u64,
        due: Semaphore,
        callers: usize,
    },
}

/// When the requests of an open loop are due.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    payments_per_second: u64,
    per_request: u64,
}

impl Schedule {
    /// How many requests are due within a time.
    fn requests_within(self, time: Duration) -> u64 {
        let requests = time.as_nanos() * u128::from(self.payments_per_second) / u128::from(self.per_request);
        u64::try_from(requests / 1_000_000_000).unwrap_or(u64::MAX)
    }

    /// When a request is due, relative to the start.
    fn offset(self, number: u64) -> Duration {
        let nanos = u128::from(number) * u128::from(self.per_request) * 1_000_000_000;
        Duration::from_nanos(u64::try_from(nanos.div_ceil(u128::from(self.payments_per_second))).unwrap_or(u64::MAX))
    }
}

impl Pace {
    /// Starts now.
    pub(super) fn new(plan: &Plan) -> Self {
        let start = Instant::now();
        let next = AtomicU64::new(0);
        let per_request = u64::from(plan.per_request());
        match plan.load {
            Load::Closed => {
                let measured_from = start + plan.warm_up;
                let (end, max_requests) = match plan.extent {
                    Extent::Duration(duration) => (Some(measured_from + duration), None),
                    Extent::Payments(count) => (None, Some(count.div_ceil(per_request))),
                };
                Self {
                    start,
                    measured_from,
                    stalls: Stalls::new(measured_from),
                    next,
                    kind: Kind::Closed { end, max_requests, measured: AtomicU64::new(0) },
                }
            }
            Load::Open { per_second } => {
                let schedule = Schedule { payments_per_second: per_second, per_request };
                let warm_up = schedule.requests_within(plan.warm_up);
                let measured = match plan.extent {
                    Extent::Duration(duration) => schedule.requests_within(duration),
                    Extent::Payments(count) => count.div_ceil(per_request),
                };
                let callers = usize::try_from(plan.connections).expect("a usize holds 32 bits here");
                let total = warm_up.saturating_add(measured);
                let kind = Kind::Open { schedule, warm_up, total, due: Semaphore::new(0), callers };
                let measured_from = start + schedule.offset(warm_up);
                Self { start, measured_from, stalls: Stalls::new(measured_from), next, kind }
            }
        }
    }

    /// The next request to start; `None` when the run is over.
    pub(super) async fn next(&self) -> Option<Ticket> {
        match &self.kind {
            Kind::Closed { end, max_requests, measured } => {
                let now = Instant::now();
                let counts = now >= self.measured_from;
                if end.is_some_and(|end| now >= end) {
                    return None;
                }
                if counts && max_requests.is_some_and(|max| measured.fetch_add(1, Ordering::Relaxed) >= max) {
                    return None;
                }
                Some(Ticket { number: self.next.fetch_add(1, Ordering::Relaxed), intended: now, measured: counts })
            }
            Kind::Open { schedule, warm_up, total, due, .. } => {
                due.acquire().await.expect("the semaphore is never closed").forget();
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let intended = self.start + schedule.offset(number);
                (number < *total).then_some(Ticket { number, intended, measured: number >= *warm_up })
            }
        }
    }

    /// Releases the tickets of an open loop when they are due. Runs on its own thread, because the runtime's timers have
    /// a resolution of one millisecond, which would delay payments.
    pub(super) fn release_when_due(&self) {
        let Kind::Open { schedule, total, due, callers, .. } = &self.kind else { return };
        let mut released = 0;
        while released < *total {
            let elapsed = self.start.elapsed();
            let reached = schedule.requests_within(elapsed).saturating_add(1).min(*total);
            due.add_permits(permits(reached - released));
            released = reached;
            if released < *total {
                std::thread::sleep(schedule.offset(released).saturating_sub(elapsed).max(MIN_SLEEP));
            }
        }
        // One more for each caller, so that each wakes up and sees that the run is over.
        due.add_permits(*callers);
    }
}

fn permits(count: u64) -> usize {
    usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)
}
