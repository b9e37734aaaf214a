//! The same metrics as JSON, in the shape of an earlier system: counters, gauges, and timers with percentiles.
//!
//! Percentiles are interpolated linearly within the histograms' buckets.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde_json::Number;

use crate::process::ProcessState;
use crate::runtime::{BankSummary, NodeStatus};
use quorapay_api::{Numbers, Timer};

use super::process::{Kind, samples};
use super::{ApiMetrics, BUCKETS_US, ROUTES, RouteCounts, STATUSES, clocks, gauges, seconds, whole};

/// A copy of one or more routes' counts.
#[derive(Clone, Debug)]
struct Counted {
    by_status: [u64; STATUSES.len()],
    by_bucket: [u64; BUCKETS_US.len() + 1],
    total_us: u64,
}

impl Counted {
    const NOTHING: Self = Self { by_status: [0; STATUSES.len()], by_bucket: [0; BUCKETS_US.len() + 1], total_us: 0 };

    fn add(&mut self, counts: &RouteCounts) {
        let add = |sums: &mut [u64], counts: &[std::sync::atomic::AtomicU64]| {
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.load(Ordering::Relaxed));
        };
        add(&mut self.by_status, &counts.by_status);
        add(&mut self.by_bucket, &counts.by_bucket);
        self.total_us += counts.total_us.load(Ordering::Relaxed);
    }

    fn requests(&self) -> u64 {
        self.by_bucket.iter().sum()
    }

    /// Requests by status, under `prefix` and the status.
    fn counters(&self, prefix: &str, counters: &mut BTreeMap<String, Number>) {
        for (count, status) in self.by_status.iter().zip(STATUSES).filter(|(count, _)| **count > 0) {
            let status = if status == 0 { "other".to_owned() } else { status.to_string() };
            counters.insert(format!("{prefix}.{status}"), (*count).into());
        }
    }

    /// How long they took, in seconds.
    fn timer(&self) -> Timer {
        let mean = seconds(self.total_us) / whole(self.requests().max(1));
        let [p50, p95, p99] = [0.50, 0.95, 0.99].map(|share| self.quantile(share));
        Timer { count: self.requests(), mean, p50, p95, p99 }
    }

    /// The time within which a share of the requests was answered.
    fn quantile(&self, share: f64) -> f64 {
        let wanted = share * whole(self.requests());
        let mut before = 0.0;
        for (at, count) in self.by_bucket.iter().enumerate().filter(|(_, count)| **count > 0) {
            let count = whole(*count);
            // The last bucket has no upper bound.
            let Some(upper) = BUCKETS_US.get(at).copied().map(seconds) else { break };
            if before + count >= wanted {
                let lower = at.checked_sub(1).map_or(0.0, |lower| seconds(BUCKETS_US[lower]));
                return lower + (upper - lower) * (wanted - before) / count;
            }
            before += count;
        }
        if self.requests() == 0 { 0.0 } else { seconds(BUCKETS_US[BUCKETS_US.len() - 1]) }
    }
}

/// The row over all routes.
const ALL_ROUTES: &str = "all";

/// What is read anew for each answer.
#[derive(Clone, Copy)]
pub(in crate::http) struct Now<'a> {
    pub(in crate::http) status: &'a NodeStatus,
    pub(in crate::http) bank: &'a BankSummary,
    pub(in crate::http) process: Option<&'a ProcessState>,
}

impl ApiMetrics {
    /// Counters, gauges and timers by route.
    pub(in crate::http) fn by_route(&self, now: Now<'_>) -> Numbers<'static> {
        let (mut counters, mut timers) = (BTreeMap::new(), BTreeMap::new());
        for (counts, (_, route)) in self.requests.0.iter().zip(ROUTES) {
            let mut counted = Counted::NOTHING;
            counted.add(counts);
            if counted.requests() > 0 {
                counted.counters(route, &mut counters);
                timers.insert(Cow::Borrowed(route), counted.timer());
            }
        }
        numbers(now, counters, timers)
    }

    /// The same with a row over all routes.
    pub(in crate::http) fn with_all_routes(&self, now: Now<'_>) -> Numbers<'static> {
        let (mut numbers, mut all) = (self.by_route(now), Counted::NOTHING);
        self.requests.0.iter().for_each(|counts| all.add(counts));
        all.counters(ALL_ROUTES, &mut numbers.counters);
        numbers.timers.insert(Cow::Borrowed(ALL_ROUTES), all.timer());
        numbers
    }
}

fn numbers(
    now: Now<'_>,
    mut counters: BTreeMap<String, Number>,
    timers: BTreeMap<Cow<'static, str>, Timer>,
) -> Numbers<'static> {
    counters.insert("elections_won".to_owned(), now.status.elections_won.into());
    let mut gauges: BTreeMap<_, _> =
        gauges(now.status).into_iter().map(|(name, _, value)| (Cow::Borrowed(name), value.number())).collect();
    gauges.insert(Cow::Borrowed("open_holds"), (now.bank.open_holds as u64).into());
    let clocks = clocks::gauges(now.status).filter_map(|(name, _, value)| Some((name, Number::from_f64(value)?)));
    gauges.extend(clocks.map(|(name, value)| (Cow::Borrowed(name), value)));
    for sample in now.process.into_iter().flat_map(samples) {
        match sample.kind {
            Kind::Counter => drop(counters.insert(sample.json_name().into_owned(), sample.value.number())),
            Kind::Gauge => drop(gauges.insert(sample.json_name(), sample.value.number())),
        }
    }
    Numbers { counters, gauges, node_id: Cow::Owned(now.status.node_id.clone()), timers }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::StatusCode;

    use super::super::{Requests, Route};
    use super::*;

    fn counted(took_us: impl IntoIterator<Item = u64>) -> Counted {
        let requests = Requests::default();
        for took in took_us {
            requests.count(Route::PaymentCreate, StatusCode::CREATED, Duration::from_micros(took));
        }
        let mut counted = Counted::NOTHING;
        requests.0.iter().for_each(|counts| counted.add(counts));
        counted
    }

    fn assert_near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    #[test]
    fn a_percentile_lies_in_the_bucket_of_the_request_that_it_names() {
        let counted = counted((0..90).map(|_| 700).chain((0..10).map(|_| 3_000)));
        assert_near(counted.quantile(0.45), 0.00075);
        assert_near(counted.quantile(0.90), 0.001);
        assert_near(counted.quantile(0.95), 0.003);
        assert_near(counted.quantile(1.0), 0.004);
    }

    #[test]
    fn percentiles_of_nothing_and_of_what_is_beyond_the_last_bucket_are_shown() {
        assert_near(counted([]).quantile(0.99), 0.0);
        assert_near(counted([u64::MAX / 2]).quantile(0.5), 60.0);
    }

    #[test]
    fn counters_carry_the_status_and_timers_what_they_are_made_of() {
        let counted = counted([700, 700]);
        let mut counters = BTreeMap::new();
        counted.counters("payment_create", &mut counters);
        assert_eq!(counters, BTreeMap::from([("payment_create.201".to_owned(), Number::from(2))]));
        let timer = counted.timer();
        assert_eq!(timer.count, 2);
        assert_near(timer.mean, 0.0007);
    }
}
