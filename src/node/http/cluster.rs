//! `/v1/cluster`: the nodes, and the transfer of leadership.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{NodeStatus, PeerStatus};
use quorapay_api::{ClusterView, Code, LeadershipTransfer, NewLeader, query};

use super::answer::{AsOf, HttpAnswer};
use super::call::Call;
use super::metrics::Route;
use super::problem::Problem;
use super::read_json::{RequestBody, read_object};
use super::request::{self, Query};
use super::state::Api;
use super::write_json::to_json;
use super::{openapi, render};

impl RequestBody for LeadershipTransfer {
    fn code_of(_: &str) -> Code {
        Code::InvalidNodeId
    }
}

/// Capacity for three nodes.
const CLUSTER_BYTES: usize = 2_048;
const NEW_LEADER_BYTES: usize = 64;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(cluster)).routes(routes!(transfer))
}

/// Show the cluster
///
/// Every node with its role, epoch, indexes and lag, as it answers now.
#[utoipa::path(
    get, path = "/v1/cluster", tag = "Cluster", operation_id = "getCluster",
    security(("api_key" = ["metrics"])),
    responses(
        (status = 200, description = "The nodes.", body = ClusterView,
         example = json!(openapi::example("cluster"))),
        openapi::ClusterProblems,
    ),
)]
async fn cluster(api: Call, request: Request) -> Response {
    api.answer(Route::Cluster, async {
        let (parts, _) = request.into_parts();
        Query::new(parts.uri.query()).finish()?;
        let peers = api.node.cluster().await;
        Ok(HttpAnswer::node_json(to_json(&cluster_view(&api.node.status(), peers), CLUSTER_BYTES)))
    })
    .await
}

pub(super) fn cluster_view(status: &NodeStatus, peers: Vec<PeerStatus>) -> ClusterView {
    ClusterView {
        node_id: status.node_id.clone(),
        leader: status.leader.clone(),
        epoch: status.epoch,
        nodes: peers.into_iter().map(render::node_view).collect(),
    }
}

/// Hand the leadership over
///
/// To the node named, or to whoever is fit. Requests wait meanwhile; none fails.
#[utoipa::path(
    post, path = "/v1/cluster/leader/transfer", tag = "Cluster", operation_id = "transferLeader",
    security(("api_key" = ["cluster:admin"])),
    params(query::Deadline),
    request_body(content = Option<LeadershipTransfer>, example = json!({ "to": "node2" })),
    responses(
        (status = 200, description = "Handed over.", body = NewLeader,
         example = json!({ "leader": "node2" })),
        openapi::TransferProblems,
    ),
)]
async fn transfer(api: Call, request: Request) -> Response {
    api.answer(Route::LeaderTransfer, async {
        let (parts, body) = request.into_parts();
        request::refuse_foreign_page(&parts.headers)?;
        Query::new(parts.uri.query()).finish()?;
        let deadline = request::deadline(&parts.headers)?;
        let body = request::body(&parts.headers, body, deadline).await?;
        // The body may be left out: then any node may lead.
        let LeadershipTransfer { to } = match body.is_empty() {
            true => LeadershipTransfer::default(),
            false => {
                request::require_json(&parts.headers)?;
                read_object(&body)?
            }
        };
        api.confirm_caller(deadline).await?;
        let leader = api.node.transfer_leadership(to, deadline).await.map_err(Problem::from)?;
        let body = to_json(&NewLeader { leader }, NEW_LEADER_BYTES);
        Ok(HttpAnswer::json(StatusCode::OK, body, AsOf::of_status(&api.node.status())))
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
        let shown = samples::shown(&cluster_view(&status, peers.into()));
        assert_eq!((&shown["node_id"], &shown["leader"]), (&json!("node1"), &json!("node1")));
        assert_eq!((&shown["nodes"][0]["reachable"], &shown["nodes"][1]["reachable"]), (&json!(true), &json!(false)));
        assert_eq!(shown["nodes"][0]["status"]["role"], "leader");
        assert_eq!(shown["nodes"][1]["status"], Value::Null);
    }

    #[test]
    fn a_successor_is_named_by_its_node_id() {
        let body: LeadershipTransfer = read_object(br#"{"to":"node2"}"#).expect("valid");
        assert_eq!(body.to, Some(samples::node("node2")));
        let problem = read_object::<LeadershipTransfer>(br#"{"to":"no node"}"#).expect_err("no node id");
        assert_eq!((problem.code(), problem.field_name()), ("invalid_node_id", Some("to")));
        let problem = read_object::<LeadershipTransfer>(br#"{"to":5}"#).expect_err("no node id");
        assert_eq!((problem.code(), problem.field_name()), ("invalid_node_id", Some("to")));
    }
}
