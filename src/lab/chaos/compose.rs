//! A stack of containers that somebody else runs, as a cluster under test. It is neither started nor stopped; what is broken in
//! it is healed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::clients::Target as ClientTarget;
use super::cluster::{Observer, POLL_INTERVAL, RECOVERY_TIMEOUT};
use super::error::ChaosError;
use super::kind::FaultKind;
use super::skipped::SkippedKind;
use super::subject::Subject;
use crate::fault::{ComposeStack, HealRequest, Target, Tolerated};
use crate::local::LocalError;

/// The default of the nodes' setting, which the stack does not change.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// A stack under test.
#[derive(Debug)]
pub(super) struct ComposeCluster {
    stack: ComposeStack,
    observer: Observer,
    /// How often docker had restarted each node when it was last asked.
    restarts: Vec<u64>,
    /// When the run began, as docker takes it.
    since: String,
}

impl ComposeCluster {
    /// Finds a test stack and waits until it is whole.
    pub(super) async fn find(project: Option<&str>, unix_ms: u64) -> Result<Self, ChaosError> {
        let mut stack = ComposeStack::find(project).await?;
        let lasting = stack.lasting_faults().await?.lines;
        if !lasting.is_empty() {
            let why =
                format!("faults last in this stack ({}); quorapay heal --all --target compose", lasting.join("; "));
            return Err(ChaosError::Impossible(why));
        }
        let nodes = stack.nodes().into_iter().map(|(name, url)| ClientTarget { name, url }).collect();
        let observer = Observer::new(nodes)?;
        let restarts = stack.restarts();
        let since = format!("{}.{:03}", unix_ms / 1_000, unix_ms % 1_000);
        let mut cluster = Self { stack, observer, restarts, since };
        let recovered = cluster.wait_until_recovered(Tolerated { exit: true, damage: true }, &mut Vec::new()).await;
        recovered.map_err(|missing| ChaosError::Impossible(format!("the stack is not whole: {missing}")))?;
        Ok(cluster)
    }

    /// The kinds that can be made on a stack, and those that cannot.
    pub(super) fn possible(kinds: &[FaultKind]) -> (Vec<FaultKind>, Vec<SkippedKind>) {
        let (mut possible, mut skipped) = (Vec::new(), Vec::new());
        for &kind in kinds {
            match obstacle(kind) {
                None => possible.push(kind),
                Some(reason) => {
                    let remedy = "leave --target compose out".to_owned();
                    skipped.push(SkippedKind { kind, reason: reason.to_owned(), remedy });
                }
            }
        }
        (possible, skipped)
    }

    /// Heals whatever is broken.
    pub(super) async fn heal_all(&mut self) -> Result<(), ChaosError> {
        Ok(self.stack.heal(&HealRequest::default()).await.map(drop)?)
    }
}

fn obstacle(kind: FaultKind) -> Option<&'static str> {
    match kind {
        FaultKind::Delay => Some("packet filters lose packets, they do not delay them"),
        FaultKind::ClockStep | FaultKind::ClockDrift => Some("containers share the clock of their machine"),
        FaultKind::PowerLoss => Some("the disks of containers cannot lose their power"),
        FaultKind::KillAtSync => Some("docker restarts the node before the fault ends"),
        _ => None,
    }
}

impl Subject for ComposeCluster {
    type Target = ComposeStack;

    fn target(&mut self) -> &mut ComposeStack {
        &mut self.stack
    }

    fn nodes(&self) -> Vec<ClientTarget> {
        self.observer.nodes().to_vec()
    }

    fn zookeepers(&self) -> usize {
        self.stack.zookeepers()
    }

    fn session_timeout(&self) -> Duration {
        SESSION_TIMEOUT
    }

    async fn leader(&self) -> Option<usize> {
        self.observer.leader().await
    }

    fn take_ended(&mut self, _: Tolerated) -> Result<Vec<String>, ChaosError> {
        // Docker restarts what ends by itself; its count is compared when the cluster recovers.
        Ok(Vec::new())
    }

    async fn start_nodes(&mut self) -> Result<(), ChaosError> {
        let all: Vec<usize> = (0..self.observer.nodes().len()).collect();
        Ok(self.stack.start(&all).await?)
    }

    async fn wait_until_recovered(&mut self, tolerated: Tolerated, unexpected: &mut Vec<String>) -> Result<(), String> {
        let deadline = Instant::now() + RECOVERY_TIMEOUT;
        let mut goal = None;
        while let Err(missing) = self.observer.check_complete(&mut goal).await {
            if Instant::now() >= deadline {
                return Err(missing);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        self.stack.refresh().await.map_err(|error| error.to_string())?;
        let restarts = self.stack.restarts();
        for ((node, before), now) in self.observer.nodes().iter().zip(&self.restarts).zip(&restarts) {
            if now > before && !tolerated.exit {
                unexpected.push(format!("{} ended by itself and was restarted by docker", node.name));
            }
        }
        self.restarts = restarts;
        Ok(())
    }

    fn damaged_ledgers(&self, _: usize) -> usize {
        0
    }

    async fn end(&mut self, report: &Path) -> Result<Vec<PathBuf>, ChaosError> {
        let (logs, ledgers) = (report.join("logs"), report.join("ledgers"));
        for folder in [&logs, &ledgers] {
            // Copies of an earlier run would be mixed with these.
            let _ = std::fs::remove_dir_all(folder);
            std::fs::create_dir_all(folder).map_err(LocalError::io(folder.display().to_string()))?;
        }
        let mut copies = Vec::new();
        for (number, node) in self.observer.nodes().iter().enumerate() {
            let copy = ledgers.join(&node.name);
            self.stack.copy_files(number, &copy).await?;
            self.stack.write_log(number, &self.since, &logs.join(format!("{}.log", node.name))).await?;
            copies.push(copy);
        }
        Ok(copies)
    }

    fn keep_evidence(&self, _: &Path) -> Result<(), ChaosError> {
        // The copies that were judged are in the report's folder.
        Ok(())
    }
}
