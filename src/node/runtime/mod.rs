//! The one place where effects become I/O: the event loop, its callers and its ticks.
//!
//! It may know every layer below it, and nothing of HTTP for clients or of the command line.

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
mod submit;
mod upkeep;
mod writer;

pub use event_loop::NodeProgress;
pub(crate) use find::state_after;
pub use handle::{
    AccountSnapshot, BankSummary, CommittedWrite, Consistency, NodeHandle, ReadError, ReadPoint, SubmitError,
    TransferError,
};
pub use metrics::Metrics;
pub use node::{Node, NodeConfig, NodeError};
pub use reads::{Cursor, Page, PaymentFilter, PaymentRecord, StatementFilter, StatementLine};
pub use status::{FollowerStatus, NodeStatus, PeerStatus, Role};
