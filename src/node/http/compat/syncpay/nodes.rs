//! What SyncPay's nodes say of themselves: `/health`, `/status`, `/ping` and `/config`.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;

use crate::runtime::{NodeStatus, PeerStatus, Role};
use quorapay_core::domain::Timestamp;
use quorapay_core::replication::NodeId;

use super::super::super::answer::{Answer, Mark};
use super::super::super::json::{ObjectWriter, write_object};
use super::super::super::metrics::Route;
use super::super::super::problem::Problem;
use super::super::super::request;
use super::super::{Compatible, Own, Seconds, number};

pub(super) fn router() -> Router<Compatible> {
    Router::new()
        .route("/health", get(health))
        .route("/status", get(status))
        .route("/ping", get(ping))
        .route("/config", get(config))
}

/// Answered by every node that lives, with or without a leader: the count is what this node has applied.
async fn health(State(compatible): State<Compatible>, request: Request) -> Response {
    compatible
        .answer(Route::CompatibleHealth, async {
            let node = &compatible.api.node;
            let (parts, _) = request.into_parts();
            let deadline = request::deadline(&parts.headers)?;
            let status = node.status();
            let counting = node.queries().payment_count(node.progress().applied_index);
            let count = match tokio::time::timeout_at(deadline.into(), counting).await {
                Ok(count) => count?,
                Err(_) => return Err(Problem::deadline_exceeded()),
            };
            Ok(health_answer(&status, node.wall_clock(), count))
        })
        .await
}

fn health_answer(status: &NodeStatus, now: Timestamp, transactions: u64) -> Answer {
    let healthy = status.role != Role::Quarantined;
    let mut body = Vec::with_capacity(160);
    write_object(&mut body, |object| {
        object.text("node_id", &status.node_id).field("status", if healthy { "healthy" } else { "unhealthy" });
        object.field("is_leader", &is_leader(status));
        number(object, "timestamp", Seconds::of(now));
        object.field("transaction_count", &transactions);
    });
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::json(code, body, Mark::of_status(status))
}

fn is_leader(status: &NodeStatus) -> bool {
    status.leader.as_ref() == Some(&status.node_id)
}

async fn status(State(compatible): State<Compatible>, _request: Request) -> Response {
    compatible
        .answer(Route::CompatibleStatus, async {
            let node = &compatible.api.node;
            let (peers, offset_ms) = futures_util::future::join(node.cluster(), node.clock_offset_ms()).await;
            let seen = compatible.own.see(&peers, node.wall_clock());
            Ok(Answer::node_json(status_json(&node.status(), &peers, &seen, offset_ms)))
        })
        .await
}

impl Own {
    /// Notes who answered just now; says when each node last did.
    fn see(&self, peers: &[PeerStatus], now: Timestamp) -> BTreeMap<NodeId, Timestamp> {
        let mut last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let present = peers.iter().filter(|peer| peer.status.is_some());
        last_seen.extend(present.map(|peer| (peer.node_id.clone(), now)));
        last_seen.clone()
    }
}

fn status_json(
    status: &NodeStatus,
    peers: &[PeerStatus],
    seen: &BTreeMap<NodeId, Timestamp>,
    offset_ms: Option<i64>,
) -> Vec<u8> {
    let mut body = Vec::with_capacity(1_024);
    write_object(&mut body, |object| {
        object.text("node_id", &status.node_id).field("is_leader", &is_leader(status));
        let out = object.value("peer_health");
        out.push(b'{');
        let others = peers.iter().filter(|peer| peer.node_id != status.node_id);
        for (at, peer) in others.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            // A node id is made of letters, digits, - and _, so it needs no escaping.
            out.extend_from_slice(format!("{comma}\"{}\":", peer.node_id).as_bytes());
            write_object(out, |row| peer_row(row, peer, seen.get(&peer.node_id)));
        }
        out.push(b'}');
        object.object("replication_status", |replication| replication_fields(replication, status));
        match offset_ms {
            Some(milliseconds) => number(object, "time_offset", Seconds(milliseconds)),
            None => {
                object.field("time_offset", &Value::Null);
            }
        }
    });
    body
}

fn peer_row(row: &mut ObjectWriter<'_>, peer: &PeerStatus, last_seen: Option<&Timestamp>) {
    let healthy = peer.status.as_ref().is_some_and(|status| status.role != Role::Quarantined);
    row.field("healthy", &healthy);
    match last_seen {
        Some(moment) => number(row, "last_seen", Seconds::of(*moment)),
        None => {
            row.field("last_seen", &Value::Null);
        }
    }
    row.field("url", &peer.status.as_ref().map(|status| &status.client_url));
    row.field("role", &peer.status.as_ref().map(|status| status.role));
    row.field("applied_index", &peer.status.as_ref().map(|status| status.applied_index));
}

fn replication_fields(replication: &mut ObjectWriter<'_>, status: &NodeStatus) {
    replication.field("role", &status.role).field("leader", &status.leader).field("epoch", &status.epoch);
    replication.field("last_index", &status.last_index).field("commit_index", &status.commit_index);
    replication.field("applied_index", &status.applied_index);
    let lag = status.commit_index.0.saturating_sub(status.applied_index.0);
    replication.field("lag_entries", &lag).field("staleness_ms", &status.staleness_ms);
}

async fn ping(State(compatible): State<Compatible>, _request: Request) -> Response {
    compatible
        .answer(Route::CompatiblePing, async {
            let mut body = Vec::with_capacity(64);
            write_object(&mut body, |object| {
                object.field("status", "ok").text("node_id", compatible.api.node.node_id());
            });
            Ok(Answer::node_json(body))
        })
        .await
}

async fn config(State(compatible): State<Compatible>, _request: Request) -> Response {
    compatible
        .answer(Route::CompatibleConfig, async {
            let body = serde_json::to_vec(&compatible.own.settings).expect("settings are plain values under names");
            Ok(Answer::node_json(body))
        })
        .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;
    use crate::http::samples;

    const NOW: Timestamp = Timestamp(1_700_000_001_250);

    fn body(answer: &Answer) -> Value {
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
        let own = Own { settings: Default::default(), chaos_mode: false, last_seen: Mutex::default() };
        let status = samples::status();
        let peer = |id: &str, status: Option<NodeStatus>| PeerStatus {
            node_id: samples::node(id),
            peer_url: "http://x".to_owned(),
            status,
        };
        let all = |second: Option<NodeStatus>| {
            [peer("node1", Some(status.clone())), peer("node2", second), peer("node3", None)]
        };
        own.see(&all(Some(status.clone())), NOW);
        let peers = all(None);
        let seen = own.see(&peers, Timestamp(NOW.0 + 1_000));
        let shown: Value = serde_json::from_slice(&status_json(&status, &peers, &seen, Some(-20))).expect("JSON");
        assert_eq!(shown["peer_health"].as_object().expect("rows").len(), 2);
        assert_eq!(shown["peer_health"]["node2"]["healthy"], false);
        assert_eq!(shown["peer_health"]["node2"]["last_seen"], 1_700_000_001.25);
        assert_eq!(shown["peer_health"]["node3"]["last_seen"], Value::Null);
        assert_eq!((&shown["time_offset"], &shown["replication_status"]["leader"]), (&json!(-0.02), &json!("node1")));
    }
}
