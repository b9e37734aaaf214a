//! Links on loopback, each through a proxy of its own.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::link::Link;
use super::{Addresses, Place};
use crate::chaos::nemesis::Weather;
use crate::local::{LocalError, Ports};

/// All links. Closed when dropped.
#[derive(Debug)]
pub(in crate::chaos) struct Loopback {
    entrances: HashMap<(Place, Place), SocketAddr>,
    weather: HashMap<(Place, Place), watch::Sender<Weather>>,
    /// Ends the proxies with the network.
    _links: JoinSet<()>,
}

/// Deals out the ports of the servers.
pub(super) fn addresses(nodes: usize, zookeepers: usize, ports: &mut Ports) -> Result<Addresses, LocalError> {
    let mut local = || Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.deal()?)));
    let clients = (0..nodes).map(|_| local()).collect::<Result<_, LocalError>>()?;
    let peers = (0..nodes).map(|_| local()).collect::<Result<_, LocalError>>()?;
    let mut server = |_| Ok((Ipv4Addr::LOCALHOST.into(), [ports.deal()?, ports.deal()?, ports.deal()?]));
    let zookeepers = (0..zookeepers).map(&mut server).collect::<Result<_, LocalError>>()?;
    Ok(Addresses { clients, peers, zookeepers })
}

impl Loopback {
    pub(super) async fn open(addresses: &Addresses, ports: &mut Ports) -> Result<Self, LocalError> {
        let nodes = addresses.peers.iter().enumerate().map(|(node, address)| (Place::Node(node), *address));
        let servers = addresses.zookeepers.iter().enumerate();
        let servers = servers.map(|(server, (ip, ports))| (Place::ZooKeeper(server), SocketAddr::new(*ip, ports[0])));
        let targets: Vec<(Place, SocketAddr)> = nodes.chain(servers).collect();
        let mut network = Self { entrances: HashMap::new(), weather: HashMap::new(), _links: JoinSet::new() };
        for from in (0..addresses.peers.len()).map(Place::Node) {
            for &(to, target) in targets.iter().filter(|(to, _)| *to != from) {
                let entrance = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.deal()?));
                let listener = TcpListener::bind(entrance).await.map_err(LocalError::io("a proxy's port"))?;
                let (there, back) = (network.weather_of(from, to), network.weather_of(to, from));
                network.entrances.insert((from, to), entrance);
                network._links.spawn(Link { entrance, target, there, back }.serve(listener));
            }
        }
        Ok(network)
    }

    fn weather_of(&mut self, from: Place, to: Place) -> watch::Receiver<Weather> {
        self.weather.entry((from, to)).or_insert_with(|| watch::Sender::new(Weather::Clear)).subscribe()
    }

    /// Where `from` connects to in order to reach `to`.
    pub(super) fn entrance(&self, from: Place, to: Place) -> Option<SocketAddr> {
        self.entrances.get(&(from, to)).copied()
    }

    pub(super) fn set(&self, links: &[(Place, Place)], weather: Weather) {
        for link in links {
            self.weather.get(link).expect("every link has its weather").send_replace(weather);
        }
    }
}
