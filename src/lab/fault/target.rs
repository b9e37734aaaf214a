//! What a fault is made on: a cluster with the means to break it.

use super::error::FaultError;
use super::hold::Hold;
use super::link_fault::LinkFault;

/// A cluster that can be broken. Nodes and ZooKeeper servers are counted from 0. A fault that a target has no means for is
/// refused with [`FaultError::Impossible`] before anything is changed.
pub(crate) trait Target {
    /// Kills these nodes with SIGKILL. They stay down until [`Self::start`].
    async fn kill(&mut self, nodes: &[usize]) -> Result<(), FaultError>;

    /// Starts those of these nodes that do not run.
    async fn start(&mut self, nodes: &[usize]) -> Result<(), FaultError>;

    /// Stops these nodes as SIGSTOP does.
    async fn pause(&mut self, nodes: &[usize]) -> Result<(), FaultError>;

    /// Lets them go on.
    async fn resume(&mut self, nodes: &[usize]) -> Result<(), FaultError>;

    /// Changes the state of some links. After an error some may have changed.
    async fn begin_links(&mut self, fault: &LinkFault) -> Result<(), FaultError>;

    /// Makes them healthy again.
    async fn end_links(&mut self, fault: &LinkFault) -> Result<(), FaultError>;

    /// Fills a node's disk.
    async fn fill_disk(&mut self, node: usize) -> Result<Hold, FaultError>;

    /// Tampers with system calls of a node, as `strace` describes it, such as `error=EIO`.
    async fn tamper(&mut self, node: usize, calls: &str, how: &str) -> Result<Hold, FaultError>;

    /// Ends what was held.
    async fn release(&mut self, hold: Hold) -> Result<(), FaultError>;

    /// Kills a node whose syncs are held back, so that none of them is made.
    async fn kill_held(&mut self, node: usize, hold: Hold) -> Result<(), FaultError>;

    /// Whether a node may still end that a fault should end. A target that starts ended nodes by itself says no.
    fn may_still_end(&self, node: usize) -> bool;

    /// Takes the power of these nodes' disks and kills their processes.
    async fn lose_power(&mut self, nodes: &[usize]) -> Result<(), FaultError>;

    /// Sets a node's wall clock off by milliseconds.
    async fn set_clock(&mut self, node: usize, off_ms: i64) -> Result<(), FaultError>;

    /// Kills these ZooKeeper servers with SIGKILL.
    async fn kill_zookeepers(&mut self, servers: &[usize]) -> Result<(), FaultError>;

    /// Kills all ZooKeeper servers and deletes their data.
    async fn wipe_zookeepers(&mut self) -> Result<(), FaultError>;

    /// Starts the ZooKeeper servers that do not run, and waits until all serve.
    async fn start_zookeepers(&mut self) -> Result<(), FaultError>;

    /// Kills a node and deletes its files.
    async fn wipe_disk(&mut self, node: usize) -> Result<(), FaultError>;

    /// Stops a node in order, flips a bit of its ledger, and starts it.
    async fn flip_bit(&mut self, node: usize, seed: u64) -> Result<Hold, FaultError>;
}
