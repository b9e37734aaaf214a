//! The result of a run, for people (`Display`) and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::engine::Run;
use super::plan::{BatchForm, Extent, Load, Plan, Retry, Workload};
use super::same_key::KeyCheck;
use super::stalls::{STALL, StallCounts};
use super::tally::{Tally, micros};
use super::usage::Usage;
use super::windows::{WindowFigures, extremes};
use quorapay_core::domain::{Currency, MinorUnits};

/// Of whose figures the report warns.
const DEBUG_BUILD: &str = "debug";

/// A line of the report is not much longer than a terminal is wide.
const SPARKLINE_WIDTH: usize = 60;

/// The results of a run with its settings.
#[derive(Debug, Serialize)]
pub struct Report {
    settings: Settings,
    results: Results,
}

#[derive(Debug, Serialize)]
struct Settings {
    urls: Vec<String>,
    /// `pay`, `same-key`, `payment-by-id`, `account` or `list`.
    workload: &'static str,
    /// What one operation is, in the plural.
    #[serde(skip)]
    operations: &'static str,
    /// `local` or `linearizable`, if the workload reads.
    consistency: Option<&'static str>,
    /// `closed` or `open`.
    load: &'static str,
    rate_per_second: Option<u64>,
    /// Payments in each request, if they are sent in batches.
    batch: Option<u32>,
    /// `json` or `ndjson`.
    batch_form: Option<&'static str>,
    /// Whether every payment of a batch has its own key.
    item_keys: bool,
    connections: u32,
    threads: u32,
    duration_ms: Option<u64>,
    operations_wanted: Option<u64>,
    warm_up_ms: u64,
    accounts: u32,
    amount: MinorUnits,
    currency: Currency,
    deadline_ms: u64,
    /// `never`, `same_url` or `next_url`.
    retry: &'static str,
    run_id: String,
    version: &'static str,
    /// How the generator, and so usually the node, was compiled: `release` or `debug`.
    build: &'static str,
}

#[derive(Debug, Serialize)]
struct Results {
    started_unix_ms: u64,
    elapsed_us: u64,
    /// Payments made or reads answered, per second.
    throughput_per_second: f64,
    /// All that were to be sent.
    operations: u64,
    ok: u64,
    refused: u64,
    errors: u64,
    unknown: u64,
    refused_by_code: BTreeMap<String, u64>,
    errors_by_kind: BTreeMap<String, u64>,
    unknown_by_kind: BTreeMap<String, u64>,
    retries: u64,
    late: u64,
    dropped: u64,
    answers_checked: u64,
    warm_up_operations: u64,
    latency_us: Latencies,
    /// The measurement in windows of ten seconds; in a run of more than an hour they are longer.
    windows: Vec<WindowFigures>,
    /// The highest rate of a window over the lowest one; null if there are fewer than two.
    fastest_to_slowest: Option<f64>,
    /// Gaps of more than 100 ms without a decision.
    stalls: StallCounts,
    /// Null if the nodes were not watched.
    usage: Option<Usage>,
    /// Only if all callers sent the same keys.
    same_key: Option<KeyCheck>,
}

/// Of the requests that succeeded, in microseconds. A request is a payment, a batch or a read.
#[derive(Debug, Serialize)]
struct Latencies {
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
    mean: f64,
}

impl Report {
    /// The report of a run of this plan.
    #[must_use]
    pub fn new(plan: &Plan, run: &Run) -> Self {
        Self { settings: Settings::new(plan), results: Results::new(run) }
    }
}

impl Settings {
    fn new(plan: &Plan) -> Self {
        let (duration_ms, operations_wanted) = match plan.extent {
            Extent::Duration(duration) => (Some(micros(duration) / 1_000), None),
            Extent::Payments(count) => (None, Some(count)),
        };
        let (load, rate_per_second) = match plan.load {
            Load::Closed => ("closed", None),
            Load::Open { per_second } => ("open", Some(per_second)),
        };
        Self {
            urls: plan.urls.clone(),
            workload: plan.workload.name(),
            operations: plan.workload.operations(),
            consistency: match plan.workload {
                Workload::Read(_, consistency) => Some(consistency.name()),
                Workload::Pay | Workload::SameKey => None,
            },
            load,
            rate_per_second,
            batch: plan.batch.map(|batch| batch.size),
            batch_form: plan.batch.map(|batch| match batch.form {
                BatchForm::Json => "json",
                BatchForm::Ndjson => "ndjson",
            }),
            item_keys: plan.batch.is_some_and(|batch| batch.item_keys),
            connections: plan.connections,
            threads: plan.threads,
            duration_ms,
            operations_wanted,
            warm_up_ms: micros(plan.warm_up) / 1_000,
            accounts: plan.accounts,
            amount: plan.amount,
            currency: plan.currency,
            deadline_ms: micros(plan.deadline) / 1_000,
            retry: match plan.retry {
                Retry::Never => "never",
                Retry::SameUrl => "same_url",
                Retry::NextUrl => "next_url",
            },
            run_id: plan.run_id.to_string(),
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { DEBUG_BUILD } else { "release" },
        }
    }
}

impl Results {
    fn new(run: &Run) -> Self {
        let tally = &run.tally;
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let (refused, errors, unknown) = (sum(&tally.refused), sum(&tally.failed), sum(&tally.unknown));
        let seconds = run.elapsed.as_secs_f64();
        let windows = run.windows();
        let ratio = |(slowest, fastest): (WindowFigures, WindowFigures)| fastest.per_second / slowest.per_second;
        Self {
            started_unix_ms: run.started_unix_ms,
            elapsed_us: micros(run.elapsed),
            throughput_per_second: if seconds > 0.0 { tally.ok as f64 / seconds } else { 0.0 },
            operations: tally.ok + refused + errors + unknown + tally.dropped,
            ok: tally.ok,
            refused,
            errors,
            unknown,
            refused_by_code: tally.refused.clone(),
            errors_by_kind: tally.failed.clone(),
            unknown_by_kind: tally.unknown.clone(),
            retries: tally.retries,
            late: tally.late,
            dropped: tally.dropped,
            answers_checked: tally.checked,
            warm_up_operations: tally.warm_up,
            latency_us: Latencies::new(tally),
            fastest_to_slowest: extremes(&windows).map(ratio).filter(|ratio| ratio.is_finite()),
            windows,
            stalls: run.stalls,
            usage: run.observation.as_ref().map(|observation| Usage::new(observation, tally.ok)),
            same_key: run.key_check,
        }
    }
}

impl Latencies {
    fn new(tally: &Tally) -> Self {
        let at = |quantile| tally.latencies.value_at_quantile(quantile);
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: tally.latencies.max(),
            mean: tally.latencies.mean(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, results) = (&self.settings, &self.results);
        if settings.build == DEBUG_BUILD {
            writeln!(f, "a debug build: these are not the figures of a release")?;
        }
        settings.write_load(f)?;
        let seconds = std::time::Duration::from_micros(results.elapsed_us).as_secs_f64();
        writeln!(f, ", {seconds:.2} s after {} ms of warm-up", settings.warm_up_ms)?;
        let operations = settings.operations;
        writeln!(f, "throughput  {:.0} {operations}/s", results.throughput_per_second)?;
        let latency = &results.latency_us;
        let columns = [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max].map(milliseconds);
        let per_batch = if settings.batch.is_some() { " (of a batch)" } else { "" };
        let [p50, p90, p99, p99_9, max] = columns;
        writeln!(f, "latency     p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p99_9}  max {max} ms{per_batch}")?;
        write!(f, "{operations:<11} {} ok", results.ok)?;
        write_counts(f, results.refused, "refused", &results.refused_by_code)?;
        write_counts(f, results.errors, "errors", &results.errors_by_kind)?;
        write_counts(f, results.unknown, "unknown", &results.unknown_by_kind)?;
        if results.retries > 0 {
            write!(f, "\nrepeated    {} attempts under the same key", results.retries)?;
        }
        if settings.rate_per_second.is_some() {
            write!(f, "\nschedule    {} sent late, {} dropped unsent", results.late, results.dropped)?;
        }
        results.write_windows(f, operations)?;
        results.write_stalls(f)?;
        if let Some(check) = &results.same_key {
            write_key_check(f, check)?;
        }
        results.usage.as_ref().map_or(Ok(()), |usage| usage.write(f, operations))
    }
}

impl Settings {
    fn write_load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rate_per_second {
            Some(rate) => {
                write!(f, "open loop, {rate} {}/s, at most {} under way", self.operations, self.connections)?;
            }
            None => write!(f, "closed loop, {} callers", self.connections)?,
        }
        match (self.workload, self.consistency) {
            ("pay", _) => {}
            (workload, Some(consistency)) => write!(f, ", {workload} ({consistency})")?,
            (workload, None) => write!(f, ", {workload}")?,
        }
        if let (Some(size), Some(form)) = (self.batch, self.batch_form) {
            let keys = if self.item_keys { " with keys of their own" } else { "" };
            write!(f, ", batches of {size} payments{keys} ({form})")?;
        }
        Ok(())
    }
}

impl Results {
    fn write_windows(&self, f: &mut fmt::Formatter<'_>, operations: &str) -> fmt::Result {
        let Some((slowest, fastest)) = extremes(&self.windows) else { return Ok(()) };
        let ratio = self.fastest_to_slowest.map_or("nothing in the slowest".to_owned(), |ratio| format!("{ratio:.2}"));
        write!(
            f,
            "\nwindows     {} of {:.0} s, fastest to slowest {ratio}",
            self.windows.len(),
            self.windows[0].seconds
        )?;
        for (name, window) in [("slowest", slowest), ("fastest", fastest)] {
            let [p50, p99, max] = [window.p50_us, window.p99_us, window.max_us].map(milliseconds);
            let (rate, from) = (window.per_second, window.from_s);
            write!(f, "\n  {name}   {rate:.0} {operations}/s from {from:.0} s on, p50 {p50}  p99 {p99}  max {max} ms")?;
        }
        write_sparkline(f, &format!("{operations}/s"), self.windows.iter().map(|window| window.per_second), 0)?;
        let in_ms = |of: fn(&WindowFigures) -> u64| self.windows.iter().map(move |window| of(window) as f64 / 1e3);
        write_sparkline(f, "p50 ms", in_ms(|window| window.p50_us), 1)?;
        write_sparkline(f, "p99 ms", in_ms(|window| window.p99_us), 1)?;
        write_sparkline(f, "max ms", in_ms(|window| window.max_us), 1)
    }

    fn write_stalls(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StallCounts { count, longest_ms } = self.stalls;
        let over = STALL.as_millis();
        match count {
            0 => write!(f, "\nstalls      none over {over} ms"),
            _ => write!(f, "\nstalls      {count} over {over} ms, the longest {longest_ms} ms"),
        }
    }
}

fn write_key_check(f: &mut fmt::Formatter<'_>, check: &KeyCheck) -> fmt::Result {
    let counts = &check.counts;
    let received = check.received.map_or("an unknown number of".to_owned(), |received| received.to_string());
    let verdict = if check.is_kept() { "each applied once" } else { "BROKEN" };
    write!(f, "\nkeys        {} sent, {} paid, {received} payments received: {verdict}", counts.keys, counts.paid)?;
    write!(f, "\n            {} with different answers, {} applied twice", counts.unequal, counts.applied_twice)
}

/// Draws values from their lowest to their highest, at most [`SPARKLINE_WIDTH`] of them; of more, the mean of neighbours.
fn write_sparkline(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    values: impl Iterator<Item = f64>,
    decimals: usize,
) -> fmt::Result {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values: Vec<f64> = values.collect();
    let (low, high) = values.iter().fold((f64::MAX, 0.0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let bar = |value: f64| {
        // Each bar stands for an eighth of the range.
        let above = (1..BARS.len()).take_while(|step| value >= low + (high - low) * (*step as f64 / BARS.len() as f64));
        BARS[if high > low { above.count() } else { 0 }]
    };
    let line: String = values.chunks(values.len().div_ceil(SPARKLINE_WIDTH)).map(mean).map(bar).collect();
    write!(f, "\n  {name:<11} {line}  {low:.decimals$} to {high:.decimals$}")
}

fn write_counts(f: &mut fmt::Formatter<'_>, sum: u64, name: &str, by_kind: &BTreeMap<String, u64>) -> fmt::Result {
    write!(f, ", {sum} {name}")?;
    if sum > 0 {
        let kinds: Vec<_> = by_kind.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        write!(f, " ({})", kinds.join(", "))?;
    }
    Ok(())
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}
