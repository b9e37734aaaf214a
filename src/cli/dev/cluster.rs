//! A development cluster: ZooKeeper, the nodes, and what can be done to them.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::layout::{self, DevNode, DevOptions, io_error};
use crate::cli::CliError;
use quorapay_client::Client;
use quorapay_lab::local::{LocalError, Process, ZooKeeperServer, free_port, node_command};

/// How long the cluster may take until it accepts payments.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// See the module. Its processes end with it.
pub(in crate::cli) struct DevCluster {
    data_dir: PathBuf,
    zookeeper_address: String,
    zookeeper: Option<ZooKeeperServer>,
    nodes: Vec<DevNode>,
    processes: Vec<Option<Process>>,
    http: reqwest::Client,
    /// Keeps another cluster out of the same directory.
    _lock: File,
}

impl DevCluster {
    /// Starts everything and waits until a payment would be accepted.
    pub(in crate::cli) async fn start(options: DevOptions) -> Result<Self, CliError> {
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
    pub(super) async fn launch(options: DevOptions) -> Result<Self, CliError> {
        let mut nodes = layout::plan(&options)?;
        let data_dir = std::path::absolute(&options.data_dir).map_err(io_error("the data directory"))?;
        std::fs::create_dir_all(&data_dir).map_err(io_error(&data_dir.display().to_string()))?;
        let lock = layout::lock(&data_dir)?;
        let (zookeeper, zookeeper_address) = match options.zookeeper {
            Some(address) => (None, address),
            None => {
                let mut zookeeper = ZooKeeperServer::alone(&data_dir, free_port()?)?;
                zookeeper.launch(None)?;
                // A node that comes earlier waits for seconds before it tries again.
                zookeeper.wait_until_serving().await?;
                let address = zookeeper.address();
                (Some(zookeeper), address)
            }
        };
        layout::write_configurations(&nodes, &zookeeper_address)?;
        let mut processes = Vec::new();
        for node in &mut nodes {
            let process = Process::spawn(node_command(&node.config)?, &node.log, None)?;
            node.pid = process.pid();
            processes.push(Some(process));
        }
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build();
        let http = http.map_err(|error| CliError::Failed(format!("no HTTP client: {error}")))?;
        let cluster = Self { data_dir, zookeeper_address, zookeeper, nodes, processes, http, _lock: lock };
        cluster.write_dev_file()?;
        Ok(cluster)
    }

    pub(in crate::cli) fn nodes(&self) -> &[DevNode] {
        &self.nodes
    }

    pub(in crate::cli) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// A client of the cluster, with failover over all its nodes.
    pub(in crate::cli) fn client(&self) -> Result<Client, CliError> {
        Ok(Client::new(&self.urls(), Duration::from_secs(5))?)
    }

    fn write_dev_file(&self) -> Result<(), CliError> {
        layout::write_dev_file(&self.data_dir, &self.zookeeper_address, &self.nodes)
    }

    /// Waits until every running node is ready. A process that ends meanwhile is an error that shows its last words.
    pub(in crate::cli) async fn wait_until_ready(&mut self) -> Result<(), CliError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(zookeeper) = &mut self.zookeeper
                && zookeeper.ended()
            {
                return Err(LocalError::ended("ZooKeeper", zookeeper.log()).into());
            }
            for (node, process) in self.nodes.iter().zip(&mut self.processes) {
                if process.as_mut().is_some_and(|process| process.ended().is_some()) {
                    return Err(LocalError::ended(&node.id, &node.log).into());
                }
            }
            let running = self.nodes.iter().zip(&self.processes).filter(|(_, process)| process.is_some());
            let ready = join_all(running.map(|(node, _)| self.is_ready(&node.url))).await;
            if ready.into_iter().all(|ready| ready) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = START_TIMEOUT.as_secs();
                let logs = self.data_dir.display();
                return Err(CliError::Failed(format!("not ready after {seconds} s; the logs are in {logs}")));
            }
            // Readiness is another process's state: it can only be asked for.
            tokio::time::sleep(POLL).await;
        }
    }

    async fn is_ready(&self, url: &str) -> bool {
        let answer = self.http.get(format!("{url}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The nodes that have died since the last call.
    pub(super) fn take_dead(&mut self) -> Result<Vec<String>, CliError> {
        let mut dead = Vec::new();
        for (node, process) in self.nodes.iter_mut().zip(&mut self.processes) {
            if let Some(status) = process.as_mut().and_then(Process::ended) {
                *process = None;
                node.pid = None;
                dead.push(format!("{} ended ({status}); its log is {}", node.id, node.log.display()));
            }
        }
        if !dead.is_empty() {
            self.write_dev_file()?;
        }
        Ok(dead)
    }

    /// Kills a node as a power cut would.
    pub(in crate::cli) async fn kill(&mut self, id: &str) -> Result<(), CliError> {
        let at = self.nodes.iter().position(|node| node.id == id);
        let at = at.ok_or_else(|| CliError::Failed(format!("there is no node {id}")))?;
        if let Some(mut process) = self.processes[at].take() {
            process.kill().await;
            self.nodes[at].pid = None;
            self.write_dev_file()?;
        }
        Ok(())
    }

    /// Starts every node that does not run.
    pub(in crate::cli) fn restart_dead(&mut self) -> Result<Vec<String>, CliError> {
        let mut started = Vec::new();
        for (node, process) in self.nodes.iter_mut().zip(&mut self.processes) {
            if process.is_none() {
                let new = Process::spawn(node_command(&node.config)?, &node.log, None)?;
                node.pid = new.pid();
                *process = Some(new);
                started.push(node.id.clone());
            }
        }
        self.write_dev_file()?;
        Ok(started)
    }

    /// Ends every process: the nodes first, so that they can leave ZooKeeper in good order.
    pub(in crate::cli) async fn stop(&mut self) {
        join_all(self.processes.iter_mut().flatten().map(Process::terminate)).await;
        if let Some(zookeeper) = &mut self.zookeeper {
            zookeeper.terminate().await;
        }
    }
}
