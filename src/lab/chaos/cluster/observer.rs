//! What the nodes of a cluster say of themselves to a client: who leads, and whether the cluster is whole.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::recovery::{POLL_INTERVAL, RECOVERY_TIMEOUT};
use crate::chaos::clients::Target;
use crate::chaos::error::ChaosError;
use quorapay_client::{ClusterView, NodeReport, NodeRole, Readiness, Tls};
use quorapay_core::domain::LogIndex;

/// A node that takes longer to answer counts as not ready.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What is missing to a recovered cluster, as a sentence.
type Incomplete = String;

/// Observes nodes from outside.
#[derive(Debug)]
pub(in crate::chaos) struct Observer {
    nodes: Vec<Target>,
    http: reqwest::Client,
}

impl Observer {
    pub(in crate::chaos) fn new(nodes: Vec<Target>) -> Result<Self, ChaosError> {
        let http = Tls::none().http().timeout(ANSWER_TIMEOUT).build();
        let http = http.map_err(|error| ChaosError::Impossible(format!("no HTTP client: {error}")))?;
        Ok(Self { nodes, http })
    }

    /// The nodes as clients reach them.
    pub(in crate::chaos) fn nodes(&self) -> &[Target] {
        &self.nodes
    }

    /// The node that reports itself as leader. Waits for one; `None` after the timeout.
    pub(in crate::chaos) async fn leader(&self) -> Option<usize> {
        let deadline = Instant::now() + RECOVERY_TIMEOUT;
        loop {
            let answers = self.readiness().await;
            let leads =
                |answer: &Option<Readiness>| answer.as_ref().is_some_and(|ready| ready.role == NodeRole::Leader);
            let leader = answers.iter().position(leads);
            if leader.is_some() || Instant::now() >= deadline {
                return leader;
            }
            // The state of other processes has to be polled.
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn readiness(&self) -> Vec<Option<Readiness>> {
        let get = |url: &str| self.get::<Readiness>(format!("{url}/readyz"));
        join_all(self.nodes.iter().map(|node| get(&node.url))).await
    }

    /// Whether all nodes agree and have caught up with `goal`, the commit index when they agreed for the first time.
    pub(in crate::chaos) async fn check_complete(&self, goal: &mut Option<LogIndex>) -> Result<(), Incomplete> {
        let (leader, reports) = self.reports().await?;
        let goal = *goal.get_or_insert(reports[leader].commit_index);
        match reports.iter().zip(&self.nodes).find(|(report, _)| report.applied_index < goal) {
            None => Ok(()),
            Some((_, behind)) => Err(format!("{} has not caught up", behind.name)),
        }
    }

    /// The leader and every node's status, if all are ready and agree on the leader.
    async fn reports(&self) -> Result<(usize, Vec<NodeReport>), Incomplete> {
        let mut leader = None;
        for (node, answer) in self.nodes.iter().zip(self.readiness().await) {
            let ready = answer.ok_or_else(|| format!("{} is not ready", node.name))?;
            if *leader.get_or_insert_with(|| ready.leader.clone()) != ready.leader {
                return Err(format!("{} follows another leader", node.name));
            }
            if ready.zookeeper != "connected" {
                return Err(format!("{} has lost ZooKeeper", node.name));
            }
        }
        let leader = leader.and_then(|leader| self.nodes.iter().position(|node| node.name == leader.as_str()));
        let leader = leader.ok_or("nobody leads")?;
        let view = self.get::<ClusterView>(format!("{}/v1/cluster", self.nodes[leader].url)).await;
        let view = view.ok_or_else(|| format!("{} does not show the cluster", self.nodes[leader].name))?;
        let report = |node: &Target| {
            let row = view.nodes.iter().find(|row| row.node_id.as_str() == node.name);
            row.and_then(|row| row.status.clone()).ok_or_else(|| format!("the leader does not reach {}", node.name))
        };
        Ok((leader, self.nodes.iter().map(report).collect::<Result<_, _>>()?))
    }

    /// The nodes that say they are quarantined.
    pub(in crate::chaos) async fn quarantined(&self) -> Vec<usize> {
        let get = |url: &str| self.get_any::<Unready>(format!("{url}/readyz"));
        let answers = join_all(self.nodes.iter().map(|node| get(&node.url))).await;
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
