//! The progress of a run.

use std::time::Duration;

use super::kind::FaultKind;
use super::skipped::SkippedKind;

/// One event of a run. Times are measured from the start of the load.
#[derive(Debug)]
pub enum Notice<'a> {
    /// The cluster is being started.
    Starting,
    /// A kind of fault cannot be injected on this machine.
    Skipping(&'a SkippedKind),
    /// The clients start.
    Loading,
    /// A fault begins.
    FaultBegins {
        /// When.
        at: Duration,
        /// Its kind.
        kind: FaultKind,
        /// The affected processes.
        target: &'a str,
    },
    /// The cluster has recovered.
    Recovered {
        /// When.
        at: Duration,
        /// Time since the faults were healed.
        took: Duration,
    },
    /// Something worth knowing that is not wrong.
    Note(&'a str),
    /// Something is wrong.
    Finding(&'a str),
    /// The histories and ledgers are being checked.
    Checking,
}
