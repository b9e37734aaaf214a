//! What became of the payments: exact counts, and the latencies of those that went through.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// One line of the timeline covers this much.
pub(super) const BUCKET: Duration = Duration::from_millis(100);

/// A payment that starts later than this after it was meant to counts as late.
const LATE: Duration = Duration::from_millis(1);

/// Longer latencies are counted as this long; deadlines are shorter.
const LONGEST_US: u64 = 3_600_000_000;

/// How one request ended: a payment, or a batch of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Answered 201 or 200, every payment made.
    Ok,
    /// A batch of which some payments were refused.
    Partly { ok: u64, refused: u64 },
    /// Definitely refused, by this code.
    Refused(String),
    /// Failed, and nothing moved or nobody said that something might have.
    Failed(String),
    /// May or may not have moved.
    Unknown(String),
}

/// What ended within one bucket of the timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Bucket {
    /// Payments that went through.
    pub(super) ok: u64,
    /// All others.
    pub(super) errors: u64,
    /// Longest latency of any of them, in microseconds.
    pub(super) max_latency_us: u64,
}

/// Counts of one thread, or of all.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Payments in each request. All counts but those of attempts and answers are of payments.
    per_request: u64,
    pub(super) ok: u64,
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) unknown: BTreeMap<String, u64>,
    /// Attempts beyond each payment's first.
    pub(super) retries: u64,
    /// Open loop: payments that were sent late, because every connection was busy or the generator got no processor.
    pub(super) late: u64,
    /// Open loop: payments never sent, because they were later than the deadline.
    pub(super) dropped: u64,
    /// Answers whose content was compared with the request.
    pub(super) checked: u64,
    /// Payments sent before the measurement began; counted nowhere else but in the timeline.
    pub(super) warm_up: u64,
    /// Latencies of the requests that went through, in microseconds, from when they were meant to start.
    pub(super) latencies: Histogram<u64>,
    /// When the last measured payment ended.
    pub(super) last_end: Option<Instant>,
    /// What happened in every [`BUCKET`] since the start, warm-up included.
    pub(super) timeline: Vec<Bucket>,
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
            latencies: Histogram::new_with_max(LONGEST_US, 3).expect("three digits up to an hour are in range"),
            last_end: None,
            timeline: Vec::new(),
        }
    }

    /// Counts a request that was never sent.
    pub(super) fn drop_one(&mut self) {
        self.dropped += self.per_request;
    }

    /// Counts a request that was sent and has ended.
    pub(super) fn record(&mut self, verdict: Verdict, measured: bool, times: Times) {
        let latency_us = micros(times.ended.saturating_duration_since(times.intended));
        self.mark(&verdict, latency_us, times);
        if !measured {
            self.warm_up += self.per_request;
            return;
        }
        self.last_end = self.last_end.max(Some(times.ended));
        if times.sent.saturating_duration_since(times.intended) > LATE {
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

    fn mark(&mut self, verdict: &Verdict, latency_us: u64, times: Times) {
        let since_start = times.ended.saturating_duration_since(times.start);
        let at = usize::try_from(since_start.as_millis() / BUCKET.as_millis()).expect("a run is shorter than that");
        if at >= self.timeline.len() {
            self.timeline.resize(at + 1, Bucket::default());
        }
        let bucket = &mut self.timeline[at];
        bucket.max_latency_us = bucket.max_latency_us.max(latency_us);
        let ok = match verdict {
            Verdict::Ok => self.per_request,
            Verdict::Partly { ok, .. } => *ok,
            Verdict::Refused(_) | Verdict::Failed(_) | Verdict::Unknown(_) => 0,
        };
        bucket.ok += ok;
        bucket.errors += self.per_request - ok;
    }

    /// Adds what another thread counted.
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
        let longer = self.timeline.len().max(other.timeline.len());
        self.timeline.resize(longer, Bucket::default());
        for (mine, theirs) in self.timeline.iter_mut().zip(&other.timeline) {
            mine.ok += theirs.ok;
            mine.errors += theirs.errors;
            mine.max_latency_us = mine.max_latency_us.max(theirs.max_latency_us);
        }
    }
}

/// The moments of one payment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Of the run's start.
    pub(super) start: Instant,
    /// When the payment was meant to be sent.
    pub(super) intended: Instant,
    /// When it was sent.
    pub(super) sent: Instant,
    /// When its last answer had been read, or it was given up.
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
