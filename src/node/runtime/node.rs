//! A running node: opens what is on the disk, starts the tasks in the right order, stops them in the right order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::clock::Clock;
use crate::coordination::{self, Coordination, CoordinationConfig, CoordinationError, CoordinationNotice, Credential};
use crate::ledger::{self, Identity, LedgerError, OpenLedger};
use crate::query::Queries;
use crate::transport::{PeerClient, PeerIdentity, PeerServer, peer_router, watch_presence};
use quorapay_core::engine::Input;
use quorapay_core::replication::{Event, Limits, NodeId, ReplicaConfig, StoreId, Timing};

use super::engine_link::EngineLink;
use super::error::NodeError;
use super::event_loop::{EventLoop, Publishing, Waiting};
use super::executor::Executor;
use super::forward::Forwarder;
use super::handle::{NodeHandle, Shared};
use super::load::{Loaded, load};
use super::message::Message;
use super::metrics::Metrics;
use super::peer_service::PeerRequests;
use super::projector::project;
use super::status::{StatusBase, describe};
use super::upkeep::{keep_watermark, mark, scrub};
use super::writer::write_ledger;

/// Messages from the node's own tasks that may wait for the loop. They come one per request on its way, so this is
/// never reached; if it were, peers and tasks would wait.
const EVENT_QUEUE: usize = 65_536;
/// Longest that a stopping leader waits for a successor.
const HAND_OVER: Duration = Duration::from_millis(2_500);
/// Longest that a stopping node waits for ZooKeeper to close its session.
const CLOSE_SESSION: Duration = Duration::from_millis(1_000);

/// Longest that a stopping node waits for readers.
const CLOSE_READERS: Duration = Duration::from_millis(300);

/// Everything that a node needs to know.
#[derive(Clone)]
pub struct NodeConfig {
    /// This node.
    pub node_id: NodeId,
    /// The cluster.
    pub cluster_id: String,
    /// Where its files are.
    pub data_dir: PathBuf,
    /// Where clients reach it.
    pub client_url: String,
    /// All nodes with their peer URLs, this one included.
    pub peers: BTreeMap<NodeId, String>,
    /// The secret that peers share.
    pub cluster_secret: Option<Arc<str>>,
    /// `host:port,host:port`, with an optional chroot.
    pub zookeeper: String,
    /// How long ZooKeeper waits before it takes a silent node for dead.
    pub zookeeper_session_timeout: Duration,
    /// With one, the znodes are closed to strangers.
    pub zookeeper_credential: Option<Credential>,
    /// Waits of the protocol.
    pub timing: Timing,
    /// Bounds of the protocol.
    pub limits: Limits,
    /// Client requests that may wait for the loop; more are refused.
    pub request_queue: usize,
}

/// A node that runs.
pub struct Node {
    handle: NodeHandle,
    stop: watch::Sender<bool>,
    coordination: Coordination,
    loop_task: JoinHandle<Result<(), String>>,
    writer_task: JoinHandle<Result<(), LedgerError>>,
    peer_port: JoinHandle<std::io::Result<()>>,
    fatal: mpsc::Receiver<CoordinationError>,
    ledger: OpenLedgerParts,
}

/// What of the open ledger is needed until the end.
struct OpenLedgerParts {
    watermark: ledger::Watermark,
    _lock: ledger::DirectoryLock,
}

impl Node {
    /// Opens the node's files, listens to its peers and joins the election. `peer_listener` must be bound to the port of
    /// the node's peer URL: owning the port is what proves that an older process of this node is gone.
    ///
    /// # Errors
    /// [`NodeError`] says what is wrong in one line.
    pub async fn start(config: NodeConfig, peer_listener: TcpListener) -> Result<Self, NodeError> {
        let identity = Identity { cluster_id: config.cluster_id.clone(), node_id: config.node_id.clone() };
        let opened = ledger::open(&config.data_dir, &identity, || StoreId(Uuid::new_v4().as_u128())).await?;
        let OpenLedger { start, writer, reader, watermark, damaged: _, lock } = opened;
        let store_id = start.store_id;
        let replica = ReplicaConfig {
            node_id: config.node_id.clone(),
            peers: config.peers.clone(),
            timing: config.timing,
            limits: config.limits,
        };
        let Loaded { engine, views } = load(&config.data_dir, &config.cluster_id, replica, start, &reader).await?;

        let clock = Clock::start();
        let metrics = Arc::new(Metrics::default());
        let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
        let (requests, request_receiver) = mpsc::channel(config.request_queue);
        let (writes, write_receiver) = mpsc::channel(4);
        let (stop, stopping) = watch::channel(false);
        let (progress, progress_receiver) = watch::channel(Default::default());
        let peer_identity = Arc::new(PeerIdentity {
            node_id: config.node_id.clone(),
            cluster_id: config.cluster_id.clone(),
            secret: config.cluster_secret.clone(),
            peers: config.peers.clone(),
        });
        let peers = PeerClient::new(Arc::clone(&peer_identity));
        let base = StatusBase {
            node_id: config.node_id.clone(),
            cluster_id: config.cluster_id.clone(),
            client_url: config.client_url.clone(),
            peer_url: config.peers[&config.node_id].clone(),
            zookeeper_connected: false,
        };
        let (status, status_receiver) = watch::channel(Arc::new(describe(&engine, &base, clock.now())));
        let others = config.peers.iter().filter(|(node, _)| **node != config.node_id);
        let others: Vec<_> = others.map(|(node, url)| (node.clone(), url.clone())).collect();
        let engine_link = EngineLink::new(requests, status_receiver);
        let handle = NodeHandle {
            shared: Arc::new(Shared {
                node_id: config.node_id.clone(),
                clock,
                engine: engine_link.clone(),
                progress: progress_receiver.clone(),
                queries: Queries::new(reader.clone(), views.reader.clone(), engine_link),
                ledger: reader.clone(),
                peers: peers.clone(),
                others: others.clone(),
                forwarder: Forwarder::start(&peers, others.iter().map(|(node, _)| node.clone())),
                metrics: Arc::clone(&metrics),
            }),
        };

        let service = PeerRequests { node: handle.clone(), events: events.clone() };
        let server = PeerServer { identity: peer_identity, service, stopping: stopping.clone() };
        let peer_port = tokio::spawn(serve(peer_listener, peer_router(server)));

        let (notices, notice_receiver) = mpsc::channel(256);
        let coordination = coordination::start(coordination_config(&config, store_id), notices);
        let (fatal_sender, fatal) = mpsc::channel(1);
        tokio::spawn(take_notices(notice_receiver, events.clone(), fatal_sender));
        let (gone, gone_receiver) = mpsc::channel(64);
        for (node, _) in others {
            tokio::spawn(watch_presence(peers.clone(), node, gone.clone()));
        }
        tokio::spawn(take_gone(gone_receiver, events.clone()));

        let writer_task = tokio::spawn(write_ledger(writer, write_receiver, events.clone()));
        tokio::spawn(project(views.writer, reader.clone(), progress_receiver.clone(), events.clone()));
        tokio::spawn(keep_watermark(watermark.clone(), reader.clone(), progress_receiver.clone()));
        tokio::spawn(scrub(reader.clone(), progress_receiver, events.clone()));
        let executor = Executor {
            events,
            writes,
            commands: coordination.commands.clone(),
            peers,
            ledger: reader,
            data_dir: config.data_dir.clone(),
            views: views.reader,
        };
        let event_loop = EventLoop {
            engine,
            clock,
            events: event_receiver,
            requests: request_receiver,
            executor,
            publishing: Publishing { progress, status },
            base,
            metrics,
            waiting: Waiting::default(),
        };
        let loop_task = tokio::spawn(event_loop.run(stopping));
        let ledger = OpenLedgerParts { watermark, _lock: lock };
        Ok(Self { handle, stop, coordination, loop_task, writer_task, peer_port, fatal, ledger })
    }

    /// A way into the node.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Waits until the node must stop by itself.
    pub async fn failed(&mut self) -> NodeError {
        let ended = "its event loop ended";
        tokio::select! {
            result = &mut self.loop_task => match result {
                Ok(Err(reason)) => NodeError::Halted(reason),
                Ok(Ok(())) | Err(_) => NodeError::Halted(ended.to_owned()),
            },
            result = &mut self.writer_task => match result {
                Ok(Err(error)) => NodeError::Ledger(error),
                Ok(Ok(())) | Err(_) => NodeError::Halted("its ledger writer ended".to_owned()),
            },
            result = &mut self.peer_port => match result {
                Ok(Err(error)) => NodeError::PeerPort(error),
                Ok(Ok(())) | Err(_) => NodeError::Halted("its peers' port ended".to_owned()),
            },
            Some(error) = self.fatal.recv() => NodeError::Coordination(error),
        }
    }

    /// Hands the leadership over, if this node leads. Clients are still served: their writes go to the successor.
    pub async fn hand_over(&self) {
        let status = self.handle.status();
        if status.leader.as_ref() == Some(&status.node_id) {
            let deadline = std::time::Instant::now() + HAND_OVER;
            match self.handle.transfer_leadership(None, deadline).await {
                Ok(leader) => tracing::info!(%leader, "handed the leadership over"),
                Err(error) => tracing::warn!(%error, "stopping without a successor"),
            }
        }
    }

    /// Stops the node: leaves ZooKeeper, ends the loop, finishes the write on its way, moves the watermark.
    ///
    /// # Errors
    /// [`LedgerError`] if the last write failed.
    pub async fn stop(self) -> Result<(), NodeError> {
        let Self { handle, stop, coordination, loop_task, writer_task, peer_port, fatal: _, ledger } = self;
        coordination.shutdown(CLOSE_SESSION).await;
        stop.send_replace(true);
        // The loop ends on the signal; with it goes the last sender of writes, and the writer finishes.
        let _ = loop_task.await;
        let written = writer_task.await;
        let applied = handle.progress().applied_index;
        mark(&ledger.watermark, &handle.shared.ledger, applied).await;
        // Readers that are still busy go with the process.
        let _ = tokio::time::timeout(CLOSE_READERS, handle.shared.ledger.close()).await;
        peer_port.abort();
        match written {
            Ok(result) => Ok(result?),
            Err(_) => Err(NodeError::Halted("its ledger writer ended".to_owned())),
        }
    }
}

fn coordination_config(config: &NodeConfig, store_id: StoreId) -> CoordinationConfig {
    CoordinationConfig {
        servers: config.zookeeper.clone(),
        session_timeout: config.zookeeper_session_timeout,
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id.clone(),
        store_id,
        peer_url: config.peers[&config.node_id].clone(),
        client_url: config.client_url.clone(),
        credential: config.zookeeper_credential.clone(),
    }
}

async fn serve(listener: TcpListener, router: axum::Router) -> std::io::Result<()> {
    use axum::serve::ListenerExt;
    // Small answers must not wait for company.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await
}

async fn take_notices(
    mut notices: mpsc::Receiver<CoordinationNotice>,
    events: mpsc::Sender<Message>,
    fatal: mpsc::Sender<CoordinationError>,
) {
    while let Some(notice) = notices.recv().await {
        let message = match notice {
            CoordinationNotice::Event(event) => Message::Input(Input::Replication(Event::Coordination(event))),
            CoordinationNotice::Connected(connected) => Message::ZooKeeper { connected },
            CoordinationNotice::Fatal(error) => {
                let _ = fatal.send(error).await;
                return;
            }
        };
        if events.send(message).await.is_err() {
            return;
        }
    }
}

async fn take_gone(mut gone: mpsc::Receiver<NodeId>, events: mpsc::Sender<Message>) {
    while let Some(node) = gone.recv().await {
        tracing::info!(%node, "the process of a peer is gone");
        if events.send(Message::Input(Input::Replication(Event::PeerGone(node)))).await.is_err() {
            return;
        }
    }
}
