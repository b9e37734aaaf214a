//! What goes into the replica and what comes out of it. The order in which effects may become I/O is written on them.

use std::sync::Arc;

use super::entry::Entry;
use super::message::{Request, Response};
use super::types::{NodeId, Promise};
use crate::domain::{Epoch, LogIndex};

/// Numbers the requests that a replica sends, so that an answer finds its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a peer's request that is waiting for this node's response. Chosen by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcId(pub u64);

/// Numbers writes to the ledger, from 1, in the order in which they must be made durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// Names a local read that waits for a read index. Chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A peer asks.
    Request {
        /// Names the waiting peer.
        rpc: RpcId,
        /// Who asks.
        from: NodeId,
        /// What it asks.
        request: Request,
    },
    /// A peer answered.
    Response {
        /// The question.
        id: RequestId,
        /// Who answered.
        from: NodeId,
        /// The answer.
        response: Response,
    },
    /// A question stays without an answer: not connected, timed out or refused. Whether it arrived is unknown.
    Unanswered {
        /// The question.
        id: RequestId,
        /// Who was asked.
        to: NodeId,
    },
    /// A write to the ledger and all before it are durable.
    Persisted(PersistId),
    /// Entries read from the ledger for a follower that is behind.
    Loaded {
        /// The follower.
        peer: NodeId,
        /// Consecutive entries, the first at the index asked for; empty if they could not be read.
        entries: Vec<Arc<Entry>>,
    },
    /// A peer's process is gone: its connection broke and a new one was refused.
    PeerGone(NodeId),
    /// ZooKeeper says something.
    Coordination(CoordinationEvent),
    /// This node must not vote, acknowledge or answer reads from now on: its ledger is damaged.
    Quarantine(String),
}

/// What ZooKeeper tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinationEvent {
    /// This node's place in the election queue changed.
    QueueRank(QueueRank),
    /// The epoch asked for was taken: nobody else ever gets it.
    EpochTaken(Epoch),
    /// The epoch could not be taken. Ask again if it is still wanted.
    EpochRefused,
}

/// Where this node stands in the election queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueRank {
    /// Not connected, or without an election znode: it is no candidate.
    #[default]
    Absent,
    /// Behind at least one other node.
    Behind,
    /// Lowest sequence: the candidate.
    First,
}

/// Something to be done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make a write durable, in one transaction, in the order of the ids; then say [`Event::Persisted`].
    /// A failure is an unknown outcome: the process must end.
    Persist(Persist),
    /// Ask a peer. May run beside any [`Effect::Persist`]: whatever had to be durable first already is.
    Send {
        /// The question's number.
        id: RequestId,
        /// Who is asked.
        to: NodeId,
        /// What is asked.
        request: Outgoing,
    },
    /// Answer a peer. Whatever had to be durable first already is.
    Respond {
        /// The waiting peer.
        rpc: RpcId,
        /// The answer.
        response: Response,
    },
    /// Answer a peer with entries from the ledger: the place before `from_index` and as many entries as fit.
    RespondEntries {
        /// The waiting peer.
        rpc: RpcId,
        /// First entry wanted.
        from_index: LogIndex,
        /// Last entry wanted; durable here.
        to_index: LogIndex,
    },
    /// Read entries for a follower that is behind what memory holds; then say [`Event::Loaded`].
    Load {
        /// The follower.
        peer: NodeId,
        /// The entry from which to read.
        from_index: LogIndex,
        /// The last entry to read; durable here.
        to_index: LogIndex,
    },
    /// Ask something of ZooKeeper.
    Coordinate(CoordinationCommand),
    /// A read may be answered locally once `index` is applied.
    ReadReady {
        /// The read.
        read: ReadId,
        /// The index to wait for.
        index: LogIndex,
    },
    /// No read index could be had; try again when there is a leader.
    ReadRefused(ReadId),
    /// Stop this process: an invariant is broken. Nothing more may be written or answered.
    Halt(String),
}

/// A change of the log, in the order in which it happened: the bank follows it.
#[derive(Clone, Debug)]
pub enum LogChange {
    /// An entry was added at the end.
    Appended(Arc<Entry>),
    /// Every entry above this index was removed; none of them was committed.
    TruncatedAfter(LogIndex),
}

/// A request to be sent: appends hold shared entries, so that a batch for several followers is encoded from one copy.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// Anything but an append with entries.
    Plain(Request),
    /// An append with entries.
    Append {
        /// The append with an empty batch.
        head: super::message::Append,
        /// The entries of the batch.
        entries: Vec<Arc<Entry>>,
    },
}

/// One write to the ledger: everything in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persist {
    /// Its number.
    pub id: PersistId,
    /// The new promise, if it changes.
    pub promise: Option<Promise>,
    /// Remove all entries above this index before the new ones are stored.
    pub truncate_after: Option<LogIndex>,
    /// Entries to store at the end of the log.
    pub entries: Vec<Arc<Entry>>,
    /// The commit index as known; stored along, as a lower bound.
    pub commit_index: LogIndex,
}

/// What is asked of ZooKeeper. None of it decides safety: each may fail, come late or be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinationCommand {
    /// Take an epoch of at least this number by compare-and-set. Answered by `EpochTaken` or `EpochRefused`.
    TakeEpoch {
        /// The least number that will do.
        at_least: Epoch,
    },
    /// Say in the `leader` znode that this node leads.
    PublishLeader {
        /// The epoch that it leads.
        epoch: Epoch,
    },
    /// Give up the place in the election queue and go to its end.
    GoToBack,
    /// Remove the predecessor's election znode if it belongs to this node, whose process is gone or which a majority
    /// does not hear, and if no leadership newer than `epoch` has begun.
    RemovePredecessor {
        /// The node believed dead.
        node: NodeId,
        /// The newest epoch that this node knows.
        epoch: Epoch,
    },
}
