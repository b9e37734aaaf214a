//! What request handlers hold of a node: the event loop, the queries and the peers behind one cheap handle.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::ledger::LedgerReader;
use crate::log_limit::LogLimit;
use crate::published::{Ended, Watched};
use crate::query::Queries;
use crate::transport::PeerClient;
use quorapay_core::domain::Timestamp;
use quorapay_core::replication::NodeId;

use super::api_keys::ApiKeys;
use super::engine_link::EngineLink;
use super::forward::Forwarder;
use super::gate::Gate;
use super::metrics::Metrics;
use super::progress::NodeProgress;
use super::read_indexes::ReadIndexes;
use super::repair::others_serve;
use super::status::{NodeStatus, PeerStatus};
use super::traces::Tracing;

/// How long a peer may take to return its status.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// How long to wait for a change of leadership before the same leader is asked again.
const LEADER_RETRY: Duration = Duration::from_millis(10);

/// How often a damaged node asks whether the others serve without it.
const OTHERS_RETRY: Duration = Duration::from_secs(1);

/// A way into a running node. Cheap to clone.
#[derive(Clone)]
pub struct NodeHandle {
    pub(super) shared: Arc<Shared>,
    /// The way to the loop for the writes of another thread than the loop's; `None` in that thread.
    pub(super) gate: Option<Arc<Gate>>,
}

/// What all handles of a node share.
pub(super) struct Shared {
    /// Where the node's tasks run, and its connections to peers.
    pub(super) home: Handle,
    pub(super) node_id: NodeId,
    pub(super) clock: Clock,
    pub(super) engine: EngineLink,
    pub(super) progress: Watched<NodeProgress>,
    pub(super) api_keys: Watched<Arc<ApiKeys>>,
    pub(super) queries: Queries<EngineLink>,
    /// For the node's own work.
    pub(super) ledger: LedgerReader,
    /// For backups, on the connections of lists and exports.
    pub(super) copies: LedgerReader,
    pub(super) peers: PeerClient,
    /// The other nodes with their peer URLs.
    pub(super) others: Vec<(NodeId, String)>,
    pub(super) forwarder: Forwarder,
    pub(super) metrics: Arc<Metrics>,
    pub(super) read_indexes: ReadIndexes,
    /// For the lines about forwarded writes.
    pub(super) log_limit: LogLimit,
    /// `None` if this node takes no traces.
    pub(super) tracing: Option<Arc<Tracing>>,
}

impl NodeHandle {
    /// A handle for this thread, which has a runtime of its own and serves clients.
    #[must_use]
    pub fn for_other_thread(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), gate: Some(self.shared.engine.open_gate()) }
    }

    /// Runs something that talks to peers. The connections to them outlive this thread's runtime, so the node's own runtime
    /// has them.
    pub(super) async fn at_home<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match &self.gate {
            None => work.await,
            Some(_) => self.shared.home.spawn(work).await.expect("it does not panic, and nobody aborts it"),
        }
    }

    /// The node's id.
    #[must_use]
    pub fn node_id(&self) -> &NodeId {
        &self.shared.node_id
    }

    /// The runtime's metrics.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Reads of entries, payments and statements.
    #[must_use]
    pub fn queries(&self) -> &Queries<EngineLink> {
        &self.shared.queries
    }

    /// How far the node is at this moment.
    #[must_use]
    pub fn progress(&self) -> NodeProgress {
        self.shared.progress.borrow().clone()
    }

    /// The node's status, at most a tenth of a second old.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        self.shared.engine.status()
    }

    /// The node's status as of now.
    pub async fn fresh_status(&self) -> Arc<NodeStatus> {
        self.shared.engine.fresh_status().await
    }

    /// What this node's wall clock shows.
    #[must_use]
    pub fn wall_clock(&self) -> Timestamp {
        Timestamp(self.shared.clock.now().unix_ms)
    }

    /// By how many milliseconds this node's wall clock is ahead of the leader's, to within half of the round trip;
    /// `None` if no leader answered within half a second.
    pub async fn clock_offset_ms(&self) -> Option<i64> {
        let leader = self.shared.progress.borrow().leader.clone()?;
        if leader == self.shared.node_id {
            return Some(0);
        }
        let asked = self.wall_clock();
        let peers = self.shared.peers.clone();
        let status = self.at_home(async move { peers.status::<NodeStatus>(&leader, STATUS_TIMEOUT).await });
        let status = status.await.ok()?;
        let midway = u64::midpoint(asked.0, self.wall_clock().0);
        midway.checked_signed_diff(status.wall_clock.0)
    }

    /// Every node's status; peers that do not answer within half a second are listed without one.
    pub async fn cluster(&self) -> Vec<PeerStatus> {
        let ask = |(node_id, peer_url): &(NodeId, String)| {
            let (peers, node_id, peer_url) = (self.shared.peers.clone(), node_id.clone(), peer_url.clone());
            async move {
                let status = peers.status(&node_id, STATUS_TIMEOUT).await.ok();
                PeerStatus { node_id, peer_url, status }
            }
        };
        let own = self.fresh_status().await;
        let others: Vec<_> = self.shared.others.iter().map(ask).collect();
        let mut nodes = self.at_home(join_all(others)).await;
        nodes.push(PeerStatus {
            node_id: own.node_id.clone(),
            peer_url: own.peer_url.clone(),
            status: Some((*own).clone()),
        });
        nodes.sort_by(|a, b| a.node_id.cmp(&b.node_id));
        nodes
    }

    /// Waits until the other nodes serve without this one, which is quarantined from now on. The leader counts followers
    /// that have answered it within the heartbeat timeout: only after so much time nothing that it knows of them is older
    /// than the quarantine.
    pub(super) async fn await_others(&self, heartbeat_timeout: Duration) {
        tokio::time::sleep(heartbeat_timeout.max(OTHERS_RETRY)).await;
        let me = self.node_id();
        while !others_serve(me, self.status().commit_index, &self.cluster().await) {
            tracing::warn!("this node keeps its damaged ledger until the others serve without it");
            tokio::time::sleep(OTHERS_RETRY).await;
        }
    }

    /// Waits until a node other than `tried` leads, but only for a moment. An error at the deadline, and if this node has
    /// stopped.
    pub(super) async fn await_other_leader(&self, tried: Option<&NodeId>, deadline: Instant) -> Result<(), ()> {
        let again = deadline.min(Instant::now() + LEADER_RETRY);
        let progress = &self.shared.progress;
        let changed = progress.wait_for(|progress| progress.leader.is_some() && progress.leader.as_ref() != tried);
        // Whether it changed or the time passed, the caller tries again until its deadline. A stopped node learns nothing.
        let stopped = matches!(timeout_at(again, changed).await, Ok(Err(Ended)));
        if stopped || Instant::now() >= deadline { Err(()) } else { Ok(()) }
    }
}
