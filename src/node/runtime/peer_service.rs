//! What this node does for its peers: their requests go straight into the event loop's queue.

use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::transport::{ForwardedWrite, Outcomes, PeerService, Stopped};
use quorapay_core::replication::{NodeId, Request, Response};

use super::handle::NodeHandle;
use super::message::Message;

/// Answers peers. Cheap to clone.
#[derive(Clone)]
pub(super) struct PeerRequests {
    pub(super) node: NodeHandle,
    /// The event loop's queue for the node's own tasks and its peers. Bounded: while it is full, peers wait.
    pub(super) events: mpsc::Sender<Message>,
}

impl PeerRequests {
    fn running(&self) -> Result<&NodeHandle, Stopped> {
        if self.events.is_closed() { Err(Stopped) } else { Ok(&self.node) }
    }
}

impl PeerService for PeerRequests {
    async fn rpc(&self, from: NodeId, request: Request) -> Result<Response, Stopped> {
        let (reply, response) = oneshot::channel();
        self.events.send(Message::Rpc { from, request, reply }).await.map_err(|_| Stopped)?;
        response.await.map_err(|_| Stopped)
    }

    fn propose(
        &self,
        from: NodeId,
        writes: Vec<ForwardedWrite>,
        deadline: Instant,
    ) -> Result<impl Stream<Item = Outcomes> + Send + use<> + 'static, Stopped> {
        Ok(self.running()?.take_forwarded(from, writes, deadline))
    }

    async fn transfer(&self, successor: Option<NodeId>) -> Result<bool, Stopped> {
        Ok(self.running()?.begin_transfer(successor).await)
    }

    async fn status(&self) -> Result<Vec<u8>, Stopped> {
        let status = self.running()?.fresh_status().await;
        Ok(serde_json::to_vec(&*status).expect("a status is made of plain values"))
    }
}
