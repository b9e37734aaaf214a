//! The network between the nodes and to ZooKeeper, whose links can fail.
//!
//! On loopback every link goes through a TCP proxy in this program ([`loopback`]); with network namespaces every process
//! has its own address and the kernel drops packets ([`namespaces`]).

mod addresses;
mod link;
mod loopback;
mod namespaces;
mod packet_filter;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::endpoint::Endpoint;
use super::error::FaultError;
use super::link_fault::{LinkFault, LinkState};
use super::network_kind::NetworkKind;
use crate::local::{LocalError, Ports};

pub(crate) use addresses::Addresses;
use loopback::Loopback;
use namespaces::Namespaces;
pub(crate) use packet_filter::packet_filter;

/// The network of a cluster.
#[derive(Debug)]
pub(crate) enum Network {
    /// Without anything between the processes: links cannot fail.
    Direct,
    Loopback(Loopback),
    Namespaces(Namespaces),
}

impl Network {
    /// Sets up the network for this many nodes and ZooKeeper servers.
    pub(crate) async fn open(
        kind: NetworkKind,
        nodes: usize,
        zookeepers: usize,
    ) -> Result<(Self, Addresses), LocalError> {
        let mut ports = Ports::of_this_process();
        match kind {
            NetworkKind::Loopback => {
                let addresses = loopback::addresses(nodes, zookeepers, &mut ports)?;
                Ok((Self::over_proxies(&addresses, &mut ports).await?, addresses))
            }
            NetworkKind::Namespaces => {
                let addresses = namespaces::addresses(nodes, zookeepers);
                Ok((Self::Namespaces(Namespaces::open(&addresses).await?), addresses))
            }
        }
    }

    /// Puts proxies between processes that listen on loopback, at ports that are dealt for them.
    pub(crate) async fn over_proxies(addresses: &Addresses, ports: &mut Ports) -> Result<Self, LocalError> {
        Ok(Self::Loopback(Loopback::open(addresses, ports).await?))
    }

    /// The addresses under which a node reaches each node, itself included.
    pub(crate) fn peers_of(&self, node: usize, addresses: &Addresses) -> BTreeMap<usize, SocketAddr> {
        let others = addresses.peers.iter().copied().enumerate();
        match self {
            Self::Loopback(network) => {
                let proxied = |(other, direct): (usize, SocketAddr)| {
                    (other, network.proxy(Endpoint::Node(node), Endpoint::Node(other)).unwrap_or(direct))
                };
                others.map(proxied).collect()
            }
            Self::Namespaces(_) | Self::Direct => others.collect(),
        }
    }

    /// The addresses under which a node reaches ZooKeeper.
    pub(crate) fn zookeeper_of(&self, node: usize, addresses: &Addresses) -> String {
        let servers = addresses.zookeepers.iter().enumerate().map(|(server, (address, [clients, ..]))| {
            let direct = SocketAddr::new(*address, *clients);
            match self {
                Self::Loopback(network) => {
                    network.proxy(Endpoint::Node(node), Endpoint::ZooKeeper(server)).unwrap_or(direct)
                }
                Self::Namespaces(_) | Self::Direct => direct,
            }
        });
        servers.map(|server| server.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Prefix of the command line that runs a program at an endpoint.
    pub(crate) fn command_prefix(&self, endpoint: Endpoint) -> Vec<String> {
        match self {
            Self::Loopback(_) | Self::Direct => Vec::new(),
            Self::Namespaces(_) => namespaces::command_prefix(endpoint),
        }
    }

    /// Injects a fault.
    pub(crate) async fn begin(&self, fault: &LinkFault) -> Result<(), FaultError> {
        match self {
            Self::Loopback(network) => network.set(&fault.links, fault.state),
            Self::Namespaces(network) => network.begin(&fault.links, fault.state).await?,
            Self::Direct => {
                return Err(FaultError::impossible("the links of this cluster cannot fail; start it without --direct"));
            }
        }
        Ok(())
    }

    /// Heals it.
    pub(crate) async fn end(&self, fault: &LinkFault) -> Result<(), FaultError> {
        match self {
            Self::Loopback(network) => network.set(&fault.links, LinkState::Healthy),
            Self::Namespaces(network) => network.end(&fault.links, fault.state).await?,
            Self::Direct => {}
        }
        Ok(())
    }
}
