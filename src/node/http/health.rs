//! `/livez`, `/readyz` and `/metrics`.

use std::borrow::Cow;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::ACCEPT;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{NodeStatus, Role};
use quorapay_api::{Alive, Code, MetricsFormat, Numbers, Readiness, query};
use quorapay_core::replication::NodeId;

use super::answer::HttpAnswer;
use super::call::Call;
use super::metrics::{Now, Route, Scraped, page};
use super::problem::Problem;
use super::request::Query;
use super::state::Api;
use super::write_json::to_json;
use super::{openapi, render};

const ALIVE_BYTES: usize = 64;
const READY_BYTES: usize = 160;
/// Capacity for the metrics of a dozen routes.
const NUMBERS_BYTES: usize = 4_096;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(metrics))
}

/// Alive
///
/// The process answers.
#[utoipa::path(
    get, path = "/livez", tag = "Node", operation_id = "livez",
    security(()),
    responses((status = 200, description = "It does.", body = Alive,
               example = json!({ "status": "alive", "node_id": "node1" }))),
)]
async fn livez(api: Call, _request: Request) -> Response {
    api.answer(Route::Livez, async {
        let alive = Alive { status: "alive".into(), node_id: api.node.node_id().clone() };
        Ok(HttpAnswer::node_json(to_json(&alive, ALIVE_BYTES)))
    })
    .await
}

/// Ready
///
/// Whether a write or a linearizable read sent to this node now would be answered.
#[utoipa::path(
    get, path = "/readyz", tag = "Node", operation_id = "readyz",
    security(()),
    responses(
        (status = 200, description = "It would.", body = Readiness, example = json!(openapi::example("ready"))),
        openapi::ReadyProblems,
    ),
)]
async fn readyz(api: Call, _request: Request) -> Response {
    api.answer(Route::Readyz, async { readiness(&api.node.status()) }).await
}

/// Whether a write or a linearizable read sent to this node now would be answered. A lost ZooKeeper session is shown
/// but does not matter: without ZooKeeper elections stop, payments do not.
pub(super) fn readiness(status: &NodeStatus) -> Result<HttpAnswer, Problem> {
    let zookeeper = if status.zookeeper_connected { "connected" } else { "disconnected" };
    let reasons = obstacles(status);
    match &status.leader {
        Some(leader) if reasons.is_empty() => {
            let ready = Readiness {
                status: "ready".into(),
                node_id: status.node_id.clone(),
                role: render::node_role(status.role),
                leader: leader.clone(),
                zookeeper: zookeeper.into(),
            };
            Ok(HttpAnswer::node_json(to_json(&ready, READY_BYTES)))
        }
        _ => {
            let detail = format!("this node cannot serve: {}", reasons.join("; "));
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, Code::NotReady, detail).retryable();
            Err(problem.with(|problem| {
                problem.reasons = reasons;
                problem.role = Some(render::node_role(status.role));
                problem.zookeeper = Some(zookeeper.into());
            }))
        }
    }
}

fn obstacles(status: &NodeStatus) -> Vec<Cow<'static, str>> {
    let mut reasons = Vec::new();
    match status.role {
        Role::Quarantined => {
            reasons.push("the node is quarantined: its ledger is damaged".into());
            if status.stays_quarantined {
                reasons.push(
                    "it repaired itself less than an hour ago: check its disk and memory, then restart it".into(),
                );
            }
        }
        Role::Learner => reasons.push("the node is a learner: it has not yet caught up and does not vote".into()),
        Role::Leader | Role::Recovering | Role::Follower => {}
    }
    if let Some(hung_ms) = status.hung_write_ms {
        reasons.push(format!("the disk hangs: a write to the ledger has taken {} s so far", hung_ms / 1_000).into());
    }
    if status.leader.is_none() {
        reasons.push("no leader is known".into());
    }
    reasons
}

/// Metrics
///
/// As JSON, unless another form is asked for: by `format`, or by an `Accept` header that names a text format, as those of
/// scrapers do.
#[utoipa::path(
    get, path = "/metrics", tag = "Node", operation_id = "metrics",
    security(("api_key" = ["metrics"])),
    params(("format" = inline(Option<MetricsFormat>), Query, description = "JSON if absent, unless `Accept` names a text format.")),
    responses(
        (status = 200, description = "All of them.", content(
            (String = "application/openmetrics-text"),
            (String = "text/plain"),
            (Numbers = "application/json", example = json!({
                "node_id": "node1",
                "counters": { "payment_create.201": 3, "elections_won": 1 },
                "gauges": { "open_holds": 0 },
                "timers": { "payment_create": { "count": 3, "mean": 0.002, "p50": 0.002, "p95": 0.003, "p99": 0.003 } },
            })),
        )),
        openapi::MetricsProblems,
    ),
)]
async fn metrics(api: Call, request: Request) -> Response {
    api.answer(Route::Metrics, async {
        let (parts, _) = request.into_parts();
        let accept = parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        // Scrapers may add parameters of their own.
        let format = Query::new(parts.uri.query()).parse(
            query::FORMAT,
            Code::InvalidFormat,
            "prometheus, json or summary",
            MetricsFormat::parse,
        )?;
        let summary = api.node.bank_summary().await?;
        let process = match &api.process {
            Some(reader) => Some(reader.read().await),
            None => None,
        };
        let status = api.node.status();
        let now = Now { status: &status, bank: &summary, process: process.as_ref() };
        Ok(match format.unwrap_or_else(|| MetricsFormat::accepted(accept)) {
            MetricsFormat::Prometheus => HttpAnswer::metrics(api.metrics.text(Scraped { bank: summary }, process)),
            MetricsFormat::Json => HttpAnswer::node_json(to_json(&api.metrics.by_route(now), NUMBERS_BYTES)),
            MetricsFormat::Summary => HttpAnswer::text(page(&api.metrics.with_all_routes(now), &in_words(&status))),
        })
    })
    .await
}

/// What a node does, in a few words.
fn in_words(status: &NodeStatus) -> String {
    let role = render::node_role(status.role).as_str().to_owned();
    let leader = status.leader.as_ref().map_or("no leader is known", NodeId::as_str);
    format!("{role} of epoch {}, led by {leader}, applied up to {}", status.epoch, status.applied_index)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;

    fn shown(result: Result<HttpAnswer, Problem>) -> (u16, Value) {
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
            (NodeStatus { hung_write_ms: Some(5_300), ..samples::status() }, "the disk hangs"),
            (
                NodeStatus { role: Role::Quarantined, stays_quarantined: true, ..samples::status() },
                "check its disk and memory",
            ),
        ];
        for (status, why) in cases {
            let (code, body) = shown(readiness(&status));
            assert_eq!((code, &body["code"]), (503, &json!("not_ready")));
            assert!(body["reasons"].to_string().contains(why), "{body}");
        }
    }
}
