//! A simulated host: a whole node on a clock of its own, over the simulated network, ZooKeeper and disk.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorapay_core::replication::{Limits, NodeId, Timing};
use quorapay_node::blocking::Blocking;
use quorapay_node::clock::WallClock;
use quorapay_node::coordination::{Outside, ZooKeeper};
use quorapay_node::http::{ApiOptions, Callers, ClientApi};
use quorapay_node::runtime::{Environment, Node, NodeConfig, NodeError, NodeHandle, NodeStatus};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, info_span};

use crate::disk::Disk;
use crate::network::{Host, Port, SimNetwork, url};

/// How long ZooKeeper waits for a silent node.
pub(crate) const SESSION: Duration = Duration::from_millis(2_000);
/// Unix time at the beginning of a run.
const BEGIN_UNIX_MS: u64 = 1_767_225_600_000;
const REQUEST_QUEUE: usize = 4_096;

/// What became of a process.
enum Process {
    Starting,
    Runs(NodeHandle),
    /// It ended by itself: to begin again, or because of this error.
    Ended(Result<(), NodeError>),
    /// It ended because it was told to.
    Stopped,
}

/// A process on its own clock.
struct Running {
    runtime: Runtime,
    /// The moment of its clock that is `started_ms` of the run.
    origin: Instant,
    started_ms: u64,
    process: Arc<Mutex<Process>>,
    stop: Option<oneshot::Sender<()>>,
}

/// What a process has become, as the run sees it.
#[derive(Debug)]
pub(crate) enum Fate {
    Runs,
    BeginsAgain,
    Failed(NodeError),
    Stopped,
}

/// See the module.
pub(crate) struct NodeHost {
    number: Host,
    nodes: usize,
    /// The parent of the data directories: each process has one of its own, with what its predecessor left.
    folder: PathBuf,
    generation: u64,
    network: SimNetwork,
    zookeeper: Arc<dyn ZooKeeper>,
    pub(crate) disk: Disk,
    /// The run's time, for the wall clock.
    now_ms: Arc<AtomicU64>,
    /// How far the wall clock is off.
    skew_ms: Arc<AtomicI64>,
    running: Option<Running>,
    /// Its threads stand still until then.
    paused_until_ms: u64,
}

impl NodeHost {
    pub(crate) fn new(
        number: Host,
        nodes: usize,
        folder: &Path,
        network: SimNetwork,
        zookeeper: Arc<dyn ZooKeeper>,
        disk: Disk,
    ) -> Self {
        let folder = folder.join(format!("node{}", number + 1));
        fs::create_dir_all(folder.join("0")).expect("the run's folder can be written");
        Self {
            number,
            nodes,
            folder,
            generation: 0,
            network,
            zookeeper,
            disk,
            now_ms: Arc::default(),
            skew_ms: Arc::default(),
            running: None,
            paused_until_ms: 0,
        }
    }

    /// The files of the newest process.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.join(self.generation.to_string())
    }

    pub(crate) fn is_up(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }

    pub(crate) fn pause_until(&mut self, at_ms: u64) {
        self.paused_until_ms = at_ms;
    }

    /// Starts a process with what the last one left.
    pub(crate) fn start(&mut self, now_ms: u64) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let origin = runtime.block_on(async { Instant::now() });
        let process = Arc::new(Mutex::new(Process::Starting));
        let (stop, stopped) = oneshot::channel();
        let span = info_span!("node", number = self.number + 1);
        runtime.spawn(
            run(self.config(), self.environment(), self.network.at(self.number), Arc::clone(&process), stopped)
                .instrument(span),
        );
        self.running = Some(Running { runtime, origin, started_ms: now_ms, process, stop: Some(stop) });
    }

    fn config(&self) -> NodeConfig {
        let peers: BTreeMap<NodeId, String> =
            (0..self.nodes).map(|node| (node_id(node), url(node, Port::Peers))).collect();
        NodeConfig {
            node_id: node_id(self.number),
            cluster_id: "simulated".to_owned(),
            data_dir: self.data_dir(),
            client_url: url(self.number, Port::Clients),
            peers,
            cluster_secret: Some(Arc::from("a secret of the simulated cluster")),
            zookeeper: "simulated:2181".to_owned(),
            zookeeper_session_timeout: SESSION,
            zookeeper_credential: None,
            timing: Timing::default(),
            limits: Limits::default(),
            request_queue: REQUEST_QUEUE,
            traces: None,
            first_api_key: None,
        }
    }

    fn environment(&self) -> Environment {
        let (now_ms, skew_ms) = (Arc::clone(&self.now_ms), Arc::clone(&self.skew_ms));
        Environment {
            network: Arc::new(self.network.at(self.number)),
            outside: Outside { zookeeper: Arc::clone(&self.zookeeper), prober: Arc::new(self.network.at(self.number)) },
            wall_clock: WallClock::new(move || {
                let unix_ms = BEGIN_UNIX_MS + now_ms.load(Ordering::Relaxed);
                unix_ms.saturating_add_signed(skew_ms.load(Ordering::Relaxed)) * 1_000
            }),
            blocking: Blocking::Steps(Arc::new(self.disk.clone())),
        }
    }

    /// Lets the process run until this moment.
    pub(crate) fn step(&mut self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        if now_ms < self.paused_until_ms {
            return;
        }
        if let Some(running) = &self.running {
            let until = running.origin + Duration::from_millis(now_ms - running.started_ms);
            running.runtime.block_on(async { sleep_until(until).await });
        }
    }

    /// What has become of the process; `None` if there is none.
    pub(crate) fn fate(&self) -> Option<Fate> {
        let mut process = self.running.as_ref()?.process.lock().unwrap_or_else(PoisonError::into_inner);
        Some(match &mut *process {
            Process::Starting | Process::Runs(_) => Fate::Runs,
            Process::Stopped => Fate::Stopped,
            ended @ Process::Ended(_) => match std::mem::replace(ended, Process::Stopped) {
                Process::Ended(Err(error)) => Fate::Failed(error),
                _ => Fate::BeginsAgain,
            },
        })
    }

    /// The node's status, if it has started.
    pub(crate) fn status(&self) -> Option<Arc<NodeStatus>> {
        let process = self.running.as_ref()?.process.lock().unwrap_or_else(PoisonError::into_inner);
        if let Process::Runs(handle) = &*process { Some(handle.status()) } else { None }
    }

    /// Tells the node to hand over, finish and end.
    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.running.as_mut().and_then(|running| running.stop.take()) {
            // A process that has ended needs no signal.
            let _ = stop.send(());
        }
    }

    /// The process is gone at this very moment. Its successor finds what it had written, synced or not.
    pub(crate) fn kill(&mut self) {
        let Some(running) = self.running.take() else { return };
        let left = self.data_dir();
        self.generation += 1;
        copy(&left, &self.data_dir());
        self.network.dies(self.number, || self.disk.dropping(|| drop(running)));
        self.paused_until_ms = 0;
    }

    /// The disk of a dead host was replaced.
    pub(crate) fn wipe(&mut self) {
        self.generation += 1;
        fs::create_dir_all(self.data_dir()).expect("the run's folder can be written");
    }
}

/// The id of a node.
pub(crate) fn node_id(host: Host) -> NodeId {
    NodeId::parse(&format!("node{}", host + 1)).expect("a node id")
}

/// A whole life of a process.
async fn run(
    config: NodeConfig,
    environment: Environment,
    network: crate::network::HostNetwork,
    process: Arc<Mutex<Process>>,
    stopped: oneshot::Receiver<()>,
) {
    let set = |to: Process| *process.lock().unwrap_or_else(PoisonError::into_inner) = to;
    let node_id = config.node_id.clone();
    let mut node = match Node::start(config, environment).await {
        Ok(node) => node,
        Err(error) => return set(Process::Ended(Err(error))),
    };
    let mut registry = Registry::with_prefix("quorapay");
    node.handle().metrics().register(&mut registry);
    let options = ApiOptions {
        node_id,
        registry,
        process: None,
        settings: serde_json::Map::new(),
        callers: Callers::Open,
        chaos_mode: false,
    };
    tokio::spawn(network.listen(Port::Clients, ClientApi::new(node.handle(), options).router(node.handle())));
    set(Process::Runs(node.handle()));
    tokio::select! {
        biased;
        ended = node.ended() => set(Process::Ended(ended)),
        Ok(()) = stopped => {
            node.hand_over().await;
            match node.stop().await {
                Ok(()) => set(Process::Stopped),
                Err(error) => set(Process::Ended(Err(error))),
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the run's folder can be written");
    for file in fs::read_dir(from).expect("the directory is there").flatten() {
        fs::copy(file.path(), to.join(file.file_name())).expect("the run's folder can be written");
    }
}
