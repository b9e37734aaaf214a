//! What the event loop takes in.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::request_id::GivenId;
use quorapay_core::domain::{ApiKeyId, LogIndex, Proposal};
use quorapay_core::engine::{Engine, Input, ProposalOutcome};
use quorapay_core::replication::{NodeId, Now, Request, Response};

use super::gate::Gate;
use super::status::{NodeStatus, ViewsRebuilding};

/// A read of the engine's state, run by the event loop.
pub(super) type EngineQuery = Box<dyn FnOnce(&Engine, Now) + Send>;

/// A write on its way into the loop.
pub(super) struct ProposedWrite {
    /// The API key with which the caller asked.
    pub(super) principal: Option<ApiKeyId>,
    pub(super) proposal: Proposal,
    pub(super) reply: oneshot::Sender<ProposalOutcome>,
}

/// A message for the event loop.
pub(super) enum Message {
    /// A write, for this node as the leader.
    Propose(ProposedWrite),
    /// Writes have gathered in the gate of a thread that serves clients.
    Gathered(Arc<Gate>),
    /// Asks for the index as of which linearizable reads may be answered; `None` if this node cannot get one. Clients gave
    /// some of them names.
    Read { reply: oneshot::Sender<Option<LogIndex>>, names: Vec<GivenId> },
    /// Waits until an index is applied.
    AwaitApplied { index: LogIndex, reply: oneshot::Sender<()> },
    /// Reads the engine's state.
    Query(EngineQuery),
    /// A peer's request.
    Rpc { from: NodeId, request: Request, reply: oneshot::Sender<Response> },
    /// An input for the engine.
    Input(Input),
    /// The ZooKeeper session was opened or lost.
    ZooKeeper { connected: bool },
    /// Whether things can be looked up in the views, and how far they are if they are made anew.
    Views { fit: bool, rebuilding: Option<ViewsRebuilding> },
    /// Asks for the node's status as of now.
    Status { reply: oneshot::Sender<Arc<NodeStatus>> },
}

/// Sends an input to the engine. Waits while the queue is full.
pub(super) async fn send_input(events: &mpsc::Sender<Message>, input: Input) {
    // The loop is gone only when the node stops.
    let _ = events.send(Message::Input(input)).await;
}
