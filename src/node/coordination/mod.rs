//! Coordination through ZooKeeper: which nodes live, who is next in the election queue, which epoch is free.
//!
//! Safety does not depend on anything here. Every answer may be late or wrong, every command may fail or take effect
//! twice: the replica's promises and fences decide. This module carries out
//! [`CoordinationCommand`](quorapay_core::replication::CoordinationCommand)s and reports
//! [`CoordinationEvent`](quorapay_core::replication::CoordinationEvent)s; it never decides whether a node stands for
//! election, waits or steps down. It knows no ledger, no peer protocol and no clock beyond timeouts.
//!
//! | file | what |
//! |---|---|
//! | `handle.rs` | starts and stops the task |
//! | `task.rs` | the task that owns the session: connects, keeps the znodes in place, carries out commands |
//! | `session.rs` | one session: operations with timeouts, watches, closing |
//! | `outside.rs` | the seam: what is needed of ZooKeeper and of the network |
//! | `client.rs`, `probe.rs` | the real ZooKeeper and the real network behind it |
//! | `membership.rs` | the claim to the node id, `live/<node>` |
//! | `queue.rs` | this node's place in the election queue |
//! | `epochs.rs` | the epoch counter, and the steps that a znode's version guards |
//! | `layout.rs` | paths, contents and access lists of the znodes |
//! | `reporter.rs` | reports each change once, to the runtime and to the log |
//! | `config.rs`, `notice.rs` | what goes in and what comes out |
//!
//! ```text
//! connect ──► session ──► live/<node> held ──► place in the queue ──► watch own znode and the predecessor's
//!    ▲           │ Disconnected: QueueRank::Absent, no operation until SyncConnected, then everything is read again
//!    └───────────┘ Expired: a new session with new znodes
//! ```
//!
//! Numbered invariants:
//! 1. No operation is issued while the client is disconnected: it would wait in the client without bound and run later,
//!    when nobody waits for it any more.
//! 2. Every operation has its own timeout, and every change names a version or is guarded by a check. A lost
//!    connection, the client's "no response" and a timeout all mean *unknown*: read again, never assume.
//! 3. A place in the queue is only taken while `live/<node>` is held by the same session.

mod client;
mod config;
mod epochs;
mod handle;
mod layout;
mod membership;
mod notice;
mod outside;
mod probe;
mod queue;
mod reporter;
mod session;
mod task;

pub use config::{CoordinationConfig, Credential};
pub use handle::{Coordination, CoordinationCommands, start};
pub use notice::{CoordinationError, CoordinationNotice};
pub use outside::{Lifetime, Outside, Probe, Prober, Watch, Znode, ZooKeeper, ZooKeeperSession};
