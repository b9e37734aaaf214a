//! `quorapay status`: all nodes with their roles and indexes.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::connection::{Connection, block_on, to_json};
use super::exit;
use super::signals::Signals;
use super::table::{Align, table};
use quorapay_client::{ClockReport, ClusterView, NodeView};
use quorapay_core::domain::LogIndex;

const EXAMPLES: &str = "\
Examples:
  quorapay status
  quorapay status --url http://127.0.0.1:7101,http://127.0.0.1:7102 --json
  quorapay status --watch                # once a second until Ctrl-C; --watch 5 every five seconds";

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Show every node: role, epoch, indexes, lag
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Status {
    /// Show it again every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "1",
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    watch: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

impl Status {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match self.watch {
            None => {
                let cluster = block_on(self.connection.client()?.cluster())??;
                self.connection.show(&cluster, describe)
            }
            Some(seconds) => block_on(self.repeat(Duration::from_secs(seconds)))?,
        }
    }

    /// Shows the status again and again. A cluster that does not answer is shown as such: it may do so later.
    async fn repeat(&self, every: Duration) -> Result<(), CliError> {
        let mut signals = Signals::listen()?;
        let client = self.connection.client()?;
        let mut due = tokio::time::interval(every);
        loop {
            let cluster = tokio::select! {
                () = signals.received() => return Ok(()),
                cluster = async { due.tick().await; client.cluster().await } => cluster,
            };
            let text = match &cluster {
                Ok(cluster) if self.connection.json => to_json(cluster),
                Ok(cluster) => describe(cluster),
                Err(error) => error.to_string(),
            };
            if !redraw(&text)? {
                return Ok(());
            }
        }
    }
}

/// Writes the text in the place of the one before if this is a terminal, else below it. `false` if nobody reads any more.
fn redraw(text: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    let clear = if out.is_terminal() { CLEAR } else { "" };
    match writeln!(out, "{clear}{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(source) => Err(CliError::Io { what: "writing the status".to_owned(), source }),
    }
}

/// The cluster as a table.
pub(super) fn describe(cluster: &ClusterView) -> String {
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
    let table = table(headings, &rows);
    format!("{summary}\n{table}{}{}", pending_rules(cluster), false_clocks(cluster))
}

/// During an upgrade: which rules are in force, and which nodes know newer ones. Empty at all other times.
fn pending_rules(cluster: &ClusterView) -> String {
    let reports = || cluster.nodes.iter().filter_map(|node| node.status.as_ref());
    let Some(in_force) = reports().map(|report| report.rule_version).max() else { return String::new() };
    let upgraded = reports().filter(|report| report.newest_rule_version > in_force);
    let names: Vec<_> =
        upgraded.map(|report| format!("{} (up to {})", report.node_id, report.newest_rule_version)).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("\nrule version {in_force} is in force; newer ones are known to {}", names.join(", "))
}

/// The clocks that are false, by the judgement of the leader, or of the node that answers while there is none. Empty
/// while all are right.
fn false_clocks(cluster: &ClusterView) -> String {
    let judge = cluster.leader.as_ref().unwrap_or(&cluster.node_id);
    let report = cluster.nodes.iter().find(|node| node.node_id == *judge).and_then(|node| node.status.as_ref());
    let clocks = report.into_iter().flat_map(|report| &report.clocks).filter(|(_, clock)| clock.falseticker);
    let line = |(node, clock): (_, &ClockReport)| match clock.offset_us {
        Some(offset_us) => format!("\nthe clock of {node} is false: {}", off_by(offset_us)),
        None => format!("\nthe clock of {node} is false"),
    };
    clocks.map(line).collect()
}

/// How far a clock is off, to the millisecond.
pub(super) fn off_by(offset_us: i64) -> String {
    let ms = offset_us.unsigned_abs() / 1_000;
    let direction = if offset_us < 0 { "behind" } else { "ahead" };
    format!("{}.{:03} s {direction}", ms / 1_000, ms % 1_000)
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

/// How many entries a node is behind, as the leader knows it; zero for the leader. A leader that has never heard the node
/// does not know it, and would count the whole log.
fn lag(cluster: &ClusterView, node: &NodeView) -> String {
    let Some(leader) = &cluster.leader else { return "-".to_owned() };
    if *leader == node.node_id {
        return "0".to_owned();
    }
    let report = cluster.nodes.iter().find(|other| other.node_id == *leader).and_then(|other| other.status.as_ref());
    let progress = report.and_then(|report| report.followers.get(&node.node_id));
    let progress = progress.filter(|progress| progress.reachable || progress.matched_index > LogIndex(0));
    progress.map_or_else(|| "-".to_owned(), |progress| progress.lag.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use quorapay_core::domain::{Epoch, RuleVersion, Timestamp};
    use quorapay_core::replication::{NodeId, StoreId};
    use quorapay_node::runtime::{ClockStatus, FollowerStatus, NodeStatus, Role};

    fn leader_status() -> NodeStatus {
        let node2 = FollowerStatus { matched_index: LogIndex(90), lag: 10, reachable: true, voter: true };
        NodeStatus {
            node_id: NodeId::parse("node1").unwrap(),
            store_id: StoreId(7),
            cluster_id: "c".to_owned(),
            role: Role::Leader,
            epoch: Epoch(3),
            promised_epoch: Epoch(3),
            leader: Some(NodeId::parse("node1").unwrap()),
            last_index: LogIndex(100),
            commit_index: LogIndex(99),
            applied_index: LogIndex(99),
            applied_timestamp: Timestamp(1),
            projected_index: LogIndex(50),
            staleness_ms: 0,
            zookeeper_connected: true,
            elections_won: 1,
            quarantine: None,
            hung_write_ms: None,
            stays_quarantined: false,
            views_lag_keys: 0,
            views_lag_bytes: 0,
            views_rebuilding: None,
            followers: [(NodeId::parse("node2").unwrap(), node2)].into(),
            configuration: None,
            clocks: [].into(),
            corrected_clock: None,
            corrected_clock_error_ms: None,
            time_error_ms: None,
            wall_clock: Timestamp(2),
            rule_version: RuleVersion::FIRST,
            newest_rule_version: RuleVersion::FIRST,
            client_url: "http://127.0.0.1:7101".to_owned(),
            peer_url: "http://127.0.0.1:7201".to_owned(),
            version: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn the_table_shows_the_status_of_each_node_and_its_lag_behind_the_leader() {
        let answer = json!({
            "node_id": "node1", "leader": "node1", "epoch": 3,
            "nodes": [
                {"node_id": "node1", "peer_url": "p1", "reachable": true, "status": leader_status()},
                {"node_id": "node2", "peer_url": "p2", "reachable": false, "status": null},
            ],
        });
        let cluster: ClusterView = serde_json::from_value(answer).unwrap();
        let text = describe(&cluster);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(text.lines().next(), Some("leader node1, epoch 3 (as node1 sees it)"));
        let leader = ["node1", "leader", "3", "100", "99", "0", "connected", "yes", "http://127.0.0.1:7101"];
        assert_eq!(lines[2], leader);
        assert_eq!(lines[3], ["node2", "-", "-", "-", "-", "10", "-", "no", "-"]);
    }

    #[test]
    fn the_lag_of_a_node_that_the_leader_has_never_heard_is_not_known() {
        let mut status = leader_status();
        let silent = FollowerStatus { matched_index: LogIndex(0), lag: 100, reachable: false, voter: true };
        status.followers.insert(NodeId::parse("node2").unwrap(), silent);
        let answer = json!({
            "node_id": "node1", "leader": "node1", "epoch": 3,
            "nodes": [
                {"node_id": "node1", "peer_url": "p1", "reachable": true, "status": status},
                {"node_id": "node2", "peer_url": "p2", "reachable": false, "status": null},
            ],
        });
        let cluster: ClusterView = serde_json::from_value(answer).unwrap();
        let text = describe(&cluster);
        let row: Vec<&str> = text.lines().next_back().unwrap().split_whitespace().collect();
        assert_eq!(row, ["node2", "-", "-", "-", "-", "-", "-", "no", "-"]);
    }

    #[test]
    fn a_clock_that_is_false_is_named_with_how_far_it_is_off() {
        let clock = |offset_us, falseticker| ClockStatus { offset_us, error_us: None, drift_ppb: None, falseticker };
        let clocks = [("node1", clock(Some(700), false)), ("node2", clock(Some(-3_600_000_400), true))];
        let clocks = clocks.map(|(node, clock)| (NodeId::parse(node).unwrap(), clock)).into();
        let answer = json!({
            "node_id": "node1", "leader": "node1", "epoch": 3,
            "nodes": [{"node_id": "node1", "peer_url": "p1", "reachable": true,
                       "status": NodeStatus { clocks, ..leader_status() }}],
        });
        let cluster: ClusterView = serde_json::from_value(answer).unwrap();
        assert_eq!(describe(&cluster).lines().next_back(), Some("the clock of node2 is false: 3600.000 s behind"));
    }

    #[test]
    fn newer_rules_that_are_not_in_force_yet_are_named_with_the_nodes_that_know_them() {
        let status = NodeStatus { newest_rule_version: RuleVersion(2), ..leader_status() };
        let answer = json!({
            "node_id": "node1", "leader": "node1", "epoch": 3,
            "nodes": [{"node_id": "node1", "peer_url": "p1", "reachable": true, "status": status}],
        });
        let cluster: ClusterView = serde_json::from_value(answer).unwrap();
        let line = "rule version 1 is in force; newer ones are known to node1 (up to 2)";
        assert_eq!(describe(&cluster).lines().next_back(), Some(line));
    }
}
