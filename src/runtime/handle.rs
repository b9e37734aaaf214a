//! What request handlers hold: bounded ways into the event loop, and the read pools.

use std::sync::Arc;
use std::time::Instant;

use crate::domain::{AccountId, AccountState, KeyDigest, Proposal};
use crate::replication::{Entry, Epoch, LogIndex, NodeId};

use super::status::{NodeStatus, PeerView};

/// A way into a running node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {}

/// A write that is committed.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The ledger entry that decided it, refusals included.
    pub entry: Arc<Entry>,
    /// Whether the same request had been decided before under this key.
    pub replayed: bool,
    /// The node that led when it was answered.
    pub leader: NodeId,
    /// The epoch in which it was answered.
    pub epoch: Epoch,
}

/// Why a write has no committed entry to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The key was used before for another request. Nothing moved.
    #[error("the idempotency key was used before for another request")]
    KeyReused,
    /// The node's queue is full. Nothing moved.
    #[error("the node's queue is full")]
    Overloaded,
    /// No leader was found within the deadline, and the write was handed to none. Nothing moved.
    #[error("no leader within the deadline")]
    NoLeader,
    /// The write was handed to a leader and its outcome was not learnt within the deadline.
    #[error("the outcome was not learnt within the deadline")]
    Unknown,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Shows every write that was answered before the read began.
    #[default]
    Linearizable,
    /// Whatever this node has applied.
    Local,
}

/// From where a read may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPoint {
    /// Everything up to here is applied on this node; answer as of here.
    pub applied_index: LogIndex,
    /// The epoch that this node follows.
    pub epoch: Epoch,
    /// Milliseconds since a leader confirmed this node's commit index; 0 for a linearizable read.
    pub staleness_ms: u64,
}

/// Why a read cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed a read index within the deadline.
    #[error("no leader confirmed the read within the deadline")]
    NoLeader,
    /// The index was not applied here within the deadline.
    #[error("index {wanted} was not applied within the deadline; this node has applied {reached}")]
    NotApplied {
        /// The index asked for.
        wanted: LogIndex,
        /// The index that this node has applied.
        reached: LogIndex,
    },
    /// This node's ledger is damaged; ask another.
    #[error("this node is quarantined")]
    Quarantined,
    /// The node's queue is full.
    #[error("the node's queue is full")]
    Overloaded,
    /// This node could not read its own files; another node can answer.
    #[error("this node could not read its ledger")]
    Storage,
}

/// An account as of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountSnapshot {
    /// The account.
    pub id: AccountId,
    /// Its state.
    pub state: AccountState,
}

/// Why the leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// No leader to ask.
    #[error("there is no leader")]
    NoLeader,
    /// The named node is no reachable voter.
    #[error("{0} is not a reachable voter of this cluster")]
    NoSuchSuccessor(NodeId),
    /// Nobody else can take over.
    #[error("no other voter is reachable and up to date")]
    NoSuccessor,
    /// It did not come to pass within the deadline; the old leader goes on, or another was elected.
    #[error("the hand-over did not come to pass within the deadline")]
    TimedOut,
}

impl NodeHandle {
    /// Brings a write to the leader, over one hop if need be, and waits until its entry is committed. Retries by itself
    /// within the deadline when leadership changes: the key makes that safe.
    ///
    /// # Errors
    /// [`SubmitError`] says whether nothing moved or the outcome is unknown.
    pub async fn submit(&self, _proposal: Proposal, _deadline: Instant) -> Result<Committed, SubmitError> {
        todo!()
    }

    /// Waits until a read of the given consistency may be answered here.
    ///
    /// # Errors
    /// [`ReadError`] if that was not within the deadline.
    pub async fn read_point(
        &self,
        _consistency: Consistency,
        _min_index: Option<LogIndex>,
        _deadline: Instant,
    ) -> Result<ReadPoint, ReadError> {
        todo!()
    }

    /// The node's latest account of itself.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        todo!()
    }

    /// Every node's account of itself; peers that do not answer within half a second are shown without one.
    pub async fn cluster(&self) -> Vec<PeerView> {
        todo!()
    }

    /// An account as of the applied index, and that index.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn account(&self, _id: AccountId) -> Result<(LogIndex, Option<AccountSnapshot>), ReadError> {
        todo!()
    }

    /// Accounts in the order of their ids as of the applied index, at most 1,000.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn accounts(
        &self,
        _after: Option<AccountId>,
        _limit: usize,
    ) -> Result<(LogIndex, Vec<AccountSnapshot>), ReadError> {
        todo!()
    }

    /// Where a key stands on this node: `Some(index)` of the entry that holds it, committed or not.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn find_key(&self, _digest: KeyDigest) -> Result<Option<LogIndex>, ReadError> {
        todo!()
    }

    /// Hands the leadership over to a named node, or to whichever is best.
    ///
    /// # Errors
    /// [`TransferError`] says why not.
    pub async fn transfer_leadership(&self, _to: Option<NodeId>, _deadline: Instant) -> Result<NodeId, TransferError> {
        todo!()
    }
}
