//! A load generator that measures a cluster from outside.
//!
//! Every payment has its own key, every answer is read to its end and counted by what it says, and in an open loop a
//! latency counts from the moment at which the payment was scheduled. The generator is cheap on purpose: it shares the
//! machine with the nodes that it measures, so the CPU time it spends on a request is missing there.
//!
//! ```text
//! plan        what a run does: load, extent, batches, retries
//! engine      runs a plan: threads and their callers
//! pace        when requests start: closed loop or open loop
//! caller      one caller: takes a ticket, pays, counts the result
//! connection  one kept-alive HTTP connection and the request template
//! tally       counts, latencies and the timeline
//! report      the result, for people and as JSON
//! plot        the timeline as SVG
//! error       why a run did not start or end
//! ```

mod caller;
mod connection;
mod engine;
mod error;
mod pace;
mod plan;
mod plot;
mod report;
mod tally;
#[cfg(test)]
mod tests;

pub use engine::{Run, run};
pub use error::BenchError;
pub use plan::{BatchForm, BatchPlan, Extent, Load, Plan, Retry};
pub use report::Report;
