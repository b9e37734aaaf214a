//! One kept-alive connection of one caller to one node.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::plan::{BatchForm, Plan, Workload};
use quorapay_api::headers;

/// How much of a body is kept: more than any answer to a single payment, and more than a batch's answer has before its
/// results. The rest is read and discarded.
const MAX_KEPT_BODY_BYTES: usize = 64 * 1024;

static DEADLINE_MS: HeaderName = HeaderName::from_static(headers::DEADLINE_MS.lower);
static REPLAYED: HeaderName = HeaderName::from_static(headers::REPLAYED.lower);

/// A node to send to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: SocketAddr,
    /// The name that the node's certificate must have; `None` without TLS.
    sealed: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// What stands before the API's own paths.
    pub(super) base_path: String,
    /// Those of every request.
    pub(super) headers: HeaderMap,
}

impl Target {
    /// Resolves the host of a base URL.
    ///
    /// # Errors
    /// One line that says what is wrong with the URL.
    pub(super) fn resolve(base: &str, plan: &Plan) -> Result<Self, String> {
        let url = Url::parse(base).map_err(|error| format!("{base:?} is no URL: {error}"))?;
        let host = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https"));
        let host = host.ok_or_else(|| format!("{base:?} does not look like http://HOST:PORT or https://HOST:PORT"))?;
        let port = url.port_or_known_default().unwrap_or(80);
        let sealed = match url.scheme() {
            "https" => {
                // The host of an IPv6 URL has brackets around it.
                let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let name = ServerName::try_from(name).map_err(|error| format!("{base:?}: {error}"))?;
                Some((plan.access.tls.config(), name))
            }
            _ => None,
        };
        let addresses = url.socket_addrs(|| None).map_err(|error| format!("{base}: {error}"))?;
        let address = *addresses.first().ok_or_else(|| format!("{base}: the host has no address"))?;
        let mut headers = HeaderMap::with_capacity(5);
        let host = HeaderValue::from_str(&format!("{host}:{port}")).map_err(|error| format!("{base:?}: {error}"))?;
        headers.insert(HOST, host);
        let media_type = match (plan.workload, plan.batch.map(|batch| batch.form)) {
            (Workload::Read(..), _) => None,
            (_, Some(BatchForm::Ndjson)) => Some("application/x-ndjson"),
            (_, None | Some(BatchForm::Json)) => Some("application/json"),
        };
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        let deadline_ms = u64::try_from(plan.attempt_timeout().as_millis()).unwrap_or(u64::MAX);
        headers.insert(&DEADLINE_MS, HeaderValue::from(deadline_ms));
        headers.extend(plan.access.authorization().map(|value| (AUTHORIZATION, value)));
        let base_path = url.path().trim_end_matches('/').to_owned();
        Ok(Self { address, sealed, base_path, headers })
    }
}

/// An answer whose body was read to its end.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    pub(super) status: StatusCode,
    /// Whether it repeats the answer to an earlier request under the same key.
    pub(super) replayed: bool,
    /// The body, if it was asked for or if the answer is not a success.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangeError {
    /// The request was not sent.
    NotSent,
    /// It was sent at least in part.
    Lost,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(super) async fn open(target: &Target) -> Option<Self> {
        let stream = TcpStream::connect(target.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        match &target.sealed {
            None => Self::over(stream).await,
            Some((config, name)) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Self::over(connector.connect(name.clone(), stream).await.ok()?).await
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Option<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // The task ends with the sender or the peer. An error shows as an answer that does not come.
        tokio::spawn(connection);
        Some(Self { sender })
    }

    /// Whether another request may be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        keep: bool,
    ) -> Result<HttpAnswer, ExchangeError> {
        if self.sender.ready().await.is_err() {
            return Err(ExchangeError::NotSent);
        }
        match self.sender.send_request(request).await {
            Ok(response) => {
                let (status, replayed) = (response.status(), response.headers().contains_key(&REPLAYED));
                let body = read(response.into_body(), keep || !status.is_success()).await?;
                Ok(HttpAnswer { status, replayed, body })
            }
            Err(error) if error.is_canceled() => Err(ExchangeError::NotSent),
            Err(_) => Err(ExchangeError::Lost),
        }
    }
}

async fn read(mut body: Incoming, keep: bool) -> Result<Vec<u8>, ExchangeError> {
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ExchangeError::Lost)?;
        if let Some(data) = frame.data_ref().filter(|_| keep) {
            let room = MAX_KEPT_BODY_BYTES - kept.len();
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(kept)
}
