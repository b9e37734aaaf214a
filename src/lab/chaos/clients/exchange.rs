//! One attempt: records it, sends it, and records the result.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::timeout;
use url::Url;

use super::request::HttpRequest;
use crate::history::{
    Answered, Event, Invoke, Micros, OperationId, Recorder, Refused, Request, Response, ResponseBody, Unknown,
};
use quorapay_api::headers;
use quorapay_client::{Problem, ReportedOutcome};
use quorapay_core::domain::Rejection;
use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_node::transport::{Network, SendError};

/// A node to send to.
#[derive(Clone, Debug)]
pub(super) struct TargetNode {
    pub(super) name: String,
    pub(super) base: Url,
}

/// Sends requests and records them.
#[derive(Clone)]
pub(super) struct Exchange {
    network: Arc<dyn Network>,
    recorder: Recorder,
    deadline: Duration,
}

/// The outcome of an attempt, as far as the next step depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    /// It was answered.
    Ok(Response),
    /// The bank rejected it, which is as final as a success.
    Rejected(Response),
    /// It was definitely not applied. Another attempt may succeed if `retryable`.
    Refused { retryable: bool },
    /// It may or may not have been applied.
    Unknown,
}

impl Exchange {
    pub(super) const fn new(network: Arc<dyn Network>, recorder: Recorder, deadline: Duration) -> Self {
        Self { network, recorder, deadline }
    }

    pub(super) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Makes one attempt. Its beginning is recorded before anything is sent, its end after the answer is complete.
    pub(super) async fn attempt(
        &self,
        id: OperationId,
        node: &TargetNode,
        intended: Micros,
        request: &Request,
    ) -> AttemptOutcome {
        let OperationId { process, operation } = id;
        let (at, name) = (self.recorder.now(), node.name.clone());
        self.recorder.record(&Event::Invoke(Invoke {
            process,
            operation,
            at,
            intended,
            node: name,
            request: request.clone(),
        }));
        let received = self.send(node, request).await;
        let at = self.recorder.now();
        let (event, ended) = match received {
            Received::Answered(response) => (
                Event::Ok(Answered { process, operation, at, response: response.clone() }),
                AttemptOutcome::Ok(response),
            ),
            Received::Refused { code, retryable, response } => {
                let ended = match &response {
                    Some(response) if is_decision(&code) => AttemptOutcome::Rejected(response.clone()),
                    Some(_) | None => AttemptOutcome::Refused { retryable },
                };
                (Event::Refused(Refused { process, operation, at, code, response }), ended)
            }
            Received::Unknown { reason, response } => {
                (Event::Unknown(Unknown { process, operation, at, reason, response }), AttemptOutcome::Unknown)
            }
        };
        self.recorder.record(&event);
        ended
    }

    async fn send(&self, node: &TargetNode, request: &Request) -> Received {
        let within = self.deadline + self.deadline / 4;
        let is_read = matches!(request, Request::Read(_));
        let exchanged = async {
            let (parts, body) = self.network.send(self.http_request(node, request)).await?.into_parts();
            let body = body.collect().await.map_err(|_| SendError::Broken)?.to_bytes();
            Ok(Received::of_answer(parts.status, &parts.headers, &body, is_read))
        };
        match timeout(within, exchanged).await {
            Ok(Ok(received)) => received,
            Ok(Err(error)) => Received::of_error(error),
            Err(_) => Received::Unknown { reason: "timeout".to_owned(), response: None },
        }
    }

    fn http_request(&self, node: &TargetNode, request: &Request) -> axum::http::Request<Bytes> {
        let http = HttpRequest::of(request);
        let mut sent = axum::http::Request::new(http.body.clone().unwrap_or_default());
        *sent.uri_mut() = http.url(&node.base).as_str().parse().expect("a URL is a URI");
        *sent.method_mut() = http.method;
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        let headers = sent.headers_mut();
        headers.insert(HeaderName::from_static(headers::DEADLINE_MS.lower), deadline_ms.into());
        if let Some(key) = http.key {
            let key = HeaderValue::from_str(&key).expect("a key is printable ASCII");
            headers.insert(HeaderName::from_static(headers::IDEMPOTENCY_KEY.lower), key);
        }
        if http.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        sent
    }
}

/// The result of sending a request.
#[derive(Debug)]
enum Received {
    Answered(Response),
    Refused { code: String, retryable: bool, response: Option<Response> },
    Unknown { reason: String, response: Option<Response> },
}

impl Received {
    /// A request without an answer was definitely not applied only if no connection was made.
    fn of_error(error: SendError) -> Self {
        match error {
            SendError::Refused | SendError::Unreachable => {
                Self::Refused { code: "not_sent".to_owned(), retryable: true, response: None }
            }
            SendError::Broken => Self::Unknown { reason: "connection_lost".to_owned(), response: None },
        }
    }

    fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], is_read: bool) -> Self {
        let response = response_of(status, headers, body);
        if status.is_success() {
            return Self::Answered(response);
        }
        match Problem::parse(body) {
            // "Not found" answers a read, and the checker compares it like any other answer.
            Some(problem) if is_read && problem.status == 404 && problem.code.ends_with("_not_found") => {
                Self::Answered(response)
            }
            Some(problem) if problem.outcome == Some(ReportedOutcome::Unknown) => {
                Self::Unknown { reason: problem.code.into_owned(), response: Some(response) }
            }
            Some(problem) => Self::Refused {
                code: problem.code.into_owned(),
                retryable: problem.retryable,
                response: Some(response),
            },
            // Not from a node: a proxy may have forwarded the request before it answered.
            None => Self::Unknown { reason: format!("http_{}", status.as_u16()), response: Some(response) },
        }
    }
}

/// Whether a refusal is a decision of the bank, which has an entry like a success. A used or fenced key is none.
fn is_decision(code: &str) -> bool {
    Rejection::from_code(code).is_some_and(|rejection| {
        !matches!(rejection, Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced)
    })
}

fn response_of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    Response {
        status: status.as_u16(),
        node: text(headers::NODE.name).map(str::to_owned),
        index: number(headers::INDEX.name).map(LogIndex),
        epoch: number(headers::EPOCH.name).map(Epoch),
        applied_index: number(headers::APPLIED_INDEX.name).map(LogIndex),
        staleness_ms: number(headers::STALENESS_MS.name),
        replayed: text(headers::REPLAYED.name) == Some("true"),
        body: ResponseBody::of(body),
    }
}
