//! `quorapay bench`: an honest and cheap load generator.
//!
//! Honest: every payment has its own key, every answer is read to its end and counted by what it says, an open loop
//! measures from the moment when a payment was *meant* to start. Cheap: it shares the machine with the nodes that it
//! measures, so what it spends on a request is missing there.

mod caller;
mod connection;
mod engine;
mod pace;
mod plan;
mod plot;
mod report;
mod tally;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::connection::{Urls, print_line, to_json};
use super::exit;
use super::pay::parse_currency;
use engine::Run;
use plan::{BatchForm, BatchPlan, Extent, Load, Persistence, Plan};
use quorapay_core::domain::{Currency, MinorUnits};
use report::Report;

const EXAMPLES: &str = "\
Examples:
  quorapay bench                                             # closed loop, 64 callers, 10 s, against one node
  quorapay bench --rate 5000 --duration 60s --json           # open loop: 5,000 payments/s, whatever the answers
  quorapay bench --requests 1000000 --connections 256
  quorapay bench --url http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103 \\
      --rate 1000 --failover --timeline drill.jsonl          # kill a node meanwhile
  quorapay bench --batch 1000 --connections 8 --plot run.svg # batches, with a picture of the run
  quorapay bench --batch 5000 --item-keys --rate 50000       # 10 batches/s, every payment with a key of its own

The exit code is 1 if no payment went through. Latencies are those of the payments that did.";

/// Load a cluster with payments and measure
///
/// Payments go from external:bench to bench:shop-N, each under a key of its own, over kept-alive connections that are
/// spread over the URLs.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Bench {
    #[command(flatten)]
    urls: Urls,
    /// Closed loop: callers that each send their next request when the last is answered. Open loop: the most requests
    /// that may be under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Open loop: payments per second on a fixed schedule, also in batches
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// Send payments in batches of this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: Option<u32>,
    /// How batches are written
    #[arg(long, value_enum, default_value_t = BatchForm::Ndjson, requires = "batch")]
    batch_form: BatchForm,
    /// Give every payment of a batch a key of its own
    #[arg(long, requires = "batch")]
    item_keys: bool,
    /// How long to measure, such as 10s, 500ms or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, conflicts_with = "requests")]
    duration: Duration,
    /// How many payments to measure, instead of how long; batches are sent whole
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long to pay before measuring
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Over how many receiving accounts the payments are spread
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    accounts: u32,
    /// Amount of each payment, in minor units
    #[arg(long, value_name = "UNITS", default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    amount: i64,
    /// ISO 4217 code
    #[arg(long, default_value = "USD", value_parser = parse_currency)]
    currency: Currency,
    /// Milliseconds that a payment may take in all
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    deadline_ms: u64,
    /// Repeat what failed, under the same key at the same URL, until it is answered or its deadline has passed
    #[arg(long)]
    retry: bool,
    /// Like --retry, but at the next URL
    #[arg(long, conflicts_with = "retry")]
    failover: bool,
    /// Threads of the generator
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Write what happened in every 100 ms to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Draw throughput and latency over time into this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

impl Bench {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let plan = self.plan();
        // Opened before the run: a wrong path should not cost a measurement.
        let timeline = self.timeline.as_deref().map(create).transpose()?;
        let plot = self.plot.as_deref().map(create).transpose()?;
        let run = engine::run(&plan)?;
        if let (Some(file), Some(path)) = (timeline, &self.timeline) {
            write_timeline(file, &run).map_err(|source| io_error(path, source))?;
        }
        if let (Some(mut file), Some(path)) = (plot, &self.plot) {
            let picture = plot::draw(&run.tally.timeline, plan.warm_up);
            file.write_all(picture.as_bytes()).map_err(|source| io_error(path, source))?;
        }
        let report = Report::new(&plan, &run);
        print_line(&if self.json { to_json(&report) } else { report.to_string() })?;
        if run.tally.ok == 0 { Err(CliError::Failed("no payment went through".to_owned())) } else { Ok(()) }
    }

    fn plan(&self) -> Plan {
        Plan {
            urls: self.urls.resolve(),
            connections: self.connections,
            threads: self.threads.min(self.connections),
            batch: self.batch.map(|size| BatchPlan { size, form: self.batch_form, item_keys: self.item_keys }),
            load: self.rate.map_or(Load::Closed, |per_second| Load::Open { per_second }),
            extent: self.requests.map_or(Extent::Duration(self.duration), Extent::Payments),
            warm_up: self.warm_up,
            accounts: self.accounts,
            amount: MinorUnits::new(self.amount),
            currency: self.currency,
            deadline: Duration::from_millis(self.deadline_ms),
            persistence: match (self.retry, self.failover) {
                (_, true) => Persistence::NextUrl,
                (true, false) => Persistence::SameUrl,
                (false, false) => Persistence::Never,
            },
            run_id: uuid::Uuid::new_v4(),
        }
    }
}

fn create(path: &Path) -> Result<File, CliError> {
    File::create(path).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: std::io::Error) -> CliError {
    CliError::Io { what: format!("writing {}", path.display()), source }
}

fn write_timeline(file: File, run: &Run) -> std::io::Result<()> {
    let mut out = BufWriter::new(file);
    for line in run.timeline() {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Reads `500ms`, `10s`, `2m`; the longest run is a day.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no duration up to 24h; write it like 500ms, 10s or 2m");
    let unit_at = text.find(|character: char| !character.is_ascii_digit()).ok_or_else(refuse)?;
    let (digits, unit) = text.split_at(unit_at);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(refuse()),
    };
    let total_ms = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit_ms));
    match total_ms {
        Some(total_ms) if total_ms <= 24 * 3_600_000 => Ok(Duration::from_millis(total_ms)),
        _ => Err(refuse()),
    }
}
