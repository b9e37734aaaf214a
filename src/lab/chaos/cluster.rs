//! The cluster under test: its processes and its network.
//!
//! It starts, stops and observes; it does not decide which faults are injected.

mod observer;
mod recovery;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::clients::Target as ClientTarget;
use super::error::ChaosError;
use super::subject::Subject;
use super::tools::Tools;
use crate::fault::{
    Addresses, Clocks, Disks, Endpoint, Network, NetworkKind, Node, Processes, Target, Tolerated, count_damaged_ledgers,
};
use crate::local::{Ensemble, LocalError, Member, NodeFile, Reaper, ZooKeeperServer};

pub(super) use observer::Observer;
pub(super) use recovery::{POLL_INTERVAL, RECOVERY_TIMEOUT};

/// Timeout of the nodes' ZooKeeper sessions: short, so that an expiry fits into a short run.
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);

/// The processes and the network between them, and a client that observes them.
#[derive(Debug)]
pub(super) struct TestCluster {
    processes: Processes,
    observer: Observer,
}

impl TestCluster {
    /// Starts ZooKeeper and the nodes, and waits until every node is ready and caught up.
    pub(super) async fn start(
        kind: NetworkKind,
        nodes: usize,
        zookeepers: usize,
        tools: &Tools,
    ) -> Result<Self, ChaosError> {
        let reaper = Reaper::with_folder("quorapay-chaos")?;
        let (network, addresses) = Network::open(kind, nodes, zookeepers).await?;
        let secret = uuid::Uuid::new_v4().to_string();
        let setup = Setup { network: &network, addresses: &addresses, folder: reaper.folder(), secret: &secret };
        let configured = (0..nodes).map(|number| setup.node(number, &tools.clocks)).collect::<Result<Vec<_>, _>>()?;
        let servers = setup.zookeepers()?;
        let target = |node: &Node| ClientTarget { name: node.id.clone(), url: node.url.clone() };
        let observer = Observer::new(configured.iter().map(target).collect())?;
        let processes = Processes {
            nodes: configured,
            zookeepers: servers,
            network,
            reaper: Some(reaper),
            own_disks: tools.disks.available(),
        };
        let mut cluster = Self { processes, observer };
        cluster.launch(&tools.disks).await?;
        Ok(cluster)
    }

    async fn launch(&mut self, disks: &Disks) -> Result<(), ChaosError> {
        self.processes.start_zookeepers().await?;
        for (number, node) in self.processes.nodes.iter().enumerate() {
            disks.provide(number, &node.id, &node.data_dir).await?;
        }
        self.processes.start_nodes()?;
        let mut unexpected = Vec::new();
        let recovered = self.recover(Tolerated::default(), &mut unexpected).await;
        match (recovered, unexpected.first()) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(first)) => Err(ChaosError::Impossible(format!("the cluster did not come up: {first}"))),
            (Err(missing), _) => Err(ChaosError::Impossible(format!("the cluster did not come up: {missing}"))),
        }
    }
}

impl Subject for TestCluster {
    type Target = Processes;

    fn target(&mut self) -> &mut Processes {
        &mut self.processes
    }

    fn nodes(&self) -> Vec<ClientTarget> {
        self.observer.nodes().to_vec()
    }

    fn zookeepers(&self) -> usize {
        self.processes.zookeepers.len()
    }

    fn session_timeout(&self) -> Duration {
        SESSION_TIMEOUT
    }

    async fn leader(&self) -> Option<usize> {
        self.observer.leader().await
    }

    fn take_ended(&mut self, tolerated: Tolerated) -> Result<Vec<String>, ChaosError> {
        let mut told = Vec::new();
        for node in &mut self.processes.nodes {
            let Some(status) = node.take_exit() else { continue };
            if !tolerated.exit {
                told.push(format!("{} ended by itself ({status}): {}", node.id, node.last_log_line()));
                node.start(self.processes.reaper.as_ref())?;
            }
        }
        Ok(told)
    }

    async fn start_nodes(&mut self) -> Result<(), ChaosError> {
        Ok(self.processes.start_nodes()?)
    }

    async fn wait_until_recovered(&mut self, tolerated: Tolerated, unexpected: &mut Vec<String>) -> Result<(), String> {
        self.recover(tolerated, unexpected).await
    }

    fn damaged_ledgers(&self, node: usize) -> usize {
        count_damaged_ledgers(&self.processes.nodes[node].data_dir)
    }

    async fn end(&mut self, report: &Path) -> Result<Vec<PathBuf>, ChaosError> {
        self.processes.stop().await;
        let copy = || {
            let logs = report.join("logs");
            std::fs::create_dir_all(&logs)?;
            let nodes = self.processes.nodes.iter().map(|node| node.log.as_path());
            for log in nodes.chain(self.processes.zookeepers.iter().map(ZooKeeperServer::log)) {
                std::fs::copy(log, logs.join(log.file_name().unwrap_or_default()))?;
            }
            Ok(())
        };
        copy().map_err(LocalError::io("keeping the logs"))?;
        Ok(self.processes.nodes.iter().map(|node| node.data_dir.clone()).collect())
    }

    /// Copies the ledgers into the report's folder. Otherwise they are deleted with the run.
    fn keep_evidence(&self, report: &Path) -> Result<(), ChaosError> {
        let copy = || {
            for node in &self.processes.nodes {
                let kept = report.join("evidence").join(&node.id);
                std::fs::create_dir_all(&kept)?;
                for entry in std::fs::read_dir(&node.data_dir)? {
                    let entry = entry?;
                    if entry.file_type()?.is_file() {
                        std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
                    }
                }
            }
            Ok(())
        };
        Ok(copy().map_err(LocalError::io("keeping the ledgers as evidence"))?)
    }
}

/// Everything that the configurations of the processes depend on.
struct Setup<'a> {
    network: &'a Network,
    addresses: &'a Addresses,
    folder: &'a Path,
    secret: &'a str,
}

impl Setup<'_> {
    fn node(&self, number: usize, clocks: &Clocks) -> Result<Node, LocalError> {
        let id = node_id(number);
        let (clients, peers) = (self.addresses.clients[number], self.addresses.peers[number]);
        let mut node = Node::new(id.clone(), self.folder, format!("http://{clients}"), clocks);
        node.command_prefix = self.network.command_prefix(Endpoint::Node(number));
        let reached = self.network.peers_of(number, self.addresses);
        let file = NodeFile {
            node_id: id,
            cluster_id: "chaos".to_owned(),
            listen: clients.to_string(),
            client_url: node.url.clone(),
            peer_listen: peers.to_string(),
            zookeeper: self.network.zookeeper_of(number, self.addresses),
            zookeeper_session_timeout_ms: u64::try_from(SESSION_TIMEOUT.as_millis()).ok(),
            cluster_secret: Some(self.secret.to_owned()),
            chaos_mode: None,
            // On this machine alone, though perhaps in network namespaces instead of on loopback.
            callers: "open",
            data_dir: node.data_dir.display().to_string(),
            peers: reached.into_iter().map(|(other, at)| (node_id(other), format!("http://{at}"))).collect(),
        };
        file.write(&node.config)?;
        Ok(node)
    }

    fn zookeepers(&self) -> Result<Vec<ZooKeeperServer>, LocalError> {
        let member = |(address, [client_port, peer_port, election_port]): &(_, [u16; 3])| Member {
            address: *address,
            client_port: *client_port,
            peer_port: *peer_port,
            election_port: *election_port,
        };
        let ensemble = Ensemble(self.addresses.zookeepers.iter().map(member).collect());
        let server = |number: usize| {
            let command_prefix = self.network.command_prefix(Endpoint::ZooKeeper(number));
            ZooKeeperServer::of_ensemble(self.folder, &ensemble, number + 1, command_prefix)
        };
        (0..ensemble.0.len()).map(server).collect()
    }
}

pub(super) fn node_id(number: usize) -> String {
    format!("node{}", number + 1)
}
