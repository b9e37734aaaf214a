//! The files of a development cluster: a configuration per node, and `dev.json`, which tells scripts where everything is.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::DevError;
use crate::local::{LocalError, NodeFile, require_free};

/// Distance of a node's port for peers from its port for clients.
const PEER_PORT_OFFSET: u16 = 100;

/// The options of a development cluster.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// How many nodes.
    pub nodes: u16,
    /// Port of the first node for clients.
    pub port: u16,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// ZooKeeper's address; `None` starts a private server.
    pub zookeeper: Option<String>,
    /// Whether the nodes run in the chaos mode of `POST /transfer`.
    pub chaos_mode: bool,
}

/// One node in `dev.json`.
#[derive(Clone, Debug, Serialize)]
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
#[derive(Serialize)]
struct DevFile<'a> {
    zookeeper: &'a str,
    nodes: &'a [DevNode],
}

/// Plans the nodes. Refuses ports that are in use before anything is started.
pub(super) fn plan(options: &DevOptions) -> Result<Vec<DevNode>, DevError> {
    let data_dir = std::path::absolute(&options.data_dir).map_err(LocalError::io("the data directory"))?;
    let node = |number: u16| {
        let id = format!("node{number}");
        let (port, peer_port) = (options.port + number - 1, options.port + PEER_PORT_OFFSET + number - 1);
        require_free(port)?;
        require_free(peer_port)?;
        Ok(DevNode {
            url: format!("http://127.0.0.1:{port}"),
            peer_url: format!("http://127.0.0.1:{peer_port}"),
            pid: None,
            config: data_dir.join(format!("{id}.toml")),
            data_dir: data_dir.join(&id),
            log: data_dir.join(format!("{id}.log")),
            id,
        })
    };
    (1..=options.nodes).map(node).collect()
}

/// Locks the directory for this process: two clusters would overwrite each other's configurations.
pub(super) fn lock(data_dir: &Path) -> Result<fs::File, DevError> {
    let file = fs::File::create(data_dir.join("dev.lock")).map_err(LocalError::io("dev.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(DevError::DirectoryInUse { data_dir: data_dir.to_owned() }),
    }
}

/// Writes every node's configuration.
pub(super) fn write_configurations(nodes: &[DevNode], zookeeper: &str, chaos_mode: bool) -> Result<(), DevError> {
    for node in nodes {
        let file = NodeFile {
            node_id: node.id.clone(),
            cluster_id: "dev".to_owned(),
            listen: authority(&node.url),
            client_url: node.url.clone(),
            peer_listen: authority(&node.peer_url),
            zookeeper: zookeeper.to_owned(),
            zookeeper_session_timeout_ms: None,
            cluster_secret: None,
            chaos_mode: chaos_mode.then_some(true),
            data_dir: node.data_dir.display().to_string(),
            peers: nodes.iter().map(|peer| (peer.id.clone(), peer.peer_url.clone())).collect(),
        };
        file.write(&node.config)?;
    }
    Ok(())
}

fn authority(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

/// Replaces `dev.json` atomically, so that a script never reads half of it.
pub(super) fn write_dev_file(data_dir: &Path, zookeeper: &str, nodes: &[DevNode]) -> Result<(), DevError> {
    let path = data_dir.join("dev.json");
    let text = serde_json::to_string_pretty(&DevFile { zookeeper, nodes }).expect("dev.json is made of plain values");
    let new = path.with_extension("json.new");
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &path));
    Ok(written.map_err(LocalError::io("dev.json"))?)
}
