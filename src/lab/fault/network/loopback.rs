//! Links on loopback, each through its own proxy.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::addresses::Addresses;
use super::link::LinkProxy;
use crate::fault::endpoint::Endpoint;
use crate::fault::link_fault::LinkState;
use crate::local::{LocalError, Ports};

/// All links. Dropping it closes them.
#[derive(Debug)]
pub(crate) struct Loopback {
    proxies: HashMap<(Endpoint, Endpoint), SocketAddr>,
    states: HashMap<(Endpoint, Endpoint), watch::Sender<LinkState>>,
    /// The proxies' tasks, which are aborted with the network.
    _tasks: JoinSet<()>,
}

/// Assigns ports to all processes.
pub(crate) fn addresses(nodes: usize, zookeepers: usize, ports: &mut Ports) -> Result<Addresses, LocalError> {
    let mut local = || Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.deal()?)));
    let clients = (0..nodes).map(|_| local()).collect::<Result<_, LocalError>>()?;
    let peers = (0..nodes).map(|_| local()).collect::<Result<_, LocalError>>()?;
    let mut server = |_| Ok((Ipv4Addr::LOCALHOST.into(), [ports.deal()?, ports.deal()?, ports.deal()?]));
    let zookeepers = (0..zookeepers).map(&mut server).collect::<Result<_, LocalError>>()?;
    Ok(Addresses { clients, peers, zookeepers })
}

impl Loopback {
    pub(crate) async fn open(addresses: &Addresses, ports: &mut Ports) -> Result<Self, LocalError> {
        let nodes = addresses.peers.iter().enumerate().map(|(node, address)| (Endpoint::Node(node), *address));
        let servers = addresses.zookeepers.iter().enumerate();
        let servers =
            servers.map(|(server, (ip, ports))| (Endpoint::ZooKeeper(server), SocketAddr::new(*ip, ports[0])));
        let targets: Vec<(Endpoint, SocketAddr)> = nodes.chain(servers).collect();
        let mut network = Self { proxies: HashMap::new(), states: HashMap::new(), _tasks: JoinSet::new() };
        for from in (0..addresses.peers.len()).map(Endpoint::Node) {
            for &(to, target) in targets.iter().filter(|(to, _)| *to != from) {
                let proxy = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.deal()?));
                let listener = TcpListener::bind(proxy).await.map_err(LocalError::io("a proxy's port"))?;
                let (to_target, from_target) = (network.state_of(from, to), network.state_of(to, from));
                network.proxies.insert((from, to), proxy);
                network._tasks.spawn(LinkProxy { listen: proxy, target, to_target, from_target }.serve(listener));
            }
        }
        Ok(network)
    }

    fn state_of(&mut self, from: Endpoint, to: Endpoint) -> watch::Receiver<LinkState> {
        self.states.entry((from, to)).or_insert_with(|| watch::Sender::new(LinkState::Healthy)).subscribe()
    }

    /// The address that `from` connects to in order to reach `to`.
    pub(crate) fn proxy(&self, from: Endpoint, to: Endpoint) -> Option<SocketAddr> {
        self.proxies.get(&(from, to)).copied()
    }

    pub(crate) fn set(&self, links: &[(Endpoint, Endpoint)], state: LinkState) {
        for link in links {
            self.states.get(link).expect("every link has its state").send_replace(state);
        }
    }
}
