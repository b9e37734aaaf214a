//! `/v1/cluster`: who is there, and handing the leadership over.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{NodeStatus, PeerStatus};
use quorapay_core::replication::NodeId;

use super::answer::{Answer, Mark};
use super::json::{RequestBody, read_object, write_object};
use super::metrics::Route;
use super::problem::Problem;
use super::request::{self, Query};
use super::{Api, openapi};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransferBody {
    to: Option<NodeId>,
}

impl RequestBody for TransferBody {
    fn code_of(_: &str) -> &'static str {
        "invalid_node_id"
    }
}

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(cluster)).routes(routes!(transfer))
}

/// Show the cluster
///
/// Every node with its role, epoch, indexes and lag, as it answers now.
#[utoipa::path(
    get, path = "/v1/cluster", tag = "Cluster", operation_id = "getCluster",
    responses(
        (status = 200, description = "The nodes.", body = openapi::ClusterView,
         example = json!(openapi::example("cluster"))),
        openapi::ClusterProblems,
    ),
)]
async fn cluster(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::Cluster, async {
        let (parts, _) = request.into_parts();
        Query::new(parts.uri.query()).finish()?;
        let peers = api.node.cluster().await;
        Ok(Answer::node_json(cluster_json(&api.node.status(), &peers)))
    })
    .await
}

fn cluster_json(status: &NodeStatus, peers: &[PeerStatus]) -> Vec<u8> {
    let mut body = Vec::with_capacity(2_048);
    write_object(&mut body, |object| {
        object.text("node_id", &status.node_id).field("leader", &status.leader).field("epoch", &status.epoch);
        object.array("nodes", peers, |out, peer| {
            write_object(out, |node| {
                node.text("node_id", &peer.node_id).field("peer_url", &peer.peer_url);
                node.field("reachable", &peer.status.is_some()).field("status", &peer.status);
            });
        });
    });
    body
}

/// Hand the leadership over
///
/// To the node named, or to whoever is fit. Requests wait meanwhile; none fails.
#[utoipa::path(
    post, path = "/v1/cluster/leader/transfer", tag = "Cluster", operation_id = "transferLeader",
    params(openapi::Deadline),
    request_body(content = Option<openapi::TransferWish>, example = json!({ "to": "node2" })),
    responses(
        (status = 200, description = "Handed over.", body = openapi::TransferDone,
         example = json!({ "leader": "node2" })),
        openapi::TransferProblems,
    ),
)]
async fn transfer(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::LeaderTransfer, async {
        let (parts, body) = request.into_parts();
        Query::new(parts.uri.query()).finish()?;
        let deadline = request::deadline(&parts.headers)?;
        let body = request::body(&parts.headers, body, deadline).await?;
        // Without a wish there is nothing to say, so there need not be a body.
        let TransferBody { to } = match body.is_empty() {
            true => TransferBody::default(),
            false => {
                request::require_json(&parts.headers)?;
                read_object(&body)?
            }
        };
        let leader = api.node.transfer_leadership(to, deadline).await.map_err(Problem::from)?;
        let mut body = Vec::with_capacity(64);
        write_object(&mut body, |object| {
            object.text("leader", &leader);
        });
        Ok(Answer::json(StatusCode::OK, body, Mark::of_status(&api.node.status())))
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;

    #[test]
    fn a_node_that_does_not_answer_is_shown_as_unreachable() {
        let status = samples::status();
        let peers = [
            PeerStatus {
                node_id: status.node_id.clone(),
                peer_url: "http://a".to_owned(),
                status: Some(status.clone()),
            },
            PeerStatus { node_id: samples::node("node2"), peer_url: "http://b".to_owned(), status: None },
        ];
        let shown: Value = serde_json::from_slice(&cluster_json(&status, &peers)).expect("JSON");
        assert_eq!((&shown["node_id"], &shown["leader"]), (&json!("node1"), &json!("node1")));
        assert_eq!((&shown["nodes"][0]["reachable"], &shown["nodes"][1]["reachable"]), (&json!(true), &json!(false)));
        assert_eq!(shown["nodes"][0]["status"]["role"], "leader");
        assert_eq!(shown["nodes"][1]["status"], Value::Null);
    }

    #[test]
    fn a_successor_is_named_by_its_node_id() {
        let body: TransferBody = read_object(br#"{"to":"node2"}"#).expect("valid");
        assert_eq!(body.to, Some(samples::node("node2")));
        let problem = read_object::<TransferBody>(br#"{"to":"no node"}"#).expect_err("no node id");
        assert_eq!((problem.code(), problem.field_name()), ("invalid_node_id", Some("to")));
        let problem = read_object::<TransferBody>(br#"{"to":5}"#).expect_err("no node id");
        assert_eq!((problem.code(), problem.field_name()), ("invalid_node_id", Some("to")));
    }
}
