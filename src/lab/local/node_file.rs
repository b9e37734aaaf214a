//! A node's configuration file, with the settings' own names.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::LocalError;

/// What stands in a node's configuration file. What is left out has its default.
#[derive(Clone, Debug, Serialize)]
pub struct NodeFile {
    /// The node.
    pub node_id: String,
    /// Its cluster.
    pub cluster_id: String,
    /// Address and port for clients.
    pub listen: String,
    /// How clients reach it.
    pub client_url: String,
    /// Address and port for peers.
    pub peer_listen: String,
    /// ZooKeeper's servers.
    pub zookeeper: String,
    /// The session timeout to ask ZooKeeper for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zookeeper_session_timeout_ms: Option<u64>,
    /// What peers prove themselves with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_secret: Option<String>,
    /// Where its ledger is.
    pub data_dir: String,
    /// All nodes with the URLs under which *this* one reaches them.
    pub peers: BTreeMap<String, String>,
}

impl NodeFile {
    /// Writes the file.
    ///
    /// # Errors
    /// [`LocalError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), LocalError> {
        let text = toml::to_string(self).expect("the settings are plain values");
        std::fs::write(path, text).map_err(LocalError::io(path.display().to_string()))
    }
}
