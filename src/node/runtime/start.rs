//! Starts a node: opens its files, builds its engine, and starts its tasks in an order in which each finds what it
//! needs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::blocking::Blocking;
use crate::clock::Clock;
use crate::coordination::{self, Coordination, CoordinationConfig, CoordinationError, CoordinationNotice, Outside};
use crate::ledger::{self, DirectoryLock, Identity, LedgerReader, LedgerWriter, OpenLedger, Watermark};
use crate::log_limit::LogLimit;
use crate::published::{Watched, publish};
use crate::query::{Queries, QueryFiles, Recent, count_payments};
use crate::transport::{Network, PeerClient, PeerIdentity, PeerNotice, PeerServer, peer_router, watch_presence};
use crate::views::{OpenViews, ViewsReader};
use quorapay_core::domain::{ApiKey, RuleVersion};
use quorapay_core::engine::{Engine, Input};
use quorapay_core::replication::{Event, ReplicaConfig, StoreId};

use super::api_keys::{ApiKeys, write_first_api_key};
use super::backlog::Backlog;
use super::elections::Elections;
use super::engine_link::EngineLink;
use super::environment::Environment;
use super::error::NodeError;
use super::event_loop::{EventLoop, Publishers};
use super::executor::Executor;
use super::forward::Forwarder;
use super::handle::{NodeHandle, Shared};
use super::load::{Loaded, load};
use super::message::Message;
use super::metrics::Metrics;
use super::node::{Node, NodeConfig};
use super::peer_service::PeerRequests;
use super::progress::NodeProgress;
use super::projector::{Projector, ViewsPlace};
use super::read_indexes::ReadIndexes;
use super::repair::Quarantines;
use super::replies::PendingReplies;
use super::status::{StatusBase, describe};
use super::traces::{TraceTask, Tracing};
use super::upkeep::{keep_watermark, scrub};
use super::writer::write_ledger;

/// Messages from the node's own tasks and its peers that may wait for the loop. There is about one per request in
/// progress, so this is never reached; if it were, tasks and peers would wait.
const EVENT_QUEUE: usize = 65_536;
/// Writes that may wait for the ledger's writer. The engine has one in progress at a time.
const WRITE_QUEUE: usize = 4;
/// Notices of the coordination that may wait to be passed on: more than one change of session or queue causes.
const NOTICE_QUEUE: usize = 256;
/// Notices about peers that may wait to be passed on: more than a cluster has nodes.
const PEER_NOTICE_QUEUE: usize = 64;

impl Node {
    /// Opens the node's files, listens to its peers and joins the election. The environment's network must own the port
    /// of the node's peer URL: that proves that an older process of this node is gone.
    ///
    /// # Errors
    /// [`NodeError`] says what is wrong in one line.
    pub async fn start(config: NodeConfig, environment: Environment) -> Result<Self, NodeError> {
        let Environment { network, outside, wall_clock, blocking } = environment;
        let mut storage = blocking.settle(open_storage(&config)).await?;
        storage.ledger = storage.ledger.awaited(&blocking);
        storage.views.reader = storage.views.reader.awaited(&blocking);
        storage.single_payments = storage.single_payments.awaited(&blocking);
        storage.lists = storage.lists.awaited(&blocking);
        let (stop, stopping) = publish(false);
        let (wiring, loop_side) = wire(&config, &storage, stopping, Clock::start(wall_clock), Arc::clone(&network));
        let peer_port = wiring.serve_peers(&*network, &config);
        let (coordination, fatal) = wiring.start_coordination(&config, storage.store_id, outside);
        wiring.watch_peers();

        let Storage { engine, ledger, writer, watermark, lock, views, quarantines, recent, backlog, store_id, .. } =
            storage;
        let (repair, damaged) = mpsc::channel(1);
        let (writes, write_receiver) = mpsc::channel(WRITE_QUEUE);
        let (metrics, tracing) = (Arc::clone(&wiring.shared().metrics), wiring.shared().tracing.clone());
        let watching = (Arc::clone(&metrics), tracing.clone());
        let writing = write_ledger(writer, write_receiver, wiring.events.clone(), watching, blocking.clone());
        let writer_task = tokio::spawn(writing);
        tokio::spawn(
            Projector {
                writer: Some(views.writer),
                reader: views.reader.clone(),
                place: ViewsPlace {
                    data_dir: config.data_dir.clone(),
                    cluster_id: config.cluster_id.clone(),
                    store_id,
                },
                ledger: ledger.clone(),
                backlog: backlog.clone(),
                progress: wiring.progress.clone(),
                limits: config.limits,
                events: wiring.events.clone(),
                metrics: Arc::clone(&metrics),
                blocking: blocking.clone(),
            }
            .run(),
        );
        wiring.start_upkeep(&ledger, &watermark, &blocking, config.first_api_key.clone());
        let executor = Executor {
            events: wiring.events.clone(),
            writes,
            commands: coordination.commands.clone(),
            peers: wiring.shared().peers.clone(),
            ledger,
            data_dir: config.data_dir,
            views: views.reader,
            repair,
            blocking: blocking.clone(),
            metrics,
            tracing,
        };
        let loop_task = wiring.start_loop(engine, executor, quarantines, (backlog, recent), loop_side);
        let handle = wiring.handle;
        Ok(Self {
            handle,
            stop,
            coordination,
            loop_task,
            writer_task,
            peer_port,
            fatal,
            damaged,
            heartbeat_timeout: Duration::from_millis(config.timing.heartbeat_timeout_ms),
            watermark,
            lock,
            blocking,
        })
    }
}

/// What the node's files give at the start.
struct Storage {
    engine: Engine,
    store_id: StoreId,
    /// For the node's own work: decisions, peers, upkeep. No client's read uses these connections.
    ledger: LedgerReader,
    /// For clients who read single payments.
    single_payments: QueryFiles,
    /// For all other reads of clients.
    lists: QueryFiles,
    recent: Recent,
    writer: LedgerWriter,
    watermark: Watermark,
    lock: DirectoryLock,
    views: OpenViews,
    quarantines: Quarantines,
    backlog: Backlog,
}

async fn open_storage(config: &NodeConfig) -> Result<Storage, NodeError> {
    let identity = Identity { cluster_id: config.cluster_id.clone(), node_id: config.node_id.clone() };
    let opened = ledger::open(&config.data_dir, &identity, || StoreId(Uuid::new_v4().as_u128())).await?;
    let OpenLedger { start, writer, reader, watermark, damaged: _, lock, took: opening } = opened;
    let store_id = start.store_id;
    let replica = ReplicaConfig {
        node_id: config.node_id.clone(),
        peers: config.peers.clone(),
        newest_rules: RuleVersion::NEWEST,
        timing: config.timing,
        limits: config.limits,
    };
    let Loaded { engine, views, backlog, took } =
        load(&config.data_dir, &config.cluster_id, replica, start, &reader).await?;
    tracing::info!(
        written_ms = opening.written.as_millis(),
        verified_ms = opening.verified.as_millis(),
        bank_ms = took.bank.as_millis(),
        replay_ms = took.replay.as_millis(),
        replayed = took.replayed,
        engine_ms = took.engine.as_millis(),
        last = %engine.replica().last().index,
        "opened the files"
    );
    connect(&reader, &views.reader).await?;
    let clients_files = || QueryFiles { ledger: reader.apart(), views: views.reader.apart() };
    let (single_payments, lists) = (clients_files(), clients_files());
    let applied = engine.applied_index();
    let recent = Recent::new(applied, count_payments(&lists, applied).await?);
    Ok(Storage {
        engine,
        store_id,
        ledger: reader,
        single_payments,
        lists,
        recent,
        writer,
        watermark,
        lock,
        views,
        quarantines: Quarantines::load(&config.data_dir),
        backlog,
    })
}

/// Opens the connections of the node's own work, so that no decision waits for one to be opened.
async fn connect(ledger: &LedgerReader, views: &ViewsReader) -> Result<(), NodeError> {
    ledger.connect().await?;
    Ok(views.connect().await?)
}

/// What the node's tasks need to reach each other.
struct Wiring {
    handle: NodeHandle,
    events: mpsc::Sender<Message>,
    progress: Watched<NodeProgress>,
    stopping: Watched<bool>,
}

/// The ends of the channels that the event loop owns.
struct LoopSide {
    events: mpsc::Receiver<Message>,
    requests: mpsc::Receiver<Message>,
    proposals: mpsc::Receiver<Message>,
    publishers: Publishers,
    base: StatusBase,
}

fn wire(
    config: &NodeConfig,
    storage: &Storage,
    stopping: Watched<bool>,
    clock: Clock,
    network: Arc<dyn Network>,
) -> (Wiring, LoopSide) {
    let base = StatusBase {
        node_id: config.node_id.clone(),
        cluster_id: config.cluster_id.clone(),
        client_url: config.client_url.clone(),
        peer_url: config.peers[&config.node_id].clone(),
        zookeeper_connected: false,
        stays_quarantined: false,
        views_rebuilding: None,
    };
    let (events, event_receiver) = mpsc::channel(EVENT_QUEUE);
    let (requests, request_receiver) = mpsc::channel(config.request_queue);
    let (proposals, proposal_receiver) = mpsc::channel(config.request_queue);
    let (progress, progress_receiver) = publish(NodeProgress::default());
    let (status, status_receiver) = publish(Arc::new(describe(&storage.engine, &base, clock.now())));
    let (api_keys, api_key_receiver) = publish(Arc::new(storage.engine.api_keys()));
    let read_indexes = ReadIndexes::new(requests.clone());
    let engine = EngineLink::new(requests, proposals, status_receiver);
    let watched = (progress_receiver.clone(), api_key_receiver);
    let handle = node_handle(config, storage, clock, (engine, read_indexes), watched, network);
    let publishers = Publishers { progress, status, api_keys };
    let loop_side =
        LoopSide { events: event_receiver, requests: request_receiver, proposals: proposal_receiver, publishers, base };
    (Wiring { handle, events, progress: progress_receiver, stopping }, loop_side)
}

fn node_handle(
    config: &NodeConfig,
    storage: &Storage,
    clock: Clock,
    (engine, read_indexes): (EngineLink, ReadIndexes),
    (progress, api_keys): (Watched<NodeProgress>, Watched<Arc<ApiKeys>>),
    network: Arc<dyn Network>,
) -> NodeHandle {
    let peers = PeerClient::new(Arc::new(peer_identity(config)), network);
    let others = config.peers.iter().filter(|(node, _)| **node != config.node_id);
    let others: Vec<_> = others.map(|(node, url)| (node.clone(), url.clone())).collect();
    let metrics = Metrics::default();
    metrics.quarantined(storage.quarantines.count());
    let trace_task = TraceTask {
        me: config.node_id.clone(),
        cluster_id: config.cluster_id.clone(),
        others: others.iter().map(|(node, _)| node.clone()).collect(),
        peers: peers.clone(),
        clock: clock.clone(),
    };
    NodeHandle {
        gate: None,
        shared: Arc::new(Shared {
            home: tokio::runtime::Handle::current(),
            node_id: config.node_id.clone(),
            tracing: config.traces.clone().map(|settings| Tracing::start(settings, trace_task)),
            clock,
            engine: engine.clone(),
            read_indexes,
            log_limit: LogLimit::default(),
            progress,
            api_keys,
            queries: Queries::new(
                storage.single_payments.clone(),
                storage.lists.clone(),
                engine,
                storage.recent.clone(),
            ),
            ledger: storage.ledger.clone(),
            copies: storage.lists.ledger.clone(),
            forwarder: Forwarder::start(&peers, others.iter().map(|(node, _)| node.clone())),
            peers,
            others,
            metrics: Arc::new(metrics),
        }),
    }
}

impl Wiring {
    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn serve_peers(&self, network: &dyn Network, config: &NodeConfig) -> JoinHandle<std::io::Result<()>> {
        let router = peer_router(PeerServer {
            identity: Arc::new(peer_identity(config)),
            service: PeerRequests { node: self.handle.clone(), events: self.events.clone() },
            stopping: self.stopping.clone(),
        });
        tokio::spawn(network.serve(router))
    }

    /// Joins the election. The receiver gets the error that makes the node's part in it hopeless.
    fn start_coordination(
        &self,
        config: &NodeConfig,
        store_id: StoreId,
        outside: Outside,
    ) -> (Coordination, mpsc::Receiver<CoordinationError>) {
        let (notices, notice_receiver) = mpsc::channel(NOTICE_QUEUE);
        let coordination = coordination::start(coordination_config(config, store_id), outside, notices);
        let (fatal, fatal_receiver) = mpsc::channel(1);
        tokio::spawn(pass_on_notices(notice_receiver, self.events.clone(), fatal));
        (coordination, fatal_receiver)
    }

    fn watch_peers(&self) {
        let (notices, notice_receiver) = mpsc::channel(PEER_NOTICE_QUEUE);
        for (node, _) in &self.shared().others {
            tokio::spawn(watch_presence(self.shared().peers.clone(), node.clone(), notices.clone()));
        }
        tokio::spawn(pass_on_peer_notices(notice_receiver, self.events.clone()));
    }

    fn start_upkeep(
        &self,
        ledger: &LedgerReader,
        watermark: &Watermark,
        blocking: &Blocking,
        first_api_key: Option<ApiKey>,
    ) {
        if let Some(key) = first_api_key {
            tokio::spawn(write_first_api_key(self.handle.clone(), key));
        }
        tokio::spawn(keep_watermark(watermark.clone(), ledger.clone(), self.progress.clone(), blocking.clone()));
        let metrics = Arc::clone(&self.shared().metrics);
        tokio::spawn(scrub(ledger.clone(), self.progress.clone(), self.events.clone(), metrics));
    }

    fn start_loop(
        &self,
        engine: Engine,
        executor: Executor,
        quarantines: Quarantines,
        (backlog, recent): (Backlog, Recent),
        side: LoopSide,
    ) -> JoinHandle<Result<(), NodeError>> {
        let kept = engine.applied_index();
        let event_loop = EventLoop {
            engine,
            backlog,
            kept,
            api_keys_at: kept,
            held_since: None,
            clock: self.shared().clock.clone(),
            events: side.events,
            requests: side.requests,
            proposals: side.proposals,
            executor,
            publishers: side.publishers,
            base: side.base,
            metrics: Arc::clone(&self.shared().metrics),
            quarantines,
            replies: PendingReplies::default(),
            recent,
            read_names: Vec::new(),
            elections: Elections::default(),
            falsetickers: BTreeSet::new(),
        };
        tokio::spawn(event_loop.run(self.stopping.clone()))
    }
}

fn peer_identity(config: &NodeConfig) -> PeerIdentity {
    PeerIdentity {
        node_id: config.node_id.clone(),
        cluster_id: config.cluster_id.clone(),
        secret: config.cluster_secret.clone(),
        peers: config.peers.clone(),
    }
}

fn coordination_config(config: &NodeConfig, store_id: StoreId) -> CoordinationConfig {
    CoordinationConfig {
        servers: config.zookeeper.clone(),
        session_timeout: config.zookeeper_session_timeout,
        cluster_id: config.cluster_id.clone(),
        node_id: config.node_id.clone(),
        nodes: config.peers.keys().cloned().collect(),
        store_id,
        peer_url: config.peers[&config.node_id].clone(),
        client_url: config.client_url.clone(),
        credential: config.zookeeper_credential.clone(),
    }
}

async fn pass_on_notices(
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

async fn pass_on_peer_notices(mut notices: mpsc::Receiver<PeerNotice>, events: mpsc::Sender<Message>) {
    while let Some(notice) = notices.recv().await {
        let event = match notice {
            PeerNotice::Gone(node) => {
                tracing::info!(%node, "the process of a peer is gone");
                Event::PeerGone(node)
            }
            PeerNotice::Reachable(peer) => {
                tracing::info!(%peer, "connections to a peer can be opened again");
                Event::PeerReachable { peer, reachable: true }
            }
            PeerNotice::Unreachable(peer) => {
                tracing::info!(%peer, "no connection to a peer can be opened");
                Event::PeerReachable { peer, reachable: false }
            }
        };
        if events.send(Message::Input(Input::Replication(event))).await.is_err() {
            return;
        }
    }
}
