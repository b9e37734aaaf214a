//! Sends requests to peers and waits for their answers, for as long as the request allows.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response as HttpResponse};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};

use crate::request_id::GivenId;
use crate::traces::Noted;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{NodeId, Outgoing, Response};

use super::forwarded::ForwardedWrite;
use super::identity::{CLUSTER_HEADER, FROM_HEADER, PeerIdentity, REQUEST_IDS_HEADER, SECRET_HEADER};
use super::network::{Network, SendError};
use super::outcome_stream::OutcomeStream;
use super::server::MAX_PEER_BODY_BYTES;
use super::wire::{self, SHORT_MESSAGE_ROOM, WireError, room_for};

/// Bandwidth that a link inside a cluster must have, 48 Mbit/s. Extends the timeout of large messages.
const MIN_LINK_BYTES_PER_US: u64 = 6;

/// Longest reason of a refusal that is read.
const MAX_REASON_BYTES: usize = 4_096;

/// How much longer than the leader a forwarding node waits for outcomes, so that they can still travel.
const PROPOSE_GRACE: Duration = Duration::from_millis(50);

/// Why there is no answer of a peer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No connection could be made, so the request did not arrive.
    #[error("{0} cannot be reached")]
    Unreachable(NodeId),
    /// The connection broke or the answer was late: whether the request arrived is unknown.
    #[error("{0} did not answer")]
    NoAnswer(NodeId),
    /// The peer rejected this node: another secret, another cluster, or it does not know this node.
    #[error("{node} refuses to talk to this node: {reason}")]
    Refused {
        /// The peer.
        node: NodeId,
        /// The peer's reason.
        reason: String,
    },
    /// The answer is not a message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The node is not configured.
    #[error("{0} is not among the configured peers")]
    Unknown(NodeId),
}

/// Sends requests to peers. Cheap to clone.
#[derive(Clone)]
pub struct PeerClient {
    network: Arc<dyn Network>,
    identity: Arc<PeerIdentity>,
    headers: HeaderMap,
}

impl PeerClient {
    /// A client that sends this identity over this network.
    #[must_use]
    pub fn new(identity: Arc<PeerIdentity>, network: Arc<dyn Network>) -> Self {
        Self { network, headers: identity_headers(&identity), identity }
    }

    /// Sends a request of the protocol, for clients' requests with these names. The peer should answer `within` this time
    /// after the request has arrived.
    ///
    /// # Errors
    /// [`PeerError`] says whether the request may have arrived.
    pub async fn rpc(
        &self,
        to: &NodeId,
        request: &Outgoing,
        names: &[GivenId],
        within: Duration,
    ) -> Result<Response, PeerError> {
        let body = wire::encode_request(request);
        let transfer = Duration::from_micros(u64::try_from(body.len()).unwrap_or(u64::MAX) / MIN_LINK_BYTES_PER_US);
        let within = within + transfer;
        let bytes = timeout(within, async {
            let mut request = self.request(to, Method::POST, "/peer/rpc", body)?;
            if let Some(names) = GivenId::header_of_all(names) {
                request.headers_mut().insert(REQUEST_IDS_HEADER, names);
            }
            read_whole(to, accepted(to, self.network.send(request).await).await?).await
        });
        let bytes = bytes.await.unwrap_or_else(|_| Err(PeerError::NoAnswer(to.clone())))?;
        Ok(wire::decode(&bytes)?)
    }

    /// Forwards writes to the leader, which reports each outcome when it is known, and all of them `within` this time.
    ///
    /// # Errors
    /// [`PeerError`] says whether the writes may have arrived.
    pub async fn propose(
        &self,
        to: &NodeId,
        writes: &[ForwardedWrite],
        within: Duration,
    ) -> Result<OutcomeStream, PeerError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let body = wire::encode(&(within_ms, writes), room_for(writes.len()));
        let deadline = Instant::now() + within + PROPOSE_GRACE;
        let answer = timeout_at(deadline, self.send(to, Method::POST, "/peer/propose", body)).await;
        let response = answer.unwrap_or_else(|_| Err(PeerError::NoAnswer(to.clone())))?;
        Ok(OutcomeStream::new(to.clone(), response.into_body(), deadline))
    }

    /// Asks the leader to hand over. Returns whether it has begun.
    ///
    /// # Errors
    /// [`PeerError`] says whether the request may have arrived.
    pub async fn transfer(&self, to: &NodeId, successor: Option<&NodeId>, within: Duration) -> Result<bool, PeerError> {
        self.post(to, "/peer/transfer", wire::encode(&successor, SHORT_MESSAGE_ROOM), within).await
    }

    /// What a peer noted of these entries, in their order; nothing if it takes no traces.
    ///
    /// # Errors
    /// [`PeerError`] if it does not answer in time.
    pub async fn timeline(
        &self,
        of: &NodeId,
        indexes: &[LogIndex],
        within: Duration,
    ) -> Result<Vec<Vec<Noted>>, PeerError> {
        self.post(of, "/peer/timeline", wire::encode(&indexes, room_for(0)), within).await
    }

    /// A peer's status.
    ///
    /// # Errors
    /// [`PeerError`] if it does not answer in time.
    pub async fn status<T: DeserializeOwned>(&self, of: &NodeId, within: Duration) -> Result<T, PeerError> {
        let bytes = timeout(within, async {
            let response = self.send(of, Method::GET, "/peer/status", Vec::new()).await?;
            read_whole(of, response).await
        });
        let bytes = bytes.await.unwrap_or_else(|_| Err(PeerError::NoAnswer(of.clone())))?;
        serde_json::from_slice(&bytes).map_err(|_| PeerError::NoAnswer(of.clone()))
    }

    /// Opens the connection whose end shows that the peer's process is gone. It carries nothing.
    ///
    /// # Errors
    /// [`SendError`] says what the attempt shows.
    pub(super) async fn presence(&self, of: &NodeId) -> Result<Body, SendError> {
        let request = self.request(of, Method::GET, "/peer/presence", Vec::new());
        let response = self.network.send(request.map_err(|_| SendError::Unreachable)?).await?;
        if response.status().is_success() { Ok(response.into_body()) } else { Err(SendError::Broken) }
    }

    /// Tries whether a new connection to the peer can be opened.
    pub(super) async fn reach(&self, peer: &NodeId) -> Result<(), SendError> {
        match self.identity.peers.get(peer) {
            Some(url) => self.network.reach(url).await,
            None => Err(SendError::Unreachable),
        }
    }

    async fn post<T: DeserializeOwned>(
        &self,
        to: &NodeId,
        path: &'static str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<T, PeerError> {
        let bytes = timeout(within, async {
            let response = self.send(to, Method::POST, path, body).await?;
            read_whole(to, response).await
        });
        let bytes = bytes.await.unwrap_or_else(|_| Err(PeerError::NoAnswer(to.clone())))?;
        Ok(wire::decode(&bytes)?)
    }

    /// Sends a request and waits for the head of an answer that is none of a refusal.
    async fn send(
        &self,
        to: &NodeId,
        method: Method,
        path: &'static str,
        body: Vec<u8>,
    ) -> Result<HttpResponse<Body>, PeerError> {
        let request = self.request(to, method, path, body)?;
        accepted(to, self.network.send(request).await).await
    }

    fn request(
        &self,
        to: &NodeId,
        method: Method,
        path: &'static str,
        body: Vec<u8>,
    ) -> Result<Request<Bytes>, PeerError> {
        let base = self.identity.peers.get(to).ok_or_else(|| PeerError::Unknown(to.clone()))?;
        let mut request = Request::new(Bytes::from(body));
        *request.method_mut() = method;
        *request.uri_mut() =
            format!("{}{path}", base.trim_end_matches('/')).parse().map_err(|_| PeerError::Unknown(to.clone()))?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

fn identity_headers(identity: &PeerIdentity) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str, sensitive: bool| {
        let mut value = HeaderValue::from_str(value).expect("settings admit printable ASCII only");
        value.set_sensitive(sensitive);
        headers.insert(HeaderName::from_static(name), value);
    };
    set(CLUSTER_HEADER, &identity.cluster_id, false);
    set(FROM_HEADER, identity.node_id.as_str(), false);
    if let Some(secret) = &identity.secret {
        set(SECRET_HEADER, secret, true);
    }
    headers
}

async fn accepted(
    peer: &NodeId,
    answer: Result<HttpResponse<Body>, SendError>,
) -> Result<HttpResponse<Body>, PeerError> {
    match answer {
        Err(SendError::Refused | SendError::Unreachable) => Err(PeerError::Unreachable(peer.clone())),
        Err(SendError::Broken) => Err(PeerError::NoAnswer(peer.clone())),
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) if response.status().is_client_error() => {
            let reason = to_bytes(response.into_body(), MAX_REASON_BYTES).await.unwrap_or_default();
            Err(PeerError::Refused { node: peer.clone(), reason: String::from_utf8_lossy(&reason).into_owned() })
        }
        Ok(_) => Err(PeerError::NoAnswer(peer.clone())),
    }
}

async fn read_whole(peer: &NodeId, response: HttpResponse<Body>) -> Result<Bytes, PeerError> {
    to_bytes(response.into_body(), MAX_PEER_BODY_BYTES).await.map_err(|_| PeerError::NoAnswer(peer.clone()))
}
