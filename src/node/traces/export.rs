//! Sends spans to a collector: OTLP in JSON over HTTP.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use super::otlp;
use super::spans::Span;

/// How long the collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sends spans of a cluster to a collector. They are lost if it does not take them.
#[derive(Debug)]
pub struct Exporter {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: String,
    cluster_id: String,
}

impl Exporter {
    /// An exporter to this URL.
    #[must_use]
    pub fn new(endpoint: String, cluster_id: String) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), endpoint, cluster_id }
    }

    /// Sends spans.
    ///
    /// # Errors
    /// Why the collector did not take them, in a few words.
    pub async fn export(&self, spans: &[Span]) -> Result<(), String> {
        let mut request = Request::new(Full::new(Bytes::from(otlp::body(&self.cluster_id, spans))));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.parse().map_err(|_| "its URL cannot be used".to_owned())?;
        request.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
        match timeout(TIMEOUT, self.client.request(request)).await {
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(refused(answer.status())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("it did not answer within {TIMEOUT:?}")),
        }
    }
}

fn refused(status: StatusCode) -> String {
    format!("it answered {status}")
}
