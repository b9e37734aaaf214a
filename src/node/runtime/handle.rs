//! What request handlers hold: bounded ways into the event loop, and the read pools.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout_at;

use crate::clock::Clock;
use crate::ledger::LedgerReader;
use crate::transport::PeerClient;
use crate::views::ViewsReader;
use quorapay_core::domain::{AccountId, AccountState, Currency, KeyDigest};
use quorapay_core::domain::{Epoch, LogIndex, Timestamp};
use quorapay_core::engine::{Engine, Input};
use quorapay_core::replication::{Entry, NodeId, Now};

use super::event_loop::{Message, NodeProgress};
use super::forward::Forwarder;
use super::metrics::Metrics;
use super::status::{NodeStatus, PeerStatus};

/// How long a peer may take to say how it is.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait for a change of leadership before asking again all the same.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// A way into a running node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    pub(super) shared: Arc<Shared>,
}

/// What all handles of a node share.
pub(super) struct Shared {
    pub(super) node_id: NodeId,
    pub(super) clock: Clock,
    /// Into the event loop, for clients. Bounded: a full queue is refused at once.
    pub(super) requests: mpsc::Sender<Message>,
    pub(super) progress: watch::Receiver<NodeProgress>,
    pub(super) status: watch::Receiver<Arc<NodeStatus>>,
    pub(super) ledger: LedgerReader,
    pub(super) views: ViewsReader,
    pub(super) peers: PeerClient,
    pub(super) others: Vec<(NodeId, String)>,
    pub(super) forwarder: Forwarder,
    pub(super) metrics: Arc<Metrics>,
}

/// A write that is committed.
#[derive(Clone, Debug)]
pub struct CommittedWrite {
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
    /// The key was fenced. Nothing moved, and nothing can move under it.
    #[error("the idempotency key was fenced")]
    Fenced,
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

/// What the bank holds altogether.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BankSummary {
    /// Payments on hold.
    pub open_holds: usize,
    /// The sum over all accounts, by currency. Zero, always: anything else is damage.
    pub sums: BTreeMap<Currency, i128>,
}

/// Why the leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// No leader to ask.
    #[error("there is no leader")]
    NoLeader,
    /// The named node does not belong to the cluster.
    #[error("{0} is no node of this cluster")]
    NoSuchSuccessor(NodeId),
    /// Nobody else, or not the one named, can take over just now.
    #[error("no voter to hand over to is reachable just now")]
    NoSuccessor,
    /// It did not come to pass within the deadline; the old leader goes on, or another was elected.
    #[error("the hand-over did not come to pass within the deadline")]
    TimedOut,
}

impl NodeHandle {
    /// The node.
    #[must_use]
    pub fn node_id(&self) -> &NodeId {
        &self.shared.node_id
    }

    /// What the runtime measures.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Where the node stands at this moment.
    #[must_use]
    pub fn progress(&self) -> NodeProgress {
        self.shared.progress.borrow().clone()
    }

    /// The node's latest account of itself, at most a tenth of a second old.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        Arc::clone(&self.shared.status.borrow())
    }

    /// The node's account of itself as of now.
    pub async fn fresh_status(&self) -> Arc<NodeStatus> {
        let (reply, status) = oneshot::channel();
        match self.request(Message::Status { reply }) {
            Ok(()) => status.await.unwrap_or_else(|_| self.status()),
            Err(_) => self.status(),
        }
    }

    /// Waits until a read of the given consistency may be answered here.
    ///
    /// # Errors
    /// [`ReadError`] if that was not within the deadline.
    pub async fn read_point(
        &self,
        consistency: Consistency,
        min_index: Option<LogIndex>,
        deadline: Instant,
    ) -> Result<ReadPoint, ReadError> {
        if self.shared.progress.borrow().quarantined {
            return Err(ReadError::Quarantined);
        }
        if consistency == Consistency::Linearizable {
            let index = self.read_index(deadline).await?;
            self.await_applied(index, deadline).await?;
        }
        if let Some(index) = min_index {
            self.await_applied(index, deadline).await?;
        }
        let progress = self.shared.progress.borrow();
        let staleness_ms = match consistency {
            Consistency::Linearizable => 0,
            Consistency::Local => self.staleness_ms(&progress),
        };
        Ok(ReadPoint { applied_index: progress.applied_index, epoch: progress.epoch, staleness_ms })
    }

    fn staleness_ms(&self, progress: &NodeProgress) -> u64 {
        if progress.leader.as_ref() == Some(&self.shared.node_id) {
            return 0;
        }
        self.shared.clock.now().monotonic_ms.saturating_sub(progress.confirmed_ms.unwrap_or(0))
    }

    /// Asks for a read index until there is a leader to give one.
    async fn read_index(&self, deadline: Instant) -> Result<LogIndex, ReadError> {
        loop {
            let asked = self.shared.progress.borrow().leader.clone();
            let (reply, index) = oneshot::channel();
            self.request(Message::Read { reply })?;
            match timeout_at(deadline.into(), index).await {
                Err(_) => return Err(ReadError::NoLeader),
                Ok(Ok(Some(index))) => return Ok(index),
                Ok(Ok(None) | Err(_)) => {
                    let other = self.await_other_leader(asked.as_ref(), deadline).await;
                    other.map_err(|()| ReadError::NoLeader)?;
                }
            }
        }
    }

    async fn await_applied(&self, wanted: LogIndex, deadline: Instant) -> Result<(), ReadError> {
        if self.shared.progress.borrow().applied_index >= wanted {
            return Ok(());
        }
        let (reply, applied) = oneshot::channel();
        self.request(Message::AwaitApplied { index: wanted, reply })?;
        match timeout_at(deadline.into(), applied).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                Err(ReadError::NotApplied { wanted, reached: self.shared.progress.borrow().applied_index })
            }
        }
    }

    /// Waits a moment, but no longer than until somebody else than `tried` leads.
    pub(super) async fn await_other_leader(&self, tried: Option<&NodeId>, deadline: Instant) -> Result<(), ()> {
        let again = deadline.min(Instant::now() + ASK_AGAIN);
        let mut progress = self.shared.progress.clone();
        let changed = progress.wait_for(|progress| progress.leader.is_some() && progress.leader.as_ref() != tried);
        // Neither the time that has passed nor a node that stops is news to the caller.
        let _ = timeout_at(again.into(), changed).await;
        if Instant::now() >= deadline { Err(()) } else { Ok(()) }
    }

    /// What this node's wall clock says.
    #[must_use]
    pub fn wall_clock(&self) -> Timestamp {
        Timestamp(self.shared.clock.now().unix_ms)
    }

    /// By how many milliseconds this node's wall clock is ahead of the leader's, to within half the time that asking
    /// takes; `None` if no leader answered within half a second.
    pub async fn clock_offset_ms(&self) -> Option<i64> {
        let leader = self.shared.progress.borrow().leader.clone()?;
        if leader == self.shared.node_id {
            return Some(0);
        }
        let asked = self.wall_clock();
        let status: NodeStatus = self.shared.peers.status(&leader, STATUS_TIMEOUT).await.ok()?;
        let midway = u64::midpoint(asked.0, self.wall_clock().0);
        midway.checked_signed_diff(status.wall_clock.0)
    }

    /// Every node's account of itself; peers that do not answer within half a second are shown without one.
    pub async fn cluster(&self) -> Vec<PeerStatus> {
        let ask = |(node_id, peer_url): &(NodeId, String)| {
            let (peers, node_id, peer_url) = (self.shared.peers.clone(), node_id.clone(), peer_url.clone());
            async move {
                let status = peers.status(&node_id, STATUS_TIMEOUT).await.ok();
                PeerStatus { node_id, peer_url, status }
            }
        };
        let own = self.fresh_status().await;
        let mut views = join_all(self.shared.others.iter().map(ask)).await;
        views.push(PeerStatus {
            node_id: own.node_id.clone(),
            peer_url: own.peer_url.clone(),
            status: Some((*own).clone()),
        });
        views.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        views
    }

    /// An account as of the applied index, and that index.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn account(&self, id: AccountId) -> Result<(LogIndex, Option<AccountSnapshot>), ReadError> {
        self.query(move |engine, _| {
            let state = engine.account(&id);
            (engine.applied_index(), state.map(|state| AccountSnapshot { id, state }))
        })
        .await
    }

    /// Accounts in the order of their ids as of the applied index, at most 1,000.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn accounts(
        &self,
        after: Option<AccountId>,
        limit: usize,
    ) -> Result<(LogIndex, Vec<AccountSnapshot>), ReadError> {
        self.query(move |engine, _| {
            let accounts = engine.accounts(after.as_ref(), limit.min(1_000));
            let snapshots = accounts.into_iter().map(|(id, state)| AccountSnapshot { id, state }).collect();
            (engine.applied_index(), snapshots)
        })
        .await
    }

    /// What the bank holds altogether, as of the end of this node's log.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full.
    pub async fn bank_summary(&self) -> Result<BankSummary, ReadError> {
        self.query(|engine, _| {
            let bank = engine.bank();
            BankSummary { open_holds: bank.open_hold_count(), sums: bank.sums().clone() }
        })
        .await
    }

    /// Where a key stands on this node: `Some(index)` of the entry that holds it, committed or not.
    ///
    /// # Errors
    /// [`ReadError::Overloaded`] if the loop's queue is full, [`ReadError::Storage`] if the views cannot be read.
    pub async fn find_key(&self, digest: KeyDigest) -> Result<Option<LogIndex>, ReadError> {
        let recent = self.query(move |engine, _| engine.recent_key(digest)).await?;
        match recent {
            Some(index) => Ok(Some(index)),
            None => self.shared.views.key(digest).await.map_err(|error| {
                tracing::error!(%error, "the views could not be read");
                ReadError::Storage
            }),
        }
    }

    /// Hands the leadership over to a named node, or to whichever is best. Says who leads then.
    ///
    /// # Errors
    /// [`TransferError`] says why not.
    pub async fn transfer_leadership(&self, to: Option<NodeId>, deadline: Instant) -> Result<NodeId, TransferError> {
        let leader = self.shared.progress.borrow().leader.clone().ok_or(TransferError::NoLeader)?;
        if to.as_ref() == Some(&leader) {
            return Ok(leader);
        }
        let known = |node: &NodeId| self.shared.others.iter().any(|(other, _)| other == node);
        if let Some(node) = to.as_ref().filter(|node| **node != self.shared.node_id && !known(node)) {
            return Err(TransferError::NoSuchSuccessor(node.clone()));
        }
        let within = deadline.saturating_duration_since(Instant::now());
        let begun = if leader == self.shared.node_id {
            self.begin_transfer(to.clone()).await
        } else {
            self.shared.peers.transfer(&leader, to.as_ref(), within).await.map_err(|_| TransferError::NoLeader)?
        };
        if !begun {
            return Err(TransferError::NoSuccessor);
        }
        let mut progress = self.shared.progress.clone();
        let other = progress.wait_for(|progress| progress.leader.as_ref().is_some_and(|now| *now != leader));
        match timeout_at(deadline.into(), other).await {
            Ok(Ok(progress)) => progress.leader.clone().ok_or(TransferError::NoLeader),
            Ok(Err(_)) | Err(_) => Err(TransferError::TimedOut),
        }
    }

    /// Begins to hand over, if this node leads and a successor is there.
    pub(super) async fn begin_transfer(&self, to: Option<NodeId>) -> bool {
        let wanted = to.clone();
        let can = self.query(move |engine, now| {
            let fits = |node: &NodeId| wanted.as_ref().is_none_or(|wanted| wanted == node);
            let followers = engine.replica().followers(now);
            engine.replica().is_open() && followers.iter().any(|peer| fits(&peer.node) && peer.reachable && peer.votes)
        });
        can.await.unwrap_or(false) && self.request(Message::Input(Input::Transfer(to))).is_ok()
    }

    /// Looks into the engine.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Query(Box::new(move |engine, now| {
            // A caller that has given up needs no answer.
            let _ = reply.send(look(engine, now));
        }));
        self.request(message)?;
        answer.await.map_err(|_| ReadError::Overloaded)
    }

    pub(super) fn request(&self, message: Message) -> Result<(), ReadError> {
        self.shared.requests.try_send(message).map_err(|_| ReadError::Overloaded)
    }
}
