//! The answering side: the router of the peers' port.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use tokio::sync::{mpsc, oneshot, watch};

use quorapay_core::domain::Proposal;
use quorapay_core::replication::{NodeId, Request, Response};

use super::wire::{self, ForwardedAnswer};
use super::{CLUSTER_HEADER, FROM_HEADER, MAX_PEER_BODY_BYTES, PeerIdentity, SECRET_HEADER};

/// Longest that a peer's question may wait for this node's loop and disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the answers to a batch of proposals go.
pub type ProposalReply = oneshot::Sender<Vec<ForwardedAnswer>>;

/// What peers bring to this node.
#[derive(Debug)]
pub enum Inbound {
    /// A question of the protocol.
    Rpc {
        /// Who asks.
        from: NodeId,
        /// What it asks.
        request: Request,
        /// Where the answer goes.
        reply: oneshot::Sender<Response>,
    },
    /// Client writes that another node forwards. They are not forwarded again.
    Propose {
        /// The writes.
        proposals: Vec<Proposal>,
        /// When the forwarding node gives up.
        deadline: Instant,
        /// Where the answers go, in the order of the writes.
        reply: ProposalReply,
    },
    /// A request to hand the leadership over.
    Transfer {
        /// To whom; `None` for whoever is best.
        successor: Option<NodeId>,
        /// Whether this node leads and begins to hand over.
        reply: oneshot::Sender<bool>,
    },
    /// What this node says of itself, as JSON.
    Status {
        /// Where it goes.
        reply: oneshot::Sender<Vec<u8>>,
    },
}

/// What the handlers of the peers' port share.
#[derive(Clone)]
pub struct PeerServer {
    /// Who this node is.
    pub identity: Arc<PeerIdentity>,
    /// Where requests go. Bounded: a full queue makes peers wait.
    pub inbound: mpsc::Sender<Inbound>,
    /// Becomes true when this node stops: the presence connections end.
    pub stopping: watch::Receiver<bool>,
}

/// The router of the peers' port.
pub fn peer_router(server: PeerServer) -> Router {
    Router::new()
        .route("/peer/rpc", post(rpc))
        .route("/peer/propose", post(propose))
        .route("/peer/transfer", post(transfer))
        .route("/peer/status", get(status))
        .route("/peer/presence", get(presence))
        .layer(DefaultBodyLimit::max(MAX_PEER_BODY_BYTES))
        .with_state(server)
}

/// Why a request on the peers' port gets no answer.
enum Refusal {
    /// Not a peer of this cluster. Says which check failed, never what would have passed it.
    Stranger(&'static str),
    /// Not a message.
    Unreadable,
    /// The loop did not answer.
    Unavailable,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> HttpResponse {
        match self {
            Self::Stranger(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
            Self::Unreadable => (StatusCode::BAD_REQUEST, "not a message of this version").into_response(),
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    }
}

/// A peer of this cluster. Checked before the body is read: a stranger's bytes are not even buffered.
struct Peer(NodeId);

impl FromRequestParts<PeerServer> for Peer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &PeerServer) -> Result<Self, Refusal> {
        server.sender(&parts.headers).map(Self)
    }
}

impl PeerServer {
    /// Who sends this, if it is a peer of this cluster. The secret is looked at first: a stranger learns nothing else.
    fn sender(&self, headers: &HeaderMap) -> Result<NodeId, Refusal> {
        let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
        if !self.identity.secret_matches(header(SECRET_HEADER)) {
            return Err(Refusal::Stranger("the cluster secret is missing or wrong"));
        }
        if header(CLUSTER_HEADER) != Some(self.identity.cluster_id.as_bytes()) {
            return Err(Refusal::Stranger("this node belongs to another cluster"));
        }
        let from = header(FROM_HEADER).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let from = from.and_then(|text| NodeId::parse(text).ok()).filter(|node| self.identity.peers.contains_key(node));
        from.ok_or(Refusal::Stranger("this node does not know the sender; add it to its peers"))
    }

    async fn ask<T>(&self, inbound: Inbound, reply: oneshot::Receiver<T>) -> Result<T, Refusal> {
        self.inbound.send(inbound).await.map_err(|_| Refusal::Unavailable)?;
        match tokio::time::timeout(ANSWER_TIMEOUT, reply).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Refusal::Unavailable),
        }
    }
}

async fn rpc(State(server): State<PeerServer>, Peer(from): Peer, body: Bytes) -> Result<Vec<u8>, Refusal> {
    let request = wire::decode_request(&body).map_err(|_| Refusal::Unreadable)?;
    let (reply, answer) = oneshot::channel();
    let response = server.ask(Inbound::Rpc { from, request, reply }, answer).await?;
    Ok(wire::encode(&response, 128))
}

async fn propose(State(server): State<PeerServer>, _: Peer, body: Bytes) -> Result<Vec<u8>, Refusal> {
    let (within_ms, proposals): (u64, Vec<Proposal>) = wire::decode(&body).map_err(|_| Refusal::Unreadable)?;
    let deadline = Instant::now() + Duration::from_millis(within_ms.min(60_000));
    let (reply, answers) = oneshot::channel();
    // The answers come by the callers' deadline, which may be later than a question of the protocol may wait.
    server.inbound.send(Inbound::Propose { proposals, deadline, reply }).await.map_err(|_| Refusal::Unavailable)?;
    let answers = answers.await.map_err(|_| Refusal::Unavailable)?;
    Ok(wire::encode(&answers, 192 * (answers.len() + 1)))
}

async fn transfer(State(server): State<PeerServer>, _: Peer, body: Bytes) -> Result<Vec<u8>, Refusal> {
    let successor: Option<NodeId> = wire::decode(&body).map_err(|_| Refusal::Unreadable)?;
    let (reply, begun) = oneshot::channel();
    Ok(wire::encode(&server.ask(Inbound::Transfer { successor, reply }, begun).await?, 8))
}

async fn status(State(server): State<PeerServer>, _: Peer) -> Result<Vec<u8>, Refusal> {
    let (reply, status) = oneshot::channel();
    server.ask(Inbound::Status { reply }, status).await
}

async fn presence(State(server): State<PeerServer>, _: Peer) -> Result<Body, Refusal> {
    let mut stopping = server.stopping;
    let never_anything = futures_util::stream::once(async move {
        // Ends when the node stops, so that a graceful stop is noticed as fast as a crash.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        Ok::<Bytes, std::convert::Infallible>(Bytes::new())
    });
    Ok(Body::from_stream(never_anything))
}
