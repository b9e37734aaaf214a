//! A cluster whose nodes and ZooKeeper servers are processes of this program, as a target of faults.

use std::io::ErrorKind;

use futures_util::future::join_all;

use super::ballast;
use super::bit_flip;
use super::clocks::set_clock;
use super::disks::{lose_power, mount_again};
use super::error::FaultError;
use super::hold::Hold;
use super::injection::Injection;
use super::link_fault::LinkFault;
use super::network::Network;
use super::node::Node;
use super::target::Target;
use crate::local::{LocalError, Reaper, Signal, ZooKeeperServer};

/// The processes of a cluster and the network between them.
#[derive(Debug)]
pub(crate) struct Processes {
    pub(crate) nodes: Vec<Node>,
    /// Empty if somebody else runs ZooKeeper.
    pub(crate) zookeepers: Vec<ZooKeeperServer>,
    pub(crate) network: Network,
    /// Ends the processes should this program die without a word.
    pub(crate) reaper: Option<Reaper>,
    /// Whether every node has a disk of its own, which may be filled.
    pub(crate) own_disks: bool,
}

impl Processes {
    /// Starts the nodes that do not run.
    pub(crate) fn start_nodes(&mut self) -> Result<(), LocalError> {
        self.nodes.iter_mut().try_for_each(|node| node.start(self.reaper.as_ref()))
    }

    /// Stops every process, the nodes first so that they close their ZooKeeper sessions and ledgers.
    pub(crate) async fn stop(&mut self) {
        join_all(self.nodes.iter_mut().map(Node::stop)).await;
        join_all(self.zookeepers.iter_mut().map(ZooKeeperServer::terminate)).await;
    }

    fn require_running(&self, nodes: &[usize]) -> Result<(), FaultError> {
        match nodes.iter().map(|node| &self.nodes[*node]).find(|node| node.pid().is_none()) {
            Some(node) => Err(FaultError::Impossible(format!("{} does not run; heal it first", node.id))),
            None => Ok(()),
        }
    }

    fn require_zookeepers(&self) -> Result<(), FaultError> {
        if self.zookeepers.is_empty() {
            return Err(FaultError::impossible(
                "this cluster uses a ZooKeeper of somebody else; leave --zookeeper out",
            ));
        }
        Ok(())
    }

    async fn inject(&self, node: usize, calls: &str, how: &str) -> Result<Injection, FaultError> {
        let node = &self.nodes[node];
        let pid = node.pid().ok_or_else(|| FaultError::Impossible(format!("{} does not run", node.id)))?;
        Ok(Injection::begin(pid, calls, how).await?)
    }
}

impl Target for Processes {
    async fn kill(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        for &node in nodes {
            self.nodes[node].kill().await;
        }
        Ok(())
    }

    async fn start(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        for &node in nodes {
            self.nodes[node].start(self.reaper.as_ref())?;
        }
        Ok(())
    }

    async fn pause(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        self.require_running(nodes)?;
        nodes.iter().for_each(|node| self.nodes[*node].signal(Signal::SIGSTOP));
        Ok(())
    }

    async fn resume(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        nodes.iter().for_each(|node| self.nodes[*node].signal(Signal::SIGCONT));
        Ok(())
    }

    async fn begin_links(&mut self, fault: &LinkFault) -> Result<(), FaultError> {
        self.network.begin(fault).await
    }

    async fn end_links(&mut self, fault: &LinkFault) -> Result<(), FaultError> {
        self.network.end(fault).await
    }

    async fn fill_disk(&mut self, node: usize) -> Result<Hold, FaultError> {
        if self.own_disks {
            return Ok(Hold::Ballast(ballast::fill(&self.nodes[node].data_dir).await?));
        }
        self.tamper(node, "pwrite64", "error=ENOSPC").await
    }

    async fn tamper(&mut self, node: usize, calls: &str, how: &str) -> Result<Hold, FaultError> {
        self.require_running(&[node])?;
        Ok(Hold::Injection(self.inject(node, calls, how).await?))
    }

    async fn release(&mut self, hold: Hold) -> Result<(), FaultError> {
        match hold {
            Hold::Ballast(file) => match std::fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    Err(LocalError::io("emptying a disk")(error).into())
                }
                Ok(()) | Err(_) => Ok(()),
            },
            Hold::Injection(injection) => {
                drop(injection);
                Ok(())
            }
            Hold::None | Hold::DamagedLedgers(_) | Hold::Container(_) => Ok(()),
        }
    }

    async fn kill_held(&mut self, node: usize, hold: Hold) -> Result<(), FaultError> {
        // The signal comes first, so that the sync is not made; a process that strace holds back ends with strace.
        self.nodes[node].signal(Signal::SIGKILL);
        drop(hold);
        self.nodes[node].kill().await;
        Ok(())
    }

    fn may_still_end(&self, node: usize) -> bool {
        self.nodes[node].pid().is_some()
    }

    /// Freezes the processes, stops their disks, all at once, and kills them. A process that still ran could read what no
    /// machine reads after a power loss: errors of its own disk.
    async fn lose_power(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        nodes.iter().for_each(|node| self.nodes[*node].signal(Signal::SIGSTOP));
        let stopped = join_all(nodes.iter().map(|node| lose_power(&self.nodes[*node].data_dir))).await;
        self.kill(nodes).await?;
        for &node in nodes {
            let node = &self.nodes[node];
            mount_again(&node.id, &node.data_dir).await?;
        }
        Ok(stopped.into_iter().collect::<Result<(), LocalError>>()?)
    }

    async fn set_clock(&mut self, node: usize, off_ms: i64) -> Result<(), FaultError> {
        let no_clock =
            "the clocks of running processes can be set only if they were started for it: quorapay dev --clocks";
        let file = self.nodes[node].clock.as_deref().ok_or_else(|| FaultError::impossible(no_clock))?;
        Ok(set_clock(file, off_ms)?)
    }

    async fn kill_zookeepers(&mut self, servers: &[usize]) -> Result<(), FaultError> {
        self.require_zookeepers()?;
        for &server in servers {
            self.zookeepers[server].kill().await;
        }
        Ok(())
    }

    async fn wipe_zookeepers(&mut self) -> Result<(), FaultError> {
        self.require_zookeepers()?;
        for server in &mut self.zookeepers {
            server.kill().await;
            server.wipe()?;
        }
        Ok(())
    }

    async fn start_zookeepers(&mut self) -> Result<(), FaultError> {
        for server in self.zookeepers.iter_mut().filter(|server| !server.runs()) {
            server.launch(self.reaper.as_ref())?;
        }
        for server in &mut self.zookeepers {
            server.wait_until_serving().await?;
        }
        Ok(())
    }

    async fn wipe_disk(&mut self, node: usize) -> Result<(), FaultError> {
        self.nodes[node].kill().await;
        Ok(self.nodes[node].wipe()?)
    }

    async fn flip_bit(&mut self, node: usize, seed: u64) -> Result<Hold, FaultError> {
        let node = &mut self.nodes[node];
        // An orderly stop moves everything from the WAL into the file whose bit is flipped.
        node.stop().await;
        let before = bit_flip::count_damaged_ledgers(&node.data_dir);
        let flipped = bit_flip::flip(&node.data_dir, seed).await;
        node.start(self.reaper.as_ref())?;
        Ok(if flipped? { Hold::DamagedLedgers(before) } else { Hold::None })
    }
}
