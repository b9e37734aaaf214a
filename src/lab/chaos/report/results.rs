//! The results of a run.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::interruptions::Interruptions;
use super::measure::{Availability, Measurements};
use crate::chaos::clients::LoadSummary;
use crate::chaos::error::ChaosError;
use crate::chaos::fault_record::FaultRecord;
use crate::chaos::plan::ChaosPlan;
use crate::chaos::skipped::SkippedKind;
use crate::check::{self, Verdict};
use crate::history::Micros;

/// Everything that a report is made from.
pub(in crate::chaos) struct RunResult {
    pub(in crate::chaos) faults: Vec<FaultRecord>,
    pub(in crate::chaos) skipped: Vec<SkippedKind>,
    pub(in crate::chaos) findings: Vec<String>,
    pub(in crate::chaos) notes: Vec<String>,
    pub(in crate::chaos) summary: LoadSummary,
    pub(in crate::chaos) checked: check::Report,
    pub(in crate::chaos) elapsed: Micros,
}

/// `report.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every promise was kept and the cluster always recovered in time.
    pub verdict: Verdict,
    /// Seed of the faults and of the load.
    pub seed: u64,
    /// The command line that repeats this run: the same faults in the same order, at nearly the same times.
    pub command: String,
    /// The version of the program.
    pub version: &'static str,
    /// How many nodes.
    pub nodes: usize,
    /// How many ZooKeeper servers.
    pub zookeepers: usize,
    /// How the processes were connected.
    pub network: &'static str,
    /// Operations per second on the clients' schedule.
    pub rate: u32,
    /// From the first operation to the end of the last, in microseconds.
    #[serde(rename = "elapsed_us")]
    pub elapsed: Micros,
    /// Failures other than broken promises, a sentence each, such as a node that exited without a reason.
    pub findings: Vec<String>,
    /// What is worth knowing and not wrong, such as a fault that a tool could not inject.
    pub notes: Vec<String>,
    /// Counts of the clients' requests and outcomes.
    pub load: LoadSummary,
    /// Availability by kind of fault, for faults that came alone, and for the time without faults.
    pub availability: Vec<Availability>,
    /// For how long a node committed no payment while faults of some forms lasted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interruptions: Vec<Interruptions>,
    /// All faults in order.
    pub faults: Vec<FaultRecord>,
    /// Kinds of faults that cannot be injected on this machine.
    pub skipped: Vec<SkippedKind>,
    /// The checker's report.
    pub check: check::Report,
    #[serde(skip)]
    pub(super) measurements: Measurements,
}

impl Report {
    pub(in crate::chaos) fn new(plan: &ChaosPlan, run: RunResult, history: &Path) -> Result<Self, ChaosError> {
        let measurements = Measurements::of(history)?;
        let RunResult { faults, skipped, findings, notes, summary, checked, elapsed } = run;
        let kept = checked.verdict == Verdict::Kept && findings.is_empty();
        Ok(Self {
            verdict: if kept { Verdict::Kept } else { Verdict::Broken },
            seed: plan.seed,
            command: plan.command.clone(),
            version: env!("CARGO_PKG_VERSION"),
            nodes: plan.nodes,
            zookeepers: plan.zookeepers,
            network: plan.ground.name(),
            rate: plan.rate,
            elapsed,
            findings,
            notes,
            load: summary,
            availability: measurements.availability(&faults),
            interruptions: measurements.interruptions(&faults),
            faults,
            skipped,
            check: checked,
            measurements,
        })
    }

    /// Whether the verdict is [`Verdict::Kept`].
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.verdict == Verdict::Kept
    }

    /// How many promises were broken and other failures were found.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.check.total_broken() + u64::try_from(self.findings.len()).unwrap_or(u64::MAX)
    }

    /// Duration of the load.
    pub(super) fn duration(&self) -> Duration {
        self.elapsed.since_start()
    }
}
