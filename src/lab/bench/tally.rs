//! Exact counts of what happened to the payments or reads, and the latencies of those that succeeded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::series::{Merge, Series};
use super::windows::{Window, windows};

/// Length of one bucket of the timeline.
const BUCKET: Duration = Duration::from_millis(100);

/// An hour of buckets. In a longer run they are longer.
const MAX_BUCKETS: usize = 36_000;

/// A payment that starts this long after its scheduled start counts as late.
const LATE_AFTER: Duration = Duration::from_millis(1);

/// Upper bound of the histogram, one hour; longer latencies are counted as this long. Deadlines are shorter.
pub(super) const MAX_LATENCY_US: u64 = 3_600_000_000;

/// How one request ended. A request is a payment or a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answered 201 or 200, every payment made.
    Ok,
    /// A batch of which some payments were refused.
    Partly { ok: u64, refused: u64 },
    /// Definitely refused, by this code.
    Refused(String),
    /// Failed without a hint that money may have moved.
    Failed(String),
    /// Money may or may not have moved.
    Unknown(String),
}

impl Verdict {
    /// Whether the cluster has decided.
    pub(super) fn is_decided(&self) -> bool {
        matches!(self, Self::Ok | Self::Partly { .. } | Self::Refused(_))
    }
}

/// The requests that ended within one bucket of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Bucket {
    /// Payments made, or reads answered.
    pub(super) ok: u64,
    /// All others.
    pub(super) errors: u64,
    /// Longest latency of any of them, in microseconds.
    pub(super) max_latency_us: u64,
}

impl Merge for Bucket {
    fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.errors += other.errors;
        self.max_latency_us = self.max_latency_us.max(other.max_latency_us);
    }
}

/// The counts of one thread or of the whole run.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Payments in each request. All counts except those of attempts and answers count payments.
    per_request: u64,
    pub(super) ok: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) unknown: BTreeMap<String, u64>,
    /// Attempts after each payment's first.
    pub(super) retries: u64,
    /// Open loop: payments that were sent late, because every connection was busy or the generator got no CPU time.
    pub(super) late: u64,
    /// Open loop: payments that were not sent, because their deadline had passed.
    pub(super) dropped: u64,
    /// Answers whose content was compared with the request.
    pub(super) checked: u64,
    /// Payments sent before the measurement; otherwise they count only in the timeline.
    pub(super) warm_up: u64,
    /// Latencies of the requests that succeeded, in microseconds from their scheduled start.
    pub(super) latencies: Histogram<u64>,
    /// When the last measured payment ended.
    pub(super) last_end: Option<Instant>,
    /// Since the start, warm-up included.
    pub(super) timeline: Series<Bucket>,
    /// Since the beginning of the measurement.
    pub(super) windows: Series<Window>,
}

impl Tally {
    pub(super) fn new(per_request: u32) -> Self {
        Self {
            per_request: u64::from(per_request),
            ok: 0,
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
            unknown: BTreeMap::new(),
            retries: 0,
            late: 0,
            dropped: 0,
            checked: 0,
            warm_up: 0,
            latencies: Histogram::new_with_max(MAX_LATENCY_US, 3).expect("three digits up to an hour are in range"),
            last_end: None,
            timeline: Series::new(BUCKET, MAX_BUCKETS),
            windows: windows(),
        }
    }

    /// Counts a request that was not sent.
    pub(super) fn count_dropped(&mut self) {
        self.dropped += self.per_request;
    }

    /// Counts a request that was sent and has ended.
    pub(super) fn record(&mut self, verdict: Verdict, measured: bool, times: Times) {
        let latency_us = micros(times.ended.saturating_duration_since(times.intended));
        self.add_to_timeline(&verdict, latency_us, times);
        if !measured {
            self.warm_up += self.per_request;
            return;
        }
        self.add_to_windows(&verdict, latency_us, times);
        self.last_end = self.last_end.max(Some(times.ended));
        if times.sent.saturating_duration_since(times.intended) > LATE_AFTER {
            self.late += self.per_request;
        }
        let payments = self.per_request;
        match verdict {
            Verdict::Ok => {
                self.ok += payments;
                self.latencies.saturating_record(latency_us);
            }
            Verdict::Partly { ok, refused } => {
                self.ok += ok;
                *self.refused.entry("in_batch".to_owned()).or_default() += refused;
                self.latencies.saturating_record(latency_us);
            }
            Verdict::Refused(code) => *self.refused.entry(code).or_default() += payments,
            Verdict::Failed(kind) => *self.failed.entry(kind).or_default() += payments,
            Verdict::Unknown(kind) => *self.unknown.entry(kind).or_default() += payments,
        }
    }

    /// How many of a request's payments were made, or its reads answered.
    fn succeeded(&self, verdict: &Verdict) -> u64 {
        match verdict {
            Verdict::Ok => self.per_request,
            Verdict::Partly { ok, .. } => *ok,
            Verdict::Refused(_) | Verdict::Failed(_) | Verdict::Unknown(_) => 0,
        }
    }

    fn add_to_timeline(&mut self, verdict: &Verdict, latency_us: u64, times: Times) {
        let ok = self.succeeded(verdict);
        let bucket = self.timeline.at(times.ended.saturating_duration_since(times.start));
        bucket.max_latency_us = bucket.max_latency_us.max(latency_us);
        bucket.ok += ok;
        bucket.errors += self.per_request - ok;
    }

    fn add_to_windows(&mut self, verdict: &Verdict, latency_us: u64, times: Times) {
        let ok = self.succeeded(verdict);
        let window = self.windows.at(times.ended.saturating_duration_since(times.measured_from));
        window.ok += ok;
        window.errors += self.per_request - ok;
        if ok > 0 {
            window.latencies.saturating_record(latency_us);
        }
    }

    /// Adds another thread's counts.
    pub(super) fn add(&mut self, other: &Self) {
        self.ok += other.ok;
        self.retries += other.retries;
        self.late += other.late;
        self.dropped += other.dropped;
        self.checked += other.checked;
        self.warm_up += other.warm_up;
        self.last_end = self.last_end.max(other.last_end);
        add_counts(&mut self.refused, &other.refused);
        add_counts(&mut self.failed, &other.failed);
        add_counts(&mut self.unknown, &other.unknown);
        self.latencies.add(&other.latencies).expect("all histograms have the same range");
        self.timeline.add(&other.timeline);
        self.windows.add(&other.windows);
    }
}

/// When one request was scheduled, sent and answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Start of the run.
    pub(super) start: Instant,
    /// Beginning of the measurement.
    pub(super) measured_from: Instant,
    /// Its scheduled start.
    pub(super) intended: Instant,
    /// When it was sent.
    pub(super) sent: Instant,
    /// When its last answer was read or its deadline had passed.
    pub(super) ended: Instant,
}

fn add_counts(mine: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>) {
    for (kind, count) in theirs {
        *mine.entry(kind.clone()).or_default() += count;
    }
}

/// Whole microseconds.
pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
