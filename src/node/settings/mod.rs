//! The settings of a node: one typed struct, layered from defaults, a TOML file and `QUORAPAY_*` variables, and checked
//! once at start.
//!
//! It knows what the settings mean, not what is done with them. Every error is one line that names the setting, its
//! value (never a secret) and what to do. `docs/CONFIGURATION.md` describes them all.

mod check;
mod layers;
mod secret;
mod shown;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use quorapay_core::replication::{NodeId, Timing};

pub use secret::Secret;

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub node_id: NodeId,
    /// The cluster that it belongs to.
    pub cluster_id: String,
    /// Where it listens for clients.
    pub listen: SocketAddr,
    /// How clients reach it.
    pub client_url: String,
    /// Where it listens for peers.
    pub peer_listen: SocketAddr,
    /// How its peers reach it; the same as in `peers`.
    pub peer_url: String,
    /// All nodes with their peer URLs, this one included.
    pub peers: BTreeMap<NodeId, String>,
    /// ZooKeeper's servers, `host:port` separated by commas.
    pub zookeeper: String,
    /// The session timeout that is asked for, in milliseconds.
    pub zookeeper_session_timeout_ms: u64,
    /// Who this node is to ZooKeeper, if it asks.
    pub zookeeper_credential: Option<ZooKeeperCredential>,
    /// What peers prove themselves with. `None` only on loopback.
    pub cluster_secret: Option<Secret>,
    /// Where the ledger and the views are.
    pub data_dir: PathBuf,
    /// What is logged: a level, or a filter with targets.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Waits of the protocol.
    pub timing: Timing,
    /// Requests of clients that may wait for the node's loop; one more is refused as overloaded.
    pub request_queue: usize,
    /// Whether a client of the compatible surface may have its connection dropped after a commit, to see how it copes.
    pub chaos_mode: bool,
}

/// A user of ZooKeeper's digest scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperCredential {
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why the settings cannot be used, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the configuration file {file} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// The file is no TOML.
    #[error("the configuration file {file} is not valid TOML in line {line}")]
    NotToml {
        /// The file.
        file: String,
        /// The line where it ends to be TOML, from 1.
        line: usize,
    },
    /// The layers cannot be laid over each other.
    #[error("the configuration cannot be put together: a name or a value in it is no plain setting")]
    Unusable,
    /// There is no such setting.
    #[error("there is no setting {name}: remove it, or see docs/CONFIGURATION.md for the right name")]
    Unknown {
        /// As it was written.
        name: String,
    },
    /// A setting that must be there is not.
    #[error("{name} is not set: set {name} in the configuration file or {variable} in the environment to {hint}")]
    Missing {
        /// The setting.
        name: &'static str,
        /// The variable that sets it.
        variable: String,
        /// What it should be.
        hint: &'static str,
    },
    /// A setting has the wrong shape.
    #[error("{name} has the wrong shape: set it to {wanted}")]
    Malformed {
        /// The setting.
        name: &'static str,
        /// What it should be.
        wanted: String,
    },
    /// A setting has a wrong value.
    #[error("{name} = {value:?} cannot be used: set it to {wanted}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: String,
    },
    /// A secret has a wrong value.
    #[error("{name} cannot be used: set it to {wanted}")]
    InvalidSecret {
        /// The setting.
        name: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}

impl Settings {
    /// Lays defaults, the file and the environment over each other and checks the result. Variables that do not begin
    /// with `QUORAPAY_` are left alone; an empty one counts as not set.
    ///
    /// # Errors
    /// The first [`SettingsError`] found.
    pub fn load(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Self, SettingsError> {
        check::settings(layers::Layers::new(file, environment)?)
    }

    /// What is allowed and yet hardly meant, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let nodes = self.peers.len();
        let mut warnings = Vec::new();
        if nodes.is_multiple_of(2) {
            warnings.push(format!(
                "peers names {nodes} nodes: an even number survives no more failures than {} and needs more acknowledgements",
                nodes - 1
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests;
