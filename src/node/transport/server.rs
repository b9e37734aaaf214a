//! The router of the peers' port and the service behind it.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::Instant;

use crate::published::Watched;
use crate::tls::{Presented, node_name};
use crate::traces::Noted;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{NodeId, Request, Response};

use super::forwarded::ForwardedWrite;
use super::identity::{CLUSTER_HEADER, FROM_HEADER, PeerIdentity, REQUEST_IDS_HEADER, SECRET_HEADER};
use super::outcome_stream::{Outcomes, frame};
use super::wire::{self, SHORT_MESSAGE_ROOM};

/// Largest body that one peer accepts from another. The largest entry fits: a batch of 10,000 payments, each with 4 KiB
/// of metadata, 500 characters of description and the longest names, takes 67 MB.
pub(super) const MAX_PEER_BODY_BYTES: usize = 96 * 1024 * 1024;
/// How long a peer's request may wait for this node's event loop and disk.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Most entries of which a peer is told what was noted of them.
const MAX_TRACED_ENTRIES: usize = 256;

/// The longest deadline that a forwarding node may set.
const MAX_PROPOSE_TIME: Duration = Duration::from_secs(60);

/// The node has stopped and answers nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// What a node does for its peers. Each request is answered in the task of its connection, and dropped with it: an
/// implementation must not have half done anything when it waits.
pub trait PeerService: Clone + Send + Sync + 'static {
    /// Answers a request of the protocol. Waits while the node's queue is full.
    fn rpc(&self, from: NodeId, request: Request) -> impl Future<Output = Result<Response, Stopped>> + Send;

    /// Takes client writes that another node forwards; they are not forwarded again. The outcomes come as they become
    /// known. The stream ends with the last, or at the deadline.
    ///
    /// # Errors
    /// [`Stopped`].
    fn propose(
        &self,
        from: NodeId,
        writes: Vec<ForwardedWrite>,
        deadline: Instant,
    ) -> Result<impl Stream<Item = Outcomes> + Send + use<Self> + 'static, Stopped>;

    /// Begins to hand the leadership over, to the best follower if none is named. Says whether this node leads and
    /// began.
    fn transfer(&self, successor: Option<NodeId>) -> impl Future<Output = Result<bool, Stopped>> + Send;

    /// What this node noted of these entries, for a trace.
    fn timeline(&self, indexes: Vec<LogIndex>) -> impl Future<Output = Result<Vec<Vec<Noted>>, Stopped>> + Send;

    /// This node's status, as JSON.
    fn status(&self) -> impl Future<Output = Result<Vec<u8>, Stopped>> + Send;
}

/// What the handlers of the peers' port share.
#[derive(Clone)]
pub struct PeerServer<S> {
    /// This node and its peers.
    pub identity: Arc<PeerIdentity>,
    /// Answers the requests.
    pub service: S,
    /// Becomes true when this node stops: the presence connections end.
    pub stopping: Watched<bool>,
}

/// The router of the peers' port.
pub fn peer_router<S: PeerService>(server: PeerServer<S>) -> Router {
    Router::new()
        .route("/peer/rpc", post(rpc::<S>))
        .route("/peer/propose", post(propose::<S>))
        .route("/peer/transfer", post(transfer::<S>))
        .route("/peer/timeline", post(timeline::<S>))
        .route("/peer/status", get(status::<S>))
        .route("/peer/presence", get(presence::<S>))
        .layer(DefaultBodyLimit::max(MAX_PEER_BODY_BYTES))
        .with_state(server)
}

/// Why a request on the peers' port gets no answer.
enum Refusal {
    /// Not a peer of this cluster. Names the check that failed, never what would have passed it.
    Stranger(&'static str),
    /// The body is not a message.
    Unreadable,
    /// The node has stopped or did not answer in time.
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

impl From<Stopped> for Refusal {
    fn from(_: Stopped) -> Self {
        Self::Unavailable
    }
}

/// A peer of this cluster. Checked before the body is read: a stranger's bytes are not even buffered.
struct Peer(NodeId);

impl<S: Send + Sync> FromRequestParts<PeerServer<S>> for Peer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, server: &PeerServer<S>) -> Result<Self, Refusal> {
        let from = sender(&server.identity, &parts.headers, parts.extensions.get())?;
        if let Some(request_ids) = parts.headers.get(REQUEST_IDS_HEADER) {
            tracing::debug!(?request_ids, %from, "a peer asks for clients");
        }
        Ok(Self(from))
    }
}

/// The sender of a request, if it is a peer of this cluster. The secret is checked first: a stranger learns nothing
/// else. On a sealed connection, the sender's name must be in its certificate too.
fn sender(identity: &PeerIdentity, headers: &HeaderMap, presented: Option<&Presented>) -> Result<NodeId, Refusal> {
    let header = |name: &str| headers.get(name).map(|value| value.as_bytes());
    if !identity.secret_matches(header(SECRET_HEADER)) {
        return Err(Refusal::Stranger("the cluster secret is missing or wrong"));
    }
    if header(CLUSTER_HEADER) != Some(identity.cluster_id.as_bytes()) {
        return Err(Refusal::Stranger("this node belongs to another cluster"));
    }
    let from = header(FROM_HEADER).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let from = from.and_then(|text| NodeId::parse(text).ok()).filter(|node| identity.peers.contains_key(node));
    let from = from.ok_or(Refusal::Stranger("this node does not know the sender; add it to its peers"))?;
    if presented.is_some_and(|presented| !presented.is(&node_name(&from, &identity.cluster_id))) {
        return Err(Refusal::Stranger("the certificate of this connection is not the sender's"));
    }
    Ok(from)
}

async fn within_answer_timeout<T>(answer: impl Future<Output = Result<T, Stopped>>) -> Result<T, Refusal> {
    match tokio::time::timeout(ANSWER_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Refusal::Unavailable),
    }
}

async fn rpc<S: PeerService>(
    State(server): State<PeerServer<S>>,
    Peer(from): Peer,
    body: Bytes,
) -> Result<Vec<u8>, Refusal> {
    let request = wire::decode_request(&body).map_err(|_| Refusal::Unreadable)?;
    // The request has its own copy of what it needs; a batch's body need not stay in memory while it waits.
    drop(body);
    let response = within_answer_timeout(server.service.rpc(from, request)).await?;
    Ok(wire::encode(&response, SHORT_MESSAGE_ROOM))
}

async fn propose<S: PeerService>(
    State(server): State<PeerServer<S>>,
    Peer(from): Peer,
    body: Bytes,
) -> Result<Body, Refusal> {
    let (within_ms, writes): (u64, Vec<ForwardedWrite>) = wire::decode(&body).map_err(|_| Refusal::Unreadable)?;
    drop(body);
    let deadline = Instant::now() + Duration::from_millis(within_ms).min(MAX_PROPOSE_TIME);
    // Without the answer timeout: the callers' deadline may be later.
    let count = writes.len();
    let mut outcomes = Box::pin(server.service.propose(from, writes, deadline)?);
    let Some(first) = outcomes.next().await else { return Ok(Body::empty()) };
    let first_frame = Bytes::from(frame(&first));
    if first.len() == count {
        // Nearly always: the answer is one write, with its head.
        return Ok(Body::from(first_frame));
    }
    let rest = outcomes.map(|outcomes| Bytes::from(frame(&outcomes)));
    Ok(Body::from_stream(stream::once(ready(first_frame)).chain(rest).map(Ok::<_, Infallible>)))
}

async fn transfer<S: PeerService>(
    State(server): State<PeerServer<S>>,
    _: Peer,
    body: Bytes,
) -> Result<Vec<u8>, Refusal> {
    let successor: Option<NodeId> = wire::decode(&body).map_err(|_| Refusal::Unreadable)?;
    let begun = within_answer_timeout(server.service.transfer(successor)).await?;
    Ok(wire::encode(&begun, SHORT_MESSAGE_ROOM))
}

async fn timeline<S: PeerService>(
    State(server): State<PeerServer<S>>,
    _: Peer,
    body: Bytes,
) -> Result<Vec<u8>, Refusal> {
    let mut indexes: Vec<LogIndex> = wire::decode(&body).map_err(|_| Refusal::Unreadable)?;
    indexes.truncate(MAX_TRACED_ENTRIES);
    let noted = within_answer_timeout(server.service.timeline(indexes)).await?;
    Ok(wire::encode(&noted, SHORT_MESSAGE_ROOM))
}

async fn status<S: PeerService>(State(server): State<PeerServer<S>>, _: Peer) -> Result<Vec<u8>, Refusal> {
    within_answer_timeout(server.service.status()).await
}

async fn presence<S: PeerService>(State(server): State<PeerServer<S>>, _: Peer) -> Body {
    let stopping = server.stopping;
    let empty_until_stop = stream::once(async move {
        // Ends when the node stops, so that a graceful stop is noticed as fast as a crash.
        let _ = stopping.wait_for(|stopping| *stopping).await;
        Ok::<Bytes, Infallible>(Bytes::new())
    });
    Body::from_stream(empty_until_stop)
}
