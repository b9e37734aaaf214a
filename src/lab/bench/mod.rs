//! A load generator that measures a cluster from outside.
//!
//! Every payment has its own key, every answer is read to its end and counted by what it says, and in an open loop a
//! latency counts from the moment at which the payment was scheduled. The generator is cheap on purpose: it shares the
//! machine with the nodes that it measures, so the CPU time it spends on a request is missing there.
//!
//! ```text
//! plan        what a run does: workload, load, extent, batches, retries
//! engine      runs a plan: threads and their callers
//! prepare     makes what a run reads
//! pace        when requests start: closed loop or open loop
//! caller      one caller: takes a ticket, pays or reads, counts the result
//! requests    the bytes of a request, from its number
//! connection  one kept-alive HTTP connection
//! same_key    follows the keys that all callers send at once
//! tally       counts and latencies
//! series      values over time in a bounded number of intervals
//! windows     rate and latencies in windows of ten seconds
//! stalls      times without a decision
//! nodes       what a run costs every node, from its metrics
//! usage       processor time, disk and memory of each node per payment
//! report      the result, for people and as JSON
//! plot        the timeline as SVG
//! error       why a run did not start or end
//! ```

mod caller;
mod connection;
mod engine;
mod error;
mod nodes;
mod pace;
mod plan;
mod plot;
mod prepare;
mod report;
mod requests;
mod same_key;
mod series;
mod stalls;
mod tally;
#[cfg(test)]
mod tests;
mod usage;
mod windows;

pub use engine::{Run, run};
pub use error::BenchError;
pub use plan::{BatchForm, BatchPlan, Consistency, Extent, Load, MAX_READ, Plan, Read, Retry, Workload};
pub use report::Report;
