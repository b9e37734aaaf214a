//! A node's configuration file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::error::LocalError;

/// The settings in a node's configuration file. All others have their defaults.
#[derive(Clone, Debug, Serialize)]
pub struct NodeFile {
    /// The node.
    pub node_id: String,
    /// Its cluster.
    pub cluster_id: String,
    /// Address and port for clients.
    pub listen: String,
    /// Base URL for clients.
    pub client_url: String,
    /// Address and port for peers.
    pub peer_listen: String,
    /// Addresses of ZooKeeper.
    pub zookeeper: String,
    /// Timeout of the ZooKeeper session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zookeeper_session_timeout_ms: Option<u64>,
    /// The secret that peers share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_secret: Option<String>,
    /// Whether clients may ask for a connection that is dropped after a commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chaos_mode: Option<bool>,
    /// Who may call it.
    pub callers: &'static str,
    /// The folder of its ledger.
    pub data_dir: String,
    /// All nodes with the base URLs under which this node reaches them.
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
