//! Ids of requests, and the lines of the log about them.
//!
//! Of the requests only what an operator has to know is logged by default: those that this node failed to answer, and
//! slow ones, up to a bound. The level `debug` shows every request.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};

use crate::log_limit::{Admitted, LogLimit};
use crate::request_id::{RequestId, RequestIds};
use quorapay_core::domain::Timestamp;
use quorapay_core::replication::NodeId;

use super::metrics::Route;

/// An answer that takes so long is logged.
const SLOW: Duration = Duration::from_secs(1);

/// See the module. All threads that serve clients share it.
#[derive(Debug)]
pub(super) struct RequestLog {
    ids: RequestIds,
    limit: LogLimit,
}

impl RequestLog {
    /// For a process of this node that starts now.
    pub(super) fn new(node: &NodeId, now: Timestamp) -> Self {
        Self { ids: RequestIds::new(node, now.0), limit: LogLimit::default() }
    }

    /// The id of a request with this header.
    pub(super) fn id(&self, given: Option<&HeaderValue>) -> RequestId {
        self.ids.of(given)
    }

    /// Logs an answered request if that matters. Returns whether it did.
    pub(super) fn answered(&self, id: &RequestId, route: Route, status: StatusCode, took: Duration) -> bool {
        // That a node is not ready is the answer to the question whether it is.
        let failed = status.is_server_error() && route != Route::Readyz;
        if !failed && took < SLOW {
            tracing::debug!(request_id = %id, route = route.name(), status = status.as_u16(), took_us = took.as_micros(), "answered");
            return tracing::enabled!(tracing::Level::DEBUG);
        }
        let Some(Admitted { left_out }) = self.limit.admit() else { return false };
        let what = if failed { "a request failed" } else { "a request took long" };
        tracing::warn!(
            request_id = %id,
            route = route.name(),
            status = status.as_u16(),
            took_ms = took.as_millis(),
            left_out,
            "{what}"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_and_slow_requests_are_logged_and_a_node_that_is_not_ready_is_not_one() {
        let log = RequestLog::new(&NodeId::parse("node1").expect("valid"), Timestamp(1));
        let id = log.id(None);
        let logged = |route, status, ms| log.answered(&id, route, status, Duration::from_millis(ms));
        assert!(logged(Route::PaymentCreate, StatusCode::GATEWAY_TIMEOUT, 1));
        assert!(logged(Route::PaymentCreate, StatusCode::CREATED, 1_000));
        assert!(!logged(Route::PaymentCreate, StatusCode::CREATED, 999));
        assert!(!logged(Route::PaymentCreate, StatusCode::CONFLICT, 1));
        assert!(!logged(Route::Readyz, StatusCode::SERVICE_UNAVAILABLE, 1));
        let admitted = (0..100).filter(|_| logged(Route::Ledger, StatusCode::SERVICE_UNAVAILABLE, 1)).count();
        assert!(admitted < 100, "the lines of one second are bounded");
    }
}
