//! Connections to peers that show who they are: TLS in which each side shows a certificate, and the one that a peer
//! shows must have the name of the node that is called.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use axum::http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::{Refusal, Sealing, node_name};
use quorapay_core::replication::NodeId;

/// A handshake takes a few milliseconds, on a machine that is busy some tens.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// A stream of the kind that the HTTP client takes.
type Plain = TokioIo<TcpStream>;
type Sealed = TokioIo<TlsStream<TokioIo<Plain>>>;

/// How connections between nodes are sealed, and which name is expected where.
pub struct PeerSealing {
    sealing: Sealing,
    /// By host and port.
    names: BTreeMap<String, String>,
}

impl PeerSealing {
    /// The peers have these URLs. Each URL is one node's.
    #[must_use]
    pub fn new(sealing: Sealing, cluster_id: &str, peers: &BTreeMap<NodeId, String>) -> Self {
        let name = |(node, url): (&NodeId, &String)| {
            let uri: Uri = url.parse().ok()?;
            Some((uri.authority()?.to_string(), node_name(node, cluster_id)))
        };
        Self { sealing, names: peers.iter().filter_map(name).collect() }
    }

    /// What connections that come are sealed with.
    pub(super) fn sealing(&self) -> Sealing {
        self.sealing.clone()
    }

    /// Makes the handshake with the peer at this URL.
    ///
    /// # Errors
    /// Why the other side is not that peer, or does not take this node for one. It is counted, and written to the log.
    pub(super) async fn seal(&self, uri: &Uri, stream: Plain) -> io::Result<Sealed> {
        let name = uri.authority().and_then(|authority| self.names.get(authority.as_str()));
        let name = name.ok_or_else(|| io::Error::other("no peer has this URL"))?;
        let shaken = timeout(HANDSHAKE_TIMEOUT, self.handshake(name, stream)).await;
        let shaken = shaken.unwrap_or_else(|_| Err(io::Error::other("the handshake was not finished in time")));
        shaken.inspect_err(|error| self.sealing.refuse(Refusal::Dialled, name, error))
    }

    async fn handshake(&self, name: &str, stream: Plain) -> io::Result<Sealed> {
        let config = self.sealing.client().ok_or_else(|| io::Error::other("there is no certificate for peers"))?;
        let server_name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(server_name, TokioIo::new(stream)).await?;
        // A wildcard would do for rustls.
        if self.sealing.presented(stream.get_ref().1.peer_certificates()).has(name) {
            Ok(TokioIo::new(stream))
        } else {
            Err(io::Error::other("its certificate does not have exactly this name"))
        }
    }
}
