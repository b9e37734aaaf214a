//! Histories: what clients asked of a cluster, when, and what they were told.
//!
//! A history is a file of lines, each a JSON value: a header, then one event after another in the order in which they
//! happened. Every request is an operation that begins with an `invoke` and ends with `ok`, `refused` or `unknown`; one
//! that never ends counts as unknown. A request that is repeated is an operation of its own. Nothing is concluded
//! here: whether the answers were right is for the checker to say.
//!
//! ```text
//! {"quorapay_history":1,"cluster":"chaos","seed":7,"started_unix_ms":1767225600000,"clients":8}
//! {"invoke":{"process":3,"operation":17,"at":5021,"intended":5000,"node":"node2","ask":{"write":{"key":"k-17",…}}}}
//! {"ok":{"process":3,"operation":17,"at":7313,"answer":{"status":201,"node":"node2","index":42,"epoch":3,…}}}
//! {"fault":{"number":1,"at":9000,"phase":"begin","kind":"kill","target":"node1"}}
//! ```
//!
//! Times are microseconds on one monotonic clock since the recording began, so they order the operations of one file.
//! This module knows the words of requests and nothing of HTTP, of nodes or of how a load is made.

mod event;
mod operations;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;

pub use event::{
    Answer, Ask, Body, Consistency, Event, Fault, FaultPhase, Header, Invoke, Late, Micros, OperationId, Phase, Read,
    Refused, Subject, Told, Unknown,
};
pub use operations::{Ending, Operation, OperationError, Operations};
pub use reader::{HistoryReader, ReadFailure};
pub use recorder::{RecordError, Recorder};
