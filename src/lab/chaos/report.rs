//! What a run came to: for people, for programs and as a picture.

mod measure;
mod text;
mod timeline;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::clients::LoadSummary;
use super::error::ChaosError;
use super::kind::FaultKind;
use super::network::NetworkKind;
use super::run::ChaosPlan;
use super::tools::Skipped;
use crate::check::{self, Verdict};
use crate::history::Micros;
use crate::local::LocalError;
use measure::Measured;

pub use measure::Availability;

/// One fault, from its beginning until the cluster was whole again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultRecord {
    /// Its number in the history.
    pub number: u64,
    /// Which kind.
    pub kind: FaultKind,
    /// Whom it hit.
    pub target: String,
    /// When it began, in microseconds of the history's clock.
    #[serde(rename = "began_us")]
    pub began: Micros,
    /// When its cause was gone.
    #[serde(rename = "healed_us")]
    pub healed: Micros,
    /// When every node was there again, a voter, and caught up.
    #[serde(rename = "whole_us")]
    pub whole: Micros,
}

/// What a run left behind.
pub(super) struct Run {
    pub(super) faults: Vec<FaultRecord>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) findings: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) summary: LoadSummary,
    pub(super) checked: check::Report,
    pub(super) elapsed: Micros,
}

/// `report.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether every promise was kept, and the cluster was whole in time whenever it could be.
    pub verdict: Verdict,
    /// What faults and load were drawn from.
    pub seed: u64,
    /// The command line that repeats this run: the same faults in the same order, at moments that are as close as real
    /// processes allow.
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
    /// What was wrong besides broken promises, a sentence each: not whole in time, ended without a reason.
    pub findings: Vec<String>,
    /// What is not wrong but should be known: a fault that a tool refused to make.
    pub notes: Vec<String>,
    /// What the clients did and were told.
    pub load: LoadSummary,
    /// Availability by kind of fault, of those that came alone; and while nothing was wrong.
    pub availability: Vec<Availability>,
    /// The faults in their order.
    pub faults: Vec<FaultRecord>,
    /// What was asked for and cannot be made on this machine.
    pub skipped: Vec<Skipped>,
    /// What the checker found.
    pub check: check::Report,
    #[serde(skip)]
    measured: Measured,
}

impl Report {
    pub(super) fn new(plan: &ChaosPlan, run: Run, history: &Path) -> Result<Self, ChaosError> {
        let measured = Measured::of(history)?;
        let Run { faults, skipped, findings, notes, summary, checked, elapsed } = run;
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
            availability: measured.availability(&faults),
            faults,
            skipped,
            check: checked,
            measured,
        })
    }

    /// Whether the verdict is good.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.verdict == Verdict::Kept
    }

    /// How many promises were broken and other things were wrong.
    #[must_use]
    pub fn wrongs(&self) -> u64 {
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

    /// How long faults were made.
    fn length(&self) -> Duration {
        self.elapsed.since_start()
    }
}
