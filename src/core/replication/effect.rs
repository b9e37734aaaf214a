//! The replica's events and effects. Each effect says what it may run concurrently with.

use std::sync::Arc;

use super::entry::Entry;
use super::message::{Append, Request, Response};
use super::types::{NodeId, Promise};
use crate::domain::{Epoch, LogIndex, RuleVersion};

/// Numbers the requests that a replica sends, to match responses with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Identifies a peer's request that waits for this node's response. Chosen by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcId(pub u64);

/// Numbers the writes to the ledger, from 1, in the order in which they must become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersistId(pub u64);

/// Identifies a local read that waits for a read index. Chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// An event for the replica.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed.
    Tick,
    /// A request from a peer.
    Request {
        /// Identifies the request.
        rpc: RpcId,
        /// The sender.
        from: NodeId,
        /// The request.
        request: Request,
    },
    /// A peer's response.
    Response {
        /// The request that it responds to.
        id: RequestId,
        /// The sender.
        from: NodeId,
        /// The response.
        response: Response,
    },
    /// A request has no response: not connected, timed out or refused. Whether it arrived is unknown.
    Unanswered {
        /// The request that it responds to.
        id: RequestId,
        /// The receiver.
        to: NodeId,
    },
    /// A write to the ledger, and all before it, are durable.
    Persisted(PersistId),
    /// Entries that were read from the ledger for a follower.
    Loaded {
        /// The follower.
        peer: NodeId,
        /// Consecutive entries from the requested index on; empty if they could not be read.
        entries: Vec<Arc<Entry>>,
    },
    /// A peer's process is gone: its connection broke and a new one was refused.
    PeerGone(NodeId),
    /// Whether this node can open connections to a peer. Until the first report it is assumed to.
    PeerReachable {
        /// The peer.
        peer: NodeId,
        /// Whether it can.
        reachable: bool,
    },
    /// News from ZooKeeper.
    Coordination(CoordinationEvent),
    /// The ledger is damaged: this node must no longer vote, acknowledge or answer reads.
    Quarantine(String),
}

/// News from ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinationEvent {
    /// This node's rank in the election queue changed.
    QueueRank(QueueRank),
    /// The requested epoch was taken: no other node ever gets it.
    EpochTaken(Epoch),
    /// The epoch could not be taken.
    EpochRefused,
    /// A predecessor was not removed from the queue: an epoch was taken that is newer than the one named in the command.
    NotRemoved {
        /// The node that keeps its place.
        node: NodeId,
        /// The newest epoch.
        newest: Epoch,
        /// The node that took it.
        taker: NodeId,
    },
}

/// A node's rank in the election queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueRank {
    /// Not in the queue: not connected, or without an election znode.
    #[default]
    Absent,
    /// Behind at least one other node.
    Behind,
    /// Lowest sequence number: it may become the candidate.
    First,
}

/// Something that the runtime must do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make a write durable, in one transaction, in the order of the ids; then confirm it with [`Event::Persisted`].
    /// A failure has an unknown outcome: the process must end.
    Persist(Persist),
    /// Send a request. May run concurrently with any [`Effect::Persist`]: whatever must be durable first already is.
    Send {
        /// The request's number.
        id: RequestId,
        /// The receiver.
        to: NodeId,
        /// The request.
        request: Outgoing,
    },
    /// Respond to a peer. Whatever must be durable first already is.
    Respond {
        /// The peer's request.
        rpc: RpcId,
        /// The response.
        response: Response,
    },
    /// Respond with entries from the ledger: the position before `from_index`, and as many entries as fit.
    RespondEntries {
        /// The peer's request.
        rpc: RpcId,
        /// The first entry requested.
        from_index: LogIndex,
        /// The last entry requested; durable here.
        to_index: LogIndex,
    },
    /// Read entries for a follower that needs older ones than memory holds; then feed [`Event::Loaded`].
    Load {
        /// The follower.
        peer: NodeId,
        /// The first entry to read.
        from_index: LogIndex,
        /// The last entry to read; durable here.
        to_index: LogIndex,
    },
    /// Send a command to ZooKeeper.
    Coordinate(CoordinationCommand),
    /// A read may be answered locally once `index` is applied.
    ReadReady {
        /// The read.
        read: ReadId,
        /// The index to wait for.
        index: LogIndex,
    },
    /// There is no read index to be had now, for lack of a leader.
    ReadRefused(ReadId),
    /// Stop this process: an invariant is broken. Nothing more may be written or answered.
    Halt(String),
    /// Stop this process: it must store an entry that is decided by rules that its program does not know. Nothing is
    /// damaged; a newer program goes on from here.
    Outdated {
        /// The start of an epoch that names the rules.
        index: LogIndex,
        /// Those rules.
        rules: RuleVersion,
    },
}

/// A change of the log, in the order in which it happened: the bank follows it.
#[derive(Clone, Debug)]
pub enum LogChange {
    /// An entry was added at the end.
    Appended(Arc<Entry>),
    /// Every entry above this index was removed; none of them was committed.
    TruncatedAfter(LogIndex),
}

/// A request to send. Appends share their entries, so that a batch for several followers is not copied.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// Anything but an append with entries.
    Plain(Request),
    /// An append with entries.
    Append {
        /// The append with an empty batch.
        head: Append,
        /// The entries of the batch.
        entries: Vec<Arc<Entry>>,
    },
}

/// One write to the ledger, in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Persist {
    /// Its number.
    pub id: PersistId,
    /// The new promise, if it changes.
    pub promise: Option<Promise>,
    /// Remove all entries above this index before storing the new ones.
    pub truncate_after: Option<LogIndex>,
    /// Entries to store at the end of the log.
    pub entries: Vec<Arc<Entry>>,
    /// The commit index as far as known, stored as a lower bound.
    pub commit_index: LogIndex,
}

/// A command to ZooKeeper. Safety does not depend on any: each may fail, come late or be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinationCommand {
    /// Take an epoch of at least this number by compare-and-set. Answered by `EpochTaken` or `EpochRefused`.
    TakeEpoch {
        /// The lowest acceptable number.
        at_least: Epoch,
    },
    /// Name this node as the leader in the `leader` znode.
    PublishLeader {
        /// The leader's epoch.
        epoch: Epoch,
    },
    /// Leave the election queue and join it again at its end.
    GoToBack,
    /// Remove the predecessor's election znode if it belongs to `node`, whose process is gone or which a majority does
    /// not hear, and if no epoch newer than `epoch` was taken. Answered by `NotRemoved` if one was.
    RemovePredecessor {
        /// The node believed dead.
        node: NodeId,
        /// The newest epoch known to the sender of this command.
        epoch: Epoch,
    },
}
