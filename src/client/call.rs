//! One request in a form that can be sent again, and the result of one attempt to send it.

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use url::Url;

use super::{Problem, ReportedOutcome};
use quorapay_api::query::Parameter;
use quorapay_core::domain::IdempotencyKey;

/// One request, in a form that can be sent again.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    segments: Vec<String>,
    query: Query,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) body: Option<RequestContent>,
}

/// Parameters of a request.
pub(super) type Query = Vec<Parameter>;

/// The body of a request.
#[derive(Clone)]
pub(super) struct RequestContent {
    pub(super) media_type: &'static str,
    pub(super) bytes: Bytes,
}

/// The result of one attempt.
pub(super) enum AttemptResult {
    Succeeded {
        body: Bytes,
        replayed: bool,
    },
    Refused(Box<Problem>),
    /// Worth another attempt. `open` says whether this one may have been applied.
    Failed {
        open: bool,
        why: String,
        problem: Option<Box<Problem>>,
    },
    Unexpected(String),
}

impl Call {
    pub(super) fn read(segments: &[&str], query: Query) -> Self {
        Self { method: Method::GET, segments: owned(segments), query, key: None, body: None }
    }

    pub(super) fn write<B: Serialize>(method: Method, segments: &[&str], key: &IdempotencyKey, body: &B) -> Self {
        let bytes = serde_json::to_vec(body).expect("requests are made of strings, numbers and maps with string keys");
        Self::send(method, segments, key, RequestContent { media_type: "application/json", bytes: bytes.into() })
    }

    pub(super) fn send(method: Method, segments: &[&str], key: &IdempotencyKey, body: RequestContent) -> Self {
        let (key, body) = (Some(key.clone()), Some(body));
        Self { method, segments: owned(segments), query: Vec::new(), key, body }
    }

    /// A write without a body.
    pub(super) fn bare(method: Method, segments: &[&str]) -> Self {
        Self { method, segments: owned(segments), query: Vec::new(), key: None, body: None }
    }

    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }

    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        url.path_segments_mut().expect("checked when the client was made").pop_if_empty().extend(&self.segments);
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// A request without an answer: it changed nothing only if it never got a connection.
pub(super) fn lost(error: &reqwest::Error) -> AttemptResult {
    AttemptResult::Failed { open: !error.is_connect(), why: root_cause(error), problem: None }
}

pub(super) fn judge(status: StatusCode, body: Bytes, replayed: bool) -> AttemptResult {
    if status.is_success() {
        return AttemptResult::Succeeded { body, replayed };
    }
    match Problem::parse(&body) {
        Some(problem) if problem.outcome == Some(ReportedOutcome::Unknown) || problem.retryable => {
            let open = problem.outcome == Some(ReportedOutcome::Unknown);
            AttemptResult::Failed { open, why: problem.to_string(), problem: Some(Box::new(problem)) }
        }
        Some(problem) => AttemptResult::Refused(Box::new(problem)),
        // A proxy answered: it may have passed the request on before it failed.
        None if status.is_server_error() => {
            AttemptResult::Failed { open: true, why: format!("HTTP status {status}"), problem: None }
        }
        None => AttemptResult::Unexpected(format!("HTTP status {status} without a problem document")),
    }
}

fn owned(segments: &[&str]) -> Vec<String> {
    segments.iter().map(|&segment| segment.to_owned()).collect()
}

/// The innermost cause: "Connection refused" tells more than the layers around it.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
