//! Answers: status, body, and the headers that every answer has.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::runtime::{CommittedWrite, NodeStatus, ReadPoint};
use quorapay_api::{ExportFormat, headers};
use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::NodeId;

const INDEX: HeaderName = HeaderName::from_static(headers::INDEX.lower);
const EPOCH: HeaderName = HeaderName::from_static(headers::EPOCH.lower);
const NODE: HeaderName = HeaderName::from_static(headers::NODE.lower);
const LEADER: HeaderName = HeaderName::from_static(headers::LEADER.lower);
const APPLIED_INDEX: HeaderName = HeaderName::from_static(headers::APPLIED_INDEX.lower);
const STALENESS_MS: HeaderName = HeaderName::from_static(headers::STALENESS_MS.lower);
const TIME_ERROR_MS: HeaderName = HeaderName::from_static(headers::TIME_ERROR_MS.lower);
const REQUEST_ID: HeaderName = HeaderName::from_static(headers::REQUEST_ID.lower);
const REPLAYED: HeaderName = HeaderName::from_static(headers::REPLAYED.lower);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// More than any answer has, so that the map is allocated once.
const MAX_HEADERS: usize = 14;

/// As of which place in the ledger a request was answered, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AsOf {
    index: LogIndex,
    epoch: Epoch,
    leader: Option<NodeId>,
    freshness: Option<Freshness>,
    time_error_ms: Option<u64>,
    replayed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Freshness {
    applied_index: LogIndex,
    staleness_ms: u64,
}

impl AsOf {
    /// For a write: the entry that decided it.
    pub(super) fn of_write(committed: &CommittedWrite) -> Self {
        Self {
            index: committed.entry.index,
            epoch: committed.epoch,
            leader: Some(committed.leader.clone()),
            freshness: None,
            time_error_ms: committed.time_error_ms,
            replayed: committed.replayed,
        }
    }

    /// For a read: the point as of which it was answered.
    pub(super) fn of_read(point: &ReadPoint, leader: Option<NodeId>) -> Self {
        let freshness = Freshness { applied_index: point.applied_index, staleness_ms: point.staleness_ms };
        Self {
            index: point.applied_index,
            epoch: point.epoch,
            leader,
            freshness: Some(freshness),
            time_error_ms: None,
            replayed: false,
        }
    }

    /// For anything else: the node's own position.
    pub(super) fn of_status(status: &NodeStatus) -> Self {
        Self {
            index: status.applied_index,
            epoch: status.epoch,
            leader: status.leader.clone(),
            freshness: None,
            time_error_ms: None,
            replayed: false,
        }
    }
}

/// An answer without the headers that depend on the node.
#[derive(Debug)]
pub(super) struct HttpAnswer {
    status: StatusCode,
    content_type: HeaderValue,
    body: AnswerBody,
    as_of: Option<AsOf>,
    retry_after: Option<u32>,
}

/// The body of an answer.
#[derive(Debug)]
enum AnswerBody {
    Whole(Vec<u8>),
    /// Written while it is sent.
    Stream(Body),
}

impl HttpAnswer {
    /// A JSON answer.
    pub(super) fn json(status: StatusCode, body: Vec<u8>, as_of: AsOf) -> Self {
        Self { status, content_type: JSON, body: AnswerBody::Whole(body), as_of: Some(as_of), retry_after: None }
    }

    /// Rows that are streamed.
    pub(super) fn export(format: ExportFormat, rows: Body, as_of: AsOf) -> Self {
        let content_type = match format {
            ExportFormat::Csv => CSV,
            ExportFormat::Ndjson => NDJSON,
        };
        let body = AnswerBody::Stream(rows);
        Self { status: StatusCode::OK, content_type, body, as_of: Some(as_of), retry_after: None }
    }

    /// Bytes that are streamed.
    pub(super) fn octets(bytes: Body, as_of: AsOf) -> Self {
        let body = AnswerBody::Stream(bytes);
        Self { status: StatusCode::OK, content_type: OCTETS, body, as_of: Some(as_of), retry_after: None }
    }

    /// A JSON answer about the node itself.
    pub(super) fn node_json(body: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: JSON,
            body: AnswerBody::Whole(body),
            as_of: None,
            retry_after: None,
        }
    }

    /// The metrics.
    pub(super) fn metrics(text: String) -> Self {
        let body = AnswerBody::Whole(text.into_bytes());
        Self { status: StatusCode::OK, content_type: METRICS, body, as_of: None, retry_after: None }
    }

    /// A page of text for people.
    pub(super) fn text(text: String) -> Self {
        let body = AnswerBody::Whole(text.into_bytes());
        Self { status: StatusCode::OK, content_type: TEXT, body, as_of: None, retry_after: None }
    }

    /// Content that does not change while the node runs.
    pub(super) fn fixed(content_type: HeaderValue, body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content_type, body: AnswerBody::Whole(body), as_of: None, retry_after: None }
    }

    /// An error; see [`super::problem::Problem`].
    pub(super) fn problem(status: StatusCode, body: Vec<u8>, as_of: Option<AsOf>, retry_after: Option<u32>) -> Self {
        Self { status, content_type: PROBLEM, body: AnswerBody::Whole(body), as_of, retry_after }
    }

    /// An error in the shape of the earlier systems.
    pub(super) fn plain_error(
        status: StatusCode,
        body: Vec<u8>,
        as_of: Option<AsOf>,
        retry_after: Option<u32>,
    ) -> Self {
        Self { status, content_type: JSON, body: AnswerBody::Whole(body), as_of, retry_after }
    }

    /// An answer that never reaches the caller: the connection is closed before a byte of it is sent.
    pub(super) fn dropped(as_of: AsOf) -> Self {
        let broken =
            futures_util::future::ready(Err::<Vec<u8>, _>(std::io::Error::other("dropped as it was asked for")));
        let body = AnswerBody::Stream(Body::from_stream(futures_util::stream::once(broken)));
        Self { status: StatusCode::OK, content_type: JSON, body, as_of: Some(as_of), retry_after: None }
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it says nothing about when it was answered and takes the node's position.
    pub(super) fn lacks_as_of(&self) -> bool {
        self.as_of.is_none()
    }

    /// The body of an answer that is no export.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn body(&self) -> &[u8] {
        match &self.body {
            AnswerBody::Whole(body) => body,
            AnswerBody::Stream(_) => panic!("an export is streamed"),
        }
    }

    /// Says as of where it was answered.
    pub(super) fn with_as_of(mut self, as_of: AsOf) -> Self {
        self.as_of = Some(as_of);
        self
    }

    /// The HTTP response.
    pub(super) fn into_response(self, node: &NodeName, request_id: Option<HeaderValue>) -> Response<Body> {
        let mut headers = HeaderMap::with_capacity(MAX_HEADERS);
        headers.insert(CONTENT_TYPE, self.content_type);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(NODE, node.header.clone());
        if let Some(id) = request_id {
            headers.insert(REQUEST_ID, id);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, BEARER);
        }
        if let Some(as_of) = self.as_of {
            write_as_of(&mut headers, &as_of, node);
        }
        let mut response = Response::new(match self.body {
            AnswerBody::Whole(body) => Body::from(body),
            AnswerBody::Stream(body) => body,
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

fn write_as_of(headers: &mut HeaderMap, as_of: &AsOf, node: &NodeName) {
    headers.insert(INDEX, HeaderValue::from(as_of.index.0));
    headers.insert(EPOCH, HeaderValue::from(as_of.epoch.0));
    if let Some(leader) = &as_of.leader {
        let header = if *leader == node.id { node.header.clone() } else { header_of(leader) };
        headers.insert(LEADER, header);
    }
    if let Some(freshness) = as_of.freshness {
        headers.insert(APPLIED_INDEX, HeaderValue::from(freshness.applied_index.0));
        headers.insert(STALENESS_MS, HeaderValue::from(freshness.staleness_ms));
    }
    // Of what was decided before, the error is not recorded.
    if let Some(error_ms) = as_of.time_error_ms.filter(|_| !as_of.replayed) {
        headers.insert(TIME_ERROR_MS, HeaderValue::from(error_ms));
    }
    if as_of.replayed {
        headers.insert(REPLAYED, TRUE);
    }
}

/// This node's id, also as a header value: every answer has it.
#[derive(Clone, Debug)]
pub(super) struct NodeName {
    id: NodeId,
    header: HeaderValue,
}

impl NodeName {
    /// Converts the id to a header value once.
    pub(super) fn new(id: NodeId) -> Self {
        let header = header_of(&id);
        Self { id, header }
    }
}

fn header_of(node: &NodeId) -> HeaderValue {
    HeaderValue::from_str(node.as_str()).expect("a node id is made of letters, digits, - and _")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).expect("valid")
    }

    fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
        response.headers().get(name).map(|value| value.to_str().expect("text"))
    }

    #[test]
    fn a_read_says_who_answered_as_of_where_and_how_fresh_it_is() {
        let point = ReadPoint { applied_index: LogIndex(42), epoch: Epoch(3), staleness_ms: 7 };
        let as_of = AsOf::of_read(&point, Some(node("node2")));
        let response =
            HttpAnswer::json(StatusCode::OK, b"{}".to_vec(), as_of).into_response(&NodeName::new(node("node1")), None);
        let expected = [
            ("quorapay-index", "42"),
            ("quorapay-epoch", "3"),
            ("quorapay-node", "node1"),
            ("quorapay-leader", "node2"),
            ("quorapay-applied-index", "42"),
            ("quorapay-staleness-ms", "7"),
            ("content-type", "application/json"),
        ];
        for (name, value) in expected {
            assert_eq!(header(&response, name), Some(value), "{name}");
        }
        assert_eq!(header(&response, "idempotent-replayed"), None);
    }

    #[test]
    fn an_unknown_leader_is_left_out_and_a_replay_is_said() {
        let as_of = AsOf {
            index: LogIndex(1),
            epoch: Epoch(1),
            leader: None,
            freshness: None,
            time_error_ms: Some(51),
            replayed: true,
        };
        let response =
            HttpAnswer::json(StatusCode::CREATED, Vec::new(), as_of).into_response(&NodeName::new(node("n")), None);
        assert_eq!(header(&response, "quorapay-leader"), None);
        assert_eq!(header(&response, "idempotent-replayed"), Some("true"));
        assert_eq!(header(&response, "quorapay-time-error-ms"), None);
    }

    #[test]
    fn a_write_says_how_far_the_true_time_can_be_from_its_timestamp() {
        let (index, epoch) = (LogIndex(1), Epoch(1));
        let as_of = AsOf { index, epoch, leader: None, freshness: None, time_error_ms: Some(51), replayed: false };
        let response =
            HttpAnswer::json(StatusCode::CREATED, Vec::new(), as_of).into_response(&NodeName::new(node("n")), None);
        assert_eq!(header(&response, "quorapay-time-error-ms"), Some("51"));
    }
}
