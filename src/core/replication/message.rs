//! The messages between peers. Each request has one response; both may be lost, delayed or repeated.

use serde::{Deserialize, Serialize};

use super::entry::UnchainedEntry;
use super::types::{Hash, NodeId, Position, StoreId};
use crate::domain::{Epoch, LogIndex, RuleVersion, Timestamp};

/// A request from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Asks whether the receiver hears a leader. Changes nothing there.
    PreVote,
    /// A candidate asks for the promise of its epoch.
    Fence {
        /// The epoch that the candidate took in ZooKeeper.
        epoch: Epoch,
        /// The candidate's commit index: the answer describes the log from there on.
        commit_index: LogIndex,
    },
    /// A candidate copies the best log.
    Fetch {
        /// The candidate's epoch; a node that has promised a higher one refuses.
        epoch: Epoch,
        /// The first entry requested.
        from_index: LogIndex,
        /// The last entry requested.
        to_index: LogIndex,
    },
    /// The leader sends entries or a heartbeat.
    Append(Append),
    /// Asks what the receiver's clock shows. Changes nothing there.
    Clock,
    /// A follower asks for a read index: what it must have applied to answer a linearizable read.
    ReadIndex,
    /// The leader transfers the leadership to one node; the others let it win the next election.
    Transfer {
        /// The leader's epoch.
        epoch: Epoch,
        /// The node that leads next.
        successor: NodeId,
    },
}

/// Entries of the leader's log, or a heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Append {
    /// The leader's epoch.
    pub epoch: Epoch,
    /// The quorum round in which it is sent: a response confirms the leadership as of that round.
    pub round: u64,
    /// The entries and the position before them; `None` for a heartbeat.
    pub log: Option<EntryBatch>,
    /// The leader's commit index.
    pub commit_index: LogIndex,
    /// The chain's hash at `commit_index`, if the leader has it in memory: the follower compares it with its own.
    pub commit_hash: Option<Hash>,
    /// The newest rules that all nodes know, as the leader has just heard from each: the next leader may lead by them.
    pub common_rules: RuleVersion,
    /// How far the true time can be from the stamp of an entry that is appended now, in milliseconds; `None` while no
    /// majority of clocks agrees.
    pub time_error_ms: Option<u64>,
    /// What the receiver has acknowledged to this leader.
    pub acknowledged: Option<Acknowledged>,
}

/// What a response says of the responding node's clocks, in microseconds. With the times at which the request was sent and
/// the response arrived, this is a sample of its wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockTimes {
    /// The wall clock when the request arrived, since 1970.
    pub received_us: u64,
    /// How long the request then waited for its response, by the monotonic clock.
    pub held_us: u64,
}

impl ClockTimes {
    /// What the wall clock showed when the response was sent, unless it was set in between.
    #[must_use]
    pub const fn sent(&self) -> Timestamp {
        Timestamp(self.received_us.saturating_add(self.held_us) / 1_000)
    }
}

/// What a store has acknowledged to a leader. A store that no longer holds it has forgotten what was counted: it is
/// damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The store.
    pub store_id: StoreId,
    /// Highest index acknowledged.
    pub index: LogIndex,
    /// Epoch of the entry at `index`.
    pub epoch: Epoch,
}

/// Consecutive entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryBatch {
    /// The position before the first entry.
    pub previous: Position,
    /// The entries; none to ask only whether `previous` matches.
    pub entries: Vec<UnchainedEntry>,
}

/// The part of a log that one epoch appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochSpan {
    /// The epoch.
    pub epoch: Epoch,
    /// Index of its first entry.
    pub start: LogIndex,
    /// The rules that decide its entries.
    pub rules: RuleVersion,
}

impl EpochSpan {
    /// The rules that are in force after the entry at `index`, in a log with these epochs.
    #[must_use]
    pub fn rules_after(spans: &[Self], index: LogIndex) -> RuleVersion {
        let after = spans.partition_point(|span| span.start <= index);
        after.checked_sub(1).map_or(RuleVersion::FIRST, |at| spans[at].rules)
    }
}

/// The response to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// To `PreVote`.
    PreVote {
        /// Whether a leader was heard within the heartbeat timeout, or the node is itself about to lead.
        hears_leader: bool,
        /// Whether the node can open connections to the one that asks.
        reaches: bool,
        /// The highest epoch that the node has promised.
        promised: Epoch,
        /// End of its log: a new cluster is founded only if every log is empty.
        last: Position,
    },
    /// To `Fence`: the promise is durable.
    Promised(Box<FenceAnswer>),
    /// To `Fetch`.
    Entries {
        /// The position before the first entry.
        previous: Position,
        /// As many entries as fit into a batch.
        entries: Vec<UnchainedEntry>,
        /// The chain's hash at the last of them, as stored at the source: it shows whether the source is damaged.
        last_hash: Hash,
    },
    /// To `Append`: everything up to `matched` is durable here and equal to the leader's.
    Appended {
        /// The round of the append.
        round: u64,
        /// Highest index known to be equal to the leader's and durable.
        matched: LogIndex,
        /// The responding store.
        store_id: StoreId,
        /// The responding node's clocks.
        clock: ClockTimes,
        /// Whether the responding node judges the leader's clock false.
        leader_is_false: bool,
        /// The nodes to which the responding one cannot open connections.
        unreachable: Vec<NodeId>,
        /// Whether the responding node stands in ZooKeeper's election queue: without that it can take no epoch.
        in_queue: bool,
        /// The newest rules that the responding program knows.
        newest_rules: RuleVersion,
    },
    /// To `Append`: this log has another entry before the batch, or ends earlier.
    Mismatch {
        /// The round of the append.
        round: u64,
        /// The index before the batch, or the end of this log if that is lower.
        index: LogIndex,
        /// Epoch of this log's entry at `index`.
        epoch: Epoch,
        /// Index of this log's first entry of that epoch.
        epoch_start: LogIndex,
        /// The responding store.
        store_id: StoreId,
    },
    /// The node has promised a higher epoch, or the same epoch to another node.
    Fenced {
        /// The promised epoch.
        promised: Epoch,
    },
    /// To `Clock`.
    Clock(ClockTimes),
    /// To `ReadIndex`: once this index is applied, a local read is linearizable.
    ReadIndex {
        /// The epoch that a quorum confirmed.
        epoch: Epoch,
        /// The leader's commit index when the request arrived.
        commit_index: LogIndex,
    },
    /// To `Transfer`.
    Transferring,
    /// The receiver cannot answer now: it does not lead, is quarantined, cannot read its ledger, or its disk hangs.
    Unable,
}

/// A voter's answer to the candidate that it promised its epoch to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceAnswer {
    /// The promised epoch.
    pub epoch: Epoch,
    /// The promising store.
    pub store_id: StoreId,
    /// End of its log.
    pub last: Position,
    /// Its commit index.
    pub commit_index: LogIndex,
    /// Its epochs above the lower of both commit indexes, oldest first.
    pub spans: Vec<EpochSpan>,
    /// Its wall clock.
    pub clock: Timestamp,
    /// The newest rules that its program knows.
    pub newest_rules: RuleVersion,
}
