//! A cluster of processes of this program that recovers: what an operator would do meanwhile.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::TestCluster;
use crate::fault::Tolerated;

/// How long the cluster may take to recover once every fault is healed.
pub(in crate::chaos) const RECOVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// Interval between two polls of the nodes' states.
pub(in crate::chaos) const POLL_INTERVAL: Duration = Duration::from_millis(40);

impl TestCluster {
    /// Waits until every node is ready, follows the same leader and has caught up. Nodes that exit or are quarantined
    /// meanwhile are restarted, as an operator would do. If that is not tolerated, it is added to `unexpected`.
    ///
    /// # Errors
    /// What is still missing after the timeout.
    pub(in crate::chaos) async fn recover(
        &mut self,
        tolerated: Tolerated,
        unexpected: &mut Vec<String>,
    ) -> Result<(), String> {
        let deadline = Instant::now() + RECOVERY_TIMEOUT;
        let mut goal = None;
        let mut restarted = BTreeSet::new();
        loop {
            self.restart_ended(tolerated, unexpected)?;
            let Err(missing) = self.observer.check_complete(&mut goal).await else { return Ok(()) };
            for damaged in self.observer.quarantined().await {
                if restarted.insert(damaged) {
                    let node = &mut self.processes.nodes[damaged];
                    if !tolerated.damage {
                        unexpected.push(format!("{} is quarantined", node.id));
                    }
                    node.stop().await;
                    node.start(self.processes.reaper.as_ref()).map_err(|error| error.to_string())?;
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
}
