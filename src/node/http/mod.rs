//! HTTP for clients, version 1.
//!
//! Handlers parse a request into the domain's words, hand it to the node and render what comes back. They know no
//! SQL, no peers and no protocol; every error that leaves here is a `problem::Problem`, and every answer says which
//! node gave it and as of where.
//!
//! `POST /v1/payments` is the hot path: no layers that box futures, no tracing span and no label lookups per request.

mod accounts;
mod answer;
mod batch_body;
mod batches;
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
mod json;
mod keys;
mod ledger;
mod metrics;
mod openapi;
mod payment_body;
mod payments;
mod problem;
mod read;
mod render;
mod request;
#[cfg(test)]
mod samples;
mod statements;
mod writes;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::Response;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use utoipa_axum::router::OpenApiRouter;

use crate::runtime::NodeHandle;
use quorapay_core::domain::{PaymentId, PaymentIdError};
use quorapay_core::replication::NodeId;

use answer::{Answer, Mark, NodeName};
use metrics::{ApiMetrics, Route};
use problem::Problem;

/// What the API needs besides the node.
#[derive(Debug)]
pub struct ApiOptions {
    /// This node, as every answer names it.
    pub node_id: NodeId,
    /// The metrics that other layers have registered; the API adds its own and shows all of them.
    pub registry: Registry,
    /// The settings in force, fit to be shown to anybody.
    pub settings: Map<String, Value>,
    /// Whether clients of the compatible surface may have their connections dropped after a commit.
    pub chaos_mode: bool,
}

/// What every handler holds: one count to clone for each request.
#[derive(Clone)]
struct Api(Arc<Held>);

struct Held {
    node: NodeHandle,
    name: NodeName,
    metrics: ApiMetrics,
    /// Batches that this node works on at the same time.
    batches: Semaphore,
}

/// A batch may take some 16 MiB on its way in, as much again as payments, and once more in the ledger.
const BATCHES_AT_ONCE: usize = 8;

/// All routes for clients.
pub fn router(node: NodeHandle, options: ApiOptions) -> Router {
    let metrics = ApiMetrics::register(options.registry, node.clone());
    let (name, batches) = (NodeName::new(options.node_id), Semaphore::new(BATCHES_AT_ONCE));
    let api = Api(Arc::new(Held { node, name, metrics, batches }));
    let compatible = compat::router(api.clone(), options.settings, options.chaos_mode);
    let (routes, _) = routes().split_for_parts();
    let routes = routes.merge(compatible);
    routes.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(api)
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
        .merge(cluster::router())
        .merge(health::router())
        .merge(docs::router())
}

impl Deref for Api {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.0
    }
}

impl Api {
    /// Turns what a handler comes to into a response, with the headers of every answer, and counts it.
    async fn answer(&self, route: Route, handler: impl Future<Output = Result<Answer, Problem>>) -> Response {
        let began = Instant::now();
        let mut answer = handler.await.unwrap_or_else(Problem::into_answer);
        if answer.is_unmarked() {
            answer = answer.marked(Mark::of_status(&self.node.status()));
        }
        self.metrics.count(route, answer.status(), began);
        answer.into_response(&self.name)
    }
}

async fn not_found(State(api): State<Api>, uri: Uri) -> Response {
    api.answer(Route::Unmatched, async { Err(no_such_path(uri.path())) }).await
}

async fn method_not_allowed(State(api): State<Api>, method: Method, uri: Uri) -> Response {
    api.answer(Route::Unmatched, async { Err(no_such_method(&method, uri.path())) }).await
}

fn no_such_path(path: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is nothing at {path}"))
}

fn no_such_method(method: &Method, path: &str) -> Problem {
    let detail = format!("{path} does not take {method}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// A segment of the path, decoded.
fn path_text(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    let invalid = |_| Problem::bad_request("invalid_path", "the path is no UTF-8 once decoded");
    path.map(|Path(text)| text).map_err(invalid)
}

/// A payment's id from the path.
fn path_payment_id(path: Result<Path<String>, PathRejection>) -> Result<PaymentId, Problem> {
    let invalid = |error: PaymentIdError| Problem::bad_request("invalid_payment_id", error.to_string()).field("id");
    PaymentId::parse(&path_text(path)?).map_err(invalid)
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
