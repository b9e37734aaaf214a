//! A development cluster: ZooKeeper and the nodes as processes.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::error::DevError;
use super::layout::{self, DevNode, DevOptions};
use crate::local::{LocalError, Process, ZooKeeperServer, free_port, node_command};
use quorapay_client::Client;

/// Timeout of the start, until the cluster accepts payments.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Interval between two polls of the nodes' readiness.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A running cluster. Dropping it kills its processes.
pub struct DevCluster {
    data_dir: PathBuf,
    zookeeper_address: String,
    zookeeper: Option<ZooKeeperServer>,
    nodes: Vec<DevNode>,
    processes: Vec<Option<Process>>,
    http: reqwest::Client,
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
    /// [`DevError::Local`] for ports, files and processes, [`DevError::DirectoryInUse`].
    pub async fn launch(options: DevOptions) -> Result<Self, DevError> {
        let mut nodes = layout::plan(&options)?;
        let data_dir = std::path::absolute(&options.data_dir).map_err(LocalError::io("the data directory"))?;
        std::fs::create_dir_all(&data_dir).map_err(LocalError::io(data_dir.display().to_string()))?;
        let lock = layout::lock(&data_dir)?;
        let (zookeeper, zookeeper_address) = match options.zookeeper {
            Some(address) => (None, address),
            None => {
                let mut zookeeper = ZooKeeperServer::alone(&data_dir, free_port()?)?;
                zookeeper.launch(None)?;
                // A node that starts earlier fails to connect and waits for seconds before it retries.
                zookeeper.wait_until_serving().await?;
                let address = zookeeper.address();
                (Some(zookeeper), address)
            }
        };
        layout::write_configurations(&nodes, &zookeeper_address, options.chaos_mode)?;
        let mut processes = Vec::new();
        for node in &mut nodes {
            let process = Process::spawn(node_command(&node.config)?, &node.log, None)?;
            node.pid = process.pid();
            processes.push(Some(process));
        }
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build();
        let http = http.map_err(DevError::Http)?;
        let cluster = Self { data_dir, zookeeper_address, zookeeper, nodes, processes, http, _lock: lock };
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

    fn write_dev_file(&self) -> Result<(), DevError> {
        layout::write_dev_file(&self.data_dir, &self.zookeeper_address, &self.nodes)
    }

    /// Waits until every running node is ready.
    ///
    /// # Errors
    /// [`DevError::Local`] with the last line of its log if a process ends meanwhile, [`DevError::NotReady`].
    pub async fn wait_until_ready(&mut self) -> Result<(), DevError> {
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
                return Err(DevError::NotReady { seconds: START_TIMEOUT.as_secs(), logs: self.data_dir.clone() });
            }
            // Readiness is the state of another process: it has to be polled.
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn is_ready(&self, url: &str) -> bool {
        let answer = self.http.get(format!("{url}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// One line for each node that has ended since the last call.
    ///
    /// # Errors
    /// [`DevError::Local`] if dev.json cannot be written.
    pub fn take_dead(&mut self) -> Result<Vec<String>, DevError> {
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

    /// Kills a node's process, as a power failure would.
    ///
    /// # Errors
    /// [`DevError::NoSuchNode`], and [`DevError::Local`] if dev.json cannot be written.
    pub async fn kill(&mut self, id: &str) -> Result<(), DevError> {
        let at = self.nodes.iter().position(|node| node.id == id);
        let at = at.ok_or_else(|| DevError::NoSuchNode(id.to_owned()))?;
        if let Some(mut process) = self.processes[at].take() {
            process.kill().await;
            self.nodes[at].pid = None;
            self.write_dev_file()?;
        }
        Ok(())
    }

    /// Starts every node that does not run. Returns their ids.
    ///
    /// # Errors
    /// [`DevError::Local`] for processes and files.
    pub fn restart_dead(&mut self) -> Result<Vec<String>, DevError> {
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

    /// Ends every process, the nodes first so that they can close their ZooKeeper sessions.
    pub async fn stop(&mut self) {
        join_all(self.processes.iter_mut().flatten().map(Process::terminate)).await;
        if let Some(zookeeper) = &mut self.zookeeper {
            zookeeper.terminate().await;
        }
    }
}
