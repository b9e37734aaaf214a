//! The one place where effects become I/O: the event loop, its callers and its ticks.

mod handle;
mod reads;
mod status;

pub use handle::{
    AccountSnapshot, Committed, Consistency, NodeHandle, ReadError, ReadPoint, SubmitError, TransferError,
};
pub use reads::{Page, PaymentFilter, PaymentStatus};
pub use status::{FollowerStatus, NodeStatus, PeerView, Role};
