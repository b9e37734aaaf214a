//! How requests reach peers, and how theirs arrive: the seam under which a simulation puts a network of its own.

use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, Uri};
use futures_util::future::BoxFuture;
use http_body_util::Full;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;
use tower::util::BoxCloneSyncService;

use super::sealed::PeerSealing;
use crate::port::{self, Pace, Port, Terms, serve};
use crate::published::publish;

/// A connection inside a cluster is established within a millisecond or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// No process listens there: the request did not arrive, and the process is gone.
    Refused,
    /// No connection could be opened for another reason, so the request did not arrive.
    Unreachable,
    /// The connection broke: whether the request arrived is unknown.
    Broken,
}

/// A network between the nodes of a cluster. Requests have absolute URLs. A request has no time limit of its own: it is
/// given up when its future is dropped.
pub trait Network: Send + Sync {
    /// Sends a request and waits for the head of the answer. The body ends with an error if the connection breaks.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, SendError>>;

    /// Opens a connection to a URL and closes it. Shows whether new connections are possible, whatever becomes of old ones.
    fn reach(&self, url: &str) -> BoxFuture<'static, Result<(), SendError>>;

    /// Answers the requests of peers until an error ends it. Called once.
    fn serve(&self, router: Router) -> BoxFuture<'static, io::Result<()>>;
}

/// Opens connections, within [`CONNECT_TIMEOUT`] each, the look-up of the host's name included and the handshake not.
type Connector = BoxCloneSyncService<Uri, MaybeHttpsStream<TokioIo<TcpStream>>, Box<dyn Error + Send + Sync>>;

fn connector(sealing: Option<Arc<PeerSealing>>) -> Connector {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.enforce_http(false);
    BoxCloneSyncService::new(tower::service_fn(move |uri: Uri| {
        let (connecting, sealing) = (http.clone().call(uri.clone()), sealing.clone());
        async move {
            let stream = timeout(CONNECT_TIMEOUT, connecting).await??;
            match sealing {
                None => Ok(MaybeHttpsStream::Http(stream)),
                Some(sealing) => Ok(MaybeHttpsStream::Https(sealing.seal(&uri, stream).await?)),
            }
        }
    }))
}

/// HTTP over TCP: a pool of kept-alive connections to each peer, and a port. Without redirects, cookies and proxies,
/// which a cluster does not have and which every append would pay for.
pub struct HttpNetwork {
    client: Client<Connector, Full<Bytes>>,
    port: Mutex<Option<Port>>,
    sealing: Option<Arc<PeerSealing>>,
}

impl HttpNetwork {
    /// A network in which this node is reached at `port`, sealed if it has certificates.
    pub(crate) fn reached_at(port: Port, sealing: Option<PeerSealing>) -> Self {
        Self::new(Some(port), sealing)
    }

    /// A network in which this process only sends, without TLS.
    #[must_use]
    pub fn only_sending() -> Self {
        Self::new(None, None)
    }

    /// A network in which this process only sends, to nodes that know it by its certificate.
    #[cfg(test)]
    pub(super) fn sending_sealed(sealing: PeerSealing) -> Self {
        Self::new(None, Some(sealing))
    }

    fn new(port: Option<Port>, sealing: Option<PeerSealing>) -> Self {
        let sealing = sealing.map(Arc::new);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(None).build(connector(sealing.clone()));
        Self { client, port: Mutex::new(port), sealing }
    }
}

impl Network for HttpNetwork {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, SendError>> {
        let response = self.client.request(request.map(Full::new));
        Box::pin(async move {
            let response = response.await.map_err(|error| classify(&error))?;
            Ok(response.map(Body::new))
        })
    }

    fn reach(&self, url: &str) -> BoxFuture<'static, Result<(), SendError>> {
        let url = url.to_owned();
        Box::pin(async move {
            match timeout(CONNECT_TIMEOUT, port::connect(&url)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(SendError::Refused),
                Ok(Err(_)) | Err(_) => Err(SendError::Unreachable),
            }
        })
    }

    fn serve(&self, router: Router) -> BoxFuture<'static, io::Result<()>> {
        let port = self.port.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sealing = self.sealing.as_deref().map(PeerSealing::sealing);
        Box::pin(async move {
            let port = port.ok_or_else(|| io::Error::other("there is no port to serve peers at"))?;
            // It serves until it is dropped.
            let (_never, stopping) = publish(false);
            serve(port, router, Terms { pace: Pace::Peer, sealing }, stopping).await;
            Ok(())
        })
    }
}

fn classify(error: &ClientError) -> SendError {
    if !error.is_connect() {
        return SendError::Broken;
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return SendError::Refused;
        }
        cause = current.source();
    }
    SendError::Unreachable
}
