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

pub use event_loop::Pulse;
pub(crate) use find::state_after;
pub use handle::{
    AccountSnapshot, BankFigures, Committed, Consistency, NodeHandle, ReadError, ReadPoint, SubmitError, TransferError,
};
pub use metrics::Metrics;
pub use node::{Node, NodeConfig, NodeError};
pub use reads::{Page, PaymentFilter, PaymentView, Place, StatementFilter, StatementLine};
pub use status::{FollowerStatus, NodeStatus, PeerView, Role};
