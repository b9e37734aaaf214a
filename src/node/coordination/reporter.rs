//! Tells the runtime what changed, and the log once per change.
//!
//! It knows what was said last, and nothing of ZooKeeper.

use tokio::sync::mpsc;

use super::{CoordinationError, CoordinationNotice};
use quorapay_core::domain::Epoch;
use quorapay_core::replication::{CoordinationEvent, QueueRank};

/// The way to the runtime.
pub(super) struct Reporter {
    notices: mpsc::Sender<CoordinationNotice>,
    place: QueueRank,
    connected: Option<bool>,
}

impl Reporter {
    pub(super) fn new(notices: mpsc::Sender<CoordinationNotice>) -> Self {
        Self { notices, place: QueueRank::Absent, connected: None }
    }

    /// Says where this node stands, if that is news.
    pub(super) async fn place(&mut self, place: QueueRank) {
        if self.place != place {
            self.place = place;
            self.tell(CoordinationNotice::Event(CoordinationEvent::QueueRank(place))).await;
        }
    }

    /// Answers a request for an epoch.
    pub(super) async fn epoch(&mut self, taken: Option<Epoch>) {
        let event = taken.map_or(CoordinationEvent::EpochRefused, CoordinationEvent::EpochTaken);
        self.tell(CoordinationNotice::Event(event)).await;
    }

    /// Says that the session is connected, if that is news.
    pub(super) async fn connected(&mut self) {
        if self.connected != Some(true) {
            self.connected = Some(true);
            tracing::info!("connected to ZooKeeper");
            self.tell(CoordinationNotice::Connected(true)).await;
        }
    }

    /// Says that there is no connected session, and so no candidate, if that is news.
    pub(super) async fn disconnected(&mut self, reason: &str) {
        self.place(QueueRank::Absent).await;
        if self.connected != Some(false) {
            self.connected = Some(false);
            tracing::warn!(reason, "no connection to ZooKeeper: this node cannot be elected until it is back");
            self.tell(CoordinationNotice::Connected(false)).await;
        }
    }

    /// Says why this is the end.
    pub(super) async fn fatal(&mut self, error: CoordinationError) {
        self.place(QueueRank::Absent).await;
        self.tell(CoordinationNotice::Fatal(error)).await;
    }

    async fn tell(&mut self, notice: CoordinationNotice) {
        // A runtime that no longer listens is about to stop this task.
        let _ = self.notices.send(notice).await;
    }
}
