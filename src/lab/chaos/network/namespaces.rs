//! A host for every process: network namespaces, joined by a bridge in the namespace of this program, which is one of its
//! own. Namespaces, links and filters go with it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Addresses, Place};
use crate::chaos::nemesis::Weather;
use crate::local::{LocalError, run};

const CLIENT_PORT: u16 = 7101;
const PEER_PORT: u16 = 7201;
const ZOOKEEPER_PORTS: [u16; 3] = [2181, 2888, 3888];
const BRIDGE: &str = "bridge";
const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// See the module.
#[derive(Debug)]
pub(in crate::chaos) struct Namespaces {
    /// Only [`Self::open`] makes one.
    _made: (),
}

fn ip(place: Place) -> Ipv4Addr {
    let number = |number: usize| u8::try_from(number).expect("there are few places");
    match place {
        Place::Node(node) => Ipv4Addr::new(10, 77, 0, 1 + number(node)),
        Place::ZooKeeper(server) => Ipv4Addr::new(10, 77, 0, 101 + number(server)),
    }
}

fn name(place: Place) -> String {
    match place {
        Place::Node(node) => format!("node{}", node + 1),
        Place::ZooKeeper(server) => format!("zk{}", server + 1),
    }
}

/// The beginning of a command line that runs in the namespace of a place.
pub(super) fn wrapper(place: Place) -> Vec<String> {
    ["ip", "netns", "exec", &name(place)].map(str::to_owned).to_vec()
}

pub(super) fn addresses(nodes: usize, zookeepers: usize) -> Addresses {
    let node = |port| move |node| SocketAddr::new(ip(Place::Node(node)).into(), port);
    let server = |server| (IpAddr::from(ip(Place::ZooKeeper(server))), ZOOKEEPER_PORTS);
    Addresses {
        clients: (0..nodes).map(node(CLIENT_PORT)).collect(),
        peers: (0..nodes).map(node(PEER_PORT)).collect(),
        zookeepers: (0..zookeepers).map(server).collect(),
    }
}

impl Namespaces {
    /// Makes a namespace for every place. This program must be in namespaces of its own, for mounts and for the network.
    pub(super) async fn open(addresses: &Addresses) -> Result<Self, LocalError> {
        // Where `ip netns` keeps the names: a folder that others cannot see and that goes with this program.
        run("mkdir", ["-p", "/run/netns"]).await?;
        run("mount", ["-t", "tmpfs", "quorapay-chaos", "/run/netns"]).await?;
        command("ip link set lo up").await?;
        command(&format!("ip link add {BRIDGE} type bridge")).await?;
        command(&format!("ip address add {BRIDGE_ADDRESS}/24 dev {BRIDGE}")).await?;
        command(&format!("ip link set {BRIDGE} up")).await?;
        let nodes = (0..addresses.peers.len()).map(Place::Node);
        for place in nodes.chain((0..addresses.zookeepers.len()).map(Place::ZooKeeper)) {
            let (name, address) = (name(place), ip(place));
            command(&format!("ip netns add {name}")).await?;
            command(&format!("ip link add to-{name} type veth peer name eth0 netns {name}")).await?;
            command(&format!("ip link set to-{name} master {BRIDGE} up")).await?;
            command(&format!("ip -n {name} link set lo up")).await?;
            command(&format!("ip -n {name} address add {address}/24 dev eth0")).await?;
            command(&format!("ip -n {name} link set eth0 up")).await?;
        }
        Ok(Self { _made: () })
    }

    pub(super) async fn begin(&self, links: &[(Place, Place)], weather: Weather) -> Result<(), LocalError> {
        change("-A", links, weather).await
    }

    pub(super) async fn end(&self, links: &[(Place, Place)], weather: Weather) -> Result<(), LocalError> {
        change("-D", links, weather).await
    }
}

/// Adds or deletes the filters that make the weather, each at the receiving end; the first failure does not keep the others
/// from being tried.
async fn change(action: &str, links: &[(Place, Place)], weather: Weather) -> Result<(), LocalError> {
    let matching = match weather {
        Weather::Cut => String::new(),
        Weather::Lossy(per_mille) => {
            format!("-m statistic --mode random --probability {}", f64::from(per_mille) / 1_000.0)
        }
        // The kernel's filters cannot delay; the kind is not drawn here.
        Weather::Clear | Weather::Delayed(_) => return Ok(()),
    };
    let mut result = Ok(());
    for (from, to) in links {
        let (source, at) = (ip(*from), name(*to));
        let line = format!("ip netns exec {at} iptables -w {action} INPUT -s {source} {matching} -j DROP");
        result = result.and(command(&line).await);
    }
    result
}

async fn command(line: &str) -> Result<(), LocalError> {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command line begins with a program");
    run(program, words).await.map(drop)
}
