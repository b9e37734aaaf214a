//! The typed settings.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::secret::Secret;
use crate::tls::TlsFiles;
use crate::traces::TraceSettings;
use quorapay_core::domain::ApiKey;
use quorapay_core::replication::{NodeId, Timing};

/// The settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This node's id.
    pub node_id: NodeId,
    /// The id of its cluster.
    pub cluster_id: String,
    /// The address at which it listens for clients.
    pub listen: SocketAddr,
    /// The URL at which clients reach it.
    pub client_url: String,
    /// The address at which it listens for peers.
    pub peer_listen: SocketAddr,
    /// The URL at which its peers reach it; the same as in `peers`.
    pub peer_url: String,
    /// All nodes with their peer URLs, this one included.
    pub peers: BTreeMap<NodeId, String>,
    /// ZooKeeper's servers, `host:port` separated by commas.
    pub zookeeper: String,
    /// The requested session timeout, in milliseconds.
    pub zookeeper_session_timeout_ms: u64,
    /// The credential for ZooKeeper, if one is set.
    pub zookeeper_credential: Option<ZooKeeperCredential>,
    /// The secret that authenticates peers. `None` only on loopback or with certificates.
    pub cluster_secret: Option<Secret>,
    /// The certificate for clients, and the authorities of theirs; `None` for plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The certificate for peers, and the authorities of theirs; `None` for plain HTTP.
    pub peer_tls: Option<TlsFiles>,
    /// The directory of the ledger and the views.
    pub data_dir: PathBuf,
    /// The log filter: a level, or directives with targets.
    pub log: String,
    /// The format of the log.
    pub log_format: LogFormat,
    /// Timeouts of the protocol.
    pub timing: Timing,
    /// Client requests that may wait for the event loop; more are rejected as overloaded.
    pub request_queue: usize,
    /// Threads that serve clients; 0 if the loop's own thread does.
    pub http_threads: usize,
    /// Connections that there may be at the clients' port.
    pub max_connections: usize,
    /// How many of them one address may have.
    pub max_connections_per_address: usize,
    /// Whether callers need an API key.
    pub callers: Callers,
    /// The API key that a leader writes into a ledger that has none.
    pub first_api_key: Option<ApiKey>,
    /// Whether clients of the compatible API may request that their connection is dropped after a commit, as a test.
    pub chaos_mode: bool,
    /// Which requests are traced; `None` for none.
    pub traces: Option<TraceSettings>,
}

/// A user of ZooKeeper's digest scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZooKeeperCredential {
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

/// Who may call this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Everybody who reaches the port.
    Open,
    /// Whoever has an API key of the ledger.
    ApiKeys,
}

impl Callers {
    /// As it is set.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ApiKeys => "api_keys",
        }
    }
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines of text.
    Text,
    /// One JSON object per line.
    Json,
}

impl Settings {
    /// What is allowed but probably a mistake, one line each.
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
        if self.peer_tls.is_none() && !self.peer_listen.ip().is_loopback() {
            warnings.push(
                "peers talk in clear: whoever reads or changes their packets can change payments and has the cluster \
                 secret; set peer_tls_certificate_file, peer_tls_key_file and peer_tls_ca_file"
                    .to_owned(),
            );
        }
        if self.callers == Callers::Open && !self.listen.ip().is_loopback() {
            warnings.push(format!(
                "EVERYBODY who reaches {} can pay, open accounts, read everything and move the leadership: callers is \
                 \"open\"; set it to \"api_keys\"",
                self.listen
            ));
        }
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            warnings.push(
                "clients talk in clear, unless something in front of this node encrypts; set tls_certificate_file and \
                 tls_key_file"
                    .to_owned(),
            );
        }
        warnings
    }
}
