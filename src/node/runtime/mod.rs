//! The runtime: the only place where effects become I/O.
//!
//! It may use every module below it; it knows neither HTTP for clients nor the command line.
//!
//! | file | what |
//! |---|---|
//! | `node.rs`, `start.rs` | a running node: its configuration, its tasks, starting and stopping |
//! | `environment.rs` | what a node finds outside itself |
//! | `load.rs` | builds the engine from the disk |
//! | `backlog.rs` | what is applied and not in the views yet, for the projector |
//! | `event_loop.rs` | the event loop: every event enters the engine here, every effect leaves from here |
//! | `message.rs`, `replies.rs` | what the loop takes in, and the replies that it owes |
//! | `executor.rs` | effects become tasks: requests to peers, reads of the ledger, commands to ZooKeeper |
//! | `writer.rs`, `projector.rs`, `upkeep.rs` | the tasks that write the ledger, project the views, check the ledger |
//! | `peer_service.rs`, `peer_reads.rs` | requests of peers, and the entries that peers are sent |
//! | `handle.rs` | [`NodeHandle`], which request handlers hold; `engine_link.rs` is its way into the loop |
//! | `submit.rs`, `forward.rs` | writes: to this node's loop, or in batches to the leader |
//! | `gate.rs` | the way into the loop for the writes of other threads that serve clients |
//! | `read_point.rs`, `read_indexes.rs` | when a read may be answered |
//! | `accounts.rs` | reads of the bank |
//! | `api_keys.rs` | the API keys by which callers are judged, and the first one |
//! | `backup.rs` | reads of the ledger for copies of it |
//! | `traces.rs` | what is noted for traces, and the task that sends them |
//! | `transfer.rs` | hands the leadership over |
//! | `status.rs`, `progress.rs`, `metrics.rs`, `elections.rs` | what a node shows of itself |
//! | `repair.rs` | whether a quarantined node begins again by itself |
//! | `error.rs` | why a node cannot start, or had to stop |

mod accounts;
mod api_keys;
mod backlog;
mod backup;
mod elections;
mod engine_link;
mod environment;
mod error;
mod event_loop;
mod executor;
mod forward;
mod gate;
mod handle;
mod load;
mod message;
mod metrics;
mod node;
mod peer_reads;
mod peer_service;
mod progress;
mod projector;
mod read_indexes;
mod read_point;
mod repair;
mod replies;
mod start;
mod status;
mod submit;
mod traces;
mod transfer;
mod upkeep;
mod writer;

pub use crate::ledger::Stretch;
pub use crate::query::{
    Cursor, Page, PaymentFilter, PaymentRecord, Queries, ReadError, StatementFilter, StatementLine,
};
pub use crate::transport::CommittedWrite;
pub use accounts::{AccountSnapshot, BankSummary};
pub use api_keys::ApiKeys;
pub use engine_link::EngineLink;
pub use environment::Environment;
pub use error::NodeError;
pub use handle::NodeHandle;
pub use metrics::Metrics;
pub use node::{Node, NodeConfig};
pub use progress::NodeProgress;
pub use read_point::{Consistency, ReadPoint};
pub use status::{ClockStatus, FollowerStatus, NodeStatus, PeerStatus, Role, ViewsRebuilding};
pub use submit::SubmitError;
pub use transfer::TransferError;
