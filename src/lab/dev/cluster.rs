//! A development cluster: ZooKeeper and the nodes as processes.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::control::{Control, Order};
use super::error::DevError;
use super::layout::{self, DevFile, DevNode, DevOptions, Plan};
use crate::fault::{
    Addresses, Board, Clocks, FaultName, FaultReply, FaultRequest, HealRequest, Names, Network, Node, Processes, Target,
};
use crate::local::{Ensemble, LocalError, Member, ZooKeeperServer};
use quorapay_client::{Client, NodeRole, Readiness, Tls};

/// Timeout of the start, until the cluster accepts payments.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval between two polls of the nodes' readiness.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Shortest time between two starts of a ZooKeeper server that ends by itself.
const ZOOKEEPER_RESTART_INTERVAL: Duration = Duration::from_secs(5);

/// A running cluster. Dropping it kills its processes.
pub struct DevCluster {
    data_dir: PathBuf,
    zookeeper_address: String,
    nodes: Vec<DevNode>,
    zookeeper_names: Vec<String>,
    processes: Processes,
    faults: Board,
    /// When each ZooKeeper server was last started because it had ended.
    zookeeper_restarts: Vec<Option<Instant>>,
    http: reqwest::Client,
    control_path: PathBuf,
    control: Option<Control>,
    /// Reserves the directory for this cluster.
    _lock: File,
}

impl DevCluster {
    /// Starts everything and waits until payments are accepted.
    ///
    /// # Errors
    /// As [`Self::launch`] and [`Self::wait_until_ready`].
    pub async fn start(options: DevOptions) -> Result<Self, DevError> {
        let mut cluster = Self::launch(options).await?;
        match cluster.wait_until_ready().await {
            Ok(()) => Ok(cluster),
            Err(error) => {
                cluster.stop().await;
                Err(error)
            }
        }
    }

    /// Starts everything and does not wait for the nodes.
    ///
    /// # Errors
    /// [`DevError::Local`] for ports, files and processes, [`DevError::DirectoryInUse`], [`DevError::Fault`] if clocks are
    /// wanted and cannot be set.
    pub async fn launch(options: DevOptions) -> Result<Self, DevError> {
        let Plan { nodes, addresses, mut ports } = layout::plan(&options)?;
        let data_dir = std::path::absolute(&options.data_dir).map_err(LocalError::io("the data directory"))?;
        std::fs::create_dir_all(&data_dir).map_err(LocalError::io(data_dir.display().to_string()))?;
        let lock = layout::lock(&data_dir)?;
        let clocks = Clocks::wanted(options.clocks).await?;
        let network =
            if options.direct { Network::Direct } else { Network::over_proxies(&addresses, &mut ports).await? };
        let node = |node: &DevNode| Node::new(node.id.clone(), &data_dir, node.url.clone(), &clocks);
        let zookeepers = zookeepers(&data_dir, &addresses)?;
        let own = zookeepers.iter().map(ZooKeeperServer::address).collect::<Vec<_>>().join(",");
        let mut processes =
            Processes { nodes: nodes.iter().map(node).collect(), zookeepers, network, reaper: None, own_disks: false };
        // A node that starts earlier fails to connect and waits for seconds before it retries.
        processes.start_zookeepers().await?;
        let outside = options.zookeeper.as_deref();
        layout::write_configurations(&nodes, &processes.network, &addresses, outside, options.chaos_mode)?;
        processes.start_nodes()?;
        let http = Tls::none().http().timeout(Duration::from_secs(2)).build();
        let http = http.map_err(DevError::Http)?;
        let control = Control::open(&data_dir)?;
        let mut cluster = Self {
            zookeeper_address: options.zookeeper.unwrap_or(own),
            zookeeper_names: (1..=processes.zookeepers.len()).map(|number| format!("zookeeper{number}")).collect(),
            zookeeper_restarts: vec![None; processes.zookeepers.len()],
            faults: Board::default(),
            control_path: control.path().to_owned(),
            control: Some(control),
            data_dir,
            nodes,
            processes,
            http,
            _lock: lock,
        };
        cluster.write_dev_file()?;
        Ok(cluster)
    }

    /// The nodes in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[DevNode] {
        &self.nodes
    }

    /// The nodes' base URLs for clients.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// A client with failover over all nodes.
    ///
    /// # Errors
    /// [`DevError::Client`] if it cannot be set up.
    pub fn client(&self) -> Result<Client, DevError> {
        Ok(Client::new(&self.urls(), Duration::from_secs(5))?)
    }

    /// The orders of other programs. `None` after the first call.
    pub fn take_control(&mut self) -> Option<Control> {
        self.control.take()
    }

    fn write_dev_file(&mut self) -> Result<(), DevError> {
        for (shown, node) in self.nodes.iter_mut().zip(&self.processes.nodes) {
            shown.pid = node.pid();
        }
        let file = DevFile {
            zookeeper: self.zookeeper_address.clone(),
            control: self.control_path.clone(),
            nodes: self.nodes.clone(),
        };
        layout::write_dev_file(&self.data_dir, &file)
    }

    /// Waits until every running node is ready.
    ///
    /// # Errors
    /// [`DevError::Local`] with the last line of its log if a process ends meanwhile, [`DevError::NotReady`].
    pub async fn wait_until_ready(&mut self) -> Result<(), DevError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            for server in &mut self.processes.zookeepers {
                if server.ended() {
                    return Err(LocalError::ended("ZooKeeper", server.log()).into());
                }
            }
            for node in &mut self.processes.nodes {
                if node.take_exit().is_some() {
                    return Err(LocalError::ended(&node.id, &node.log).into());
                }
            }
            let running = self.processes.nodes.iter().filter(|node| node.pid().is_some());
            let ready = join_all(running.map(|node| self.readiness(&node.url))).await;
            if ready.iter().all(Option::is_some) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(DevError::NotReady { seconds: START_TIMEOUT.as_secs(), logs: self.data_dir.clone() });
            }
            // Readiness is the state of another process: it has to be polled.
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// What a node that is ready says of itself.
    async fn readiness(&self, url: &str) -> Option<Readiness> {
        let answer = self.http.get(format!("{url}/readyz")).send().await.ok()?;
        if answer.status().is_success() { answer.json().await.ok() } else { None }
    }

    /// One line for each node and each ZooKeeper server that has ended since the last call. ZooKeeper is started again.
    ///
    /// # Errors
    /// [`DevError::Local`] if dev.json cannot be written or ZooKeeper cannot be started.
    pub fn take_dead(&mut self) -> Result<Vec<String>, DevError> {
        let mut dead = Vec::new();
        for node in &mut self.processes.nodes {
            if let Some(status) = node.take_exit() {
                dead.push(format!("{} ended ({status}); its log is {}", node.id, node.log.display()));
            }
        }
        if !dead.is_empty() {
            self.write_dev_file()?;
        }
        dead.extend(self.restart_zookeeper()?);
        Ok(dead)
    }

    fn restart_zookeeper(&mut self) -> Result<Vec<String>, DevError> {
        let mut lines = Vec::new();
        let servers = self.processes.zookeepers.iter_mut().zip(&mut self.zookeeper_restarts).zip(&self.zookeeper_names);
        for ((server, restarted), name) in servers {
            let just_now = restarted.is_some_and(|at| at.elapsed() < ZOOKEEPER_RESTART_INTERVAL);
            if !just_now && server.ended() {
                lines.push(format!("{name} ended and is started again; its log is {}", server.log().display()));
                server.launch(None)?;
                *restarted = Some(Instant::now());
            }
        }
        Ok(lines)
    }

    /// A line for each fault that lasts.
    #[must_use]
    pub fn lasting_faults(&self) -> Vec<String> {
        self.faults.lines()
    }

    /// The node that says it leads, by id.
    pub async fn leader(&self) -> Option<String> {
        self.leader_number().await.map(|number| self.nodes[number].id.clone())
    }

    async fn leader_number(&self) -> Option<usize> {
        let answers = join_all(self.nodes.iter().map(|node| self.readiness(&node.url))).await;
        let leads = |answer: &Option<Readiness>| answer.as_ref().is_some_and(|ready| ready.role == NodeRole::Leader);
        answers.iter().position(leads)
    }

    async fn names(&self, with_leader: bool) -> Names {
        Names {
            nodes: self.nodes.iter().map(|node| node.id.clone()).collect(),
            zookeepers: self.zookeeper_names.clone(),
            leader: if with_leader { self.leader_number().await } else { None },
        }
    }

    /// Carries out an order.
    ///
    /// # Errors
    /// [`DevError::Fault`], and [`DevError::Local`] if dev.json cannot be written.
    pub async fn carry_out(&mut self, order: &Order) -> Result<FaultReply, DevError> {
        match order {
            Order::Fault(request) => self.break_something(request).await,
            Order::Heal(request) => self.heal(request).await,
            Order::List => Ok(FaultReply { lines: self.faults.lines(), heal: None }),
        }
    }

    /// Makes a fault.
    ///
    /// # Errors
    /// As [`Self::carry_out`]; nothing has changed then.
    pub async fn break_something(&mut self, request: &FaultRequest) -> Result<FaultReply, DevError> {
        let asks_for_leader = matches!(request.node.as_deref(), None | Some("leader" | "follower"));
        let names = self.names(asks_for_leader && !request.name.is_of_zookeeper()).await;
        let planned = request.plan(&names, rand::random())?;
        let made = self.faults.make(planned, &mut self.processes).await;
        self.write_dev_file()?;
        Ok(made?)
    }

    /// Heals faults; everything if the request names none, and then every node is started that does not run.
    ///
    /// # Errors
    /// As [`Self::carry_out`].
    pub async fn heal(&mut self, request: &HealRequest) -> Result<FaultReply, DevError> {
        let names = self.names(false).await;
        let healed = self.faults.heal(request, &names, &mut self.processes).await;
        self.write_dev_file()?;
        Ok(healed?)
    }

    /// Updates what changes with time while a fault lasts.
    ///
    /// # Errors
    /// [`DevError::Fault`].
    pub async fn maintain(&mut self) -> Result<(), DevError> {
        Ok(self.faults.maintain(&mut self.processes).await?)
    }

    /// Kills a node's process, as a power failure would.
    ///
    /// # Errors
    /// As [`Self::break_something`].
    pub async fn kill(&mut self, id: &str) -> Result<(), DevError> {
        let request = FaultRequest::new(FaultName::Kill, Some(id.to_owned()));
        self.break_something(&request).await.map(drop)
    }

    /// Starts every node that does not run and that no fault keeps down. Returns their ids.
    ///
    /// # Errors
    /// [`DevError::Local`] for processes and files.
    pub async fn restart_dead(&mut self) -> Result<Vec<String>, DevError> {
        let dead = |node: &(usize, &Node)| node.1.pid().is_none() && !self.faults.keeps_down(node.0);
        let dead: Vec<usize> = self.processes.nodes.iter().enumerate().filter(dead).map(|(at, _)| at).collect();
        self.processes.start(&dead).await?;
        self.write_dev_file()?;
        Ok(dead.into_iter().map(|at| self.nodes[at].id.clone()).collect())
    }

    /// Ends every process, the nodes first so that they can close their ZooKeeper sessions.
    pub async fn stop(&mut self) {
        self.processes.stop().await;
    }
}

/// The private servers, which are not started.
fn zookeepers(data_dir: &std::path::Path, addresses: &Addresses) -> Result<Vec<ZooKeeperServer>, LocalError> {
    if let [(_, [port, ..])] = addresses.zookeepers[..] {
        return Ok(vec![ZooKeeperServer::alone(data_dir, port)?]);
    }
    let member = |(address, [client_port, peer_port, election_port]): &(_, [u16; 3])| Member {
        address: *address,
        client_port: *client_port,
        peer_port: *peer_port,
        election_port: *election_port,
    };
    let ensemble = Ensemble(addresses.zookeepers.iter().map(member).collect());
    (1..=ensemble.0.len()).map(|number| ZooKeeperServer::of_ensemble(data_dir, &ensemble, number, Vec::new())).collect()
}
