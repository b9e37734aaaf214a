//! SyncPay's `/health`, `/status`, `/ping` and `/config`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{NodeStatus, PeerStatus, Role};
use quorapay_api::compatible::{
    DecimalSeconds, SyncPayHealth, SyncPayPeer, SyncPayPing, SyncPayReplication, SyncPayStatus,
};
use quorapay_api::query;
use quorapay_core::domain::Timestamp;
use quorapay_core::replication::NodeId;

use super::super::answer::{AsOf, HttpAnswer};
use super::super::call::Call;
use super::super::metrics::Route;
use super::super::problem::Problem;
use super::super::write_json::to_json;
use super::super::{openapi, render, request};
use super::shared::Compatible;

const HEALTH_BYTES: usize = 160;
/// Capacity for three nodes.
const STATUS_BYTES: usize = 1_024;
const PING_BYTES: usize = 64;
const SETTINGS_BYTES: usize = 1_024;

pub(super) fn router() -> OpenApiRouter<Compatible> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(status)).routes(routes!(ping)).routes(routes!(config))
}

/// Health
///
/// Every running node answers, with or without a leader. The count is what this node has applied.
#[utoipa::path(
    get, path = "/health", tag = "SyncPay", operation_id = "syncPayHealth",
    security(("api_key" = ["metrics"])), params(query::Deadline),
    responses(
        (status = 200, description = "The node is healthy.", body = SyncPayHealth,
         example = json!(openapi::example("syncpay_health"))),
        (status = 503, description = "The node's ledger is damaged, or its queue is full.",
         body = inline(openapi::HealthOrError), example = json!({
            "node_id": "node1", "status": "unhealthy", "is_leader": false, "timestamp": 1_769_860_800.25,
            "transaction_count": 42,
         })),
        openapi::SyncPayHealthErrors,
    ),
)]
async fn health(compatible: Call<Compatible>, request: Request) -> Response {
    compatible
        .answer(Route::CompatibleHealth, async {
            let node = &compatible.api.node;
            let (parts, _) = request.into_parts();
            let deadline = request::deadline(&parts.headers)?;
            let status = node.status();
            let counting = node.queries().payment_count(node.progress().applied_index);
            let count = match tokio::time::timeout_at(deadline, counting).await {
                Ok(count) => count?,
                Err(_) => return Err(Problem::deadline_exceeded()),
            };
            Ok(health_answer(&status, node.wall_clock(), count))
        })
        .await
}

pub(super) fn health_answer(status: &NodeStatus, now: Timestamp, transactions: u64) -> HttpAnswer {
    let healthy = status.role != Role::Quarantined;
    let health = SyncPayHealth {
        node_id: Cow::Borrowed(&status.node_id),
        status: if healthy { "healthy" } else { "unhealthy" },
        is_leader: is_leader(status),
        timestamp: now.into(),
        transaction_count: transactions,
    };
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpAnswer::json(code, to_json(&health, HEALTH_BYTES), AsOf::of_status(status))
}

fn is_leader(status: &NodeStatus) -> bool {
    status.leader.as_ref() == Some(&status.node_id)
}

/// Status
///
/// This node, and every other node as this one sees it.
#[utoipa::path(
    get, path = "/status", tag = "SyncPay", operation_id = "syncPayStatus",
    security(("api_key" = ["metrics"])),
    responses(
        (status = 200, description = "The status.", body = SyncPayStatus,
         example = json!(openapi::example("syncpay_status"))),
        openapi::SyncPayNodeErrors,
    ),
)]
async fn status(compatible: Call<Compatible>, _request: Request) -> Response {
    compatible
        .answer(Route::CompatibleStatus, async {
            let node = &compatible.api.node;
            let (peers, offset_ms) = futures_util::future::join(node.cluster(), node.clock_offset_ms()).await;
            let seen = compatible.state.see(&peers, node.wall_clock());
            let status = node.status();
            Ok(HttpAnswer::node_json(to_json(&syncpay_status(&status, &peers, &seen, offset_ms), STATUS_BYTES)))
        })
        .await
}

pub(super) fn syncpay_status<'a>(
    status: &'a NodeStatus,
    peers: &'a [PeerStatus],
    seen: &BTreeMap<NodeId, Timestamp>,
    offset_ms: Option<i64>,
) -> SyncPayStatus<'a> {
    let others = peers.iter().filter(|peer| peer.node_id != status.node_id);
    SyncPayStatus {
        node_id: Cow::Borrowed(&status.node_id),
        is_leader: is_leader(status),
        peer_health: others.map(|peer| (&peer.node_id, syncpay_peer(peer, seen.get(&peer.node_id)))).collect(),
        replication_status: SyncPayReplication {
            role: render::node_role(status.role),
            leader: status.leader.as_ref().map(Cow::Borrowed),
            epoch: status.epoch,
            last_index: status.last_index,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            lag_entries: status.commit_index.0.saturating_sub(status.applied_index.0),
            staleness_ms: status.staleness_ms,
        },
        time_offset: offset_ms.map(DecimalSeconds),
    }
}

fn syncpay_peer<'a>(peer: &'a PeerStatus, last_seen: Option<&Timestamp>) -> SyncPayPeer<'a> {
    let status = peer.status.as_ref();
    SyncPayPeer {
        healthy: status.is_some_and(|status| status.role != Role::Quarantined),
        last_seen: last_seen.copied().map(Into::into),
        url: status.map(|status| Cow::Borrowed(status.client_url.as_str())),
        role: status.map(|status| render::node_role(status.role)),
        applied_index: status.map(|status| status.applied_index),
    }
}

/// Ping
///
/// The process answers.
#[utoipa::path(
    get, path = "/ping", tag = "SyncPay", operation_id = "syncPayPing",
    security(("api_key" = ["metrics"])),
    responses(
        (status = 200, description = "It does.", body = SyncPayPing,
         example = json!({ "status": "ok", "node_id": "node1" })),
        openapi::SyncPayNodeErrors,
    ),
)]
async fn ping(compatible: Call<Compatible>, _request: Request) -> Response {
    compatible
        .answer(Route::CompatiblePing, async {
            let ping = SyncPayPing { status: "ok", node_id: Cow::Borrowed(compatible.api.node.node_id()) };
            Ok(HttpAnswer::node_json(to_json(&ping, PING_BYTES)))
        })
        .await
}

/// Settings
///
/// The settings in force, secrets as `***`.
#[utoipa::path(
    get, path = "/config", tag = "SyncPay", operation_id = "syncPayConfig",
    security(("api_key" = ["cluster:admin"])),
    responses(
        (status = 200, description = "The settings by their names.", body = Object,
         example = json!(openapi::example("syncpay_config"))),
        openapi::SyncPayNodeErrors,
    ),
)]
async fn config(compatible: Call<Compatible>, _request: Request) -> Response {
    compatible
        .answer(Route::CompatibleConfig, async {
            Ok(HttpAnswer::node_json(to_json(&compatible.state.settings, SETTINGS_BYTES)))
        })
        .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::shared::CompatibleState;
    use super::*;
    use crate::http::samples;

    const NOW: Timestamp = Timestamp(1_700_000_001_250);

    fn body(answer: &HttpAnswer) -> Value {
        serde_json::from_slice(answer.body()).expect("JSON")
    }

    #[test]
    fn a_node_is_healthy_unless_its_ledger_is_damaged() {
        let answer = health_answer(&samples::status(), NOW, 7);
        let expected = json!({
            "node_id": "node1", "status": "healthy", "is_leader": true, "timestamp": 1_700_000_001.25,
            "transaction_count": 7,
        });
        assert_eq!((answer.status(), body(&answer)), (StatusCode::OK, expected));
        let damaged = NodeStatus { role: Role::Quarantined, leader: None, ..samples::status() };
        let answer = health_answer(&damaged, NOW, 7);
        assert_eq!((answer.status().as_u16(), &body(&answer)["status"]), (503, &json!("unhealthy")));
    }

    #[test]
    fn the_status_has_a_row_for_every_other_node_and_remembers_when_it_was_seen() {
        let state = CompatibleState::new(Default::default(), false);
        let status = samples::status();
        let peer = |id: &str, status: Option<NodeStatus>| PeerStatus {
            node_id: samples::node(id),
            peer_url: "http://x".to_owned(),
            status,
        };
        let all = |second: Option<NodeStatus>| {
            [peer("node1", Some(status.clone())), peer("node2", second), peer("node3", None)]
        };
        state.see(&all(Some(status.clone())), NOW);
        let peers = all(None);
        let seen = state.see(&peers, Timestamp(NOW.0 + 1_000));
        let shown = samples::shown(&syncpay_status(&status, &peers, &seen, Some(-20)));
        assert_eq!(shown["peer_health"].as_object().expect("rows").len(), 2);
        assert_eq!(shown["peer_health"]["node2"]["healthy"], false);
        assert_eq!(shown["peer_health"]["node2"]["last_seen"], 1_700_000_001.25);
        assert_eq!(shown["peer_health"]["node3"]["last_seen"], Value::Null);
        assert_eq!((&shown["time_offset"], &shown["replication_status"]["leader"]), (&json!(-0.02), &json!("node1")));
    }
}
