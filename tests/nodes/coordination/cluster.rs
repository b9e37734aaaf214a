//! Hosts with nothing but their coordination, each in a runtime of its own with a paused clock, stepped one after the
//! other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorapay_core::domain::Epoch;
use quorapay_core::replication::{CoordinationCommand, CoordinationEvent, NodeId, QueueRank, StoreId};
use quorapay_lab::random::Random;
use quorapay_node::coordination::{self, Coordination, CoordinationConfig, CoordinationNotice, Outside, Probe, Prober};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::zookeeper::{HostId, SimZooKeeper};

/// Where the coordination of these tests keeps its znodes.
pub(super) const CLUSTER: &str = "/quorapay/shop";

/// What connections to the hosts show.
#[derive(Default)]
struct Addresses(Mutex<BTreeMap<String, Probe>>);

impl Prober for Addresses {
    fn probe<'a>(&'a self, peer_url: &'a str) -> BoxFuture<'a, Probe> {
        let probe = self.0.lock().expect("nobody panics with it").get(peer_url).copied().unwrap_or(Probe::Silent);
        Box::pin(std::future::ready(probe))
    }
}

/// A running process.
pub(super) struct Host {
    runtime: Runtime,
    started: (u64, Instant),
    /// None while it shuts down.
    coordination: Option<Coordination>,
    notices: mpsc::Receiver<CoordinationNotice>,
    /// What it was told last.
    pub(super) rank: QueueRank,
    pub(super) connected: bool,
    /// The newest epoch that it has heard of.
    pub(super) known: Epoch,
    /// It has asked for an epoch and got no answer.
    pub(super) waits_for_epoch: bool,
}

/// See the module.
pub(super) struct Cluster {
    pub(super) now: u64,
    pub(super) zookeeper: SimZooKeeper,
    addresses: Arc<Addresses>,
    session_timeout_ms: u64,
    pub(super) hosts: Vec<Option<Host>>,
    pub(super) trace: Vec<String>,
    /// Who got which epoch.
    pub(super) taken: BTreeMap<Epoch, HostId>,
}

pub(super) fn node_id(host: HostId) -> NodeId {
    NodeId::parse(&format!("node{host}")).expect("a valid node id")
}

fn peer_url(host: HostId) -> String {
    format!("http://node{host}:7000")
}

impl Cluster {
    /// Hosts that are still off.
    pub(super) fn new(seed: u64, hosts: usize, session_timeout_ms: u64) -> Self {
        Self {
            now: 0,
            zookeeper: SimZooKeeper::new(Random::of_stream(seed, 1)),
            addresses: Arc::default(),
            session_timeout_ms,
            hosts: (0..hosts).map(|_| None).collect(),
            trace: Vec::new(),
            taken: BTreeMap::new(),
        }
    }

    /// Three hosts in the queue, host 0 first.
    pub(super) fn lined_up(seed: u64, session_timeout_ms: u64) -> Self {
        let mut cluster = Self::new(seed, 3, session_timeout_ms);
        for host in 0..3 {
            cluster.start(host);
            cluster.until(1_000, "its place", |cluster| cluster.rank(host) != QueueRank::Absent);
        }
        cluster
    }

    fn config(&self, host: HostId) -> CoordinationConfig {
        CoordinationConfig {
            servers: "zookeeper:2181".to_owned(),
            session_timeout: Duration::from_millis(self.session_timeout_ms),
            cluster_id: "shop".to_owned(),
            node_id: node_id(host),
            nodes: (0..self.hosts.len()).map(node_id).collect(),
            store_id: StoreId(host as u128),
            peer_url: peer_url(host),
            client_url: format!("http://node{host}:8000"),
            credential: None,
        }
    }

    fn answer_probes(&self, host: HostId, probe: Probe) {
        self.addresses.0.lock().expect("nobody panics with it").insert(peer_url(host), probe);
    }

    /// Starts a process on a host that is off.
    pub(super) fn start(&mut self, host: HostId) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without threads");
        let (sender, notices) = mpsc::channel(64);
        let outside = Outside { zookeeper: self.zookeeper.client(host), prober: Arc::clone(&self.addresses) as _ };
        let config = self.config(host);
        self.answer_probes(host, Probe::Alive);
        let (coordination, origin) =
            runtime.block_on(async { (coordination::start(config, outside, sender), Instant::now()) });
        let process = Host {
            runtime,
            started: (self.now, origin),
            coordination: Some(coordination),
            notices,
            rank: QueueRank::Absent,
            connected: false,
            known: Epoch(0),
            waits_for_epoch: false,
        };
        assert!(self.hosts[host].replace(process).is_none(), "host {host} is on");
        self.trace.push(format!("{} host {host} starts", self.now));
    }

    /// Kills the process of a host.
    pub(super) fn kill(&mut self, host: HostId) {
        drop(self.hosts[host].take());
        self.zookeeper.host_died(host);
        self.answer_probes(host, Probe::Dead);
        self.trace.push(format!("{} host {host} dies", self.now));
    }

    /// Stops the process of a host in order; it still has to be stepped.
    pub(super) fn shut_down(&mut self, host: HostId, within: Duration) {
        let process = self.process(host);
        let coordination = process.coordination.take().expect("it is not shutting down");
        process.runtime.spawn(coordination.shutdown(within));
    }

    pub(super) fn rank(&self, host: HostId) -> QueueRank {
        self.hosts[host].as_ref().map_or(QueueRank::Absent, |process| process.rank)
    }

    pub(super) fn process(&mut self, host: HostId) -> &mut Host {
        self.hosts[host].as_mut().expect("the host is on")
    }

    pub(super) fn command(&mut self, host: HostId, command: CoordinationCommand) {
        self.trace.push(format!("{} host {host} is told {command:?}", self.now));
        let process = self.process(host);
        process.waits_for_epoch |= matches!(command, CoordinationCommand::TakeEpoch { .. });
        process.coordination.as_ref().expect("it is not shutting down").commands.send(command);
    }

    pub(super) fn take_epoch(&mut self, host: HostId) {
        let at_least = Epoch(self.process(host).known.0 + 1);
        self.command(host, CoordinationCommand::TakeEpoch { at_least });
    }

    /// A millisecond passes for everybody.
    pub(super) fn step(&mut self) {
        self.now += 1;
        self.zookeeper.step(self.now);
        self.trace.extend(self.zookeeper.take_trace());
        for (id, process) in self.hosts.iter_mut().enumerate() {
            let Some(process) = process else { continue };
            let (started, origin) = process.started;
            let until = origin + Duration::from_millis(self.now - started);
            process.runtime.block_on(async { sleep_until(until).await });
            while let Ok(notice) = process.notices.try_recv() {
                self.trace.push(format!("{} host {id} reports {notice:?}", self.now));
                process.observe(id, notice, &mut self.taken);
            }
        }
    }

    pub(super) fn run(&mut self, duration_ms: u64) {
        (0..duration_ms).for_each(|_| self.step());
    }

    /// Runs until something holds, and says how long that took.
    pub(super) fn until(&mut self, within_ms: u64, what: &str, holds: impl Fn(&Self) -> bool) -> u64 {
        let begun = self.now;
        while !holds(self) {
            assert!(self.now < begun + within_ms, "no {what} within {within_ms} ms:\n{}", self.trace.join("\n"));
            self.step();
        }
        self.now - begun
    }

    /// Why the queue is not as it has to be in a healthy cluster.
    pub(super) fn unsettled(&self) -> Option<String> {
        let election = format!("{CLUSTER}/election");
        let places = self.zookeeper.children(&election);
        let owners: Vec<_> = places.iter().map(|place| self.zookeeper.owner(&format!("{election}/{place}"))).collect();
        for (host, process) in self.hosts.iter().enumerate() {
            let Some(process) = process else { return Some(format!("host {host} is off")) };
            let own = owners.iter().filter(|owner| **owner == Some(host)).count();
            if own != 1 {
                return Some(format!("host {host} has {own} places"));
            }
            let rank = if owners.first() == Some(&Some(host)) { QueueRank::First } else { QueueRank::Behind };
            if process.rank != rank || !process.connected {
                return Some(format!("host {host} is {rank:?} and reports {:?}", process.rank));
            }
            if self.zookeeper.owner(&format!("{CLUSTER}/live/{}", node_id(host))) != Some(host) {
                return Some(format!("host {host} does not hold its id"));
            }
            if process.waits_for_epoch {
                return Some(format!("host {host} waits for an epoch"));
            }
        }
        (owners.len() != self.hosts.len()).then(|| format!("{} places", owners.len()))
    }

    /// The host that was told that it is first. There may be none.
    pub(super) fn first(&self) -> Option<HostId> {
        (0..self.hosts.len()).find(|host| self.rank(*host) == QueueRank::First)
    }
}

impl Host {
    fn observe(&mut self, id: HostId, notice: CoordinationNotice, taken: &mut BTreeMap<Epoch, HostId>) {
        match notice {
            CoordinationNotice::Connected(connected) => self.connected = connected,
            CoordinationNotice::Fatal(error) => panic!("host {id}: {error}"),
            CoordinationNotice::Event(CoordinationEvent::QueueRank(rank)) => self.rank = rank,
            CoordinationNotice::Event(CoordinationEvent::EpochTaken(epoch)) => {
                self.waits_for_epoch = false;
                assert!(epoch > self.known, "host {id} asked for more than {}, and got {epoch}", self.known);
                self.known = epoch;
                let earlier = taken.insert(epoch, id);
                assert_eq!(earlier, None, "{epoch} is given to host {id} too");
            }
            CoordinationNotice::Event(CoordinationEvent::EpochRefused) => self.waits_for_epoch = false,
            CoordinationNotice::Event(CoordinationEvent::NotRemoved { newest, .. }) => {
                self.known = self.known.max(newest);
            }
        }
    }
}
