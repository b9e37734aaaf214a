//! The replication protocol as a pure state machine: events in, effects out.
//!
//! It does not know sockets, disks, clocks, ZooKeeper clients or random sources: time comes in with every event,
//! everything to be done goes out as an [`Effect`]. So the simulation runs a whole cluster in one thread.
//!
//! ```text
//!                 first in the queue, and no leader:
//!                 a majority says so, or its process is gone
//!   ┌──────────┐ ─────────────────────────────────▶ ┌───────────────────────────────────────┐
//!   │ Follower │                                    │ Candidate                             │
//!   │          │ ◀───────────────────────────────── │ TakingEpoch ─▶ Fencing ─▶ (Fetching)  │
//!   └──────────┘   no longer first, took too long,  └───────────────────────────────────────┘
//!        ▲         accepted another epoch                      │ promises of a majority,
//!        │                                                     ▼ the best log copied
//!        │   higher epoch, no quorum answers,       ┌───────────────────────────────────────┐
//!        └───────────────────────────────────────── │ Leader: EpochStart ─commits─▶ open    │
//!                  leadership transferred           └───────────────────────────────────────┘
//! ```
//!
//! # Map
//! Each file uses only files above it in this list.
//! ```text
//! types            ids, positions, promises, configurations
//! entry            log entries and their hash chain
//! stretch          consecutive entries as bytes, for copies of the ledger
//! message          requests and responses between peers
//! effect           events and effects
//! config, start    settings and limits; what the ledger holds at start
//! log              the log in memory
//! pacing           batches that wait for the views
//! storage          the ledger file: the write in flight, what is durable, responses that wait for that
//! cluster_clock    how far each node's clock is off, and whose is false
//! quorum, clocks   what a quorum has reached; the ledger's time
//! forwarded_reads  reads that wait for the leader's read index
//! state            the state that all roles share, with the elementary operations
//! voter            answers to a candidate, in all roles
//! transition       the changes of role that a handler may ask for
//! follower         ┐ one handler for each role, which borrows the role's own data and the shared state; it never
//! candidate        │ changes the role
//! leader           ┘
//! replica          dispatches events to the handlers, performs transitions, checks the invariants
//! queries          read access for the engine and the runtime
//! ```
//!
//! # Contract
//! - The caller executes [`Effect::Persist`] in the order of the ids, each in one durable transaction, and confirms it with
//!   [`Event::Persisted`]. A failed write ends the process.
//! - Requests may be lost, delayed, duplicated and reordered, and `Unanswered` may be reported for one that arrived.
//! - [`Replica::take_effects`] is called after one `step` or many: what came in between is one batch.
//! - ZooKeeper may be wrong, late or down. It suggests candidates; it never decides what is true.
//!
//! # Invariants
//! 1. A promise is never lowered, and nothing is answered under it before it is durable.
//! 2. The commit index never falls, never passes the end of the log, and everything up to it is on a quorum.
//! 3. Nothing at or below the commit index is ever truncated: the replica halts instead.
//! 4. What counts as durable is in the ledger file and equal to the log in memory.
//! 5. The leader of an epoch has promised that epoch to itself.
//! 6. A leader commits by counting copies only of entries of its own epoch; older ones are committed along with them.
//! 7. Two entries with the same index and epoch are equal, and so is everything before them.
//! 8. Acknowledgements count by node *and* store, as its process last reported them: a wiped disk has acknowledged
//!    nothing, and a restarted process counts for nothing until it reports again.
//! 9. The rule version that the starts of epochs name never falls along a log, and the log's node knows it.
//!
//! Numbers 1 to 5 and 9 are checked after every step, in release builds too; 6 to 8 hold by construction and are checked
//! across nodes by the simulation (`tests/sim/invariants`).

mod candidate;
mod clocks;
mod cluster_clock;
mod config;
mod effect;
mod entry;
mod follower;
mod forwarded_reads;
mod leader;
mod log;
mod message;
mod pacing;
mod queries;
mod quorum;
mod replica;
#[cfg(any(test, feature = "samples"))]
pub mod sample;
mod start;
mod state;
mod storage;
mod stretch;
#[cfg(test)]
mod tests;
mod transition;
mod types;
mod voter;

pub use cluster_clock::{ClockView, ClusterTime};
pub use config::{Limits, ReplicaConfig, Timing};
pub use effect::{
    CoordinationCommand, CoordinationEvent, Effect, Event, LogChange, Outgoing, Persist, PersistId, QueueRank, ReadId,
    RequestId, RpcId,
};
pub use entry::{Entry, EntryBody, UnchainedEntry};
pub use leader::FollowerView;
pub use message::{Acknowledged, Append, ClockTimes, EntryBatch, EpochSpan, FenceAnswer, Request, Response};
pub use replica::Replica;
pub use start::ReplicaStart;
pub use stretch::{MAX_ENTRY_BYTES, StretchError, append_to_stretch, read_stretch};
pub use types::{Configuration, Hash, NodeId, NodeIdError, Now, Position, Promise, StoreId, Voter, can_follow};
