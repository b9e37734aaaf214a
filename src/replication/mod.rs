//! The replication protocol as a pure state machine: events in, effects out.
//!
//! It knows no socket, disk, clock, ZooKeeper client or random source.

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
#[cfg(test)]
pub(crate) mod sample;
mod start;
mod storage;
mod types;

pub use effect::{
    CoordinationCommand, CoordinationEvent, Effect, Event, Outgoing, Persist, PersistId, Place, ReadId, RequestId,
    RpcId,
};
pub use entry::{Body, Entry, UnchainedEntry};
pub use message::{Append, Batch, EpochSpan, FenceAnswer, Request, Response};
pub use replica::{LogChange, Replica};
pub use start::{Limits, ReplicaConfig, ReplicaStart, Timing};
pub use types::{
    Configuration, Epoch, Hash, LogIndex, NodeId, NodeIdError, Now, Position, Promise, StoreId, Timestamp, Voter,
};
