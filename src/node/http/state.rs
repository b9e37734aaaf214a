//! The state of all handlers.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use tokio::sync::Semaphore;

use crate::process::ProcessReader;
use crate::runtime::NodeHandle;
use quorapay_api::Code;
use quorapay_core::domain::{PaymentId, PaymentIdError};
use quorapay_core::replication::NodeId;

use super::answer::NodeName;
use super::metrics::ApiMetrics;
use super::problem::Problem;
use super::request_log::RequestLog;

/// A batch takes up to 16 MiB as a body, the same again as payments, and the same again as an answer.
const MAX_CONCURRENT_BATCHES: usize = 8;

/// Backups read the disk and decode entries for minutes: one that somebody waits for, and a scheduled one.
const MAX_CONCURRENT_BACKUPS: usize = 2;

/// What the routers of all threads that serve clients share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) metrics: ApiMetrics,
    /// `None` in a simulation.
    pub(super) process: Option<Arc<ProcessReader>>,
    pub(super) permits: Permits,
    pub(super) requests: Arc<RequestLog>,
}

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
    pub(super) name: NodeName,
    common: Common,
    /// The OpenAPI description, made when it is first asked for.
    pub(super) description: &'static LazyLock<Bytes>,
}

impl Deref for Api {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.0
    }
}

impl Deref for ApiState {
    type Target = Common;

    fn deref(&self) -> &Common {
        &self.common
    }
}

impl AsRef<Self> for Api {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Api {
    /// The state of a router.
    pub(super) fn new(
        node: NodeHandle,
        node_id: NodeId,
        common: Common,
        description: &'static LazyLock<Bytes>,
    ) -> Self {
        let name = NodeName::new(node_id);
        Self(Arc::new(ApiState { node, name, common, description }))
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
