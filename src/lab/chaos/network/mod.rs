//! The network between the nodes and to ZooKeeper, whose links can fail.
//!
//! On loopback every link goes through a TCP proxy in this program ([`loopback`]); with network namespaces every process
//! has its own address and the kernel drops packets ([`namespaces`]).

mod addresses;
mod link;
mod loopback;
mod namespaces;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::endpoint::Endpoint;
use super::link_fault::{LinkFault, LinkState};
use super::network_kind::NetworkKind;
use crate::local::{LocalError, Ports};

pub(super) use addresses::Addresses;
use loopback::Loopback;
use namespaces::Namespaces;

/// The network of a cluster.
#[derive(Debug)]
pub(super) enum Network {
    Loopback(Loopback),
    Namespaces(Namespaces),
}

impl Network {
    /// Sets up the network for this many nodes and ZooKeeper servers.
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

    /// The addresses under which a node reaches each node, itself included.
    pub(super) fn peers_of(&self, node: usize, addresses: &Addresses) -> BTreeMap<usize, SocketAddr> {
        let others = addresses.peers.iter().copied().enumerate();
        match self {
            Self::Loopback(network) => {
                let proxied = |(other, direct): (usize, SocketAddr)| {
                    (other, network.proxy(Endpoint::Node(node), Endpoint::Node(other)).unwrap_or(direct))
                };
                others.map(proxied).collect()
            }
            Self::Namespaces(_) => others.collect(),
        }
    }

    /// The addresses under which a node reaches ZooKeeper.
    pub(super) fn zookeeper_of(&self, node: usize, addresses: &Addresses) -> String {
        let servers = addresses.zookeepers.iter().enumerate().map(|(server, (address, [clients, ..]))| {
            let direct = SocketAddr::new(*address, *clients);
            match self {
                Self::Loopback(network) => {
                    network.proxy(Endpoint::Node(node), Endpoint::ZooKeeper(server)).unwrap_or(direct)
                }
                Self::Namespaces(_) => direct,
            }
        });
        servers.map(|server| server.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Prefix of the command line that runs a program at an endpoint.
    pub(super) fn command_prefix(&self, endpoint: Endpoint) -> Vec<String> {
        match self {
            Self::Loopback(_) => Vec::new(),
            Self::Namespaces(_) => namespaces::command_prefix(endpoint),
        }
    }

    /// Injects a fault.
    pub(super) async fn begin(&self, fault: &LinkFault) -> Result<(), LocalError> {
        match self {
            Self::Loopback(network) => network.set(&fault.links, fault.state),
            Self::Namespaces(network) => network.begin(&fault.links, fault.state).await?,
        }
        Ok(())
    }

    /// Heals it.
    pub(super) async fn end(&self, fault: &LinkFault) -> Result<(), LocalError> {
        match self {
            Self::Loopback(network) => network.set(&fault.links, LinkState::Healthy),
            Self::Namespaces(network) => network.end(&fault.links, fault.state).await?,
        }
        Ok(())
    }
}
