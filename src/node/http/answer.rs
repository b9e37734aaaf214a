//! Answers on their way out: status, body, and the headers that every answer carries.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::runtime::{CommittedWrite, NodeStatus, ReadPoint};
use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::NodeId;

const INDEX: HeaderName = HeaderName::from_static("quorapay-index");
const EPOCH: HeaderName = HeaderName::from_static("quorapay-epoch");
const NODE: HeaderName = HeaderName::from_static("quorapay-node");
const LEADER: HeaderName = HeaderName::from_static("quorapay-leader");
const APPLIED_INDEX: HeaderName = HeaderName::from_static("quorapay-applied-index");
const STALENESS_MS: HeaderName = HeaderName::from_static("quorapay-staleness-ms");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const CSV: HeaderValue = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const METRICS: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// More than any answer has, so that the map is allocated once.
const HEADERS: usize = 12;

/// As of where a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    index: LogIndex,
    epoch: Epoch,
    leader: Option<NodeId>,
    freshness: Option<Freshness>,
    replayed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Freshness {
    applied_index: LogIndex,
    staleness_ms: u64,
}

impl Mark {
    /// Of a write: the entry that decided it.
    pub(super) fn of_write(committed: &CommittedWrite) -> Self {
        Self {
            index: committed.entry.index,
            epoch: committed.epoch,
            leader: Some(committed.leader.clone()),
            freshness: None,
            replayed: committed.replayed,
        }
    }

    /// Of a read: the point as of which it was answered.
    pub(super) fn of_read(point: &ReadPoint, leader: Option<NodeId>) -> Self {
        let freshness = Freshness { applied_index: point.applied_index, staleness_ms: point.staleness_ms };
        Self { index: point.applied_index, epoch: point.epoch, leader, freshness: Some(freshness), replayed: false }
    }

    /// Of anything else: where the node stands.
    pub(super) fn of_status(status: &NodeStatus) -> Self {
        Self {
            index: status.applied_index,
            epoch: status.epoch,
            leader: status.leader.clone(),
            freshness: None,
            replayed: false,
        }
    }
}

/// An answer without the headers that depend on the node.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    content_type: HeaderValue,
    body: Content,
    mark: Option<Mark>,
    retry_after: Option<u32>,
}

/// What an answer says.
#[derive(Debug)]
enum Content {
    Whole(Vec<u8>),
    /// Written while it travels.
    Stream(Body),
}

/// How rows are written in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl Answer {
    /// A JSON answer.
    pub(super) fn json(status: StatusCode, body: Vec<u8>, mark: Mark) -> Self {
        Self { status, content_type: JSON, body: Content::Whole(body), mark: Some(mark), retry_after: None }
    }

    /// Rows that are written while they travel.
    pub(super) fn export(format: ExportFormat, rows: Body, mark: Mark) -> Self {
        let content_type = match format {
            ExportFormat::Csv => CSV,
            ExportFormat::Ndjson => NDJSON,
        };
        let body = Content::Stream(rows);
        Self { status: StatusCode::OK, content_type, body, mark: Some(mark), retry_after: None }
    }

    /// A JSON answer about the node itself.
    pub(super) fn node_json(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content_type: JSON, body: Content::Whole(body), mark: None, retry_after: None }
    }

    /// The metrics.
    pub(super) fn metrics(text: String) -> Self {
        let body = Content::Whole(text.into_bytes());
        Self { status: StatusCode::OK, content_type: METRICS, body, mark: None, retry_after: None }
    }

    /// Something that never changes while the node runs.
    pub(super) fn fixed(content_type: HeaderValue, body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, content_type, body: Content::Whole(body), mark: None, retry_after: None }
    }

    /// An error; see [`super::problem::Problem`].
    pub(super) fn problem(status: StatusCode, body: Vec<u8>, mark: Option<Mark>, retry_after: Option<u32>) -> Self {
        Self { status, content_type: PROBLEM, body: Content::Whole(body), mark, retry_after }
    }

    /// An error in the shape of the earlier systems.
    pub(super) fn plain_error(status: StatusCode, body: Vec<u8>, mark: Option<Mark>, retry_after: Option<u32>) -> Self {
        Self { status, content_type: JSON, body: Content::Whole(body), mark, retry_after }
    }

    /// The answer to a write that its caller will not see: the connection breaks off before a byte of it has left.
    pub(super) fn dropped(mark: Mark) -> Self {
        let broken =
            futures_util::future::ready(Err::<Vec<u8>, _>(std::io::Error::other("dropped as it was asked for")));
        let body = Content::Stream(Body::from_stream(futures_util::stream::once(broken)));
        Self { status: StatusCode::OK, content_type: JSON, body, mark: Some(mark), retry_after: None }
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether it lacks a mark of its own and wants the node's.
    pub(super) fn is_unmarked(&self) -> bool {
        self.mark.is_none()
    }

    /// The body of an answer that is no export.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn body(&self) -> &[u8] {
        match &self.body {
            Content::Whole(body) => body,
            Content::Stream(_) => panic!("an export is written while it travels"),
        }
    }

    /// Marks an answer that has no mark of its own.
    pub(super) fn marked(mut self, mark: Mark) -> Self {
        self.mark = Some(mark);
        self
    }

    /// The answer as it leaves this node.
    pub(super) fn into_response(self, node: &NodeName) -> Response<Body> {
        let mut headers = HeaderMap::with_capacity(HEADERS);
        headers.insert(CONTENT_TYPE, self.content_type);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(NODE, node.header.clone());
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(mark) = self.mark {
            write_mark(&mut headers, &mark, node);
        }
        let mut response = Response::new(match self.body {
            Content::Whole(body) => Body::from(body),
            Content::Stream(body) => body,
        });
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

fn write_mark(headers: &mut HeaderMap, mark: &Mark, node: &NodeName) {
    headers.insert(INDEX, HeaderValue::from(mark.index.0));
    headers.insert(EPOCH, HeaderValue::from(mark.epoch.0));
    if let Some(leader) = &mark.leader {
        let header = if *leader == node.id { node.header.clone() } else { header_of(leader) };
        headers.insert(LEADER, header);
    }
    if let Some(freshness) = mark.freshness {
        headers.insert(APPLIED_INDEX, HeaderValue::from(freshness.applied_index.0));
        headers.insert(STALENESS_MS, HeaderValue::from(freshness.staleness_ms));
    }
    if mark.replayed {
        headers.insert(REPLAYED, TRUE);
    }
}

/// This node's name, as a header too: every answer carries it.
#[derive(Clone, Debug)]
pub(super) struct NodeName {
    id: NodeId,
    header: HeaderValue,
}

impl NodeName {
    /// Makes the header once.
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
        let mark = Mark::of_read(&point, Some(node("node2")));
        let response = Answer::json(StatusCode::OK, b"{}".to_vec(), mark).into_response(&NodeName::new(node("node1")));
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
        let mark = Mark { index: LogIndex(1), epoch: Epoch(1), leader: None, freshness: None, replayed: true };
        let response = Answer::json(StatusCode::CREATED, Vec::new(), mark).into_response(&NodeName::new(node("n")));
        assert_eq!(header(&response, "quorapay-leader"), None);
        assert_eq!(header(&response, "idempotent-replayed"), Some("true"));
    }
}
