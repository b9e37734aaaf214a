//! Private ZooKeeper servers, on free ports and in folders of their own.
//!
//! A server never outlives the tests, even if they are killed: a small shell keeps it company and kills it when the
//! pipe to the tests breaks.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/zk/zookeeper.sh");

/// Most time that a server may take until it serves. It takes a fifth of a second on an idle machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the script named first with the other arguments, says its process id, and kills it at a word or when the input
/// ends. An end without a word means that the tests are gone; nobody else removes the folder then.
const COMPANION: &str = r#"script=$1; folder=$2; shift 2
"$script" run "$@" >>"$folder/output.log" 2>&1 & server=$!
echo $server
read -r word
kill -9 $server 2>/dev/null
wait $server 2>/dev/null
[ -n "$word" ] || rm -rf -- "$folder"
exit 0"#;

/// One server. Killed when dropped.
pub(crate) struct ZooKeeperServer {
    port: u16,
    folder: TempDir,
    membership: Vec<String>,
    running: Option<Running>,
}

struct Running {
    companion: Child,
    server: Pid,
}

impl ZooKeeperServer {
    /// Starts a server and waits until it serves.
    pub(crate) fn start() -> Self {
        // Another process may take the free port before the server does.
        for _ in 0..3 {
            let mut server = Self::new(free_port(), Vec::new());
            server.launch();
            if server.wait_until_serving() {
                return server;
            }
        }
        panic!("a private ZooKeeper server did not come up three times in a row");
    }

    /// A server for tests that neither stop it nor fill it; each keeps to its own cluster id.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<ZooKeeperServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn new(port: u16, membership: Vec<String>) -> Self {
        let found = Command::new(SCRIPT).arg("where").output().unwrap();
        assert!(
            found.status.success(),
            "these tests need ZooKeeper; 'make test' or 'zk/zookeeper.sh install' gets it: {}",
            String::from_utf8_lossy(&found.stderr)
        );
        let folder = tempfile::Builder::new().prefix("quorapay-zookeeper-").tempdir().unwrap();
        Self { port, folder, membership, running: None }
    }

    /// `host:port` for clients.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the server. Its data stay.
    pub(crate) fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.companion.stdin.take().unwrap().write_all(b"stop\n").unwrap();
            running.companion.wait().unwrap();
        }
    }

    /// Starts it again on the same port with the same data, and waits until it serves.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.launch();
        assert!(self.wait_until_serving(), "the ZooKeeper server on port {} did not come back", self.port);
    }

    /// Starts it again on the same port, having forgotten everything.
    pub(crate) fn restart_empty(&mut self) {
        self.stop();
        fs::remove_dir_all(self.data()).unwrap();
        self.restart();
    }

    /// Stops its process in its tracks, as a long pause of its machine would.
    pub(crate) fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(self.running.as_ref().expect("the server runs").server, signal).unwrap();
    }

    fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn launch(&mut self) {
        let mut companion = Command::new("bash")
            .args(["-c", COMPANION, "zookeeper", SCRIPT])
            .arg(self.folder.path())
            .args(["--port", &self.port.to_string(), "--data"])
            .arg(self.data())
            .args(&self.membership)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs the ZooKeeper script");
        let mut line = String::new();
        BufReader::new(companion.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let server = Pid::from_raw(line.trim().parse().unwrap());
        self.running = Some(Running { companion, server });
    }

    /// False if another process has the port.
    fn wait_until_serving(&mut self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if ask(self.port, "srvr").is_some_and(|answer| answer.contains("Mode: ")) {
                return true;
            }
            let output = read(&self.folder.path().join("output.log")) + &read(&self.data().join("zookeeper.log"));
            if output.contains("Address already in use") {
                self.stop();
                return false;
            }
            // Nothing announces that a server has begun to serve: it has to be asked.
            thread::sleep(Duration::from_millis(10));
        }
        let output = read(&self.folder.path().join("output.log")) + &read(&self.data().join("zookeeper.log"));
        panic!("the ZooKeeper server on port {} did not serve within {START_TIMEOUT:?}:\n{output}", self.port);
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
        let ports: Vec<[u16; 3]> = (0..size).map(|_| [free_port(), free_port(), free_port()]).collect();
        let entries: Vec<String> =
            ports.iter().map(|[peer, election, client]| format!("127.0.0.1:{peer}:{election}:{client}")).collect();
        let list = entries.join(",");
        let mut servers: Vec<ZooKeeperServer> = (1..)
            .zip(&ports)
            .map(|(id, [_, _, client])| {
                let membership = ["--id".to_owned(), format!("{id}"), "--ensemble".to_owned(), list.clone()];
                ZooKeeperServer::new(*client, membership.to_vec())
            })
            .collect();
        servers.iter_mut().for_each(ZooKeeperServer::launch);
        for server in &mut servers {
            assert!(server.wait_until_serving(), "a port of the ensemble was taken by another process");
        }
        Self { servers }
    }

    /// `host:port,host:port,…` for clients.
    pub(crate) fn addresses(&self) -> String {
        self.servers.iter().map(ZooKeeperServer::address).collect::<Vec<_>>().join(",")
    }

    /// The server that leads the ensemble.
    pub(crate) fn leader(&self) -> usize {
        let leads = |server: &ZooKeeperServer| {
            server.running.is_some() && ask(server.port, "srvr").is_some_and(|answer| answer.contains("Mode: leader"))
        };
        self.servers.iter().position(leads).expect("one server leads")
    }
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server's answer to one of its four-letter words; `None` while it does not answer.
fn ask(port: u16, word: &str) -> Option<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500)).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
