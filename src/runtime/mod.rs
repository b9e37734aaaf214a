//! The one place where effects become I/O: the event loop, its callers and its ticks.
//!
//! It may know every layer below it, and nothing of HTTP for clients or of the command line.

pub mod audit;
mod event_loop;
mod executor;
mod find;
mod forward;
mod handle;
mod lists;
mod load;
mod metrics;
mod node;
mod projector;
mod reads;
mod status;
#[cfg(test)]
mod stored;
mod submit;
mod upkeep;
mod writer;

pub use event_loop::Pulse;
pub use handle::{
    AccountSnapshot, BankFigures, Committed, Consistency, NodeHandle, ReadError, ReadPoint, SubmitError, TransferError,
};
pub use metrics::Metrics;
pub use node::{Node, NodeConfig, NodeError};
pub use reads::{Page, PaymentFilter, PaymentView, Place, StatementFilter, StatementLine};
pub use status::{FollowerStatus, NodeStatus, PeerView, Role};
