//! The results of a run: as text, as JSON and as a picture.

mod measure;
mod text;
mod timeline;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::clients::LoadSummary;
use super::error::ChaosError;
use super::fault_record::FaultRecord;
use super::network_kind::NetworkKind;
use super::plan::ChaosPlan;
use super::skipped::SkippedKind;
use crate::check::{self, Verdict};
use crate::history::Micros;
use crate::local::LocalError;
use measure::Measurements;

pub use measure::Availability;

/// Everything that a report is made from.
pub(super) struct RunResult {
    pub(super) faults: Vec<FaultRecord>,
    pub(super) skipped: Vec<SkippedKind>,
    pub(super) findings: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) summary: LoadSummary,
    pub(super) checked: check::Report,
    pub(super) elapsed: Micros,
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
    pub network: NetworkKind,
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
    /// All faults in order.
    pub faults: Vec<FaultRecord>,
    /// Kinds of faults that cannot be injected on this machine.
    pub skipped: Vec<SkippedKind>,
    /// The checker's report.
    pub check: check::Report,
    #[serde(skip)]
    measurements: Measurements,
}

impl Report {
    pub(super) fn new(plan: &ChaosPlan, run: RunResult, history: &Path) -> Result<Self, ChaosError> {
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
            network: plan.network,
            rate: plan.rate,
            elapsed,
            findings,
            notes,
            load: summary,
            availability: measurements.availability(&faults),
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

    /// Writes `report.json` and `timeline.svg` into a folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), ChaosError> {
        let json = serde_json::to_string_pretty(self).expect("a report is made of plain values");
        std::fs::write(folder.join("report.json"), json).map_err(LocalError::io("report.json"))?;
        let picture = timeline::draw(self);
        Ok(std::fs::write(folder.join("timeline.svg"), picture).map_err(LocalError::io("timeline.svg"))?)
    }

    /// The report for people.
    #[must_use]
    pub fn describe(&self, folder: &Path) -> String {
        text::describe(self, folder)
    }

    /// Duration of the load.
    fn duration(&self) -> Duration {
        self.elapsed.since_start()
    }
}
