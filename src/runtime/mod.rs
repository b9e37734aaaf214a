//! The one place where effects become I/O: the event loop, its callers and its ticks.

pub mod audit;
mod handle;
mod status;

pub use handle::{
    AccountSnapshot, Committed, Consistency, NodeHandle, ReadError, ReadPoint, SubmitError, TransferError,
};
pub use status::{FollowerStatus, NodeStatus, PeerView, Role};
