//! `quorapay status`: every node, its role and how far it is.

use clap::Args;

use super::CliError;
use super::connection::{Connection, block_on};
use super::exit;
use super::table::{Align, table};
use crate::client::{ClusterView, NodeView};

const EXAMPLES: &str = "\
Examples:
  quorapay status
  quorapay status --url http://127.0.0.1:7101,http://127.0.0.1:7102 --json";

/// Show every node: role, epoch, indexes, lag
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Status {
    #[command(flatten)]
    connection: Connection,
}

impl Status {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let cluster = block_on(self.connection.client()?.cluster())??;
        self.connection.show(&cluster, describe)
    }
}

fn describe(cluster: &ClusterView) -> String {
    let headings = [
        ("node", Align::Left),
        ("role", Align::Left),
        ("epoch", Align::Right),
        ("last", Align::Right),
        ("committed", Align::Right),
        ("lag", Align::Right),
        ("zookeeper", Align::Left),
        ("reachable", Align::Left),
        ("url", Align::Left),
    ];
    let rows: Vec<_> = cluster.nodes.iter().map(|node| row(cluster, node)).collect();
    let leader = cluster.leader.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
    let summary = format!("leader {leader}, epoch {} (as {} sees it)", cluster.epoch, cluster.node_id);
    format!("{summary}\n{}", table(headings, &rows))
}

fn row(cluster: &ClusterView, node: &NodeView) -> [String; 9] {
    let reachable = if node.reachable { "yes" } else { "no" }.to_owned();
    let dash = || "-".to_owned();
    let Some(report) = &node.status else {
        return [
            node.node_id.to_string(),
            dash(),
            dash(),
            dash(),
            dash(),
            lag(cluster, node),
            dash(),
            reachable,
            dash(),
        ];
    };
    let role = match &report.quarantine {
        Some(why) => format!("{}: {why}", report.role),
        None => report.role.to_string(),
    };
    [
        node.node_id.to_string(),
        role,
        report.epoch.to_string(),
        report.last_index.to_string(),
        report.commit_index.to_string(),
        lag(cluster, node),
        if report.zookeeper_connected { "connected" } else { "lost" }.to_owned(),
        reachable,
        report.client_url.clone(),
    ]
}

/// How far the node is behind, as the leader knows it; the leader itself is behind nobody.
fn lag(cluster: &ClusterView, node: &NodeView) -> String {
    let Some(leader) = &cluster.leader else { return "-".to_owned() };
    if *leader == node.node_id {
        return "0".to_owned();
    }
    let report = cluster.nodes.iter().find(|other| other.node_id == *leader).and_then(|other| other.status.as_ref());
    let progress = report.and_then(|report| report.followers.get(&node.node_id));
    progress.map_or_else(|| "-".to_owned(), |progress| progress.lag.to_string())
}
