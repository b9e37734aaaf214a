//! What peers say to each other. Every request is answered by one response; both may be lost, delayed, repeated.

use serde::{Deserialize, Serialize};

use super::entry::UnchainedEntry;
use super::types::{Hash, NodeId, Position, StoreId};
use crate::domain::{Epoch, LogIndex, Timestamp};

/// From one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Pre-vote: "do you hear a leader?" Changes nothing at the receiver.
    PreVote,
    /// "Promise this epoch to me": the candidate's first step.
    Fence {
        /// The epoch that ZooKeeper gave the candidate.
        epoch: Epoch,
        /// The candidate's commit index: the answer describes the log from there on.
        commit_index: LogIndex,
    },
    /// "Send me your entries from here": the candidate copies the best log.
    Fetch {
        /// The epoch being recovered; refused by a node that has promised a higher one.
        epoch: Epoch,
        /// The first entry wanted.
        from_index: LogIndex,
        /// The last entry wanted.
        to_index: LogIndex,
    },
    /// "Append these": the leader's word.
    Append(Append),
    /// "Up to which index must I have applied to answer a linearizable read?"
    ReadIndex,
    /// "Stay out of the next election until it is over": the leader hands over to one particular node.
    Transfer {
        /// The leader's epoch.
        epoch: Epoch,
        /// The node that is to lead next.
        successor: NodeId,
    },
}

/// The leader's entries, or with none of them its heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// Number of the quorum round in which it was sent: an answer confirms the leadership as of that round.
    pub round: u64,
    /// The entries and the place that they follow, or `None` for a heartbeat that says nothing of the log.
    pub log: Option<EntryBatch>,
    /// The leader's commit index.
    pub commit_index: LogIndex,
    /// The chain's hash at `commit_index`, if the leader has it at hand: the follower compares.
    pub commit_hash: Option<Hash>,
}

/// Consecutive entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryBatch {
    /// The place before the first entry.
    pub previous: Position,
    /// The entries; may be empty, to ask only whether `previous` matches.
    pub entries: Vec<UnchainedEntry>,
}

/// One epoch's stretch of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochSpan {
    /// The epoch.
    pub epoch: Epoch,
    /// Index of its first entry.
    pub start: LogIndex,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To `PreVote`.
    PreVote {
        /// Whether a leader was heard within the heartbeat timeout.
        hears_leader: bool,
        /// The highest epoch that the node has promised.
        promised: Epoch,
        /// End of its log: a new cluster starts only if every log is empty.
        last_index: LogIndex,
    },
    /// To `Fence`: the promise is durable.
    Promised(Box<FenceAnswer>),
    /// To `Fetch`.
    Entries {
        /// The place before the first entry.
        previous: Position,
        /// The entries, as many as fit a batch.
        entries: Vec<UnchainedEntry>,
        /// The chain's hash at the last of them as the source has it stored: a damaged source gives itself away.
        last_hash: Hash,
    },
    /// To `Append`: everything up to `matched` is durable here and equal to the leader's.
    Appended {
        /// The round that was asked in.
        round: u64,
        /// Highest index known to be equal to the leader's and durable.
        matched: LogIndex,
        /// The store that vouches for it.
        store_id: StoreId,
        /// What the node's wall clock says.
        clock: Timestamp,
    },
    /// To `Append`: the entry before the batch is not in this log, which has another one there or ends earlier.
    Mismatch {
        /// The round that was asked in.
        round: u64,
        /// The index asked for, or the end of this log if that is lower.
        index: LogIndex,
        /// Epoch of this log's entry at `index`.
        epoch: Epoch,
        /// Index of this log's first entry of that epoch.
        epoch_start: LogIndex,
        /// The store that says so.
        store_id: StoreId,
    },
    /// A higher epoch, or this one for another node, has been promised.
    Fenced {
        /// The promised epoch.
        promised: Epoch,
    },
    /// To `ReadIndex`: applied up to here, a local read is linearizable.
    ReadIndex {
        /// The epoch that a quorum confirmed.
        epoch: Epoch,
        /// The leader's commit index when it was asked.
        commit_index: LogIndex,
    },
    /// To `Yield`.
    Transferring,
    /// The receiver cannot answer now: it does not lead, is quarantined or could not read its ledger.
    Unable,
}

/// What a voter tells the candidate whom it promised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceAnswer {
    /// The promised epoch.
    pub epoch: Epoch,
    /// The store that promises.
    pub store_id: StoreId,
    /// End of its log.
    pub last: Position,
    /// Its commit index.
    pub commit_index: LogIndex,
    /// Its epochs that reach above the lower of both commit indexes, oldest first.
    pub spans: Vec<EpochSpan>,
    /// What its wall clock says.
    pub clock: Timestamp,
}
