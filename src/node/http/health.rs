//! `/livez`, `/readyz` and `/metrics`: for those who run the node.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{NodeStatus, Role};

use super::answer::Answer;
use super::json::write_object;
use super::metrics::{MetricsFormat, Route};
use super::problem::Problem;
use super::request::Query;
use super::{Api, openapi};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Alive
///
/// The process answers.
#[utoipa::path(
    get, path = "/livez", tag = "Node", operation_id = "livez",
    responses((status = 200, description = "It does.", body = openapi::Alive,
               example = json!({ "status": "alive", "node_id": "node1" }))),
)]
async fn livez(State(api): State<Api>, _request: Request) -> Response {
    api.answer(Route::Livez, async {
        let mut body = Vec::with_capacity(64);
        write_object(&mut body, |object| {
            object.field("status", "alive").text("node_id", &api.node.status().node_id);
        });
        Ok(Answer::node_json(body))
    })
    .await
}

/// Ready
///
/// Whether a write or a linearizable read sent to this node now would be answered.
#[utoipa::path(
    get, path = "/readyz", tag = "Node", operation_id = "readyz",
    responses(
        (status = 200, description = "It would.", body = openapi::Ready, example = json!(openapi::example("ready"))),
        openapi::ReadyProblems,
    ),
)]
async fn readyz(State(api): State<Api>, _request: Request) -> Response {
    api.answer(Route::Readyz, async { readiness(&api.node.status()) }).await
}

/// Able to serve: a write or a linearizable read sent to this node now would be answered. ZooKeeper is shown and does
/// not count: without it elections stop, payments do not.
fn readiness(status: &NodeStatus) -> Result<Answer, Problem> {
    let zookeeper = if status.zookeeper_connected { "connected" } else { "disconnected" };
    let reasons = obstacles(status);
    if !reasons.is_empty() {
        let detail = format!("this node cannot serve: {}", reasons.join("; "));
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail)
            .retryable()
            .member("reasons", &reasons)
            .member("role", &status.role)
            .member("zookeeper", zookeeper));
    }
    let mut body = Vec::with_capacity(160);
    write_object(&mut body, |object| {
        object.field("status", "ready").text("node_id", &status.node_id).field("role", &status.role);
        object.field("leader", &status.leader).field("zookeeper", zookeeper);
    });
    Ok(Answer::node_json(body))
}

fn obstacles(status: &NodeStatus) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    match status.role {
        Role::Quarantined => reasons.push("the node is quarantined: its ledger is damaged"),
        Role::Learner => reasons.push("the node is a learner: it has not yet caught up and does not vote"),
        Role::Leader | Role::Recovering | Role::Follower => {}
    }
    if status.leader.is_none() {
        reasons.push("no leader is known");
    }
    reasons
}

/// Metrics
///
/// For Prometheus, in the OpenMetrics text format, unless another form is asked for.
#[utoipa::path(
    get, path = "/metrics", tag = "Node", operation_id = "metrics",
    params(("format" = inline(Option<MetricsFormat>), Query, description = "The text for Prometheus if absent.")),
    responses(
        (status = 200, description = "All of them.", content(
            (String = "application/openmetrics-text"),
            (openapi::Numbers = "application/json", example = json!({
                "node_id": "node1",
                "counters": { "payment_create.201": 3, "elections_won": 1 },
                "gauges": { "open_holds": 0 },
                "timers": { "payment_create": { "count": 3, "mean": 0.002, "p50": 0.002, "p95": 0.003, "p99": 0.003 } },
            })),
        )),
        openapi::MetricsProblems,
    ),
)]
async fn metrics(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::Metrics, async {
        let (parts, _) = request.into_parts();
        // Other parameters are the scraper's own business.
        let format = Query::new(parts.uri.query()).parse(
            "format",
            "invalid_format",
            "prometheus, json or summary",
            MetricsFormat::parse,
        )?;
        let figures = api.node.bank_summary().await?;
        Ok(match format.unwrap_or_default() {
            MetricsFormat::Prometheus => Answer::metrics(api.metrics.text(figures)),
            MetricsFormat::Json => Answer::node_json(api.metrics.json(&api.node.status(), &figures)),
            MetricsFormat::Summary => Answer::node_json(api.metrics.summary(&api.node.status(), &figures)),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;

    fn shown(result: Result<Answer, Problem>) -> (u16, Value) {
        let answer = result.unwrap_or_else(Problem::into_answer);
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).expect("JSON"))
    }

    #[test]
    fn a_node_with_a_leader_is_ready_with_or_without_zookeeper() {
        let status = NodeStatus { zookeeper_connected: false, ..samples::status() };
        let (code, body) = shown(readiness(&status));
        assert_eq!((code, &body["status"]), (200, &json!("ready")));
        assert_eq!(body["zookeeper"], "disconnected");
    }

    #[test]
    fn a_node_that_cannot_serve_says_why() {
        let cases = [
            (NodeStatus { leader: None, ..samples::status() }, "no leader"),
            (NodeStatus { role: Role::Learner, ..samples::status() }, "learner"),
            (NodeStatus { role: Role::Quarantined, ..samples::status() }, "quarantined"),
        ];
        for (status, why) in cases {
            let (code, body) = shown(readiness(&status));
            assert_eq!((code, &body["code"]), (503, &json!("not_ready")));
            assert!(body["reasons"][0].as_str().expect("text").contains(why), "{body}");
        }
    }
}
