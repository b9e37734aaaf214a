//! HTTP for clients, version 1.
//!
//! ```text
//! access         who asks, and whether the route is for them
//! call           a request that is handled: its id, and the response of its handler's result
//! state          the state of all handlers
//! request_log    ids of requests, and the lines of the log about them
//! payments       /v1/payments                      payment_body  its body
//! changes        /v1/payments/{id}/capture, …      change_body   their bodies
//! batches        /v1/payments/batch                batch_body    its body, read while it arrives
//! keys           /v1/payments/by-key
//! accounts       /v1/accounts
//! statements     /v1/accounts/{id}/statement
//! ledger         /v1/ledger
//! api_keys       /v1/api-keys
//! backup         /v1/ledger/backup
//! cluster        /v1/cluster
//! health         /livez, /readyz, /metrics
//! compat         the surfaces of two earlier systems
//! docs           /openapi.json, /docs
//! openapi        the description, derived from the handlers and the contract
//! metrics        counts of requests, and the node's state for Prometheus
//! writes, read   what writes and what reads share
//! export         lists as a whole, streamed
//! render         entries as types of the contract and as CSV
//! request        deadline, key, content type, body and query of a request
//! read_json      JSON bodies, with an error that names the wrong field
//! problem        errors as problems
//! answer         status, body and headers of an answer
//! write_json     types of the contract as bytes
//! ```
//!
//! Each uses only those below it. Handlers parse a request into the domain's types, hand it to the node and answer with
//! types of `quorapay-api`. They know no SQL, no peers and no protocol; every error is a `problem::Problem`, and
//! the headers of every answer name the node and the index that it is as of.
//!
//! `POST /v1/payments` is the hot path: no layers that box futures, no tracing span and no label lookups per request.

mod access;
mod accounts;
mod answer;
mod api_keys;
mod backup;
mod batch_body;
mod batches;
mod call;
mod change_body;
mod changes;
mod cluster;
mod compat;
mod docs;
mod export;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod golden;
mod health;
mod keys;
mod ledger;
mod metrics;
mod openapi;
mod payment_body;
mod payments;
mod problem;
mod read;
mod read_json;
mod render;
mod request;
mod request_log;
#[cfg(test)]
mod samples;
mod state;
mod statements;
mod write_json;
mod writes;

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use utoipa_axum::router::OpenApiRouter;

use crate::process::ProcessReader;
use crate::runtime::NodeHandle;
use quorapay_api::Code;
use quorapay_core::replication::NodeId;

pub use access::Callers;

use call::Call;
use metrics::{ApiMetrics, Route};
use problem::Problem;
use request_log::RequestLog;
use state::{Api, Common, Permits};

/// What the API needs besides the node.
#[derive(Debug)]
pub struct ApiOptions {
    /// This node, as every answer names it.
    pub node_id: NodeId,
    /// The metrics that other layers have registered; the API adds its own and shows all of them.
    pub registry: Registry,
    /// Shows what the system says of the process; `None` where that differs from run to run and must not: in a simulation.
    pub process: Option<ProcessReader>,
    /// The settings in force, without secrets.
    pub settings: Map<String, Value>,
    /// Who may call.
    pub callers: Callers,
    /// Whether clients of the compatible surface may have their connections dropped after a commit.
    pub chaos_mode: bool,
}

/// The description of all routes, made when it is first asked for.
static DESCRIPTION: LazyLock<Bytes> =
    LazyLock::new(|| openapi::finish(routes().into_openapi().merge_from(compat::description())));

/// The API of a node. Each thread that serves clients has a router of its own; counts and limits are shared.
#[derive(Debug)]
pub struct ClientApi {
    node_id: NodeId,
    settings: Map<String, Value>,
    chaos_mode: bool,
    common: Common,
}

impl ClientApi {
    /// The API of this node.
    #[must_use]
    pub fn new(node: NodeHandle, options: ApiOptions) -> Self {
        let ApiOptions { node_id, registry, process, settings, callers, chaos_mode } = options;
        let requests = Arc::new(RequestLog::new(&node_id, node.wall_clock()));
        let (metrics, process) = (ApiMetrics::register(registry, node), process.map(Arc::new));
        let common = Common { metrics, process, permits: Permits::default(), requests, callers };
        Self { node_id, settings, chaos_mode, common }
    }

    /// All routes for clients, over a handle for the thread that serves them.
    pub fn router(&self, node: NodeHandle) -> Router {
        let api = Api::new(node, self.node_id.clone(), self.common.clone(), &DESCRIPTION);
        let compatible = compat::router(api.clone(), self.settings.clone(), self.chaos_mode);
        let (routes, _) = routes().split_for_parts();
        let routes = routes.merge(compatible);
        routes.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(api)
    }
}

/// Every route of version 1 with its description.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::outline())
        .merge(payments::router())
        .merge(changes::router())
        .merge(batches::router())
        .merge(keys::router())
        .merge(accounts::router())
        .merge(statements::router())
        .merge(ledger::router())
        .merge(backup::router())
        .merge(api_keys::router())
        .merge(cluster::router())
        .merge(health::router())
        .merge(docs::router())
}

async fn not_found(api: Call, uri: Uri) -> Response {
    api.answer(Route::Unmatched, async { Err(no_such_path(uri.path())) }).await
}

async fn method_not_allowed(api: Call, method: Method, uri: Uri) -> Response {
    api.answer(Route::Unmatched, async { Err(no_such_method(&method, uri.path())) }).await
}

fn no_such_path(path: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, Code::NotFound, format!("there is nothing at {path}"))
}

fn no_such_method(method: &Method, path: &str) -> Problem {
    let detail = format!("{path} does not take {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, Code::MethodNotAllowed, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_a_problem_too() {
        let problem = no_such_path("/v2");
        assert_eq!((problem.status(), problem.code()), (StatusCode::NOT_FOUND, "not_found"));
        let problem = no_such_method(&Method::DELETE, "/v1/payments");
        assert_eq!((problem.status(), problem.code()), (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"));
    }
}
