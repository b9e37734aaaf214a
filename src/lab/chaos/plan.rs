//! What a run does.

use std::path::PathBuf;
use std::time::Duration;

use super::kind::FaultKind;
use crate::fault::NetworkKind;

/// How much a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Faults are injected for this long.
    Duration(Duration),
    /// This many rounds, each with one fault or two at once.
    Rounds(u32),
}

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct ChaosPlan {
    /// How many nodes.
    pub nodes: usize,
    /// How many ZooKeeper servers.
    pub zookeepers: usize,
    /// For how long faults are injected.
    pub extent: Extent,
    /// Seed of the faults and of the load.
    pub seed: u64,
    /// Operations per second of the clients.
    pub rate: u32,
    /// How the processes are connected.
    pub network: NetworkKind,
    /// The kinds of faults to choose from, at least one.
    pub faults: Vec<FaultKind>,
    /// The folder of the report.
    pub report: PathBuf,
    /// The command line that repeats this run.
    pub command: String,
}
