//! A run: whole nodes, their clients and the faults between them, in one thread, determined by a seed.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorapay_core::domain::LogIndex;
use quorapay_lab::chaos::clients::{Load, LoadPlan, LoadSummary, RunningLoad, Target};
use quorapay_lab::check::{self, Subjects, Verdict};
use quorapay_lab::history::{Header, Recorder};
use quorapay_lab::random::Random;
use quorapay_node::runtime::Role;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep_until};

use crate::disk::Disk;
use crate::faults::{self, Cure, Fault};
use crate::host::{Fate, NodeHost};
use crate::lasting;
use crate::network::{Host, Port, SimNetwork, url};
use crate::zookeeper::SimZooKeeper;

/// How long faults are made.
const FAULTS_MS: u64 = 6_000;
/// Within this time after the last fault a cluster must have settled.
pub(crate) const SETTLING_MS: u64 = 60_000;
/// Within this time after that every open key and every account must be read.
const READING_MS: u64 = 30_000;
/// Operations a second.
const RATE: u32 = 60;

/// What a run left, byte for byte the same for the same seed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The clients' history: every request and answer with its time.
    pub(crate) history: String,
    /// What the run did.
    pub(crate) trace: Vec<String>,
    pub(crate) committed: u64,
}

/// See the module.
pub(crate) struct World {
    seed: u64,
    pub(crate) random: Random,
    pub(crate) now_ms: u64,
    pub(crate) nodes: Vec<NodeHost>,
    pub(crate) network: SimNetwork,
    pub(crate) zookeeper: SimZooKeeper,
    /// No fault is made before this.
    pub(crate) calm_until_ms: u64,
    cures: Vec<(u64, Cure)>,
    clients: Clients,
    trace: Vec<String>,
    /// A runtime for SQLite's threads, and for what is done outside of the run's time.
    threads: Runtime,
}

/// The host of the clients.
struct Clients {
    runtime: Runtime,
    origin: Instant,
}

impl World {
    fn new(seed: u64, folder: &Path) -> Self {
        let threads = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let mut random = Random::new(seed);
        let network = SimNetwork::new(Random::of_stream(seed, 1));
        let zookeeper = SimZooKeeper::new(Random::of_stream(seed, 2));
        let count = if random.below(4) == 0 { 5 } else { 3 };
        let nodes = (0..count).map(|node| {
            let stream = 10 + u32::try_from(node).expect("few");
            let longest_ms = 1 + random.below(8);
            let disk = Disk::new(threads.handle().clone(), Random::of_stream(seed, stream), longest_ms);
            NodeHost::new(node, count, folder, network.clone(), zookeeper.client(node), disk)
        });
        let nodes: Vec<_> = nodes.collect();
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
        let origin = runtime.block_on(async { Instant::now() });
        let clients = Clients { runtime, origin };
        Self {
            seed,
            random,
            now_ms: 0,
            nodes,
            network,
            zookeeper,
            calm_until_ms: 1_500,
            cures: Vec::new(),
            clients,
            trace: Vec::new(),
            threads,
        }
    }

    /// Writes down what happens.
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        tracing::info!(at_ms = self.now_ms, "{what}");
        self.trace.push(format!("{} {what}", self.now_ms));
    }

    pub(crate) fn cure_in(&mut self, ms: u64, cure: Cure) {
        self.cures.push((self.now_ms + ms, cure));
    }

    pub(crate) fn start(&mut self, node: Host) {
        if !self.nodes[node].is_up() {
            self.nodes[node].start(self.now_ms);
        }
    }

    /// Kills a process, which is started again after a while.
    pub(crate) fn kill(&mut self, node: Host, down_ms: u64) {
        if self.nodes[node].is_up() {
            self.nodes[node].kill();
            self.zookeeper.host_died(node);
            self.cure_in(down_ms, Cure::Start(node));
        }
    }

    /// Destroys the data of a node that is down meanwhile, if all others have everything.
    pub(crate) fn destroy(&mut self, node: Host, fault: Fault, down_ms: u64) {
        if !self.others_are_well(node) {
            return;
        }
        self.kill(node, down_ms);
        match fault {
            Fault::DiskWiped => self.nodes[node].wipe(),
            _ => self.damage(node),
        }
    }

    fn others_are_well(&self, node: Host) -> bool {
        let Some(commit) = self.nodes[node].status().map(|status| status.commit_index) else { return false };
        let well = |host: &NodeHost| {
            host.status().is_some_and(|status| {
                matches!(status.role, Role::Leader | Role::Follower) && status.last_index >= commit
            })
        };
        self.cures.is_empty() && self.nodes.iter().all(well)
    }

    /// Damages a row in the middle of a ledger.
    fn damage(&mut self, node: Host) {
        let path = self.nodes[node].data_dir().join("ledger.db");
        let row = i64::try_from(self.random.below(100_000)).expect("small");
        self.threads.block_on(damage_a_row(&path, row));
    }

    /// Lets everything run for a millisecond.
    pub(crate) fn step(&mut self) {
        self.now_ms += 1;
        self.zookeeper.step(self.now_ms);
        self.network.step(self.now_ms);
        for node in 0..self.nodes.len() {
            self.nodes[node].step(self.now_ms);
            self.follow(node);
        }
        let until = self.clients.origin + Duration::from_millis(self.now_ms);
        self.clients.runtime.block_on(async { sleep_until(until).await });
        let due: Vec<_> = self.cures.extract_if(.., |(at, _)| *at <= self.now_ms).collect();
        for (_, cure) in due {
            faults::heal(self, cure);
        }
    }

    /// Starts a process again that has ended, as whoever runs a node does.
    fn follow(&mut self, node: Host) {
        match self.nodes[node].fate() {
            None | Some(Fate::Runs) => {}
            Some(Fate::Failed(error)) if !ends_a_process(&error) => {
                panic!("seed {}: node{} ended at {} ms: {error}", self.seed, node + 1, self.now_ms)
            }
            Some(fate) => {
                self.note(format_args!("node{} ended: {fate:?}", node + 1));
                self.kill(node, 20);
            }
        }
    }

    /// Runs until something holds.
    pub(crate) fn await_within(&mut self, ms: u64, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.now_ms + ms;
        while !holds(self) {
            assert!(self.now_ms < end, "seed {}: {what} within {ms} ms\n{}", self.seed, self.describe());
            self.step();
        }
    }

    pub(crate) fn describe(&self) -> String {
        let nodes = self.nodes.iter().map(|node| format!("{:#?}", node.status()));
        self.trace.iter().cloned().chain(nodes).collect::<Vec<_>>().join("\n")
    }

    fn is_settled(&self) -> bool {
        let statuses: Option<Vec<_>> = self.nodes.iter().map(NodeHost::status).collect();
        let Some(statuses) = statuses else { return false };
        let last = statuses.iter().map(|status| status.last_index).max().unwrap_or(LogIndex(0));
        statuses.iter().filter(|status| status.role == Role::Leader).count() == 1
            && statuses
                .iter()
                .all(|status| matches!(status.role, Role::Leader | Role::Follower) && status.applied_index == last)
    }

    fn heal_everything(&mut self) {
        self.note(format_args!("healing"));
        self.cures.clear();
        self.network.heal();
        faults::heal(self, Cure::ZooKeeper);
        for node in 0..self.nodes.len() {
            self.nodes[node].disk.set_hangs(false);
            self.nodes[node].pause_until(0);
            self.nodes[node].set_skew(0);
            self.start(node);
        }
    }
}

/// Whether a process may end because of this: its ledger turned out to be damaged, which its next start takes care of.
fn ends_a_process(error: &quorapay_node::runtime::NodeError) -> bool {
    use quorapay_node::ledger::LedgerError;
    use quorapay_node::runtime::NodeError;
    matches!(error, NodeError::Ledger(LedgerError::Damaged(_)))
}

/// Runs a seed.
pub(crate) fn run(seed: u64) -> Outcome {
    let folder = tempfile::Builder::new().prefix("quorapay-nodes-").tempdir_in(fast_folder()).expect("a folder");
    let mut world = World::new(seed, folder.path());
    let kinds = faults::draw(&mut world.random);
    let count = world.nodes.len();
    world.note(format_args!("{count} nodes, {kinds:?}"));
    (0..count).for_each(|node| world.start(node));
    let history = folder.path().join("history.jsonl");
    let load = start_load(&world, &history);
    while world.now_ms < FAULTS_MS {
        world.step();
        if world.now_ms >= world.calm_until_ms && !kinds.is_empty() {
            let fault = kinds[world.random.index(kinds.len())];
            faults::strike(&mut world, fault);
        }
    }
    world.heal_everything();
    if world.random.below(2) == 0 {
        lasting::endure(&mut world, &load);
        world.heal_everything();
    }
    let summary = finish(&mut world, load);
    assert_eq!((&summary.unsettled, &summary.unread), (&vec![], &vec![]), "seed {seed}: everything can be read");
    world.await_within(SETTLING_MS, "the cluster settles", World::is_settled);
    let ledgers = world.nodes.iter_mut().map(|node| {
        node.kill();
        node.data_dir()
    });
    let subjects = Subjects { histories: vec![history.clone()], ledgers: ledgers.collect(), all_complete: true };
    let report = world.threads.block_on(check::check(&subjects)).expect("the files can be read");
    assert_eq!(report.verdict, Verdict::Kept, "seed {seed}: {report}\n{}", world.describe());
    world.network.clear();
    let history = std::fs::read_to_string(&history).expect("the history is there");
    Outcome { history, trace: world.trace, committed: summary.progress.committed }
}

/// A folder in memory, where there is one: nothing here outlives the run.
fn fast_folder() -> std::path::PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn start_load(world: &World, history: &Path) -> RunningLoad {
    let plan = LoadPlan {
        run: format!("s{:x}", world.seed),
        rate: RATE,
        processes: 4,
        deadline: Duration::from_secs(2),
        ..LoadPlan::standard(world.seed)
    };
    let header = Header::new("simulated", world.seed, 0, plan.processes + 1);
    let target = |node: Host| Target { name: format!("node{}", node + 1), url: url(node, Port::Clients) };
    let targets: Vec<_> = (0..world.nodes.len()).map(target).collect();
    let network = Arc::new(world.network.at(world.nodes.len()));
    world.clients.runtime.block_on(async {
        let recorder = Recorder::create(history, &header).expect("the run's folder can be written");
        Load::start_over(network, &targets, plan, recorder).expect("the plan is sound")
    })
}

/// Ends the load, and reads every account and every key whose outcome is open.
fn finish(world: &mut World, load: RunningLoad) -> LoadSummary {
    world.await_within(SETTLING_MS, "the nodes agree on a leader that serves", |world| {
        world.nodes.iter().all(|node| node.status().is_some_and(|status| status.leader.is_some()))
    });
    let summary = Arc::new(Mutex::new(None));
    let finished = Arc::clone(&summary);
    world.clients.runtime.spawn(async move {
        let result = load.finish(Duration::from_millis(READING_MS)).await;
        *finished.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    });
    let is_there = |_: &World| summary.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    world.await_within(2 * READING_MS, "the final reads end", is_there);
    let result = summary.lock().unwrap_or_else(PoisonError::into_inner).take().expect("it is there");
    result.expect("the history was written")
}

/// Changes the time of an entry somewhere in the ledger, behind the back of its hash.
async fn damage_a_row(path: &Path, random: i64) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.expect("the ledger is there");
    let sql = "UPDATE entries SET timestamp_ms = timestamp_ms + 1 \
               WHERE log_index = 1 + ? % (SELECT MAX(log_index) FROM entries)";
    sqlx::query(sql).bind(random).execute(&mut connection).await.expect("nobody else has it open");
    connection.close().await.expect("the file can be written");
}
