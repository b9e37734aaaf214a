//! Reports each change once, to the runtime and to the log.
//!
//! It remembers the last report and knows nothing of ZooKeeper.

use tokio::sync::mpsc;

use super::layout::EpochRecord;
use super::notice::{CoordinationError, CoordinationNotice};
use quorapay_core::domain::Epoch;
use quorapay_core::replication::{CoordinationEvent, NodeId, QueueRank};

/// See the module.
pub(super) struct Reporter {
    notices: mpsc::Sender<CoordinationNotice>,
    rank: QueueRank,
    connected: Option<bool>,
}

impl Reporter {
    pub(super) fn new(notices: mpsc::Sender<CoordinationNotice>) -> Self {
        Self { notices, rank: QueueRank::Absent, connected: None }
    }

    /// Reports this node's rank in the queue if it changed.
    pub(super) async fn rank(&mut self, rank: QueueRank) {
        if self.rank != rank {
            self.rank = rank;
            self.send(CoordinationNotice::Event(CoordinationEvent::QueueRank(rank))).await;
        }
    }

    /// Answers a request for an epoch.
    pub(super) async fn epoch(&mut self, taken: Option<Epoch>) {
        let event = taken.map_or(CoordinationEvent::EpochRefused, CoordinationEvent::EpochTaken);
        self.send(CoordinationNotice::Event(event)).await;
    }

    /// Reports that `node` keeps its place, because another epoch is newer than the one that the removal named.
    pub(super) async fn not_removed(&mut self, node: NodeId, newer: EpochRecord) {
        let EpochRecord { epoch: newest, node: taker, .. } = newer;
        self.send(CoordinationNotice::Event(CoordinationEvent::NotRemoved { node, newest, taker })).await;
    }

    /// Reports that the session is connected, if it was not.
    pub(super) async fn connected(&mut self) {
        if self.connected != Some(true) {
            self.connected = Some(true);
            tracing::info!("connected to ZooKeeper");
            self.send(CoordinationNotice::Connected(true)).await;
        }
    }

    /// Reports that there is no connected session, if there was one: without it this node is no candidate.
    pub(super) async fn disconnected(&mut self, reason: &str) {
        self.rank(QueueRank::Absent).await;
        if self.connected != Some(false) {
            self.connected = Some(false);
            tracing::warn!(reason, "no connection to ZooKeeper: this node cannot be elected until it is back");
            self.send(CoordinationNotice::Connected(false)).await;
        }
    }

    /// Reports why the coordination ends.
    pub(super) async fn fatal(&mut self, error: CoordinationError) {
        self.rank(QueueRank::Absent).await;
        self.send(CoordinationNotice::Fatal(error)).await;
    }

    async fn send(&mut self, notice: CoordinationNotice) {
        // A runtime that has dropped the receiver is about to stop this task.
        let _ = self.notices.send(notice).await;
    }
}
