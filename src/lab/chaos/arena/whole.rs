//! Whether the cluster is whole: every node there, a voter, caught up, and one leader.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{Arena, Node};
use quorapay_client::{ClusterView, NodeReport, NodeRole, Readiness};
use quorapay_core::domain::LogIndex;

/// How long a cluster may take to be whole again once everything is healed.
pub(in crate::chaos) const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two looks: nothing announces how another process is, it has to be asked.
const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// What a node may do for the faults of the moment.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::chaos) struct Allowed {
    /// End by itself.
    pub(in crate::chaos) end: bool,
    /// Find its ledger damaged.
    pub(in crate::chaos) damage: bool,
}

/// What a look at the cluster found to be missing, in words.
type Missing = String;

impl Arena {
    /// Who leads, as its own status says. Waits until somebody does; `None` if nobody does in time.
    pub(in crate::chaos) async fn leader(&self) -> Option<usize> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ask = |url: &str| self.get::<Readiness>(format!("{url}/readyz"));
            let answers = join_all(self.nodes.iter().map(|node| ask(&node.url))).await;
            let leads =
                |answer: &Option<Readiness>| answer.as_ref().is_some_and(|ready| ready.role == NodeRole::Leader);
            let leader = answers.iter().position(leads);
            if leader.is_some() || Instant::now() >= deadline {
                return leader;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Waits until the cluster is whole. Nodes that end meanwhile are started again, and so are damaged ones, as an operator
    /// would do; if nothing allows them to, it is reported.
    ///
    /// # Errors
    /// What was still missing when the time was over.
    pub(in crate::chaos) async fn wait_until_whole(
        &mut self,
        within: Duration,
        allowed: Allowed,
        surprises: &mut Vec<String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + within;
        let mut goal = None;
        let mut restarted = BTreeSet::new();
        loop {
            self.restart_ended(allowed, surprises)?;
            let Err(missing) = self.look(&mut goal).await else { return Ok(()) };
            for damaged in self.quarantined().await {
                if restarted.insert(damaged) {
                    if !allowed.damage {
                        surprises.push(format!("{} is quarantined", self.nodes[damaged].id));
                    }
                    self.nodes[damaged].stop().await;
                    self.nodes[damaged].start(&self.reaper).map_err(|error| error.to_string())?;
                }
            }
            if Instant::now() >= deadline {
                return Err(missing);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn restart_ended(&mut self, allowed: Allowed, surprises: &mut Vec<String>) -> Result<(), String> {
        for node in &mut self.nodes {
            if let Some(status) = node.take_end() {
                if !allowed.end {
                    surprises.push(format!("{} ended by itself ({status}): {}", node.id, node.last_words()));
                }
                node.start(&self.reaper).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    /// Whether all nodes are there, agree, and have what was committed when they first did.
    async fn look(&self, goal: &mut Option<LogIndex>) -> Result<(), Missing> {
        let (leader, reports) = self.reports().await?;
        let goal = *goal.get_or_insert(reports[leader].commit_index);
        match reports.iter().zip(&self.nodes).find(|(report, _)| report.applied_index < goal) {
            None => Ok(()),
            Some((_, behind)) => Err(format!("{} has not caught up", behind.id)),
        }
    }

    /// The leader and every node's account of itself, if all are there and agree.
    async fn reports(&self) -> Result<(usize, Vec<NodeReport>), Missing> {
        let ask = |url: &str| self.get::<Readiness>(format!("{url}/readyz"));
        let answers = join_all(self.nodes.iter().map(|node| ask(&node.url))).await;
        let mut leader = None;
        for (node, answer) in self.nodes.iter().zip(answers) {
            let ready = answer.ok_or_else(|| format!("{} is not ready", node.id))?;
            if *leader.get_or_insert_with(|| ready.leader.clone()) != ready.leader {
                return Err(format!("{} follows another leader", node.id));
            }
            if ready.zookeeper != "connected" {
                return Err(format!("{} has lost ZooKeeper", node.id));
            }
        }
        let leader = leader.and_then(|leader| self.nodes.iter().position(|node| node.id == leader.as_str()));
        let leader = leader.ok_or("nobody leads")?;
        let view = self.get::<ClusterView>(format!("{}/v1/cluster", self.nodes[leader].url)).await;
        let view = view.ok_or_else(|| format!("{} does not show the cluster", self.nodes[leader].id))?;
        let report = |node: &Node| {
            let row = view.nodes.iter().find(|row| row.node_id.as_str() == node.id);
            row.and_then(|row| row.status.clone()).ok_or_else(|| format!("the leader does not reach {}", node.id))
        };
        Ok((leader, self.nodes.iter().map(report).collect::<Result<_, _>>()?))
    }

    async fn quarantined(&self) -> Vec<usize> {
        let ask = |url: &str| self.get_any::<Unready>(format!("{url}/readyz"));
        let answers = join_all(self.nodes.iter().map(|node| ask(&node.url))).await;
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

/// What `/readyz` says of a node that cannot serve.
#[derive(serde::Deserialize)]
struct Unready {
    role: Option<NodeRole>,
}
