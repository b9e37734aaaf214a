//! Makes actions on a target, maintains them while they last, and heals them.
//!
//! Healing removes the cause. Whether the cluster has recovered is not known here.

use std::time::{Duration, Instant};

use super::action::{FailedSyncs, FaultAction, SyncToDieAt};
use super::error::FaultError;
use super::hold::Hold;
use super::target::Target;

/// How often faults are maintained.
pub(crate) const UPKEEP_INTERVAL: Duration = Duration::from_millis(100);

/// How long a sync is held back at most: longer than any fault lasts.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// The calls with which a node makes its writes durable.
const SYNCS: &str = "fsync,fdatasync";

/// What a node may do because of the current faults without it being a finding.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tolerated {
    /// Its process may exit.
    pub(crate) exit: bool,
    /// Its ledger may be found damaged.
    pub(crate) damage: bool,
}

/// A fault that has been made.
#[derive(Debug)]
pub(crate) struct ActiveFault {
    action: FaultAction,
    began: Instant,
    hold: Hold,
}

impl ActiveFault {
    /// Makes an action happen.
    pub(crate) async fn inject(action: FaultAction, target: &mut impl Target) -> Result<Self, FaultError> {
        let mut hold = Hold::None;
        match &action {
            FaultAction::Kill(nodes) => target.kill(nodes).await?,
            FaultAction::Pause(nodes) => target.pause(nodes).await?,
            FaultAction::Links(fault) => {
                if let Err(error) = target.begin_links(fault).await {
                    // Part of the links may have changed: they are reset.
                    let _ = target.end_links(fault).await;
                    return Err(error);
                }
            }
            FaultAction::FillDisk(node) => hold = target.fill_disk(*node).await?,
            FaultAction::SlowSync(node, by) => {
                hold = target.tamper(*node, SYNCS, &format!("delay_enter={}", by.as_micros())).await?;
            }
            FaultAction::FailSync(node, which) => {
                let which = match which {
                    FailedSyncs::All => String::new(),
                    FailedSyncs::One(at) => format!(":when={at}"),
                };
                hold = target.tamper(*node, SYNCS, &format!("error=EIO{which}")).await?;
            }
            FaultAction::KillAtSync(node, at) => {
                let how = match at {
                    SyncToDieAt::Next(at) => format!("signal=KILL:when={at}"),
                    SyncToDieAt::Held => format!("delay_enter={}", LONGEST_HOLD.as_micros()),
                };
                hold = target.tamper(*node, SYNCS, &how).await?;
            }
            FaultAction::PowerLoss(nodes) => target.lose_power(nodes).await?,
            FaultAction::StepClock(node, seconds) => target.set_clock(*node, seconds.saturating_mul(1_000)).await?,
            FaultAction::DriftClock(node, _) => target.set_clock(*node, 0).await?,
            FaultAction::KillZooKeeper(servers) => target.kill_zookeepers(servers).await?,
            FaultAction::WipeZooKeeper => target.wipe_zookeepers().await?,
            FaultAction::WipeDisk(node) => target.wipe_disk(*node).await?,
            FaultAction::FlipBit(node, seed) => hold = target.flip_bit(*node, *seed).await?,
        }
        Ok(Self { action, began: Instant::now(), hold })
    }

    /// What it does.
    pub(crate) fn action(&self) -> &FaultAction {
        &self.action
    }

    /// Updates what changes with time. Called every [`UPKEEP_INTERVAL`] while the fault lasts.
    pub(crate) async fn maintain(&self, target: &mut impl Target) -> Result<(), FaultError> {
        if let FaultAction::DriftClock(node, ms_per_second) = &self.action {
            let lasted_ms = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
            target.set_clock(*node, lasted_ms.saturating_mul(*ms_per_second) / 1_000).await?;
        }
        Ok(())
    }

    /// Whether it should make a node exit that still runs.
    pub(crate) fn waits_for_node_to_end(&self, target: &impl Target) -> bool {
        let ends = self.action.ends_node().filter(|_| !self.kills_in_the_end());
        ends.is_some_and(|node| target.may_still_end(node))
    }

    fn kills_in_the_end(&self) -> bool {
        matches!(self.action, FaultAction::KillAtSync(_, SyncToDieAt::Held))
    }

    /// Removes the cause. Nodes that do not run are started once all causes are removed.
    pub(crate) async fn heal(self, target: &mut impl Target) -> Result<(), FaultError> {
        match &self.action {
            FaultAction::Pause(nodes) => target.resume(nodes).await?,
            FaultAction::Links(fault) => target.end_links(fault).await?,
            FaultAction::StepClock(node, _) | FaultAction::DriftClock(node, _) => target.set_clock(*node, 0).await?,
            FaultAction::KillAtSync(node, SyncToDieAt::Held) => return target.kill_held(*node, self.hold).await,
            FaultAction::KillZooKeeper(_) | FaultAction::WipeZooKeeper => target.start_zookeepers().await?,
            FaultAction::FillDisk(_)
            | FaultAction::SlowSync(..)
            | FaultAction::FailSync(..)
            | FaultAction::KillAtSync(_, SyncToDieAt::Next(_))
            | FaultAction::PowerLoss(_)
            | FaultAction::Kill(_)
            | FaultAction::WipeDisk(_)
            | FaultAction::FlipBit(..) => {}
        }
        target.release(self.hold).await
    }

    /// The node whose ledger was damaged, and how many damaged ledgers it had put aside before.
    pub(crate) fn damaged(&self) -> Option<(usize, usize)> {
        match (&self.action, &self.hold) {
            (FaultAction::FlipBit(node, _), Hold::DamagedLedgers(before)) => Some((*node, *before)),
            _ => None,
        }
    }

    /// What the nodes may do while it lasts.
    pub(crate) fn tolerated(&self) -> Tolerated {
        Tolerated { exit: self.action.ends_node().is_some(), damage: matches!(self.action, FaultAction::FlipBit(..)) }
    }
}
