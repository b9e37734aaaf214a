//! Injects actions into the cluster, maintains them while they last, and heals them.
//!
//! Healing removes the cause. Whether the cluster has recovered is checked afterwards.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::action::{FailedSyncs, FaultAction, SyncToDieAt};
use super::bit_flip;
use super::cluster::{TestCluster, Tolerated};
use super::disks::{lose_power, mount_again};
use super::error::ChaosError;
use super::tools::{Injection, set_clock};
use crate::local::{LocalError, Signal, run};

/// A fault that has been injected.
#[derive(Debug)]
pub(super) struct ActiveFault {
    action: FaultAction,
    began: Instant,
    resource: Resource,
}

/// What a fault needs for healing.
#[derive(Debug)]
enum Resource {
    None,
    /// The file that fills a disk.
    Ballast(PathBuf),
    /// System calls that fail.
    Injection(Injection),
    /// How many damaged ledgers the node had put aside before this fault.
    DamagedLedgers(usize),
}

impl ActiveFault {
    /// Injects an action.
    pub(super) async fn inject(
        action: FaultAction,
        cluster: &mut TestCluster,
        own_disks: bool,
    ) -> Result<Self, ChaosError> {
        let mut resource = Resource::None;
        match &action {
            FaultAction::Kill(nodes) => {
                for &node in nodes {
                    cluster.nodes[node].kill().await;
                }
            }
            FaultAction::Pause(nodes) => nodes.iter().for_each(|node| cluster.nodes[*node].signal(Signal::SIGSTOP)),
            FaultAction::Links(fault) => {
                if let Err(error) = cluster.network.begin(fault).await {
                    // Part of the links may have changed: they are reset.
                    let _ = cluster.network.end(fault).await;
                    return Err(error.into());
                }
            }
            FaultAction::FillDisk(node) if own_disks => {
                resource = Resource::Ballast(fill(&cluster.nodes[*node].data_dir).await?);
            }
            FaultAction::FillDisk(node) => resource = tamper(cluster, *node, "pwrite64", "error=ENOSPC").await?,
            FaultAction::FailSync(node, which) => {
                let which = match which {
                    FailedSyncs::All => String::new(),
                    FailedSyncs::One(at) => format!(":when={at}"),
                };
                resource = tamper(cluster, *node, SYNCS, &format!("error=EIO{which}")).await?;
            }
            FaultAction::KillAtSync(node, at) => {
                let how = match at {
                    SyncToDieAt::Next(at) => format!("signal=KILL:when={at}"),
                    SyncToDieAt::Held => format!("delay_enter={}", LONGEST_HOLD.as_micros()),
                };
                resource = tamper(cluster, *node, SYNCS, &how).await?;
            }
            FaultAction::PowerLoss(nodes) => lose_power_of(cluster, nodes).await?,
            FaultAction::StepClock(node, seconds) => cluster.set_clock(*node, seconds * 1_000)?,
            FaultAction::DriftClock(..) => {}
            FaultAction::KillZooKeeper(servers) => {
                for &server in servers {
                    cluster.zookeepers[server].kill().await;
                }
            }
            FaultAction::WipeZooKeeper => {
                for server in &mut cluster.zookeepers {
                    server.kill().await;
                    server.wipe()?;
                }
            }
            FaultAction::WipeDisk(node) => {
                cluster.nodes[*node].kill().await;
                cluster.nodes[*node].wipe()?;
            }
            FaultAction::FlipBit(node, seed) => resource = flip(cluster, *node, *seed).await?,
        }
        Ok(Self { action, began: Instant::now(), resource })
    }

    /// Updates what changes with time. Called every [`UPKEEP_INTERVAL`] while the fault lasts.
    pub(super) fn maintain(&self, cluster: &TestCluster) -> Result<(), ChaosError> {
        if let FaultAction::DriftClock(node, ms_per_second) = &self.action {
            let lasted_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
            cluster.set_clock(*node, lasted_ms.saturating_mul(*ms_per_second) / 1_000)?;
        }
        Ok(())
    }

    /// Whether it should make a node exit that still runs.
    pub(super) fn waits_for_node_to_end(&self, cluster: &TestCluster) -> bool {
        let ends = self.action.ends_node().filter(|_| !self.kills_in_the_end());
        ends.is_some_and(|node| cluster.nodes[node].pid().is_some())
    }

    fn kills_in_the_end(&self) -> bool {
        matches!(self.action, FaultAction::KillAtSync(_, SyncToDieAt::Held))
    }

    /// Removes the cause. Nodes that do not run are started once all causes are removed.
    pub(super) async fn heal(mut self, cluster: &mut TestCluster) -> Result<(), ChaosError> {
        match &self.action {
            FaultAction::Pause(nodes) => nodes.iter().for_each(|node| cluster.nodes[*node].signal(Signal::SIGCONT)),
            FaultAction::Links(fault) => cluster.network.end(fault).await?,
            FaultAction::StepClock(node, _) | FaultAction::DriftClock(node, _) => cluster.set_clock(*node, 0)?,
            FaultAction::KillAtSync(node, SyncToDieAt::Held) => {
                // The signal comes first, so that the sync is not made; a process that strace holds back ends with strace.
                cluster.nodes[*node].signal(Signal::SIGKILL);
                self.resource = Resource::None;
                cluster.nodes[*node].kill().await;
            }
            FaultAction::KillZooKeeper(_) | FaultAction::WipeZooKeeper => cluster.start_zookeepers().await?,
            FaultAction::FillDisk(_)
            | FaultAction::FailSync(..)
            | FaultAction::KillAtSync(_, SyncToDieAt::Next(_))
            | FaultAction::PowerLoss(_)
            | FaultAction::Kill(_)
            | FaultAction::WipeDisk(_)
            | FaultAction::FlipBit(..) => {}
        }
        match self.resource {
            Resource::Ballast(file) => match std::fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(LocalError::io("emptying a disk")(error))?,
                Ok(()) | Err(_) => {}
            },
            Resource::Injection(injection) => drop(injection),
            Resource::None | Resource::DamagedLedgers(_) => {}
        }
        Ok(())
    }

    /// The node whose ledger was damaged, and how many damaged ledgers it had put aside before.
    pub(super) fn damaged(&self) -> Option<(usize, usize)> {
        match (&self.action, &self.resource) {
            (FaultAction::FlipBit(node, _), Resource::DamagedLedgers(before)) => Some((*node, *before)),
            _ => None,
        }
    }

    /// What the nodes may do while it lasts.
    pub(super) fn tolerated(&self) -> Tolerated {
        Tolerated { exit: self.action.ends_node().is_some(), damage: matches!(self.action, FaultAction::FlipBit(..)) }
    }
}

/// How long a sync is held back at most: longer than any fault lasts.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The calls with which a node makes its writes durable.
const SYNCS: &str = "fsync,fdatasync";

async fn tamper(cluster: &TestCluster, node: usize, calls: &str, how: &str) -> Result<Resource, ChaosError> {
    let pid = cluster.nodes[node].pid().ok_or_else(|| ChaosError::Impossible("the node does not run".to_owned()))?;
    Ok(Resource::Injection(Injection::begin(pid, calls, how).await?))
}

/// Freezes the processes, stops their disks, all at once, and kills them. A process that still ran could read what no machine
/// reads after a power loss: errors of its own disk.
async fn lose_power_of(cluster: &mut TestCluster, nodes: &[usize]) -> Result<(), ChaosError> {
    nodes.iter().for_each(|node| cluster.nodes[*node].signal(Signal::SIGSTOP));
    let stopped = join_all(nodes.iter().map(|node| lose_power(&cluster.nodes[*node].data_dir))).await;
    for &node in nodes {
        cluster.nodes[node].kill().await;
    }
    for &node in nodes {
        let node = &cluster.nodes[node];
        mount_again(&node.id, &node.data_dir).await?;
    }
    Ok(stopped.into_iter().collect::<Result<(), LocalError>>()?)
}

async fn flip(cluster: &mut TestCluster, node: usize, seed: u64) -> Result<Resource, ChaosError> {
    let node = &mut cluster.nodes[node];
    // An orderly stop moves everything from the WAL into the file whose bit is flipped.
    node.stop().await;
    let before = bit_flip::count_damaged_ledgers(&node.data_dir);
    let flipped = bit_flip::flip(&node.data_dir, seed).await;
    node.start(&cluster.reaper)?;
    Ok(if flipped.map_err(ChaosError::Local)? { Resource::DamagedLedgers(before) } else { Resource::None })
}

/// Fills the disk that a folder is on.
async fn fill(folder: &Path) -> Result<PathBuf, LocalError> {
    let ballast = folder.join("ballast");
    let mut wanted = free_bytes(folder).await?;
    // The file system needs part of the space for metadata, so the rest is allocated in ever smaller pieces.
    while wanted >= 4_096 {
        let at = std::fs::metadata(&ballast).map_or(0, |file| file.len());
        let (offset, length) = (at.to_string(), wanted.to_string());
        let path = ballast.as_os_str();
        let taken = run("fallocate", ["-o".as_ref(), offset.as_ref(), "-l".as_ref(), length.as_ref(), path]).await;
        wanted = if taken.is_ok() { wanted.min(free_bytes(folder).await?) } else { wanted / 2 };
    }
    Ok(ballast)
}

async fn free_bytes(folder: &Path) -> Result<u64, LocalError> {
    let shown = run("df", ["--block-size=1".as_ref(), "--output=avail".as_ref(), folder.as_os_str()]).await?;
    let said = || LocalError::Command { command: "df".to_owned(), said: shown.trim().to_owned() };
    shown.lines().last().and_then(|line| line.trim().parse().ok()).ok_or_else(said)
}

impl TestCluster {
    fn set_clock(&self, node: usize, off_ms: i64) -> Result<(), LocalError> {
        self.nodes[node].clock.as_deref().map_or(Ok(()), |file| set_clock(file, off_ms))
    }

    pub(super) fn start_nodes(&mut self) -> Result<(), LocalError> {
        self.nodes.iter_mut().try_for_each(|node| node.start(&self.reaper))
    }

    async fn start_zookeepers(&mut self) -> Result<(), LocalError> {
        for server in self.zookeepers.iter_mut().filter(|server| !server.runs()) {
            server.launch(Some(&self.reaper))?;
        }
        for server in &mut self.zookeepers {
            server.wait_until_serving().await?;
        }
        Ok(())
    }
}

/// How often faults are maintained and processes are checked.
pub(super) const UPKEEP_INTERVAL: Duration = Duration::from_millis(100);
