//! The replication protocol as a pure state machine: events in, effects out.
//!
//! It knows no socket, disk, clock, ZooKeeper client or random source: time comes in with every event, everything to be
//! done goes out as an [`Effect`]. That is what lets a whole cluster run under simulation in one thread.
//!
//! ```text
//!                 first in line, no leader heard
//!                 (asked a majority, or its process is gone)
//!   ┌──────────┐ ─────────────────────────────────▶ ┌───────────────────────────────────────┐
//!   │ Follower │                                    │ Candidate                             │
//!   │          │ ◀───────────────────────────────── │ TakingEpoch ─▶ Fencing ─▶ (Fetching)  │
//!   └──────────┘   lost its place, took too long,   └───────────────────────────────────────┘
//!        ▲         heard a higher epoch                        │ promises of a majority,
//!        │                                                     ▼ the best log copied
//!        │   higher epoch, no quorum answers,       ┌───────────────────────────────────────┐
//!        └───────────────────────────────────────── │ Leader: EpochStart ─commits─▶ open    │
//!                  handed over                      └───────────────────────────────────────┘
//! ```
//!
//! # Contract
//! - The caller carries out [`Effect::Persist`] in the order of the ids, each in one durable transaction, and says so. A
//!   failed write ends the process.
//! - Requests may be lost, delayed, doubled and reordered, and `Unanswered` may be said of one that arrived.
//! - [`Replica::take_effects`] is called after one `step` or many: what came in between is one batch.
//! - ZooKeeper may lie, be late or be gone. It suggests who stands; it never decides what is true.
//!
//! # Invariants
//! 1. A promise is never lowered, and nothing is answered under it before it is durable.
//! 2. The commit index never falls, never passes the end of the log, and everything up to it is on a quorum.
//! 3. Nothing at or below the commit index is ever truncated: the replica halts instead.
//! 4. What counts as durable is in the ledger file and equal to the log in memory.
//! 5. Who leads an epoch has promised that epoch to itself.
//! 6. A leader commits by counting copies only of entries of its own epoch; older ones are committed along with them.
//! 7. Two entries with the same index and epoch are equal, and so is everything before them.
//! 8. Acknowledgements count by node *and* store: a wiped disk has acknowledged nothing.
//!
//! Numbers 1 to 5 are checked after every step, in release builds too; 6 to 8 hold by construction and are checked across
//! nodes by the simulation (`tests/sim/invariants`).

mod candidate;
mod effect;
mod entry;
mod follower;
mod leader;
mod log;
mod membership;
mod message;
mod reads;
mod recovery;
mod replica;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
mod start;
mod storage;
mod time;
mod types;

pub use effect::{
    CoordinationCommand, CoordinationEvent, Effect, Event, Outgoing, Persist, PersistId, QueueRank, ReadId, RequestId,
    RpcId,
};
pub use entry::{Entry, EntryBody, UnchainedEntry};
pub use leader::FollowerView;
pub use message::{Append, EntryBatch, EpochSpan, FenceAnswer, Request, Response};
pub use replica::{LogChange, Replica};
pub use start::{Limits, ReplicaConfig, ReplicaStart, Timing};
pub use types::{Configuration, Hash, NodeId, NodeIdError, Now, Position, Promise, StoreId, Voter};
