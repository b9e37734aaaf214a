//! `quorapay chaos`: injects faults into a cluster of real processes and checks the result.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::CliError;
use super::connection::{print_line, to_json};
use super::duration::parse_duration;
use super::signals::Signals;
use quorapay_lab::chaos::{self, ChaosError, ChaosPlan, Extent, FaultKind, Ground, Notice, Report};
use quorapay_lab::fault::{ComposeStack, HealRequest, NetworkKind};

const EXAMPLES: &str = "\
Examples:
  quorapay chaos
  quorapay chaos --seed 7 --nodes 5 --duration 10m --report /tmp/chaos
  quorapay chaos --faults kill,pause,partition --duration 30s
  quorapay chaos --network namespaces                        # as root
  quorapay chaos --faults power-loss,fsync-error --rounds 10 # as root
  quorapay chaos --target compose --duration 2m              # the running test stack of docker-compose.yml
  quorapay chaos --json | jq .verdict

Faults, each by its name or by the first word of it:
  kill-leader kill-follower pause-leader pause-follower restart-all partition-leader partition-minority
  partition-one-way partition-link partition-zookeeper delay loss disk-full fsync-error kill-at-sync power-loss
  clock-step clock-drift zookeeper-server zookeeper-all zookeeper-wiped session-expiry disk-wiped bit-flip

Some need a tool (strace, faketime, xfs_io) or root; what cannot be made here is said and skipped. The report's folder gets
report.json, history.jsonl (for `quorapay check`), timeline.svg and the logs, and the ledgers if a promise was broken.

Exit codes:
  0  every promise was kept
  1  the run could not be made or judged
  2  the command line is wrong
  5  a promise was broken";

/// Break a cluster on purpose, in every way, and check that it keeps its promises
///
/// Starts nodes and ZooKeeper servers of its own, loads them, and makes faults that are drawn from the seed. Then
/// everything heals, and what the clients were told is checked against the ledgers. Nothing is left behind.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Chaos {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=5))]
    nodes: u8,
    /// How many ZooKeeper servers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    zookeepers: u8,
    /// How long faults are made, such as 60s, 10m or 2h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration, conflicts_with = "rounds")]
    duration: Duration,
    /// How many rounds, instead of how long; a round has one fault, sometimes two
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// What faults and load are drawn from [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Operations per second of the clients
    #[arg(long, value_name = "PER_SECOND", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// The cluster: own starts one, compose takes the running stack of docker-compose.yml, if it is marked as a test stack
    #[arg(long, value_enum, default_value_t = TargetArgument::Own, conflicts_with_all = ["nodes", "zookeepers", "network"])]
    target: TargetArgument,
    /// Which stack, if several of docker-compose.yml run
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
    /// How the processes are connected
    #[arg(long, value_enum, default_value_t = NetworkArgument::Loopback)]
    network: NetworkArgument,
    /// Only these faults [default: all]
    #[arg(long, value_name = "FAULT", value_delimiter = ',', value_parser = FaultKind::parse)]
    faults: Vec<Vec<FaultKind>>,
    /// Where the report goes
    #[arg(long, value_name = "DIR", default_value = "chaos-report")]
    report: PathBuf,
    /// Write the report as JSON to stdout; what happens goes to stderr
    #[arg(long)]
    json: bool,
}

/// Which cluster is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TargetArgument {
    /// Nodes and ZooKeeper servers of its own
    Own,
    /// The running test stack of docker-compose.yml; it is healed and goes on
    Compose,
}

/// How the processes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum NetworkArgument {
    /// On loopback, through proxies of this program. Any user may do this
    Loopback,
    /// In network namespaces, with packet filters. Takes root
    Namespaces,
}

impl From<NetworkArgument> for NetworkKind {
    fn from(network: NetworkArgument) -> Self {
        match network {
            NetworkArgument::Loopback => Self::Loopback,
            NetworkArgument::Namespaces => Self::Namespaces,
        }
    }
}

impl Chaos {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let plan = self.plan();
        if let Ground::Own(network) = &plan.ground {
            chaos::enter_private_namespaces(*network)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|source| CliError::Io { what: "starting".to_owned(), source })?;
        let report = runtime.block_on(self.run_until_signal(&plan))?;
        print_line(&if self.json { to_json(&report) } else { report.describe(&plan.report) })?;
        if report.is_kept() { Ok(()) } else { Err(CliError::PromiseBroken(report.failures())) }
    }

    fn plan(&self) -> ChaosPlan {
        let seed = self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
        let mut faults: Vec<FaultKind> = self.faults.iter().flatten().copied().collect();
        if faults.is_empty() {
            faults = FaultKind::ALL.to_vec();
        }
        faults.sort();
        faults.dedup();
        ChaosPlan {
            nodes: self.nodes.into(),
            zookeepers: self.zookeepers.into(),
            extent: self.rounds.map_or(Extent::Duration(self.duration), Extent::Rounds),
            seed,
            rate: self.rate,
            ground: match self.target {
                TargetArgument::Own => Ground::Own(self.network.into()),
                TargetArgument::Compose => Ground::Compose { project: self.project.clone() },
            },
            command: self.command(seed, &faults),
            faults,
            report: self.report.clone(),
        }
    }

    /// The command line that repeats this run.
    fn command(&self, seed: u64, faults: &[FaultKind]) -> String {
        let Self { nodes, zookeepers, rate, .. } = self;
        let extent = match self.rounds {
            Some(rounds) => format!("--rounds {rounds}"),
            None => format!("--duration {}ms", self.duration.as_millis()),
        };
        let cluster = match (self.target, self.network) {
            (TargetArgument::Compose, _) => " --target compose".to_owned(),
            (_, NetworkArgument::Loopback) => format!(" --nodes {nodes} --zookeepers {zookeepers}"),
            (_, NetworkArgument::Namespaces) => {
                format!(" --nodes {nodes} --zookeepers {zookeepers} --network namespaces")
            }
        };
        let names: Vec<&str> = faults.iter().map(|kind| kind.name()).collect();
        let only =
            if names.len() == FaultKind::ALL.len() { String::new() } else { format!(" --faults {}", names.join(",")) };
        format!("quorapay chaos --seed {seed} {extent} --rate {rate}{cluster}{only}")
    }

    /// Makes the run. A signal ends it and everything that it started.
    async fn run_until_signal(&self, plan: &ChaosPlan) -> Result<Report, CliError> {
        let mut signals = Signals::listen()?;
        let mut notify = |notice: Notice<'_>| self.print(&notice);
        let result = tokio::select! {
            result = chaos::run(plan, &mut notify) => result,
            () = signals.received() => Err(ChaosError::Interrupted),
        };
        if let (Err(ChaosError::Interrupted), Ground::Compose { project }) = (&result, &plan.ground) {
            // The stack goes on, so nothing in it may stay broken.
            ComposeStack::find(project.as_deref()).await?.heal(&HealRequest::default()).await?;
        }
        result.map_err(|error| CliError::Failed(error.to_string()))
    }

    fn print(&self, notice: &Notice<'_>) {
        let line = match notice {
            Notice::Starting => format!("starting {} nodes and {} ZooKeeper servers", self.nodes, self.zookeepers),
            Notice::Skipping(skipped) => format!("skipping {}: {} ({})", skipped.kind, skipped.reason, skipped.remedy),
            Notice::Loading => "the cluster is whole; the clients begin".to_owned(),
            Notice::FaultBegins { at, kind, target } => format!("{:>8.1} s  {kind}: {target}", at.as_secs_f64()),
            Notice::Recovered { at, took } => {
                format!("{:>8.1} s  whole again, {} ms after it was healed", at.as_secs_f64(), took.as_millis())
            }
            Notice::Note(note) => format!("note: {note}"),
            Notice::Finding(finding) => format!("WRONG: {finding}"),
            Notice::Checking => "checking the history against the ledgers".to_owned(),
        };
        if self.json {
            eprintln!("{line}");
        } else {
            print_line(&line).unwrap_or_default();
        }
    }
}
