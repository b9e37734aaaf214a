//! The network between the nodes and to ZooKeeper, and what may happen on it.
//!
//! On loopback every link leads through a proxy of this program ([`loopback`]); with network namespaces every process has
//! an address of its own and the kernel drops packets ([`namespaces`]). The proxies carry bytes and know no protocol.

mod link;
mod loopback;
mod namespaces;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::nemesis::{Storm, Weather};
use crate::local::{LocalError, Ports};
use loopback::Loopback;
use namespaces::Namespaces;

/// Where a process stands, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Node(usize),
    ZooKeeper(usize),
}

/// How the processes are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// On loopback, through proxies of this program. Any user may do this.
    #[default]
    Loopback,
    /// In network namespaces, with packet filters. Takes root.
    Namespaces,
}

/// Where everything listens.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    /// Each node's port for clients.
    pub(super) clients: Vec<SocketAddr>,
    /// Each node's port for peers.
    pub(super) peers: Vec<SocketAddr>,
    /// Each ZooKeeper server's ports: for clients, for the other servers, and for their votes.
    pub(super) zookeepers: Vec<(IpAddr, [u16; 3])>,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Network {
    Loopback(Loopback),
    Namespaces(Namespaces),
}

impl Network {
    /// Makes the network for this many nodes and ZooKeeper servers.
    pub(super) async fn open(
        kind: NetworkKind,
        nodes: usize,
        zookeepers: usize,
    ) -> Result<(Self, Addresses), LocalError> {
        let mut ports = Ports::of_this_process();
        match kind {
            NetworkKind::Loopback => {
                let addresses = loopback::addresses(nodes, zookeepers, &mut ports)?;
                Ok((Self::Loopback(Loopback::open(&addresses, &mut ports).await?), addresses))
            }
            NetworkKind::Namespaces => {
                let addresses = namespaces::addresses(nodes, zookeepers);
                Ok((Self::Namespaces(Namespaces::open(&addresses).await?), addresses))
            }
        }
    }

    /// Where a node finds the others, by their numbers, itself included.
    pub(super) fn peers_of(&self, node: usize, addresses: &Addresses) -> BTreeMap<usize, SocketAddr> {
        let others = addresses.peers.iter().copied().enumerate();
        match self {
            Self::Loopback(network) => {
                let proxied = |(other, direct): (usize, SocketAddr)| {
                    (other, network.entrance(Place::Node(node), Place::Node(other)).unwrap_or(direct))
                };
                others.map(proxied).collect()
            }
            Self::Namespaces(_) => others.collect(),
        }
    }

    /// Where a node finds ZooKeeper.
    pub(super) fn zookeeper_of(&self, node: usize, addresses: &Addresses) -> String {
        let servers = addresses.zookeepers.iter().enumerate().map(|(server, (address, [clients, ..]))| {
            let direct = SocketAddr::new(*address, *clients);
            match self {
                Self::Loopback(network) => {
                    network.entrance(Place::Node(node), Place::ZooKeeper(server)).unwrap_or(direct)
                }
                Self::Namespaces(_) => direct,
            }
        });
        servers.map(|server| server.to_string()).collect::<Vec<_>>().join(",")
    }

    /// The beginning of the command line that runs something at a place.
    pub(super) fn wrapper(&self, place: Place) -> Vec<String> {
        match self {
            Self::Loopback(_) => Vec::new(),
            Self::Namespaces(_) => namespaces::wrapper(place),
        }
    }

    /// Lets a storm begin.
    pub(super) async fn begin(&self, storm: &Storm) -> Result<(), LocalError> {
        match self {
            Self::Loopback(network) => network.set(&storm.links, storm.weather),
            Self::Namespaces(network) => network.begin(&storm.links, storm.weather).await?,
        }
        Ok(())
    }

    /// Lets it end.
    pub(super) async fn end(&self, storm: &Storm) -> Result<(), LocalError> {
        match self {
            Self::Loopback(network) => network.set(&storm.links, Weather::Clear),
            Self::Namespaces(network) => network.end(&storm.links, storm.weather).await?,
        }
        Ok(())
    }
}
