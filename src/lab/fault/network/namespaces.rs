//! A network namespace for every process, joined by a bridge in this program's own namespace. Namespaces, links and filters
//! end with that one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::addresses::Addresses;
use super::packet_filter::packet_filter;
use crate::fault::endpoint::Endpoint;
use crate::fault::link_fault::LinkState;
use crate::local::{LocalError, run};

const CLIENT_PORT: u16 = 7101;
const PEER_PORT: u16 = 7201;
const ZOOKEEPER_PORTS: [u16; 3] = [2181, 2888, 3888];
const BRIDGE: &str = "bridge";
const BRIDGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// Proof that the namespaces exist.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// Only [`Self::open`] creates one.
    _made: (),
}

fn ip(endpoint: Endpoint) -> Ipv4Addr {
    let number = |number: usize| u8::try_from(number).expect("there are few processes");
    match endpoint {
        Endpoint::Node(node) => Ipv4Addr::new(10, 77, 0, 1 + number(node)),
        Endpoint::ZooKeeper(server) => Ipv4Addr::new(10, 77, 0, 101 + number(server)),
    }
}

fn name(endpoint: Endpoint) -> String {
    match endpoint {
        Endpoint::Node(node) => format!("node{}", node + 1),
        Endpoint::ZooKeeper(server) => format!("zk{}", server + 1),
    }
}

/// Prefix of a command line that runs in the namespace of an endpoint.
pub(crate) fn command_prefix(endpoint: Endpoint) -> Vec<String> {
    ["ip", "netns", "exec", &name(endpoint)].map(str::to_owned).to_vec()
}

pub(crate) fn addresses(nodes: usize, zookeepers: usize) -> Addresses {
    let node = |port| move |node| SocketAddr::new(ip(Endpoint::Node(node)).into(), port);
    let server = |server| (IpAddr::from(ip(Endpoint::ZooKeeper(server))), ZOOKEEPER_PORTS);
    Addresses {
        clients: (0..nodes).map(node(CLIENT_PORT)).collect(),
        peers: (0..nodes).map(node(PEER_PORT)).collect(),
        zookeepers: (0..zookeepers).map(server).collect(),
    }
}

impl Namespaces {
    /// Creates a namespace for every process. This program must run in private mount and network namespaces.
    pub(crate) async fn open(addresses: &Addresses) -> Result<Self, LocalError> {
        // `ip netns` keeps its names here: in a private mount, which ends with this program.
        run("mkdir", ["-p", "/run/netns"]).await?;
        run("mount", ["-t", "tmpfs", "quorapay-chaos", "/run/netns"]).await?;
        command("ip link set lo up").await?;
        command(&format!("ip link add {BRIDGE} type bridge")).await?;
        command(&format!("ip address add {BRIDGE_ADDRESS}/24 dev {BRIDGE}")).await?;
        command(&format!("ip link set {BRIDGE} up")).await?;
        let nodes = (0..addresses.peers.len()).map(Endpoint::Node);
        for endpoint in nodes.chain((0..addresses.zookeepers.len()).map(Endpoint::ZooKeeper)) {
            let (name, address) = (name(endpoint), ip(endpoint));
            command(&format!("ip netns add {name}")).await?;
            command(&format!("ip link add to-{name} type veth peer name eth0 netns {name}")).await?;
            command(&format!("ip link set to-{name} master {BRIDGE} up")).await?;
            command(&format!("ip -n {name} link set lo up")).await?;
            command(&format!("ip -n {name} address add {address}/24 dev eth0")).await?;
            command(&format!("ip -n {name} link set eth0 up")).await?;
        }
        Ok(Self { _made: () })
    }

    pub(crate) async fn begin(&self, links: &[(Endpoint, Endpoint)], state: LinkState) -> Result<(), LocalError> {
        change("-A", links, state).await
    }

    pub(crate) async fn end(&self, links: &[(Endpoint, Endpoint)], state: LinkState) -> Result<(), LocalError> {
        change("-D", links, state).await
    }
}

/// Adds or deletes the filters of a link state, each at the receiving end. All are tried, whatever fails.
async fn change(action: &str, links: &[(Endpoint, Endpoint)], state: LinkState) -> Result<(), LocalError> {
    let Some(matching) = packet_filter(state, PEER_PORT) else { return Ok(()) };
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
