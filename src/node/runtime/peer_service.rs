//! What this node does for its peers: their requests go straight into the event loop's queue.

use futures_util::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::traces::{Noted, Step};
use crate::transport::{ForwardedWrite, Outcomes, PeerService, Stopped};
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{NodeId, Request, Response};

use super::handle::NodeHandle;
use super::message::Message;
use super::traces::range_received;

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
        let tracing =
            self.node.shared.tracing.as_ref().map(|tracing| (tracing, range_received(&request), Instant::now()));
        self.events.send(Message::Rpc { from, request, reply }).await.map_err(|_| Stopped)?;
        let response = response.await.map_err(|_| Stopped)?;
        if let Some((tracing, entries, began)) = tracing {
            tracing.note(Step::Receive, entries, began);
        }
        Ok(response)
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

    async fn timeline(&self, indexes: Vec<LogIndex>) -> Result<Vec<Vec<Noted>>, Stopped> {
        Ok(self.running()?.noted(&indexes))
    }

    async fn status(&self) -> Result<Vec<u8>, Stopped> {
        let status = self.running()?.fresh_status().await;
        Ok(serde_json::to_vec(&*status).expect("a status is made of plain values"))
    }
}
