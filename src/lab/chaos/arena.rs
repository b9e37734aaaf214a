//! The cluster that faults are made in: its processes, its network, and how it is.
//!
//! It starts, ends and asks; it does not decide what is done to whom.

mod node;
mod whole;

use std::path::Path;
use std::time::Duration;

use super::error::ChaosError;
use super::network::{Addresses, Network, NetworkKind, Place};
use super::tools::{Clocks, Disks, Tools};
use crate::local::{Ensemble, LocalError, Member, NodeFile, Reaper, ZooKeeperServer};

pub(super) use node::Node;
pub(super) use whole::{Allowed, PATIENCE};

/// The session that nodes ask ZooKeeper for: short, so that an expiry fits into a short run.
pub(super) const SESSION: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Debug)]
pub(super) struct Arena {
    pub(super) nodes: Vec<Node>,
    pub(super) zookeepers: Vec<ZooKeeperServer>,
    pub(super) network: Network,
    pub(super) reaper: Reaper,
    http: reqwest::Client,
}

impl Arena {
    /// Starts ZooKeeper and the nodes, and waits until the cluster is whole.
    pub(super) async fn start(
        kind: NetworkKind,
        nodes: usize,
        zookeepers: usize,
        tools: &Tools,
    ) -> Result<Self, ChaosError> {
        let reaper = Reaper::with_folder("quorapay-chaos")?;
        let (network, addresses) = Network::open(kind, nodes, zookeepers).await?;
        let secret = uuid::Uuid::new_v4().to_string();
        let places = Places { network: &network, addresses: &addresses, folder: reaper.folder(), secret: &secret };
        let placed = (0..nodes).map(|number| places.node(number, &tools.clocks)).collect::<Result<Vec<_>, _>>()?;
        let servers = places.zookeepers()?;
        // A node that does not answer at once is not well.
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build();
        let http = http.map_err(|error| ChaosError::Impossible(format!("no HTTP client: {error}")))?;
        let mut arena = Self { nodes: placed, zookeepers: servers, network, reaper, http };
        arena.launch(&tools.disks).await?;
        Ok(arena)
    }

    async fn launch(&mut self, disks: &Disks) -> Result<(), ChaosError> {
        for server in &mut self.zookeepers {
            server.launch(Some(&self.reaper))?;
        }
        for server in &mut self.zookeepers {
            server.wait_until_serving().await?;
        }
        for node in &mut self.nodes {
            disks.give(&node.id, &node.data_dir, self.reaper.folder()).await?;
            node.start(&self.reaper)?;
        }
        let mut surprises = Vec::new();
        let whole = self.wait_until_whole(PATIENCE, Allowed::default(), &mut surprises).await;
        match (whole, surprises.first()) {
            (Ok(()), None) => Ok(()),
            (Ok(()), Some(surprise)) => Err(ChaosError::Impossible(format!("the cluster did not come up: {surprise}"))),
            (Err(missing), _) => Err(ChaosError::Impossible(format!("the cluster did not come up: {missing}"))),
        }
    }

    /// Ends every process in order: the nodes first, so that they leave ZooKeeper and close their ledgers.
    pub(super) async fn stop(&mut self) {
        futures_util::future::join_all(self.nodes.iter_mut().map(Node::stop)).await;
        futures_util::future::join_all(self.zookeepers.iter_mut().map(ZooKeeperServer::kill)).await;
    }
}

/// Where everything goes.
struct Places<'a> {
    network: &'a Network,
    addresses: &'a Addresses,
    folder: &'a Path,
    secret: &'a str,
}

impl Places<'_> {
    fn node(&self, number: usize, clocks: &Clocks) -> Result<Node, LocalError> {
        let id = node_id(number);
        let (clients, peers) = (self.addresses.clients[number], self.addresses.peers[number]);
        let mut node = Node::new(id.clone(), self.folder, format!("http://{clients}"), clocks);
        node.wrapper = self.network.wrapper(Place::Node(number));
        let reached = self.network.peers_of(number, self.addresses);
        let file = NodeFile {
            node_id: id,
            cluster_id: "chaos".to_owned(),
            listen: clients.to_string(),
            client_url: node.url.clone(),
            peer_listen: peers.to_string(),
            zookeeper: self.network.zookeeper_of(number, self.addresses),
            zookeeper_session_timeout_ms: u64::try_from(SESSION.as_millis()).ok(),
            cluster_secret: Some(self.secret.to_owned()),
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
            let wrapper = self.network.wrapper(Place::ZooKeeper(number));
            ZooKeeperServer::of_ensemble(self.folder, &ensemble, number + 1, wrapper)
        };
        (0..ensemble.0.len()).map(server).collect()
    }
}

fn node_id(number: usize) -> String {
    format!("node{}", number + 1)
}
