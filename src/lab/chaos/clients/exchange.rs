//! One attempt: records it, sends it, and records the result.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use url::Url;

use super::request::HttpRequest;
use crate::history::{
    Answered, Event, Invoke, Micros, OperationId, Recorder, Refused, Request, Response, ResponseBody, Unknown,
};
use quorapay_api::headers;
use quorapay_client::{Problem, ReportedOutcome};
use quorapay_core::domain::Rejection;
use quorapay_core::domain::{Epoch, LogIndex};

/// Nodes run on this machine or nearby and accept connections quickly or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A node to send to.
#[derive(Clone, Debug)]
pub(super) struct TargetNode {
    pub(super) name: String,
    pub(super) base: Url,
}

/// Sends requests and records them.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    http: reqwest::Client,
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
    pub(super) fn new(recorder: Recorder, deadline: Duration) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { http, recorder, deadline })
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
        let http = HttpRequest::of(request);
        let url = http.url(&node.base);
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        let timeout = self.deadline + self.deadline / 4;
        let mut builder = self.http.request(http.method, url).timeout(timeout);
        builder = builder.header(headers::DEADLINE_MS.name, deadline_ms);
        if let Some(key) = http.key {
            builder = builder.header(headers::IDEMPOTENCY_KEY.name, key);
        }
        if let Some(body) = http.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body);
        }
        match builder.send().await {
            Ok(response) => Received::of_response(response, matches!(request, Request::Read(_))).await,
            Err(error) => Received::of_error(&error),
        }
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
    fn of_error(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::Refused { code: "not_sent".to_owned(), retryable: true, response: None };
        }
        let reason = if error.is_timeout() { "timeout" } else { "connection_lost" };
        Self::Unknown { reason: reason.to_owned(), response: None }
    }

    async fn of_response(response: reqwest::Response, is_read: bool) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        match response.bytes().await {
            Ok(body) => Self::of_answer(status, &headers, &body, is_read),
            Err(error) => Self::of_error(&error),
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
