//! A cluster under test, as a run sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clients;
use super::error::ChaosError;
use crate::fault::{Target, Tolerated};

/// A cluster that a run loads, breaks and judges.
pub(super) trait Subject {
    /// What faults are made on.
    type Target: Target;

    /// What faults are made on.
    fn target(&mut self) -> &mut Self::Target;

    /// The nodes as clients reach them.
    fn nodes(&self) -> Vec<clients::Target>;

    /// How many ZooKeeper servers it has.
    fn zookeepers(&self) -> usize;

    /// Timeout of the nodes' ZooKeeper sessions.
    fn session_timeout(&self) -> Duration;

    /// The node that leads. Waits for one; `None` after the timeout of a recovery.
    async fn leader(&self) -> Option<usize>;

    /// Sees to nodes that have ended by themselves since the last call. One that ended for a fault stays down; every other
    /// one is started again and told of, a sentence each.
    fn take_ended(&mut self, tolerated: Tolerated) -> Result<Vec<String>, ChaosError>;

    /// Starts every node that does not run.
    async fn start_nodes(&mut self) -> Result<(), ChaosError>;

    /// Waits until every node is ready, follows the same leader and has caught up. What nodes do meanwhile and is not
    /// tolerated is added to `unexpected`.
    ///
    /// # Errors
    /// What is still missing after the timeout.
    async fn wait_until_recovered(&mut self, tolerated: Tolerated, unexpected: &mut Vec<String>) -> Result<(), String>;

    /// How many damaged ledgers a node has put aside.
    fn damaged_ledgers(&self, node: usize) -> usize;

    /// Ends the run: leaves the logs in `report/logs`, each as `NODE.log`, and returns where the ledgers are that are judged.
    async fn end(&mut self, report: &Path) -> Result<Vec<PathBuf>, ChaosError>;

    /// Keeps the ledgers in the report's folder, because a promise was broken.
    fn keep_evidence(&self, report: &Path) -> Result<(), ChaosError>;
}
