//! Sends requests to peers, over a pool of kept-alive connections for each.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use quorapay_core::domain::Proposal;
use quorapay_core::replication::{NodeId, Outgoing, Response};

use super::identity::{CLUSTER_HEADER, FROM_HEADER, PeerIdentity, SECRET_HEADER};
use super::outcome_stream::OutcomeStream;
use super::wire::{self, SHORT_MESSAGE_ROOM, WireError, room_for};

/// A connection inside a cluster is established within a millisecond or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Bandwidth that a link inside a cluster must have, 48 Mbit/s. Extends the timeout of large messages.
const MIN_LINK_BYTES_PER_US: u64 = 6;

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
    http: reqwest::Client,
    identity: std::sync::Arc<PeerIdentity>,
}

impl PeerClient {
    /// A client that sends this identity.
    #[must_use]
    pub fn new(identity: std::sync::Arc<PeerIdentity>) -> Self {
        let http = reqwest::Client::builder()
            .default_headers(identity_headers(&identity))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .pool_idle_timeout(None)
            .no_proxy()
            .build()
            .expect("a client without TLS settings can always be built");
        Self { http, identity }
    }

    fn url(&self, to: &NodeId, path: &str) -> Result<String, PeerError> {
        let base = self.identity.peers.get(to).ok_or_else(|| PeerError::Unknown(to.clone()))?;
        Ok(format!("{}{path}", base.trim_end_matches('/')))
    }

    /// Sends a request of the protocol. The peer should answer `within` this time after the request has arrived.
    ///
    /// # Errors
    /// [`PeerError`] says whether the request may have arrived.
    pub async fn rpc(&self, to: &NodeId, request: &Outgoing, within: Duration) -> Result<Response, PeerError> {
        let body = wire::encode_request(request);
        let transfer = Duration::from_micros(u64::try_from(body.len()).unwrap_or(u64::MAX) / MIN_LINK_BYTES_PER_US);
        self.post(to, "/peer/rpc", body, within + transfer).await
    }

    /// Forwards proposals to the leader, which reports each outcome when it is known, and all of them `within` this time.
    ///
    /// # Errors
    /// [`PeerError`] says whether the proposals may have arrived.
    pub async fn propose(
        &self,
        to: &NodeId,
        proposals: &[Proposal],
        within: Duration,
    ) -> Result<OutcomeStream, PeerError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let body = wire::encode(&(within_ms, proposals), room_for(proposals.len()));
        let request = self.http.post(self.url(to, "/peer/propose")?).body(body).timeout(within + PROPOSE_GRACE);
        Ok(OutcomeStream::new(to.clone(), accepted(to, request.send().await).await?))
    }

    /// Asks the leader to hand over. Returns whether it has begun.
    ///
    /// # Errors
    /// [`PeerError`] says whether the request may have arrived.
    pub async fn transfer(&self, to: &NodeId, successor: Option<&NodeId>, within: Duration) -> Result<bool, PeerError> {
        self.post(to, "/peer/transfer", wire::encode(&successor, SHORT_MESSAGE_ROOM), within).await
    }

    /// A peer's status.
    ///
    /// # Errors
    /// [`PeerError`] if it does not answer in time.
    pub async fn status<T: DeserializeOwned>(&self, of: &NodeId, within: Duration) -> Result<T, PeerError> {
        let response = self.http.get(self.url(of, "/peer/status")?).timeout(within).send().await;
        let response = accepted(of, response).await?;
        response.json().await.map_err(|_| PeerError::NoAnswer(of.clone()))
    }

    /// Opens the connection whose end shows that the peer's process is gone. It carries nothing.
    ///
    /// # Errors
    /// [`reqwest::Error`] unchanged: the caller needs its cause.
    pub(super) async fn presence(&self, of: &NodeId) -> Result<reqwest::Response, reqwest::Error> {
        let url = self.url(of, "/peer/presence").unwrap_or_default();
        self.http.get(url).send().await?.error_for_status()
    }

    async fn post<T: DeserializeOwned>(
        &self,
        to: &NodeId,
        path: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<T, PeerError> {
        let response = self.http.post(self.url(to, path)?).body(body).timeout(within).send().await;
        let bytes = accepted(to, response).await?.bytes().await.map_err(|_| PeerError::NoAnswer(to.clone()))?;
        Ok(wire::decode(&bytes)?)
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
    response: Result<reqwest::Response, reqwest::Error>,
) -> Result<reqwest::Response, PeerError> {
    match response {
        Err(error) if error.is_connect() => Err(PeerError::Unreachable(peer.clone())),
        Err(_) => Err(PeerError::NoAnswer(peer.clone())),
        Ok(response) if response.status().is_success() => Ok(response),
        Ok(response) if response.status().is_client_error() => {
            let reason = response.text().await.unwrap_or_default();
            Err(PeerError::Refused { node: peer.clone(), reason })
        }
        Ok(_) => Err(PeerError::NoAnswer(peer.clone())),
    }
}
