//! Clients that load a cluster on a fixed schedule and record every attempt in a history.
//!
//! The load is an open loop: requests are sent when they are due, and latencies count from then. The number of requests in
//! flight is bounded, so that a cluster that hangs cannot exhaust this process; requests beyond the bound are recorded as
//! not sent. Once the cluster has recovered, [`RunningLoad::finish`] looks up every key whose outcome is unknown and reads
//! every account at every node.
//!
//! ```text
//! load         start and end of a load
//! plan         its parameters and results
//! process      one client process and its schedule
//! workload     draws the operations of a process
//! step         carries out one operation, with retries
//! exchange     one attempt: record, send, record the result
//! request      operations as HTTP requests
//! state        what the processes share
//! final_reads  lookups and reads after the recovery
//! ```
//!
//! The clients know HTTP and histories. Whether an answer was right is decided by the checker.

mod exchange;
mod final_reads;
mod load;
mod plan;
mod process;
mod request;
mod state;
mod step;
#[cfg(test)]
mod tests;
mod workload;

pub use load::{Load, LoadError, RunningLoad};
pub use plan::{LoadPlan, LoadProgress, LoadSummary, Target};
