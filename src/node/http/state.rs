//! The state of all handlers.

use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::process::ProcessReader;
use crate::runtime::NodeHandle;
use quorapay_api::Code;
use quorapay_api::limits::MAX_BATCH_BODY_BYTES;
use quorapay_core::domain::{PaymentId, PaymentIdError};
use quorapay_core::replication::NodeId;

use super::access::Callers;
use super::answer::NodeName;
use super::metrics::ApiMetrics;
use super::problem::Problem;
use super::request_log::RequestLog;

/// A batch takes up to 16 MiB as payments, and the same again as an answer.
const MAX_CONCURRENT_BATCHES: usize = 8;

/// Bytes of the bodies of batches that have come and are not answered: as many as the concurrent batches can have.
const MAX_BATCH_BYTES_IN_HAND: usize = MAX_CONCURRENT_BATCHES * MAX_BATCH_BODY_BYTES;

/// Backups read the disk and decode entries for minutes: one that somebody waits for, and a scheduled one.
const MAX_CONCURRENT_BACKUPS: usize = 2;

/// An export holds a page of entries and its rows, 31 MB at most, until somebody reads them.
const MAX_CONCURRENT_EXPORTS: usize = 8;

/// What the routers of all threads that serve clients share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) metrics: ApiMetrics,
    /// `None` in a simulation.
    pub(super) process: Option<Arc<ProcessReader>>,
    pub(super) permits: Permits,
    pub(super) requests: Arc<RequestLog>,
    pub(super) callers: Callers,
}

/// What bounds costly requests, in all threads that serve clients together.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    /// Batches that are processed at the same time.
    pub(super) batches: Arc<Semaphore>,
    /// Bytes of batches that have come, also of those that have not come whole.
    pub(super) batch_bytes: Arc<Semaphore>,
    /// Backups that are read at the same time.
    pub(super) backups: Arc<Semaphore>,
    /// Exports that are read at the same time.
    exports: Arc<Semaphore>,
}

impl Permits {
    /// Takes a permit for an export, for as long as somebody reads it.
    pub(super) fn export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.exports).try_acquire_owned().map_err(|_| Problem::overloaded())
    }
}

impl Default for Permits {
    fn default() -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self {
            batches: of(MAX_CONCURRENT_BATCHES),
            batch_bytes: of(MAX_BATCH_BYTES_IN_HAND),
            backups: of(MAX_CONCURRENT_BACKUPS),
            exports: of(MAX_CONCURRENT_EXPORTS),
        }
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
