//! One attempt: recorded, sent, judged by what came back, recorded again.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use url::Url;

use super::request::HttpRequest;
use crate::history::{Answer, Ask, Body, Event, Invoke, Micros, OperationId, Recorder, Refused, Told, Unknown};
use quorapay_client::{Problem, ReportedOutcome};
use quorapay_core::domain::Rejection;
use quorapay_core::domain::{Epoch, LogIndex};

/// A node on this or a near machine accepts a connection at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A node with the URL that its requests start from.
#[derive(Clone, Debug)]
pub(super) struct Node {
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

/// How an attempt ended, as far as the next step depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was answered.
    Ok(Told),
    /// The bank decided against it: as final as a success.
    Rejected(Told),
    /// It was definitely not done; another attempt may fare better if `retryable`.
    Refused { retryable: bool },
    /// It may or may not have been done.
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

    /// Makes one attempt. Its beginning is written down before anything is sent, its end once everything has come.
    pub(super) async fn attempt(&self, id: OperationId, node: &Node, intended: Micros, ask: &Ask) -> Ended {
        let OperationId { process, operation } = id;
        let (at, name) = (self.recorder.now(), node.name.clone());
        self.recorder.record(&Event::Invoke(Invoke { process, operation, at, intended, node: name, ask: ask.clone() }));
        let received = self.send(node, ask).await;
        let at = self.recorder.now();
        let (event, ended) = match received {
            Received::Answered(told) => {
                (Event::Ok(Answer { process, operation, at, answer: told.clone() }), Ended::Ok(told))
            }
            Received::Refused { code, retryable, told } => {
                let ended = match &told {
                    Some(told) if is_decision(&code) => Ended::Rejected(told.clone()),
                    Some(_) | None => Ended::Refused { retryable },
                };
                (Event::Refused(Refused { process, operation, at, code, answer: told }), ended)
            }
            Received::Unknown { why, told } => {
                (Event::Unknown(Unknown { process, operation, at, why, answer: told }), Ended::Unknown)
            }
        };
        self.recorder.record(&event);
        ended
    }

    async fn send(&self, node: &Node, ask: &Ask) -> Received {
        let http = HttpRequest::of(ask);
        let url = http.url(&node.base);
        let deadline_ms = u64::try_from(self.deadline.as_millis()).unwrap_or(u64::MAX);
        let patience = self.deadline + self.deadline / 4;
        let mut request = self.http.request(http.method, url).timeout(patience);
        request = request.header("Quorapay-Deadline-Ms", deadline_ms);
        if let Some(key) = http.key {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = http.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        match request.send().await {
            Ok(response) => Received::of_response(response, matches!(ask, Ask::Read(_))).await,
            Err(error) => Received::of_error(&error),
        }
    }
}

/// What came back.
#[derive(Debug)]
enum Received {
    Answered(Told),
    Refused { code: String, retryable: bool, told: Option<Told> },
    Unknown { why: String, told: Option<Told> },
}

impl Received {
    /// A request without an answer was definitely not done only if it never got a connection.
    fn of_error(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::Refused { code: "not_sent".to_owned(), retryable: true, told: None };
        }
        let why = if error.is_timeout() { "timeout" } else { "connection_lost" };
        Self::Unknown { why: why.to_owned(), told: None }
    }

    async fn of_response(response: Response, is_read: bool) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        match response.bytes().await {
            Ok(body) => Self::of_answer(status, &headers, &body, is_read),
            Err(error) => Self::of_error(&error),
        }
    }

    fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8], is_read: bool) -> Self {
        let told = told(status, headers, body);
        if status.is_success() {
            return Self::Answered(told);
        }
        match Problem::parse(body) {
            // To a read, "there is no such thing" is an answer like any other, and can be as wrong.
            Some(problem) if is_read && problem.status == 404 && problem.code.ends_with("_not_found") => {
                Self::Answered(told)
            }
            Some(problem) if problem.outcome == Some(ReportedOutcome::Unknown) => {
                Self::Unknown { why: problem.code, told: Some(told) }
            }
            Some(problem) => Self::Refused { code: problem.code, retryable: problem.retryable, told: Some(told) },
            // Not a node's word: whoever said it may have passed the request on before.
            None => Self::Unknown { why: format!("http_{}", status.as_u16()), told: Some(told) },
        }
    }
}

/// Whether a refusal is the bank's, and so in the ledger like a success. That a key is used up is no decision.
fn is_decision(code: &str) -> bool {
    Rejection::from_code(code).is_some_and(|rejection| {
        !matches!(rejection, Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced)
    })
}

fn told(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Told {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let number = |name: &str| text(name).and_then(|text| text.parse().ok());
    Told {
        status: status.as_u16(),
        node: text("Quorapay-Node").map(str::to_owned),
        index: number("Quorapay-Index").map(LogIndex),
        epoch: number("Quorapay-Epoch").map(Epoch),
        applied_index: number("Quorapay-Applied-Index").map(LogIndex),
        staleness_ms: number("Quorapay-Staleness-Ms"),
        replayed: text("Idempotent-Replayed") == Some("true"),
        body: Body::of(body),
    }
}
