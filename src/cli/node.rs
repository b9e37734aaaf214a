//! `quorapay node`: one node, from its settings to its last answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use clap::Args;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::CliError;
use quorapay_core::replication::Limits;
use quorapay_node::coordination::Credential;
use quorapay_node::http::{self, ApiOptions};
use quorapay_node::runtime::{Node, NodeConfig};
use quorapay_node::settings::{LogFormat, Settings};

/// How long a stopping node goes on answering the requests that it has.
const LAST_ANSWERS: Duration = Duration::from_millis(1_000);

const EXAMPLES: &str = "\
Examples:
  quorapay node --config /etc/quorapay/node1.toml
  QUORAPAY_NODE_ID=node1 QUORAPAY_PEERS=node1=http://n1:7201,node2=http://n2:7201,node3=http://n3:7201 \\
    QUORAPAY_ZOOKEEPER=z1:2181,z2:2181,z3:2181 QUORAPAY_DATA_DIR=/data quorapay node

Every setting of the file can be given as QUORAPAY_<NAME> in the environment, which wins. SIGTERM hands the leadership
over, answers what is on its way and ends with exit code 0.";

/// Run one node
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct NodeArguments {
    /// TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl NodeArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let settings = Settings::load(self.config.as_deref(), &environment).map_err(failed)?;
        start_tracing(&settings)?;
        for warning in settings.warnings() {
            tracing::warn!("{warning}");
        }
        // One thread: the loop, the handlers and the peers' connections share it without locks, and SQLite has threads
        // of its own.
        super::connection::block_on(serve(settings))?
    }
}

async fn serve(settings: Settings) -> Result<(), CliError> {
    let clients = bind(settings.listen, "listen").await?;
    let peers = bind(settings.peer_listen, "peer_listen").await?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    // Loading a large ledger takes a while; until it is done there is nothing to hand over or to finish.
    let mut node = tokio::select! {
        started = Node::start(node_config(&settings), peers) => started.map_err(failed)?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let mut registry = Registry::with_prefix("quorapay");
    node.handle().metrics().register(&mut registry);
    let (chaos_mode, shown) = (settings.chaos_mode, settings.shown());
    let options = ApiOptions { node_id: settings.node_id.clone(), registry, settings: shown, chaos_mode };
    let (stop, stopping) = watch::channel(false);
    let mut server = tokio::spawn(serve_clients(clients, http::router(node.handle(), options), stopping));
    tracing::info!(node = %settings.node_id, listen = %settings.listen, peers = %settings.peer_listen, "node started");

    tokio::select! {
        error = node.failed() => return Err(failed(error)),
        result = &mut server => {
            let reason = result.map_or_else(|error| error.to_string(), |ended| format!("{ended:?}"));
            return Err(CliError::Failed(format!("the clients' port stopped working: {reason}")));
        }
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    node.hand_over().await;
    // Clients whose writes are on their way get their answers from the successor; then the port closes.
    stop.send_replace(true);
    let _ = tokio::time::timeout(LAST_ANSWERS, server).await;
    node.stop().await.map_err(failed)?;
    tracing::info!("stopped");
    Ok(())
}

async fn bind(address: std::net::SocketAddr, setting: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::Failed(format!(
            "{setting} = {address} cannot be used: {error}; choose another address or stop what uses it"
        ))
    })
}

async fn serve_clients(
    listener: TcpListener,
    router: axum::Router,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    // Small answers must not wait for company.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let stopped = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stopped).await
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
    }
}

fn start_tracing(settings: &Settings) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(&settings.log).map_err(failed)?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}
