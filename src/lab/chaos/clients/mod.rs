//! Clients that load a cluster on a fixed schedule and record every attempt in a history.
//!
//! The schedule does not care for answers: what is due is sent, and latencies count from when it was due. A bound on what
//! is under way keeps a cluster that hangs from filling this process; what finds no room is recorded as late. When the
//! cluster is whole again, [`Running::finish`] asks what became of every open key and reads every account at every node.
//!
//! ```text
//! Load::start(targets, plan, recorder) → Running, while faults come and go → Running::finish(deadline) → LoadSummary
//! ```
//!
//! The clients know HTTP and histories. They conclude nothing: whether an answer was right is for the checker to say.

mod exchange;
mod final_reads;
mod load;
mod plan;
mod process;
mod request;
mod shared;
mod step;
#[cfg(test)]
mod tests;
mod workload;

pub use load::{Load, LoadError, Running};
pub use plan::{LoadPlan, LoadProgress, LoadSummary, Target};
