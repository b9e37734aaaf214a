//! Private ZooKeeper servers on free ports.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{LazyLock, OnceLock};
use std::thread;

use quorapay_lab::local::{self, Ensemble, LocalError, Member, Signal};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::ports::listening_port;
use super::reaper::{folder, reaper};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/zk/zookeeper.sh");

/// One server. Killed when dropped.
pub(crate) struct ZooKeeperServer {
    server: local::ZooKeeperServer,
    _folder: TempDir,
}

impl ZooKeeperServer {
    /// Starts a server and waits until it serves.
    pub(crate) fn start() -> Self {
        require_zookeeper();
        // Another process may take the port before the server does.
        let mut failures = Vec::new();
        for _ in 0..3 {
            let folder = folder("zookeeper-");
            let server = local::ZooKeeperServer::alone(folder.path(), listening_port()).unwrap();
            let mut server = Self { server, _folder: folder };
            match server.launch().and_then(|()| server.wait_until_serving()) {
                Ok(()) => return server,
                Err(error) => failures.push(error.to_string()),
            }
        }
        panic!("a private ZooKeeper server did not start three times in a row: {failures:#?}");
    }

    /// A server for tests that neither stop it nor fill it; each uses its own cluster id.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<ZooKeeperServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// `host:port` for clients.
    pub(crate) fn address(&self) -> String {
        self.server.address()
    }

    /// Kills the server. Its data stay.
    pub(crate) fn stop(&mut self) {
        wait(self.server.kill());
    }

    /// Deletes the data of a server that was stopped.
    pub(crate) fn wipe(&self) {
        self.server.wipe().unwrap();
    }

    /// Starts it again on the same port and does not wait until it serves: it may have no quorum.
    pub(crate) fn start_again(&mut self) {
        self.launch().expect("the ZooKeeper server starts");
    }

    /// Whether it was started and not stopped.
    pub(crate) fn runs(&self) -> bool {
        self.server.runs()
    }

    /// Starts it again on the same port with the same data, and waits until it serves.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.launch().and_then(|()| self.wait_until_serving()).expect("the ZooKeeper server comes back");
    }

    /// Starts it again on the same port without its data.
    pub(crate) fn restart_empty(&mut self) {
        self.stop();
        self.server.wipe().unwrap();
        self.restart();
    }

    /// Stops its process with SIGSTOP, as a long pause of its machine would.
    pub(crate) fn pause(&self) {
        self.server.signal(Signal::SIGSTOP);
    }

    /// Continues it.
    pub(crate) fn resume(&self) {
        self.server.signal(Signal::SIGCONT);
    }

    fn launch(&mut self) -> Result<(), LocalError> {
        wait(async { self.server.launch(Some(reaper())) })
    }

    fn wait_until_serving(&mut self) -> Result<(), LocalError> {
        wait(self.server.wait_until_serving())
    }
}

impl Drop for ZooKeeperServer {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Servers that replicate to each other.
pub(crate) struct ZooKeeperEnsemble {
    pub(crate) servers: Vec<ZooKeeperServer>,
}

impl ZooKeeperEnsemble {
    /// Starts this many servers and waits until all serve.
    pub(crate) fn start(size: usize) -> Self {
        require_zookeeper();
        let member = |_| Member {
            address: Ipv4Addr::LOCALHOST.into(),
            client_port: listening_port(),
            peer_port: listening_port(),
            election_port: listening_port(),
        };
        let ensemble = Ensemble((0..size).map(member).collect());
        let server = |number| {
            let folder = folder("zookeeper-");
            let server = local::ZooKeeperServer::of_ensemble(folder.path(), &ensemble, number, Vec::new());
            ZooKeeperServer { server: server.unwrap(), _folder: folder }
        };
        let mut servers: Vec<ZooKeeperServer> = (1..=size).map(server).collect();
        servers.iter_mut().for_each(|server| server.launch().unwrap());
        servers.iter_mut().for_each(|server| server.wait_until_serving().unwrap());
        Self { servers }
    }

    /// `host:port,host:port,…` for clients.
    pub(crate) fn addresses(&self) -> String {
        self.servers.iter().map(ZooKeeperServer::address).collect::<Vec<_>>().join(",")
    }

    /// The server that leads the ensemble.
    pub(crate) fn leader(&self) -> usize {
        let leads = |server: &ZooKeeperServer| {
            server.server.runs() && wait(server.server.mode()).is_some_and(|mode| mode == "leader")
        };
        self.servers.iter().position(leads).expect("one server leads")
    }
}

pub(crate) fn require_zookeeper() {
    let found = Command::new(SCRIPT).arg("where").output().unwrap();
    assert!(
        found.status.success(),
        "these tests need ZooKeeper; 'make test' or 'zk/zookeeper.sh install' installs it: {}",
        String::from_utf8_lossy(&found.stderr)
    );
}

/// Runs a future to its end, also for a caller that is a task of another runtime, which must not block on this one.
fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime for ZooKeeper's processes"));
    thread::scope(|scope| scope.spawn(|| RUNTIME.block_on(future)).join().expect("the thread does not panic"))
}
