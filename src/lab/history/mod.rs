//! Histories: the requests of clients and the answers of the cluster, with their times.
//!
//! A history is a file of JSON lines: a header, then one event per line in the order in which they happened. Every request
//! is an operation that begins with an `invoke` and ends with `ok`, `refused` or `unknown`; one that never ends counts as
//! unknown. A retry is a separate operation. This module records and reads; whether the answers were right is decided by
//! the checker.
//!
//! ```text
//! {"quorapay_history":1,"cluster":"chaos","seed":7,"started_unix_ms":1767225600000,"clients":8}
//! {"invoke":{"process":3,"operation":17,"at":5021,"intended":5000,"node":"node2","request":{"write":{"key":"k-17",…}}}}
//! {"ok":{"process":3,"operation":17,"at":7313,"answer":{"status":201,"node":"node2","index":42,"epoch":3,…}}}
//! {"fault":{"number":1,"at":9000,"phase":"begin","kind":"kill","target":"node1"}}
//! ```
//!
//! Times are microseconds on one monotonic clock since the recording began, so they order the operations of one file.
//! This module does not know HTTP, nodes or how a load is generated.
//!
//! ```text
//! event       the lines of a history
//! recorder    writes a history
//! reader      reads a history
//! operations  joins the beginning of each operation with its end
//! ```

mod event;
mod operations;
mod reader;
mod recorder;
#[cfg(test)]
mod tests;

pub use event::{
    Answered, Consistency, Event, FaultEvent, FaultPhase, Header, Invoke, Micros, NotSent, OperationId, PhaseEvent,
    Read, Refused, Request, Response, ResponseBody, Subject, Unknown,
};
pub use operations::{Ending, Operation, OperationError, Operations};
pub use reader::{HistoryReader, ReadFailure};
pub use recorder::{RecordError, Recorder};
