//! Whether the cluster has recovered: every node is ready, follows the same leader and has caught up.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::TestCluster;
use crate::fault::{Node, Tolerated};
use quorapay_client::{ClusterView, NodeReport, NodeRole, Readiness};
use quorapay_core::domain::LogIndex;

/// How long the cluster may take to recover once every fault is healed.
pub(in crate::chaos) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between two polls of the nodes' states.
const POLL_INTERVAL: Duration = Duration::from_millis(40);

/// What is missing to a recovered cluster, as a sentence.
type Incomplete = String;

impl TestCluster {
    /// The node that reports itself as leader. Waits for one; `None` after the timeout.
    pub(in crate::chaos) async fn leader(&self) -> Option<usize> {
        let deadline = Instant::now() + RECOVERY_TIMEOUT;
        loop {
            let get = |url: &str| self.get::<Readiness>(format!("{url}/readyz"));
            let answers = join_all(self.processes.nodes.iter().map(|node| get(&node.url))).await;
            let leads =
                |answer: &Option<Readiness>| answer.as_ref().is_some_and(|ready| ready.role == NodeRole::Leader);
            let leader = answers.iter().position(leads);
            if leader.is_some() || Instant::now() >= deadline {
                return leader;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until the cluster has recovered. Nodes that exit or are quarantined meanwhile are restarted, as an operator
    /// would do. If that is not tolerated, it is added to `unexpected`.
    ///
    /// # Errors
    /// What is still missing after the timeout.
    pub(in crate::chaos) async fn wait_until_recovered(
        &mut self,
        within: Duration,
        tolerated: Tolerated,
        unexpected: &mut Vec<String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let mut goal = None;
        let mut restarted = BTreeSet::new();
        loop {
            self.restart_ended(tolerated, unexpected)?;
            let Err(missing) = self.check_complete(&mut goal).await else { return Ok(()) };
            for damaged in self.quarantined().await {
                if restarted.insert(damaged) {
                    if !tolerated.damage {
                        unexpected.push(format!("{} is quarantined", self.processes.nodes[damaged].id));
                    }
                    self.processes.nodes[damaged].stop().await;
                    self.processes.nodes[damaged].start(self.processes.reaper.as_ref()).map_err(|error| error.to_string())?;
                }
            }
            if Instant::now() >= deadline {
                return Err(missing);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn restart_ended(&mut self, tolerated: Tolerated, unexpected: &mut Vec<String>) -> Result<(), String> {
        for node in &mut self.processes.nodes {
            if let Some(status) = node.take_exit() {
                if !tolerated.exit {
                    unexpected.push(format!("{} ended by itself ({status}): {}", node.id, node.last_log_line()));
                }
                node.start(self.processes.reaper.as_ref()).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Whether all nodes agree and have caught up with `goal`, the commit index when they agreed for the first time.
    async fn check_complete(&self, goal: &mut Option<LogIndex>) -> Result<(), Incomplete> {
        let (leader, reports) = self.reports().await?;
        let goal = *goal.get_or_insert(reports[leader].commit_index);
        match reports.iter().zip(&self.processes.nodes).find(|(report, _)| report.applied_index < goal) {
            None => Ok(()),
            Some((_, behind)) => Err(format!("{} has not caught up", behind.id)),
        }
    }

    /// The leader and every node's status, if all are ready and agree on the leader.
    async fn reports(&self) -> Result<(usize, Vec<NodeReport>), Incomplete> {
        let get = |url: &str| self.get::<Readiness>(format!("{url}/readyz"));
        let answers = join_all(self.processes.nodes.iter().map(|node| get(&node.url))).await;
        let mut leader = None;
        for (node, answer) in self.processes.nodes.iter().zip(answers) {
            let ready = answer.ok_or_else(|| format!("{} is not ready", node.id))?;
            if *leader.get_or_insert_with(|| ready.leader.clone()) != ready.leader {
                return Err(format!("{} follows another leader", node.id));
            }
            if ready.zookeeper != "connected" {
                return Err(format!("{} has lost ZooKeeper", node.id));
            }
        }
        let leader = leader.and_then(|leader| self.processes.nodes.iter().position(|node| node.id == leader.as_str()));
        let leader = leader.ok_or("nobody leads")?;
        let view = self.get::<ClusterView>(format!("{}/v1/cluster", self.processes.nodes[leader].url)).await;
        let view = view.ok_or_else(|| format!("{} does not show the cluster", self.processes.nodes[leader].id))?;
        let report = |node: &Node| {
            let row = view.nodes.iter().find(|row| row.node_id.as_str() == node.id);
            row.and_then(|row| row.status.clone()).ok_or_else(|| format!("the leader does not reach {}", node.id))
        };
        Ok((leader, self.processes.nodes.iter().map(report).collect::<Result<_, _>>()?))
    }

    async fn quarantined(&self) -> Vec<usize> {
        let get = |url: &str| self.get_any::<Unready>(format!("{url}/readyz"));
        let answers = join_all(self.processes.nodes.iter().map(|node| get(&node.url))).await;
        let is_quarantined = |answer: &Option<Unready>| {
            answer.as_ref().is_some_and(|unready| unready.role == Some(NodeRole::Quarantined))
        };
        (0..).zip(&answers).filter(|(_, answer)| is_quarantined(answer)).map(|(node, _)| node).collect()
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, url: String) -> Option<T> {
        let answer = self.http.get(url).send().await.ok()?;
        if answer.status().is_success() { answer.json().await.ok() } else { None }
    }

    async fn get_any<T: serde::de::DeserializeOwned>(&self, url: String) -> Option<T> {
        self.http.get(url).send().await.ok()?.json().await.ok()
    }
}

/// What `/readyz` answers at a node that is not ready.
#[derive(serde::Deserialize)]
struct Unready {
    role: Option<NodeRole>,
}
