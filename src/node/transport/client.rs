//! The asking side: one pool of kept-alive connections per peer.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;

use quorapay_core::domain::Proposal;
use quorapay_core::replication::{NodeId, Outgoing, Response};

use super::outcome::WriteOutcome;
use super::wire::{self, SHORT_MESSAGE_ROOM, WireError, room_for};
use super::{CLUSTER_HEADER, FROM_HEADER, PeerIdentity, SECRET_HEADER};

/// Establishing a connection inside a cluster takes a millisecond or does not happen.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Bytes a microsecond that a link inside a cluster must carry: 48 Mbit/s.
const SLOWEST_LINK: u64 = 6;

/// Why a peer's answer is missing.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No connection could be made, so the request did not arrive.
    #[error("{0} cannot be reached")]
    Unreachable(NodeId),
    /// The connection broke or the answer did not come in time: whether the request arrived is unknown.
    #[error("{0} did not answer")]
    NoAnswer(NodeId),
    /// The peer refused to talk to this node: another secret, another cluster, or it does not know this node.
    #[error("{node} refuses to talk to this node: {reason}")]
    Refused {
        /// The peer.
        node: NodeId,
        /// What it said.
        reason: String,
    },
    /// The answer was no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The node is not configured.
    #[error("{0} is not among the configured peers")]
    Unknown(NodeId),
}

/// Asks peers. Cheap to clone.
#[derive(Clone)]
pub struct PeerClient {
    http: reqwest::Client,
    identity: std::sync::Arc<PeerIdentity>,
}

impl PeerClient {
    /// A client that speaks as `identity`.
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

    /// Asks one question of the protocol, whose answer should be there `within` so long after it arrived.
    ///
    /// # Errors
    /// [`PeerError`] says whether the question may have arrived.
    pub async fn rpc(&self, to: &NodeId, request: &Outgoing, within: Duration) -> Result<Response, PeerError> {
        let body = wire::encode_request(request);
        let transfer = Duration::from_micros(u64::try_from(body.len()).unwrap_or(u64::MAX) / SLOWEST_LINK);
        self.post(to, "/peer/rpc", body, within + transfer).await
    }

    /// Hands proposals to the leader. The answers come in the order of the proposals.
    ///
    /// # Errors
    /// [`PeerError`] says whether the proposals may have arrived.
    pub async fn propose(
        &self,
        to: &NodeId,
        proposals: &[Proposal],
        within: Duration,
    ) -> Result<Vec<WriteOutcome>, PeerError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let body = wire::encode(&(within_ms, proposals), room_for(proposals.len()));
        self.post(to, "/peer/propose", body, within + Duration::from_millis(50)).await
    }

    /// Asks the leader to hand over. Says whether it was begun.
    ///
    /// # Errors
    /// [`PeerError`] says whether the question may have arrived.
    pub async fn transfer(&self, to: &NodeId, successor: Option<&NodeId>, within: Duration) -> Result<bool, PeerError> {
        self.post(to, "/peer/transfer", wire::encode(&successor, SHORT_MESSAGE_ROOM), within).await
    }

    /// A peer's account of itself, as JSON.
    ///
    /// # Errors
    /// [`PeerError`] if it does not answer in time.
    pub async fn status<T: DeserializeOwned>(&self, of: &NodeId, within: Duration) -> Result<T, PeerError> {
        let response = self.http.get(self.url(of, "/peer/status")?).timeout(within).send().await;
        let response = accepted(of, response).await?;
        response.json().await.map_err(|_| PeerError::NoAnswer(of.clone()))
    }

    /// Opens the connection whose end tells that the peer's process is gone. It carries nothing.
    ///
    /// # Errors
    /// [`reqwest::Error`] as it came: the caller looks at its cause.
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
