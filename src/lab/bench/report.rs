//! The result of a run, for people (`Display`) and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::engine::Run;
use super::plan::{BatchForm, Extent, Load, Plan, Retry};
use super::tally::{Tally, micros};
use quorapay_core::domain::{Currency, MinorUnits};

/// The results of a run with its settings.
#[derive(Debug, Serialize)]
pub struct Report {
    settings: Settings,
    results: Results,
}

#[derive(Debug, Serialize)]
struct Settings {
    urls: Vec<String>,
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
    payments: Option<u64>,
    warm_up_ms: u64,
    accounts: u32,
    amount: MinorUnits,
    currency: Currency,
    deadline_ms: u64,
    /// `never`, `same_url` or `next_url`.
    retry: &'static str,
    run_id: String,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Results {
    started_unix_ms: u64,
    elapsed_us: u64,
    /// Payments made, per second.
    throughput_per_second: f64,
    payments: u64,
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
    warm_up_payments: u64,
    latency_us: Latencies,
}

/// Of the requests that succeeded, in microseconds. A request is a payment or a batch.
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
        let (duration_ms, payments) = match plan.extent {
            Extent::Duration(duration) => (Some(micros(duration) / 1_000), None),
            Extent::Payments(count) => (None, Some(count)),
        };
        let (load, rate_per_second) = match plan.load {
            Load::Closed => ("closed", None),
            Load::Open { per_second } => ("open", Some(per_second)),
        };
        Self {
            urls: plan.urls.clone(),
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
            payments,
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
        }
    }
}

impl Results {
    fn new(run: &Run) -> Self {
        let tally = &run.tally;
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let (refused, errors, unknown) = (sum(&tally.refused), sum(&tally.failed), sum(&tally.unknown));
        let seconds = run.elapsed.as_secs_f64();
        Self {
            started_unix_ms: run.started_unix_ms,
            elapsed_us: micros(run.elapsed),
            throughput_per_second: if seconds > 0.0 { tally.ok as f64 / seconds } else { 0.0 },
            payments: tally.ok + refused + errors + unknown + tally.dropped,
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
            warm_up_payments: tally.warm_up,
            latency_us: Latencies::new(tally),
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
        let seconds = std::time::Duration::from_micros(results.elapsed_us).as_secs_f64();
        match settings.rate_per_second {
            Some(rate) => write!(f, "open loop, {rate} payments/s, at most {} under way", settings.connections)?,
            None => write!(f, "closed loop, {} callers", settings.connections)?,
        }
        if let (Some(size), Some(form)) = (settings.batch, settings.batch_form) {
            let keys = if settings.item_keys { " with keys of their own" } else { "" };
            write!(f, ", batches of {size} payments{keys} ({form})")?;
        }
        writeln!(f, ", {seconds:.2} s after {} ms of warm-up", settings.warm_up_ms)?;
        writeln!(f, "throughput  {:.0} payments/s", results.throughput_per_second)?;
        let latency = &results.latency_us;
        let columns = [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max].map(milliseconds);
        let per_batch = if settings.batch.is_some() { " (of a batch)" } else { "" };
        let [p50, p90, p99, p99_9, max] = columns;
        writeln!(f, "latency     p50 {p50}  p90 {p90}  p99 {p99}  p99.9 {p99_9}  max {max} ms{per_batch}")?;
        write!(f, "payments    {} ok", results.ok)?;
        write_counts(f, results.refused, "refused", &results.refused_by_code)?;
        write_counts(f, results.errors, "errors", &results.errors_by_kind)?;
        write_counts(f, results.unknown, "unknown", &results.unknown_by_kind)?;
        if results.retries > 0 {
            write!(f, "\nrepeated    {} attempts under the same key", results.retries)?;
        }
        if settings.rate_per_second.is_some() {
            write!(f, "\nschedule    {} sent late, {} dropped unsent", results.late, results.dropped)?;
        }
        Ok(())
    }
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
