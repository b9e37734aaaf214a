//! Faults made real: each is injected into the arena, kept up while it lasts, and healed.
//!
//! Healing takes the cause away; whether the cluster is whole again is asked afterwards.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::arena::{Allowed, Arena};
use super::bit_flip;
use super::error::ChaosError;
use super::nemesis::Aim;
use super::tools::{Injection, set_clock};
use crate::local::{LocalError, Signal, run};

/// A fault that lasts.
#[derive(Debug)]
pub(super) struct Fault {
    aim: Aim,
    began: Instant,
    means: Means,
}

/// What a fault holds on to while it lasts.
#[derive(Debug)]
enum Means {
    Nothing,
    /// The file that fills a disk.
    Ballast(PathBuf),
    /// System calls that fail.
    Injection(Injection),
    /// Ledgers that the node had put aside before this one was damaged.
    PutAside(usize),
}

impl Fault {
    /// Makes the fault.
    pub(super) async fn inject(aim: Aim, arena: &mut Arena, own_disks: bool) -> Result<Self, ChaosError> {
        let mut means = Means::Nothing;
        match &aim {
            Aim::Kill(nodes) => {
                for &node in nodes {
                    arena.nodes[node].kill().await;
                }
            }
            Aim::Pause(nodes) => nodes.iter().for_each(|node| arena.nodes[*node].signal(Signal::SIGSTOP)),
            Aim::Links(storm) => {
                if let Err(error) = arena.network.begin(storm).await {
                    // Half a storm is none: what could be changed is changed back.
                    let _ = arena.network.end(storm).await;
                    return Err(error.into());
                }
            }
            Aim::FillDisk(node) if own_disks => {
                means = Means::Ballast(fill(&arena.nodes[*node].data_dir).await?);
            }
            Aim::FillDisk(node) => means = fail_calls(arena, *node, "pwrite64", "ENOSPC").await?,
            Aim::FailSync(node) => means = fail_calls(arena, *node, "fsync,fdatasync", "EIO").await?,
            Aim::StepClock(node, seconds) => arena.set_clock(*node, seconds * 1_000)?,
            Aim::DriftClock(..) => {}
            Aim::KillZooKeeper(servers) => {
                for &server in servers {
                    arena.zookeepers[server].kill().await;
                }
            }
            Aim::WipeZooKeeper => {
                for server in &mut arena.zookeepers {
                    server.kill().await;
                    server.wipe()?;
                }
            }
            Aim::WipeDisk(node) => {
                arena.nodes[*node].kill().await;
                arena.nodes[*node].wipe()?;
            }
            Aim::FlipBit(node, luck) => means = flip(arena, *node, *luck).await?,
        }
        Ok(Self { aim, began: Instant::now(), means })
    }

    /// Keeps it up. Called every few moments while it lasts.
    pub(super) fn keep_up(&self, arena: &Arena) -> Result<(), ChaosError> {
        if let Aim::DriftClock(node, ms_per_second) = &self.aim {
            let lasted_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
            arena.set_clock(*node, lasted_ms.saturating_mul(*ms_per_second) / 1_000)?;
        }
        Ok(())
    }

    /// Whether it is there to end a node that has not ended yet.
    pub(super) fn is_to_end_a_node(&self, arena: &Arena) -> bool {
        match self.aim {
            Aim::FillDisk(node) | Aim::FailSync(node) => arena.nodes[node].pid().is_some(),
            _ => false,
        }
    }

    /// Takes the cause away. Nodes that do not run are started once all causes are gone.
    pub(super) async fn heal(self, arena: &mut Arena) -> Result<(), ChaosError> {
        match &self.aim {
            Aim::Pause(nodes) => nodes.iter().for_each(|node| arena.nodes[*node].signal(Signal::SIGCONT)),
            Aim::Links(storm) => arena.network.end(storm).await?,
            Aim::StepClock(node, _) | Aim::DriftClock(node, _) => arena.set_clock(*node, 0)?,
            Aim::KillZooKeeper(_) | Aim::WipeZooKeeper => arena.start_zookeepers().await?,
            Aim::FillDisk(_) | Aim::FailSync(_) | Aim::Kill(_) | Aim::WipeDisk(_) | Aim::FlipBit(..) => {}
        }
        match self.means {
            Means::Ballast(file) => match std::fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(LocalError::io("emptying a disk")(error))?,
                Ok(()) | Err(_) => {}
            },
            Means::Injection(injection) => drop(injection),
            Means::Nothing | Means::PutAside(_) => {}
        }
        Ok(())
    }

    /// What is to be looked at once the cluster is whole again: which node's ledger was damaged, and how many damaged ones
    /// it had put aside before.
    pub(super) fn damaged(&self) -> Option<(usize, usize)> {
        match (&self.aim, &self.means) {
            (Aim::FlipBit(node, _), Means::PutAside(before)) => Some((*node, *before)),
            _ => None,
        }
    }

    /// What the nodes may do meanwhile.
    pub(super) fn allows(&self) -> Allowed {
        Allowed { end: self.aim.may_end_a_node(), damage: matches!(self.aim, Aim::FlipBit(..)) }
    }
}

async fn fail_calls(arena: &Arena, node: usize, calls: &str, error: &str) -> Result<Means, ChaosError> {
    let pid = arena.nodes[node].pid().ok_or_else(|| ChaosError::Impossible("the node does not run".to_owned()))?;
    Ok(Means::Injection(Injection::begin(pid, calls, error).await?))
}

async fn flip(arena: &mut Arena, node: usize, luck: u64) -> Result<Means, ChaosError> {
    let node = &mut arena.nodes[node];
    // An orderly end brings everything from the WAL into the file in which the bit flips.
    node.stop().await;
    let before = bit_flip::put_aside(&node.data_dir);
    let flipped = bit_flip::flip(&node.data_dir, luck).await;
    node.start(&arena.reaper)?;
    Ok(if flipped.map_err(ChaosError::Local)? { Means::PutAside(before) } else { Means::Nothing })
}

/// Takes what is free on the disk under a folder.
async fn fill(folder: &Path) -> Result<PathBuf, LocalError> {
    let ballast = folder.join("ballast");
    let mut wanted = free_bytes(folder).await?;
    // The file system needs some of it to describe the file, so what is left is taken in ever smaller pieces.
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

impl Arena {
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

/// How often what lasts is kept up, and processes are looked at.
pub(super) const KEEP_UP: Duration = Duration::from_millis(100);
