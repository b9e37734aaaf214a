//! The state of all handlers, and responses from their results.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::response::Response;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::process::ProcessReader;
use crate::runtime::NodeHandle;
use quorapay_api::Code;
use quorapay_core::domain::{PaymentId, PaymentIdError};
use quorapay_core::replication::NodeId;

use super::answer::{AsOf, HttpAnswer, NodeName};
use super::metrics::{ApiMetrics, Route};
use super::problem::Problem;

/// A batch takes up to 16 MiB as a body, the same again as payments, and the same again as an answer.
const MAX_CONCURRENT_BATCHES: usize = 8;

/// Backups read the disk and decode entries for minutes: one that somebody waits for, and a scheduled one.
const MAX_CONCURRENT_BACKUPS: usize = 2;

/// What bounds costly requests, in all threads that serve clients together.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    /// Batches that are processed at the same time.
    pub(super) batches: Arc<Semaphore>,
    /// Backups that are read at the same time.
    pub(super) backups: Arc<Semaphore>,
}

impl Default for Permits {
    fn default() -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self { batches: of(MAX_CONCURRENT_BATCHES), backups: of(MAX_CONCURRENT_BACKUPS) }
    }
}

/// The state of all handlers. Cloning it for a request only increments a counter.
#[derive(Clone)]
pub(super) struct Api(Arc<ApiState>);

/// What the handlers share.
pub(super) struct ApiState {
    pub(super) node: NodeHandle,
    name: NodeName,
    pub(super) metrics: ApiMetrics,
    /// `None` in a simulation.
    pub(super) process: Option<Arc<ProcessReader>>,
    pub(super) permits: Permits,
    /// The OpenAPI description, made when it is first asked for.
    pub(super) description: &'static LazyLock<Bytes>,
}

impl Deref for Api {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.0
    }
}

impl Api {
    /// The state of a router.
    pub(super) fn new(
        node: NodeHandle,
        node_id: NodeId,
        metrics: ApiMetrics,
        (process, permits): (Option<Arc<ProcessReader>>, Permits),
        description: &'static LazyLock<Bytes>,
    ) -> Self {
        let name = NodeName::new(node_id);
        Self(Arc::new(ApiState { node, name, metrics, process, permits, description }))
    }

    /// Makes a response of a handler's result, with the headers of every answer, and counts it.
    pub(super) async fn answer(
        &self,
        route: Route,
        handler: impl Future<Output = Result<HttpAnswer, Problem>>,
    ) -> Response {
        let began = Instant::now();
        let explained = |problem: Problem| problem.while_rebuilding(self.node.status().views_rebuilding);
        let mut answer = handler.await.unwrap_or_else(|problem| explained(problem).into_answer());
        if answer.lacks_as_of() {
            answer = answer.with_as_of(AsOf::of_status(&self.node.status()));
        }
        self.metrics.count(route, answer.status(), began);
        answer.into_response(&self.name)
    }
}

/// A segment of the path, decoded.
pub(super) fn path_text(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let invalid = |_| Problem::bad_request(Code::InvalidPath, "the path is no UTF-8 once decoded");
    path.map(|Path(text)| text).map_err(invalid)
}

/// A payment's id from the path.
pub(super) fn path_payment_id(path: Result<Path<String>, PathRejection>) -> Result<PaymentId, Problem> {
    let invalid = |error: PaymentIdError| Problem::bad_request(Code::InvalidPaymentId, error.to_string()).field("id");
    PaymentId::parse(&path_text(path)?).map_err(invalid)
}
