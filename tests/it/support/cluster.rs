//! Clusters of real nodes on free ports of loopback. Their logs are printed when a test fails.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::clocks::{WallClock, forget_process};
use super::http::{Connection, Request, Response};
use super::links::Link;
use super::permit::Permit;
use super::ports::listening_port;
use super::reaper::{folder, reaper};
use super::zookeeper::ZooKeeperServer;

/// Timeout of everything that a test waits for. It takes a fraction of a second on an idle machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// Interval between two polls of another process's state.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How long a node may take to end after SIGTERM, as documented.
const TERMINATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Options of a cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Additional lines of every node's configuration file.
    pub(crate) settings: String,
    /// Servers to use instead of the ones that all tests share.
    pub(crate) zookeeper: Option<String>,
    /// How many files a node may have open, if not as many as this process.
    pub(crate) open_files: Option<u32>,
    /// Whether the nodes reach each other and ZooKeeper through links that can be cut. ZooKeeper is then one server.
    pub(crate) with_links: bool,
    /// Which ports are sealed, with the files of each node's folder of certificates. The test makes them.
    pub(crate) sealed: Sealed,
    /// Whether each node has a wall clock of its own that can be set wrong.
    pub(crate) with_clocks: bool,
}

/// Ports that speak TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sealed {
    #[default]
    None,
    /// The peers' port.
    Peers,
    /// The peers' port and the clients' port, which demands certificates.
    Both,
}

/// One node, with its process while it runs.
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) peer_port: u16,
    pub(crate) config: PathBuf,
    pub(crate) data_dir: PathBuf,
    /// Its own wall clock, if the cluster was started with them and this machine has the means.
    pub(crate) clock: Option<WallClock>,
    log: PathBuf,
    open_files: Option<u32>,
    process: Option<Child>,
    paused: bool,
    links: Vec<Link>,
}

/// Some nodes and their folder. Killed when dropped.
pub(crate) struct Cluster {
    pub(crate) id: String,
    pub(crate) nodes: Vec<Node>,
    _folder: TempDir,
    _permit: Permit,
}

impl Cluster {
    /// Starts this many nodes and waits until each accepts payments.
    pub(crate) fn start(size: usize) -> Self {
        Self::start_with(size, &Options::default())
    }

    /// Like [`Self::start`], with options.
    pub(crate) fn start_with(size: usize, options: &Options) -> Self {
        let mut cluster = Self::prepare(size, options);
        (0..size).for_each(|node| cluster.nodes[node].start());
        cluster.wait_ready();
        cluster
    }

    /// Writes the configuration files and starts nothing.
    pub(crate) fn prepare(size: usize, options: &Options) -> Self {
        static CLUSTERS: AtomicUsize = AtomicUsize::new(0);
        let permit = Permit::take();
        let id = format!("it-{}-{}", std::process::id(), CLUSTERS.fetch_add(1, Ordering::Relaxed));
        let folder = folder(&id);
        let place = |number| Node { open_files: options.open_files, ..Node::place(number, folder.path()) };
        let mut nodes: Vec<Node> = (1..=size).map(place).collect();
        let zookeeper = options.zookeeper.clone().unwrap_or_else(|| ZooKeeperServer::shared().address());
        let peer_ports: Vec<(String, u16)> = nodes.iter().map(|node| (node.id.clone(), node.peer_port)).collect();
        for node in &mut nodes {
            let (zookeeper, peers) = if options.with_links {
                node.link(&zookeeper, &peer_ports)
            } else {
                (zookeeper.clone(), peer_ports.clone())
            };
            let scheme = if options.sealed == Sealed::None { "http" } else { "https" };
            let peers = peers.iter().map(|(id, port)| format!("{id} = \"{scheme}://127.0.0.1:{port}\"\n"));
            let sealed = node.sealed_settings(options.sealed);
            if options.with_clocks {
                node.clock = WallClock::of(&node.id, folder.path());
            }
            let Node { id: node_id, port, peer_port, data_dir, .. } = node;
            let settings = format!(
                "node_id = \"{node_id}\"\ncluster_id = \"{id}\"\nlisten = \"127.0.0.1:{port}\"\n\
                 peer_listen = \"127.0.0.1:{peer_port}\"\nzookeeper = \"{zookeeper}\"\ndata_dir = \"{}\"\n{}\n{sealed}[peers]\n{}",
                data_dir.display(),
                options.settings,
                peers.collect::<String>()
            );
            fs::write(&node.config, settings).unwrap();
        }
        Self { id, nodes, _folder: folder, _permit: permit }
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.process.is_some() && !node.paused)
    }

    /// Waits until every running node accepts payments and all name the same running leader. Returns it.
    pub(crate) fn wait_ready(&self) -> usize {
        let mut leader = None;
        wait_until("every running node is ready and names the same leader", || {
            let named: Vec<Option<String>> = self.running().map(Node::named_leader).collect();
            leader = self.running().map(|node| node.id.clone()).find(|id| {
                let id = Some(id.clone());
                named.iter().all(|named| *named == id)
            });
            leader.is_some()
        });
        self.position(&leader.unwrap())
    }

    /// Gives all nodes a new cluster's id and new data directories, in their configuration files. None may run. Returns the
    /// data directories of before.
    pub(crate) fn become_new_cluster(&mut self) -> Vec<PathBuf> {
        let (old_id, new_id) = (self.id.clone(), format!("{}-new", self.id));
        self.id.clone_from(&new_id);
        let move_node = |node: &mut Node| {
            assert!(node.process.is_none(), "{} runs", node.id);
            let new_dir = node.data_dir.with_extension("new");
            let settings = fs::read_to_string(&node.config).unwrap();
            let settings = settings
                .replace(&format!("cluster_id = \"{old_id}\""), &format!("cluster_id = \"{new_id}\""))
                .replace(&format!("\"{}\"", node.data_dir.display()), &format!("\"{}\"", new_dir.display()));
            fs::write(&node.config, settings).unwrap();
            std::mem::replace(&mut node.data_dir, new_dir)
        };
        self.nodes.iter_mut().map(move_node).collect()
    }

    /// The current leader.
    pub(crate) fn leader(&self) -> usize {
        self.wait_ready()
    }

    /// The current followers.
    pub(crate) fn followers(&self) -> Vec<usize> {
        let leader = self.leader();
        (0..self.nodes.len()).filter(|node| *node != leader).collect()
    }

    /// The node with this id.
    pub(crate) fn position(&self, id: &str) -> usize {
        self.nodes.iter().position(|node| node.id == id).unwrap_or_else(|| panic!("there is no node {id}"))
    }

    /// Kills a process, as a power failure would.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Starts a node that does not run. Returns before it is ready.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node].start();
    }

    /// Stops a process with SIGSTOP, as a long pause of its machine would.
    pub(crate) fn pause(&mut self, node: usize) {
        self.nodes[node].signal(Signal::SIGSTOP);
        self.nodes[node].paused = true;
    }

    /// Continues it.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].signal(Signal::SIGCONT);
        self.nodes[node].paused = false;
    }

    /// Cuts a node off from the others and from ZooKeeper, or connects it again. Its clients still reach it. The cluster
    /// must have been started with links.
    pub(crate) fn set_cut(&self, node: usize, cut: bool) {
        assert!(!self.nodes[node].links.is_empty(), "the cluster has links");
        self.nodes[node].links.iter().for_each(|link| link.set_cut(cut));
        let port = self.nodes[node].peer_port;
        let to_it = self.nodes.iter().flat_map(|other| &other.links).filter(|link| link.target == port);
        to_it.for_each(|link| link.set_cut(cut));
    }

    /// Stops a process with SIGTERM and checks that it ends in time with exit code 0.
    pub(crate) fn terminate(&mut self, node: usize) {
        let began = Instant::now();
        self.nodes[node].signal(Signal::SIGTERM);
        let status = self.nodes[node].wait_for_end();
        assert!(began.elapsed() <= TERMINATE_TIMEOUT, "{} took {:?} to end", self.nodes[node].id, began.elapsed());
        assert_eq!(status.code(), Some(0), "{} was asked to end", self.nodes[node].id);
    }

    /// Deletes the files of a node that does not run.
    pub(crate) fn wipe(&self, node: usize) {
        assert!(self.nodes[node].process.is_none(), "a node that runs holds its files");
        fs::remove_dir_all(&self.nodes[node].data_dir).unwrap();
    }

    /// Waits until a node has applied what another has committed, and compares the last hashes of the two ledgers.
    pub(crate) fn wait_caught_up(&self, node: usize, with: usize) {
        let (index, hash) = self.nodes[with].last_entry();
        wait_until("the node has applied what the others have", || {
            self.nodes[node].try_get("/livez").is_some_and(|answer| answer.number("Quorapay-Index") >= index)
        });
        assert_eq!(self.nodes[node].entry(index)["hash"], hash, "the ledgers differ at {index}");
    }

    /// The entries of all running nodes' ledgers, which must be equal.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let mut ledgers = self.running().map(|node| (node.id.clone(), node.ledger()));
        let (first_id, first) = ledgers.next().expect("a node runs");
        for (id, ledger) in ledgers {
            let common = first.len().min(ledger.len());
            let differs = (0..common).find(|at| first[*at] != ledger[*at]);
            assert_eq!(differs, None, "the ledgers of {first_id} and {id} differ from there");
            // Each was read after all payments: since then only an election may have added an entry.
            let rest = first[common..].iter().chain(&ledger[common..]);
            assert!(
                rest.into_iter().all(|entry| entry["kind"] == "epoch_start"),
                "{first_id} and {id} end differently"
            );
        }
        first
    }

    /// The logs of all nodes.
    pub(crate) fn logs(&self) -> String {
        let mut logs = String::new();
        for node in &self.nodes {
            writeln!(logs, "---- {}\n{}", node.id, node.log()).unwrap();
        }
        logs
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Node::kill);
        let logs = self.logs();
        if thread::panicking() {
            eprintln!("the logs of cluster {}:\n{logs}", self.id);
            return;
        }
        for trace in ["panicked", "RUST_BACKTRACE"] {
            assert!(!logs.contains(trace), "a node left a panic's trace:\n{logs}");
        }
    }
}

impl Node {
    fn place(number: usize, folder: &Path) -> Self {
        let id = format!("node{number}");
        Self {
            port: listening_port(),
            peer_port: listening_port(),
            config: folder.join(format!("{id}.toml")),
            data_dir: folder.join(&id),
            log: folder.join(format!("{id}.log")),
            id,
            open_files: None,
            process: None,
            paused: false,
            links: Vec::new(),
            clock: None,
        }
    }

    /// Makes its links. Returns the address of ZooKeeper and the nodes' peer ports as it is to see them.
    fn link(&mut self, zookeeper: &str, peers: &[(String, u16)]) -> (String, Vec<(String, u16)>) {
        let zookeeper = Link::to(zookeeper.rsplit_once(':').unwrap().1.parse().unwrap());
        let address = format!("127.0.0.1:{}", zookeeper.port);
        self.links.push(zookeeper);
        let reached = |(id, port): &(String, u16)| {
            if *id == self.id {
                return (id.clone(), *port);
            }
            self.links.push(Link::to(*port));
            (id.clone(), self.links.last().unwrap().port)
        };
        (address, peers.iter().map(reached).collect())
    }

    /// The folder of its certificates.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.config.with_extension("certificates")
    }

    fn sealed_settings(&self, sealed: Sealed) -> String {
        let folder = self.certificates();
        let line = |(setting, file): (&str, &str)| format!("{setting} = \"{}\"\n", folder.join(file).display());
        let files = [
            ("peer_tls_certificate_file", "certificate.pem"),
            ("peer_tls_key_file", "key.pem"),
            ("peer_tls_ca_file", "ca.pem"),
            ("tls_certificate_file", "certificate.pem"),
            ("tls_key_file", "key.pem"),
            ("tls_client_ca_file", "ca.pem"),
        ];
        let used = match sealed {
            Sealed::None => 0,
            Sealed::Peers => 3,
            Sealed::Both => files.len(),
        };
        files.into_iter().take(used).map(line).collect()
    }

    /// Starts its process.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.id);
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let mut command = node_command(&self.config);
        if let Some(files) = self.open_files {
            command = with_open_files(files, &command);
        }
        command.envs(self.clock.iter().flat_map(WallClock::variables));
        let process = command.stderr(log.try_clone().unwrap()).stdout(log).spawn().unwrap();
        reaper().watch(process.id());
        self.process = Some(process);
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
            reaper().forget(process.id());
            self.paused = false;
            if self.clock.is_some() {
                forget_process(process.id());
            }
        }
    }

    /// Whether its process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().unwrap().is_some())
    }

    /// The id of its process, which must run.
    pub(crate) fn pid(&self) -> u32 {
        self.process.as_ref().unwrap_or_else(|| panic!("{} does not run", self.id)).id()
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until its process ends by itself. Returns its exit status.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        let mut process = self.process.take().unwrap_or_else(|| panic!("{} does not run", self.id));
        let mut status = None;
        wait_until("the process ends", || {
            status = process.try_wait().unwrap();
            status.is_some()
        });
        reaper().forget(process.id());
        status.unwrap()
    }

    /// Its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a request over a new connection.
    pub(crate) fn send(&self, request: &Request) -> Response {
        self.try_send(request).unwrap_or_else(|error| panic!("{} did not answer {request:?}: {error}", self.id))
    }

    pub(crate) fn try_send(&self, request: &Request) -> io::Result<Response> {
        Connection::to(self.port).send(request)
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    pub(crate) fn try_get(&self, target: &str) -> Option<Response> {
        self.try_send(&Request::get(target)).ok()
    }

    /// A payment in euros.
    pub(crate) fn pay(&self, key: &str, from: &str, to: &str, amount: i64) -> Response {
        self.pay_in("EUR", key, from, to, amount)
    }

    pub(crate) fn pay_in(&self, currency: &str, key: &str, from: &str, to: &str, amount: i64) -> Response {
        let body = json!({"from": from, "to": to, "amount": amount, "currency": currency});
        self.send(&Request::post("/v1/payments").key(key).json(body.to_string()))
    }

    /// The posted balance of an account in euros, zero if it has none.
    pub(crate) fn balance(&self, account: &str) -> i64 {
        let answer = self.get(&format!("/v1/accounts/{account}"));
        if answer.status == 404 {
            return 0;
        }
        posted(&answer.expect(200), "EUR")
    }

    /// The leader that it reports, if it is ready.
    fn named_leader(&self) -> Option<String> {
        let answer = self.try_get("/readyz")?;
        if answer.status != 200 {
            return None;
        }
        answer.json()["leader"].as_str().map(str::to_owned)
    }

    /// A node's status as this node reports it; null if that node did not answer.
    pub(crate) fn status_of(&self, id: &str) -> Value {
        let cluster = self.get("/v1/cluster").expect(200);
        let nodes = cluster["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["node_id"] == id).unwrap_or_else(|| panic!("no {id} in {cluster}"))["status"]
            .clone()
    }

    /// Its own status.
    pub(crate) fn status(&self) -> Value {
        self.status_of(&self.id)
    }

    /// One raw entry that it has applied.
    pub(crate) fn entry(&self, index: u64) -> Value {
        let page = self.get(&format!("/v1/ledger?from_index={index}&limit=1&consistency=local")).expect(200);
        page["entries"][0].clone()
    }

    /// Index and hash of the newest entry.
    pub(crate) fn last_entry(&self) -> (u64, Value) {
        let newest = self.get("/v1/payments?limit=1").number("Quorapay-Index");
        (newest, self.entry(newest)["hash"].clone())
    }

    /// All raw entries.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let mut entries: Vec<Value> = Vec::new();
        loop {
            let from = entries.len() + 1;
            let page = self.get(&format!("/v1/ledger?from_index={from}&limit=1000")).expect(200);
            let page = page["entries"].as_array().unwrap();
            if page.is_empty() {
                return entries;
            }
            for (at, entry) in (from as u64..).zip(page) {
                assert_eq!(entry["index"], at, "{} has a hole in its ledger", self.id);
            }
            entries.extend(page.iter().cloned());
        }
    }

    /// All accounts by id.
    pub(crate) fn accounts(&self) -> HashMap<String, Value> {
        let mut accounts = HashMap::new();
        let mut target = "/v1/accounts?limit=1000".to_owned();
        loop {
            let page = self.get(&target).expect(200);
            for account in page["accounts"].as_array().unwrap() {
                accounts.insert(account["id"].as_str().unwrap().to_owned(), account.clone());
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => target = format!("/v1/accounts?limit=1000&cursor={cursor}"),
                None => return accounts,
            }
        }
    }
}

/// The posted balance of an account in a currency.
pub(crate) fn posted(account: &Value, currency: &str) -> i64 {
    let balances = account["balances"].as_array().unwrap();
    let balance = balances.iter().find(|balance| balance["currency"] == currency);
    balance.map_or(0, |balance| balance["posted"].as_i64().unwrap())
}

/// The program under test: the one built with the tests, or another build that is to be measured.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("QUORAPAY_BINARY").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_quorapay")), PathBuf::from)
}

/// A command that runs one node, without the `QUORAPAY_*` variables of this process.
pub(crate) fn node_command(config: &Path) -> Command {
    let mut command = without_own_variables(Command::new(program()));
    command.arg("node").arg("--config").arg(config).stdin(Stdio::null());
    command
}

/// The same command, as a process that may have so many files open.
fn with_open_files(files: u32, command: &Command) -> Command {
    let mut limited = without_own_variables(Command::new("prlimit"));
    limited.arg(format!("--nofile={files}:{files}")).arg(command.get_program()).args(command.get_args());
    limited.stdin(Stdio::null());
    limited
}

fn without_own_variables(mut command: Command) -> Command {
    let own = |name: &String| name.starts_with("QUORAPAY_");
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(own) {
        command.env_remove(name);
    }
    command
}

/// Runs this program to its end, without the `QUORAPAY_*` variables of this process.
pub(crate) fn run_program(arguments: &[&str]) -> Output {
    without_own_variables(Command::new(program())).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// Polls until a condition holds.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// The sum of all accounts, by currency.
pub(crate) fn totals(accounts: &HashMap<String, Value>) -> BTreeMap<String, i128> {
    let mut totals = BTreeMap::new();
    for balance in accounts.values().flat_map(|account| account["balances"].as_array().unwrap()) {
        let currency = balance["currency"].as_str().unwrap().to_owned();
        *totals.entry(currency).or_default() += i128::from(balance["posted"].as_i64().unwrap());
    }
    totals
}
