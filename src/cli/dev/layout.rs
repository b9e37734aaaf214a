//! What `quorapay dev` writes: one configuration per node, and `dev.json`, which tells scripts where everything is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::CliError;
use quorapay_lab::local::{NodeFile, require_free};

/// How far the peers' ports are above the clients'.
const PEER_PORT_OFFSET: u16 = 100;

/// What a development cluster is made of.
#[derive(Clone, Debug)]
pub(in crate::cli) struct DevOptions {
    pub(in crate::cli) nodes: u16,
    pub(in crate::cli) port: u16,
    pub(in crate::cli) data_dir: PathBuf,
    pub(in crate::cli) zookeeper: Option<String>,
}

/// One node in `dev.json`.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct DevNode {
    pub(in crate::cli) id: String,
    pub(in crate::cli) url: String,
    pub(in crate::cli) peer_url: String,
    /// `None` while the node does not run.
    pub(in crate::cli) pid: Option<u32>,
    pub(in crate::cli) config: PathBuf,
    pub(in crate::cli) data_dir: PathBuf,
    pub(in crate::cli) log: PathBuf,
}

/// `dev.json`.
#[derive(Serialize)]
struct DevFile<'a> {
    zookeeper: &'a str,
    nodes: &'a [DevNode],
}

/// Plans the nodes and refuses ports that are in use, before anything is started.
pub(super) fn plan(options: &DevOptions) -> Result<Vec<DevNode>, CliError> {
    let data_dir = std::path::absolute(&options.data_dir).map_err(io_error("the data directory"))?;
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

/// Takes the directory for this process: two clusters would overwrite each other's configurations.
pub(super) fn lock(data_dir: &Path) -> Result<fs::File, CliError> {
    let file = fs::File::create(data_dir.join("dev.lock")).map_err(io_error("dev.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => {
            let data_dir = data_dir.display();
            Err(CliError::Failed(format!(
                "another quorapay dev runs in {data_dir}; stop it or choose another --data-dir"
            )))
        }
    }
}

/// Writes every node's configuration.
pub(super) fn write_configurations(nodes: &[DevNode], zookeeper: &str) -> Result<(), CliError> {
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

/// Replaces `dev.json` in one step, so that a script never reads half of it.
pub(super) fn write_dev_file(data_dir: &Path, zookeeper: &str, nodes: &[DevNode]) -> Result<(), CliError> {
    let path = data_dir.join("dev.json");
    let text = serde_json::to_string_pretty(&DevFile { zookeeper, nodes }).expect("dev.json is made of plain values");
    let new = path.with_extension("json.new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, &path)).map_err(io_error("dev.json"))
}

pub(super) fn io_error(what: &str) -> impl FnOnce(io::Error) -> CliError {
    let what = what.to_owned();
    move |source| CliError::Io { what, source }
}
