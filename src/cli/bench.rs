//! `quorapay bench`: the load generator.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::CliError;
use super::connection::{Urls, print_line, to_json};
use super::duration::parse_duration;
use super::exit;
use super::pay::parse_currency;
use quorapay_core::domain::{Currency, MinorUnits};
use quorapay_lab::bench::{
    self, BatchForm, BatchPlan, BenchError, Consistency, Extent, Load, MAX_READ, Plan, Read, Report, Retry, Workload,
};

const EXAMPLES: &str = "\
Examples:
  quorapay bench                                             # closed loop, 64 callers, 10 s, against one node
  quorapay bench --rate 5000 --duration 60s --json           # open loop: 5,000 payments/s, whatever the answers
  quorapay bench --requests 1000000 --connections 256
  quorapay bench --url http://127.0.0.1:7101,http://127.0.0.1:7102,http://127.0.0.1:7103 \\
      --rate 1000 --failover --timeline drill.jsonl          # kill a node meanwhile
  quorapay bench --batch 1000 --connections 8 --plot run.svg # batches, with a picture of the run
  quorapay bench --batch 5000 --item-keys --rate 50000       # 10 batches/s, every payment with a key of its own
  quorapay bench --workload payment-by-id --consistency local # reads of payments that the run makes first
  quorapay bench --workload same-key                         # all callers send the same keys; each must apply once
  quorapay bench --duration 30m --plot run.svg --json        # rate and latencies of every 10 s

What each node needs for a payment is read from the metrics of all nodes that GET /v1/cluster names.

The exit code is 1 if nothing succeeded, or if the same key was applied twice or answered in two ways. Latencies are those of
the requests that succeeded.";

/// Load a cluster with payments or reads and measure
///
/// Payments go from external:bench to bench:shop-N, each under a key of its own, over kept-alive connections that are
/// spread over the URLs.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Bench {
    #[command(flatten)]
    urls: Urls,
    /// What the callers ask for
    #[arg(long, value_enum, default_value_t = WorkloadArgument::Pay)]
    workload: WorkloadArgument,
    /// How new the answer to a read must be [default: linearizable]
    #[arg(long, value_enum)]
    consistency: Option<ConsistencyArgument>,
    /// Closed loop: callers that each send their next request when the last is answered. Open loop: the most requests
    /// that may be under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Open loop: payments or reads per second on a fixed schedule, also in batches
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// Send payments in batches of this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: Option<u32>,
    /// How batches are written
    #[arg(long, value_enum, default_value_t = BatchFormArgument::Ndjson, requires = "batch")]
    batch_form: BatchFormArgument,
    /// Give every payment of a batch a key of its own
    #[arg(long, requires = "batch")]
    item_keys: bool,
    /// How long to measure, such as 10s, 500ms or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration, conflicts_with = "requests")]
    duration: Duration,
    /// How many payments or reads to measure, instead of how long; batches are sent whole
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// How long to pay or read before measuring
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    warm_up: Duration,
    /// Over how many receiving accounts the payments are spread; how many payments or accounts are made and read
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
    /// Do not read the metrics of the nodes
    #[arg(long)]
    without_nodes: bool,
    /// Write what happened in every 100 ms to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// Draw throughput and latencies over time into this file, as SVG
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

/// What the callers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WorkloadArgument {
    /// Payments
    Pay,
    /// Payments: every key is sent by all callers at once
    SameKey,
    /// Reads of payments by their ids
    PaymentById,
    /// Reads of accounts
    Account,
    /// Reads of the newest payments
    List,
}

/// How new the answer to a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ConsistencyArgument {
    /// As new as the node that answers
    Local,
    /// It shows every write that was answered before
    Linearizable,
}

/// How a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum BatchFormArgument {
    /// One JSON array
    Json,
    /// One payment per line
    Ndjson,
}

impl From<BatchFormArgument> for BatchForm {
    fn from(form: BatchFormArgument) -> Self {
        match form {
            BatchFormArgument::Json => Self::Json,
            BatchFormArgument::Ndjson => Self::Ndjson,
        }
    }
}

impl Bench {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let plan = self.plan()?;
        // Opened before the run, so that a wrong path does not waste a measurement.
        let timeline = self.timeline.as_deref().map(create).transpose()?;
        let plot = self.plot.as_deref().map(create).transpose()?;
        let run = bench::run(&plan)?;
        if let (Some(file), Some(path)) = (timeline, &self.timeline) {
            run.write_timeline(file).map_err(|source| io_error(path, source))?;
        }
        if let (Some(mut file), Some(path)) = (plot, &self.plot) {
            file.write_all(run.plot().as_bytes()).map_err(|source| io_error(path, source))?;
        }
        let report = Report::new(&plan, &run);
        print_line(&if self.json { to_json(&report) } else { report.to_string() })?;
        if run.succeeded() == 0 {
            return Err(CliError::Failed(format!("none of the {} succeeded", plan.workload.operations())));
        }
        if !run.keys_are_kept() {
            return Err(CliError::Failed("not every key was applied once and answered equally".to_owned()));
        }
        Ok(())
    }

    fn workload(&self) -> Result<Workload, CliError> {
        let read = |read| {
            if self.accounts > MAX_READ {
                return Err(CliError::Usage(format!("--accounts is at most {MAX_READ} for a workload that reads")));
            }
            let consistency = match self.consistency {
                Some(ConsistencyArgument::Local) => Consistency::Local,
                Some(ConsistencyArgument::Linearizable) | None => Consistency::Linearizable,
            };
            Ok(Workload::Read(read, consistency))
        };
        let workload = match self.workload {
            WorkloadArgument::Pay => Workload::Pay,
            WorkloadArgument::SameKey => Workload::SameKey,
            WorkloadArgument::PaymentById => read(Read::PaymentById)?,
            WorkloadArgument::Account => read(Read::Account)?,
            WorkloadArgument::List => read(Read::List)?,
        };
        if self.consistency.is_some() && !matches!(workload, Workload::Read(..)) {
            return Err(CliError::Usage("--consistency is for a workload that reads".to_owned()));
        }
        if self.batch.is_some() && workload != Workload::Pay {
            return Err(CliError::Usage("--batch is for the workload pay".to_owned()));
        }
        Ok(workload)
    }

    fn plan(&self) -> Result<Plan, CliError> {
        Ok(Plan {
            workload: self.workload()?,
            watch_nodes: !self.without_nodes,
            access: self.urls.access()?,
            urls: self.urls.resolve(),
            connections: self.connections,
            threads: self.threads.min(self.connections),
            batch: self.batch.map(|size| BatchPlan { size, form: self.batch_form.into(), item_keys: self.item_keys }),
            load: self.rate.map_or(Load::Closed, |per_second| Load::Open { per_second }),
            extent: self.requests.map_or(Extent::Duration(self.duration), Extent::Payments),
            warm_up: self.warm_up,
            accounts: self.accounts,
            amount: MinorUnits::new(self.amount),
            currency: self.currency,
            deadline: Duration::from_millis(self.deadline_ms),
            retry: match (self.retry, self.failover) {
                (_, true) => Retry::NextUrl,
                (true, false) => Retry::SameUrl,
                (false, false) => Retry::Never,
            },
            run_id: uuid::Uuid::new_v4(),
        })
    }
}

fn create(path: &Path) -> Result<File, CliError> {
    File::create(path).map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: std::io::Error) -> CliError {
    CliError::Io { what: format!("writing {}", path.display()), source }
}

impl From<BenchError> for CliError {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Url(_) => Self::Usage(error.to_string()),
            BenchError::Unreachable { .. } => Self::Unreachable(error.to_string()),
            BenchError::Panicked | BenchError::NotPrepared(_) => Self::Failed(error.to_string()),
        }
    }
}
