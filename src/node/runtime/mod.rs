//! The one place where effects become I/O: the event loop, the tasks around it and the handle that request handlers hold.
//!
//! It may use every module below it; it knows neither HTTP for clients nor the command line.

mod accounts;
mod engine_link;
mod error;
mod event_loop;
mod executor;
mod forward;
mod handle;
mod load;
mod message;
mod metrics;
mod node;
mod peer_reads;
mod peer_service;
mod progress;
mod projector;
mod read_point;
mod replies;
mod start;
mod status;
mod submit;
mod transfer;
mod upkeep;
mod writer;

pub use crate::query::{
    Cursor, Page, PaymentFilter, PaymentRecord, Queries, ReadError, StatementFilter, StatementLine,
};
pub use crate::transport::CommittedWrite;
pub use accounts::{AccountSnapshot, BankSummary};
pub use engine_link::EngineLink;
pub use error::NodeError;
pub use handle::NodeHandle;
pub use metrics::Metrics;
pub use node::{Node, NodeConfig};
pub use progress::NodeProgress;
pub use read_point::{Consistency, ReadPoint};
pub use status::{FollowerStatus, NodeStatus, PeerStatus, Role};
pub use submit::SubmitError;
pub use transfer::TransferError;
