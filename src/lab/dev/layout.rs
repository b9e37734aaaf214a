//! The files of a development cluster: a configuration per node, and `dev.json`, which tells scripts where everything is.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::DevError;
use crate::fault::{Addresses, Network};
use crate::local::{LocalError, NodeFile, Ports, require_free};

/// Distance of a node's port for peers from its port for clients.
const PEER_PORT_OFFSET: u16 = 100;

/// The name of the file that tells where everything is.
const DEV_FILE: &str = "dev.json";

/// The options of a development cluster.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// How many nodes.
    pub nodes: u16,
    /// Port of the first node for clients.
    pub port: u16,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// ZooKeeper's address; `None` starts private servers.
    pub zookeeper: Option<String>,
    /// How many private ZooKeeper servers.
    pub zookeepers: u8,
    /// Whether the nodes run in the chaos mode of `POST /transfer`.
    pub chaos_mode: bool,
    /// Whether the nodes are connected without proxies, so that links cannot fail.
    pub direct: bool,
    /// Whether the nodes' wall clocks can be set off while they run.
    pub clocks: bool,
}

/// One node in `dev.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DevNode {
    /// Its id.
    pub id: String,
    /// Base URL for clients.
    pub url: String,
    /// Base URL for peers.
    pub peer_url: String,
    /// `None` while the node does not run.
    pub pid: Option<u32>,
    /// Its configuration file.
    pub config: PathBuf,
    /// Where its ledger is.
    pub data_dir: PathBuf,
    /// Its log file.
    pub log: PathBuf,
}

/// The content of `dev.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DevFile {
    pub(super) zookeeper: String,
    /// The socket at which the cluster takes faults and healings.
    pub(super) control: PathBuf,
    pub(super) nodes: Vec<DevNode>,
}

/// The ports of a cluster, planned before anything is started.
pub(super) struct Plan {
    pub(super) nodes: Vec<DevNode>,
    pub(super) addresses: Addresses,
    /// Ports for the proxies.
    pub(super) ports: Ports,
}

/// Plans the nodes. Refuses ports that are in use before anything is started.
pub(super) fn plan(options: &DevOptions) -> Result<Plan, DevError> {
    let data_dir = std::path::absolute(&options.data_dir).map_err(LocalError::io("the data directory"))?;
    let last = options.port + PEER_PORT_OFFSET + options.nodes - 1;
    let mut ports = Ports::of_this_process().without(options.port..=last);
    let (mut nodes, mut clients, mut peers) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=options.nodes {
        let id = format!("node{number}");
        let (port, peer_port) = (options.port + number - 1, options.port + PEER_PORT_OFFSET + number - 1);
        require_free(port)?;
        require_free(peer_port)?;
        clients.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        peers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, peer_port)));
        nodes.push(DevNode {
            url: format!("http://127.0.0.1:{port}"),
            peer_url: format!("http://127.0.0.1:{peer_port}"),
            pid: None,
            config: data_dir.join(format!("{id}.toml")),
            data_dir: data_dir.join(&id),
            log: data_dir.join(format!("{id}.log")),
            id,
        });
    }
    let servers = if options.zookeeper.is_some() { 0 } else { options.zookeepers };
    let server = |_| Ok((Ipv4Addr::LOCALHOST.into(), [ports.deal()?, ports.deal()?, ports.deal()?]));
    let zookeepers = (0..servers).map(server).collect::<Result<_, LocalError>>()?;
    Ok(Plan { nodes, addresses: Addresses { clients, peers, zookeepers }, ports })
}

/// Locks the directory for this process: two clusters would overwrite each other's configurations.
pub(super) fn lock(data_dir: &Path) -> Result<fs::File, DevError> {
    let file = fs::File::create(data_dir.join("dev.lock")).map_err(LocalError::io("dev.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(DevError::DirectoryInUse { data_dir: data_dir.to_owned() }),
    }
}

/// Writes every node's configuration. `outside` is the address of a ZooKeeper that somebody else runs.
pub(super) fn write_configurations(
    nodes: &[DevNode],
    network: &Network,
    addresses: &Addresses,
    outside: Option<&str>,
    chaos_mode: bool,
) -> Result<(), DevError> {
    for (number, node) in nodes.iter().enumerate() {
        let reached = network.peers_of(number, addresses);
        let file = NodeFile {
            node_id: node.id.clone(),
            cluster_id: "dev".to_owned(),
            listen: addresses.clients[number].to_string(),
            client_url: node.url.clone(),
            peer_listen: addresses.peers[number].to_string(),
            zookeeper: outside.map_or_else(|| network.zookeeper_of(number, addresses), str::to_owned),
            zookeeper_session_timeout_ms: None,
            cluster_secret: None,
            chaos_mode: chaos_mode.then_some(true),
            // On this machine alone, though perhaps in network namespaces instead of on loopback.
            callers: "open",
            data_dir: node.data_dir.display().to_string(),
            peers: reached.into_iter().map(|(other, at)| (nodes[other].id.clone(), format!("http://{at}"))).collect(),
        };
        file.write(&node.config)?;
    }
    Ok(())
}

/// Replaces `dev.json` atomically, so that a script never reads half of it.
pub(super) fn write_dev_file(data_dir: &Path, file: &DevFile) -> Result<(), DevError> {
    let path = data_dir.join(DEV_FILE);
    let text = serde_json::to_string_pretty(file).expect("dev.json is made of plain values");
    let new = path.with_extension("json.new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
    Ok(written.map_err(LocalError::io(DEV_FILE))?)
}

/// Reads `dev.json` of a cluster that may run.
pub(super) fn read_dev_file(data_dir: &Path) -> Result<DevFile, DevError> {
    let text = fs::read(data_dir.join(DEV_FILE)).ok();
    let file = text.and_then(|text| serde_json::from_slice(&text).ok());
    file.ok_or_else(|| DevError::NotRunning { data_dir: data_dir.to_owned() })
}
