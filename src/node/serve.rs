//! A whole node from its settings: binds its ports, runs until shutdown, and stops in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::client_port::serve_clients;
use crate::coordination::Credential;
use crate::http::{ApiOptions, Callers, ClientApi};
use crate::port::{self, ConnectionLimits, Pace, Port, PortMetrics, Terms};
use crate::process::ProcessReader;
use crate::published::publish;
use crate::runtime::{Environment, Node, NodeConfig, NodeError};
use crate::settings::{self, Settings};
use crate::tls::{Keeper, Purpose, Sealing, TlsError, TlsMetrics, hang_ups, keep, node_name};
use crate::transport::PeerSealing;
use quorapay_core::replication::Limits;

/// How long a stopping node continues to answer the requests that it has.
const LAST_ANSWERS: Duration = Duration::from_millis(1_000);

/// How long a damaged node waits for its last write before it begins again.
const CLOSE_CONDEMNED: Duration = Duration::from_secs(5);

/// Why a node did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A port is in use, or its address is not one of this machine.
    #[error("{setting} = {address} cannot be used: {source}; choose another address or stop what uses it")]
    Bind {
        /// The setting that names the address.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why it cannot be used.
        source: std::io::Error,
    },
    /// The certificate or the key of a port, or the authorities of the other side.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system does not tell how many files this process may open.
    #[error("the limit of open files is unknown: {0}")]
    FileLimit(std::io::Error),
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The HTTP server for clients ended.
    #[error("the clients' port stopped working: {0}")]
    ClientPort(String),
}

/// How a node ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to.
    Stopped,
    /// Its ledger is damaged and condemned. The caller starts the node again, as a new process or as a new image of this
    /// one, so that nothing of the old node is left; it then begins with an empty ledger.
    BeginAgain,
}

/// Runs a node until `shutdown` completes. Then it hands over the leadership, answers the requests that it has, and
/// closes its files. If `shutdown` completes while the node loads its ledger, it ends at once.
///
/// # Errors
/// [`ServeError`] says in one line what is wrong.
pub async fn serve(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<Ended, ServeError> {
    let wanted =
        ConnectionLimits { total: settings.max_connections, per_address: settings.max_connections_per_address };
    let (client_places, peer_places) = port::places(wanted).map_err(ServeError::FileLimit)?;
    let ports = [("clients", client_places.clone()), ("peers", peer_places.clone())];
    let clients = Port::new(bind(settings.listen, "listen").await?, client_places);
    let peers = Port::new(bind(settings.peer_listen, "peer_listen").await?, peer_places);
    let (client_keeper, peer_keeper) = (client_keeper(&settings)?, peer_keeper(&settings)?);
    let [client_sealing, peer_sealing] = [&client_keeper, &peer_keeper].map(|k| k.as_ref().map(Keeper::sealing));
    let sealed: Vec<Sealing> = [&client_sealing, &peer_sealing].into_iter().flatten().cloned().collect();
    let peer_sealing = peer_sealing.map(|sealing| PeerSealing::new(sealing, &settings.cluster_id, &settings.peers));
    let keepers: Vec<Keeper> = client_keeper.into_iter().chain(peer_keeper).collect();
    let hang_ups = if keepers.is_empty() { None } else { hang_ups() };
    tokio::pin!(shutdown);
    // Loading a large ledger takes a while; until it is done there is nothing to hand over or to finish.
    let mut node = tokio::select! {
        started = Node::start(node_config(&settings), Environment::of_the_system(peers, peer_sealing)) => started?,
        () = &mut shutdown => return Ok(Ended::Stopped),
    };
    let mut registry = Registry::with_prefix("quorapay");
    node.handle().metrics().register(&mut registry);
    registry.register_collector(Box::new(PortMetrics { ports }));
    registry.register_collector(Box::new(TlsMetrics { ports: sealed }));
    let (chaos_mode, shown) = (settings.chaos_mode, settings.shown());
    let process = Some(ProcessReader::new(settings.data_dir.clone()));
    let callers = match settings.callers {
        settings::Callers::Open => Callers::Open,
        settings::Callers::ApiKeys => Callers::ApiKeys,
    };
    let node_id = settings.node_id.clone();
    let options = ApiOptions { node_id, registry, process, settings: shown, callers, chaos_mode };
    let (stop, stopping) = publish(false);
    let api = ClientApi::new(node.handle(), options);
    let terms = Terms { pace: Pace::Client, sealing: client_sealing };
    let mut server = tokio::spawn(serve_clients(clients, settings.http_threads, node.handle(), api, terms, stopping));
    let keeping = tokio::spawn(keep(keepers, hang_ups));
    tracing::info!(node = %settings.node_id, listen = %settings.listen, peers = %settings.peer_listen, "node started");

    let ended = tokio::select! {
        condemned = node.ended() => condemned.map(|()| Ended::BeginAgain)?,
        result = &mut server => {
            let reason = result.map_or_else(|error| error.to_string(), |ended| format!("{ended:?}"));
            return Err(ServeError::ClientPort(reason));
        }
        () = &mut shutdown => Ended::Stopped,
    };
    tracing::info!("stopping");
    keeping.abort();
    node.hand_over().await;
    // Clients whose writes are in flight get their answers from the new leader; then the port closes.
    stop.replace(true);
    if tokio::time::timeout(LAST_ANSWERS, &mut server).await.is_err() {
        // Ends the threads that still have connections.
        server.abort();
    }
    if ended == Ended::Stopped {
        node.stop().await?;
    } else {
        close_condemned(node).await;
        if shutdown.now_or_never().is_some() {
            return Ok(Ended::Stopped);
        }
    }
    tracing::info!("stopped");
    Ok(ended)
}

/// Closes a node whose ledger is given up. What becomes of its last write does not matter, nor that it may hang: the disk
/// may be what is broken.
async fn close_condemned(node: Node) {
    let error = match tokio::time::timeout(CLOSE_CONDEMNED, node.stop()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its disk hangs".to_owned(),
    };
    tracing::warn!(error, "the condemned ledger could not be closed in order");
}

fn client_keeper(settings: &Settings) -> Result<Option<Keeper>, TlsError> {
    let files = settings.tls.clone();
    files.map(|files| Keeper::open("clients", files, Purpose::Clients)).transpose()
}

fn peer_keeper(settings: &Settings) -> Result<Option<Keeper>, TlsError> {
    let own_name = node_name(&settings.node_id, &settings.cluster_id);
    let files = settings.peer_tls.clone();
    files.map(|files| Keeper::open("peers", files, Purpose::Peers { own_name })).transpose()
}

async fn bind(address: SocketAddr, setting: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { setting, address, source })
}

fn node_config(settings: &Settings) -> NodeConfig {
    NodeConfig {
        node_id: settings.node_id.clone(),
        cluster_id: settings.cluster_id.clone(),
        data_dir: settings.data_dir.clone(),
        client_url: settings.client_url.clone(),
        peers: settings.peers.clone(),
        cluster_secret: settings.cluster_secret.as_ref().map(|secret| Arc::from(secret.expose())),
        zookeeper: settings.zookeeper.clone(),
        zookeeper_session_timeout: Duration::from_millis(settings.zookeeper_session_timeout_ms),
        zookeeper_credential: settings.zookeeper_credential.as_ref().map(|credential| Credential {
            user: credential.user.clone(),
            password: credential.password.expose().to_owned(),
        }),
        timing: settings.timing,
        limits: Limits::default(),
        request_queue: settings.request_queue,
        traces: settings.traces.clone(),
        first_api_key: settings.first_api_key.clone(),
    }
}
