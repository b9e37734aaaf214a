//! The bounded way into the event loop for client requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::published::Watched;
use crate::query::{EngineMemory, ReadError};
use quorapay_core::domain::{KeyDigest, LogIndex, PaymentId, PaymentState};
use quorapay_core::engine::Engine;
use quorapay_core::replication::Now;

use super::gate::Gate;
use super::message::Message;
use super::status::NodeStatus;

/// Sends requests to the event loop. Proposals have a queue of their own: they may have to wait while reads go on. A full
/// queue is an error at once. Cheap to clone.
#[derive(Clone)]
pub struct EngineLink {
    requests: mpsc::Sender<Message>,
    proposals: mpsc::Sender<Message>,
    status: Watched<Arc<NodeStatus>>,
}

impl EngineLink {
    pub(super) const fn new(
        requests: mpsc::Sender<Message>,
        proposals: mpsc::Sender<Message>,
        status: Watched<Arc<NodeStatus>>,
    ) -> Self {
        Self { requests, proposals, status }
    }

    /// Opens a gate for the writes of this thread.
    pub(super) fn open_gate(&self) -> Arc<Gate> {
        Gate::open(self.proposals.clone(), self.proposals.max_capacity())
    }

    pub(super) fn send(&self, message: Message) -> Result<(), ReadError> {
        let queue = if matches!(message, Message::Propose(_)) { &self.proposals } else { &self.requests };
        queue.try_send(message).map_err(|_| ReadError::Overloaded)
    }

    /// Runs a read of the engine's state in the event loop and returns its result.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Engine, Now) -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::Query(Box::new(move |engine, now| {
            // A caller that has given up needs no answer.
            let _ = reply.send(query(engine, now));
        }));
        self.send(message)?;
        answer.await.map_err(|_| ReadError::Overloaded)
    }

    /// The status published last, at most a tenth of a second old.
    pub(super) fn status(&self) -> Arc<NodeStatus> {
        Arc::clone(&self.status.borrow())
    }

    /// The status as of now; the published one if the loop's queue is full.
    pub(super) async fn fresh_status(&self) -> Arc<NodeStatus> {
        let (reply, status) = oneshot::channel();
        match self.send(Message::Status { reply }) {
            Ok(()) => status.await.unwrap_or_else(|_| self.status()),
            Err(_) => self.status(),
        }
    }
}

impl EngineMemory for EngineLink {
    async fn payments(&self, ids: BTreeSet<PaymentId>) -> Result<BTreeMap<PaymentId, PaymentState>, ReadError> {
        self.ask(move |engine, _| engine.payments(&ids)).await
    }

    async fn recent_key(&self, digest: KeyDigest) -> Result<Option<LogIndex>, ReadError> {
        self.ask(move |engine, _| engine.recent_key(digest)).await
    }

    fn projected_index(&self) -> LogIndex {
        self.status.borrow().projected_index
    }
}
