//! Injects faults into a cluster of real processes while clients load it, then checks the answers that the clients got.
//!
//! A cluster of real nodes and a real ZooKeeper ensemble is started, or a stack is found that somebody else runs; clients load it and write a history; a nemesis draws
//! faults from the seed; `fault` makes and heals them. In the end every fault is healed, and the checker compares the history with the ledgers. The nodes
//! run the unchanged program.
//!
//! ```text
//! run           one run from start to report
//! plan          its parameters
//! notice        its progress
//! nemesis       draws faults from the seed (pure)
//! choose        what a drawn fault does to which process or link (pure)
//! kind          the kinds of faults, by name
//! subject       a cluster under test, as a run sees it
//! cluster       processes of this program, and whether a cluster has recovered
//! compose       a stack of containers that somebody else runs
//! tools         strace, faketime: what this machine has
//! skipped       kinds of faults that it does not allow
//! clients       the load
//! report        results as text, JSON and SVG
//! fault_record  one fault in the report
//! error         why a run could not be made or checked
//! ```

mod choose;
pub mod clients;
mod cluster;
mod compose;
mod error;
mod fault_record;
mod kind;
mod nemesis;
mod notice;
mod plan;
mod report;
mod run;
mod skipped;
mod subject;
mod tools;

pub use error::ChaosError;
pub use fault_record::FaultRecord;
pub use kind::FaultKind;
pub use notice::Notice;
pub use plan::{ChaosPlan, Extent, Ground};
pub use report::{Availability, Interruptions, Report};
pub use run::run;
pub use skipped::SkippedKind;
pub use tools::enter_private_namespaces;
