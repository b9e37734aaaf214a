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

/// The cluster of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// Processes that the run starts and stops, connected in this way.
    Own(NetworkKind),
    /// A test stack of `docker-compose.yml` that somebody else runs.
    Compose {
        /// Which, if there are several.
        project: Option<String>,
    },
}

impl Ground {
    /// Its name in the report.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Own(NetworkKind::Loopback) => "loopback",
            Self::Own(NetworkKind::Namespaces) => "namespaces",
            Self::Compose { .. } => "compose",
        }
    }
}

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct ChaosPlan {
    /// How many nodes. A stack that somebody else runs has its own number.
    pub nodes: usize,
    /// How many ZooKeeper servers.
    pub zookeepers: usize,
    /// For how long faults are injected.
    pub extent: Extent,
    /// Seed of the faults and of the load.
    pub seed: u64,
    /// Operations per second of the clients.
    pub rate: u32,
    /// Which cluster is broken.
    pub ground: Ground,
    /// The kinds of faults to choose from, at least one.
    pub faults: Vec<FaultKind>,
    /// The folder of the report.
    pub report: PathBuf,
    /// The command line that repeats this run.
    pub command: String,
}
