//! The kinds of faults, by name.

use std::fmt;

use serde::Serialize;

/// A kind of fault. Its name is what `--faults` takes and what the report shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The leader's process is killed with SIGKILL and started again.
    KillLeader,
    /// The same with a follower.
    KillFollower,
    /// The leader's process is stopped with SIGSTOP and continued later.
    PauseLeader,
    /// The same with a follower.
    PauseFollower,
    /// All nodes are killed at once and started again.
    RestartAll,
    /// The leader is cut off from all other nodes, sometimes from ZooKeeper too.
    PartitionLeader,
    /// A random minority of the nodes is cut off from the rest.
    PartitionMinority,
    /// One node receives and cannot send, or the other way round.
    PartitionOneWay,
    /// One direction between two nodes fails, or of all connections to the leader or from it: for packets or for connections.
    PartitionLink,
    /// One node is cut off from ZooKeeper alone.
    PartitionZookeeper,
    /// Everything between the nodes is delayed.
    Delay,
    /// Packets between the nodes are lost.
    Loss,
    /// A node's disk is full.
    DiskFull,
    /// A node's fsync calls fail: one of them, or all.
    FsyncError,
    /// A node is killed when it has written and is about to sync.
    KillAtSync,
    /// The disks of one node, of more or of all lose their power together with the processes: nothing unsynced is left.
    PowerLoss,
    /// A node's wall clock jumps.
    ClockStep,
    /// A node's wall clock runs too fast or too slow.
    ClockDrift,
    /// One ZooKeeper server is killed and started again.
    ZookeeperServer,
    /// All ZooKeeper servers are killed and started again.
    ZookeeperAll,
    /// All ZooKeeper servers are killed and restarted without their data.
    ZookeeperWiped,
    /// A node is cut off from ZooKeeper until its session has expired.
    SessionExpiry,
    /// A node is killed and restarted without its files.
    DiskWiped,
    /// A bit flips in the ledger of a stopped node.
    BitFlip,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [Self; 24] = [
        Self::KillLeader,
        Self::KillFollower,
        Self::PauseLeader,
        Self::PauseFollower,
        Self::RestartAll,
        Self::PartitionLeader,
        Self::PartitionMinority,
        Self::PartitionOneWay,
        Self::PartitionLink,
        Self::PartitionZookeeper,
        Self::Delay,
        Self::Loss,
        Self::DiskFull,
        Self::FsyncError,
        Self::KillAtSync,
        Self::PowerLoss,
        Self::ClockStep,
        Self::ClockDrift,
        Self::ZookeeperServer,
        Self::ZookeeperAll,
        Self::ZookeeperWiped,
        Self::SessionExpiry,
        Self::DiskWiped,
        Self::BitFlip,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::KillFollower => "kill-follower",
            Self::PauseLeader => "pause-leader",
            Self::PauseFollower => "pause-follower",
            Self::RestartAll => "restart-all",
            Self::PartitionLeader => "partition-leader",
            Self::PartitionMinority => "partition-minority",
            Self::PartitionOneWay => "partition-one-way",
            Self::PartitionLink => "partition-link",
            Self::PartitionZookeeper => "partition-zookeeper",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::DiskFull => "disk-full",
            Self::FsyncError => "fsync-error",
            Self::KillAtSync => "kill-at-sync",
            Self::PowerLoss => "power-loss",
            Self::ClockStep => "clock-step",
            Self::ClockDrift => "clock-drift",
            Self::ZookeeperServer => "zookeeper-server",
            Self::ZookeeperAll => "zookeeper-all",
            Self::ZookeeperWiped => "zookeeper-wiped",
            Self::SessionExpiry => "session-expiry",
            Self::DiskWiped => "disk-wiped",
            Self::BitFlip => "bit-flip",
        }
    }

    /// The kinds that a word names: one by its name, or a family by the first word of its names (`kill`, `partition`).
    ///
    /// # Errors
    /// A line that lists all names.
    pub fn parse(word: &str) -> Result<Vec<Self>, String> {
        let family = format!("{word}-");
        let matches = |kind: &Self| kind.name() == word || kind.name().starts_with(&family);
        let found: Vec<Self> = Self::ALL.into_iter().filter(matches).collect();
        if found.is_empty() {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            return Err(format!("there is no fault {word}; there are {}", names.join(", ")));
        }
        Ok(found)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_named_by_its_name_or_its_family() {
        assert_eq!(FaultKind::parse("loss"), Ok(vec![FaultKind::Loss]));
        assert_eq!(
            FaultKind::parse("kill"),
            Ok(vec![FaultKind::KillLeader, FaultKind::KillFollower, FaultKind::KillAtSync])
        );
        assert!(FaultKind::parse("kil").is_err_and(|error| error.contains("kill-leader")));
        for kind in FaultKind::ALL {
            assert_eq!(FaultKind::parse(kind.name()), Ok(vec![kind]));
            assert_eq!(serde_json::to_value(kind).expect("a name"), kind.name());
        }
    }
}
