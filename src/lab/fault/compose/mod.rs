//! A stack of `docker-compose.yml` that somebody else runs, as a target of faults. What lasts is found in the stack itself, so
//! that it can be healed by another program than the one that broke it.
//!
//! ```text
//! docker   calls of the docker command
//! helpers  containers that filter packets and tamper with system calls
//! found    the faults that are found in a stack
//! ```

mod docker;
mod found;
mod helpers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};

use super::active::ActiveFault;
use super::endpoint::Endpoint;
use super::error::FaultError;
use super::hold::Hold;
use super::link_fault::LinkFault;
use super::network::packet_filter;
use super::request::{FaultReply, FaultRequest, HealRequest, Names};
use super::target::Target;
use crate::local::LocalError;
use docker::{Container, docker};
use quorapay_client::{NodeRole, Readiness};

/// The nodes' port for peers inside the stack.
const PEER_PORT: u16 = 7201;
/// How long ZooKeeper may take to serve again: docker asks only every few seconds.
const ZOOKEEPER_TIMEOUT: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long a node may take to say who leads.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Seconds that docker gives a node to stop in order.
const STOP_SECONDS: &str = "10";

/// A test stack. It is not locked: whoever else breaks or mends it is seen at the next call.
#[derive(Debug)]
pub struct ComposeStack {
    project: String,
    nodes: Vec<Container>,
    zookeepers: Vec<Container>,
    http: reqwest::Client,
    /// What the packet filters and helper containers of the next fault are marked with.
    mark: Mark,
}

/// The fault that a packet filter or a helper container belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    name: String,
    at: String,
}

impl ComposeStack {
    /// Finds the stack, which must say of itself that it is a test stack.
    ///
    /// # Errors
    /// [`FaultError::Impossible`] if there is none, if it is not marked, or if there are several and no `project` is named.
    /// [`FaultError::Local`] if docker does not answer.
    pub async fn find(project: Option<&str>) -> Result<Self, FaultError> {
        let all = docker::all_processes().await?;
        let projects: BTreeSet<String> = all.iter().map(|container| container.project().to_owned()).collect();
        let wanted = match (project, projects.len()) {
            (Some(project), _) if projects.contains(project) => project.to_owned(),
            (None, 1) => projects.into_iter().next().expect("there is one"),
            (_, 0) => {
                let start = "QUORAPAY_TEST_STACK=true docker compose up --detach";
                return Err(FaultError::Impossible(format!(
                    "no stack of docker-compose.yml is there; start one: {start}"
                )));
            }
            _ => {
                let names = projects.into_iter().collect::<Vec<_>>().join(", ");
                return Err(FaultError::Impossible(format!("name one of these stacks with --project: {names}")));
            }
        };
        let ours: Vec<Container> = all.into_iter().filter(|container| container.project() == wanted).collect();
        if !ours.iter().all(Container::is_of_test_stack) {
            return Err(FaultError::Impossible(format!(
                "the stack {wanted} is not marked as a test stack, so nothing is done to it; if payments in it do not matter: \
                 echo QUORAPAY_TEST_STACK=true >> .env && docker compose up --detach"
            )));
        }
        let (mut nodes, mut zookeepers): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|container| container.node().is_some());
        nodes.sort_by_key(|container| container.node().map(str::to_owned));
        zookeepers.sort_by_key(|container| container.zookeeper().map(str::to_owned));
        if nodes.is_empty() {
            return Err(FaultError::Impossible(format!("the stack {wanted} has no node; docker compose up --detach")));
        }
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build();
        let http = http.map_err(|error| FaultError::Impossible(format!("no HTTP client: {error}")))?;
        let mark = Mark { name: "chaos".to_owned(), at: "several".to_owned() };
        Ok(Self { project: wanted, nodes, zookeepers, http, mark })
    }

    /// Reads the state of all containers again.
    pub(crate) async fn refresh(&mut self) -> Result<(), FaultError> {
        let Self { mark, .. } = self;
        *self = Self { mark: mark.clone(), ..Self::find(Some(&self.project)).await? };
        Ok(())
    }

    /// The nodes' ids, with the URL at which each takes payments.
    #[must_use]
    pub fn nodes(&self) -> Vec<(String, String)> {
        let url = |node: &Container| node.client_url().unwrap_or_default().to_owned();
        self.nodes.iter().map(|node| (node_id(node), url(node))).collect()
    }

    /// How many ZooKeeper servers it has.
    #[must_use]
    pub fn zookeepers(&self) -> usize {
        self.zookeepers.len()
    }

    /// How often docker has restarted each node.
    pub(crate) fn restarts(&self) -> Vec<u64> {
        self.nodes.iter().map(Container::restarts).collect()
    }

    /// Copies a node's files. It is paused meanwhile, so that the copy is what a crash would leave.
    pub(crate) async fn copy_files(&self, node: usize, to: &Path) -> Result<(), FaultError> {
        let container = self.container_of(node);
        docker(["pause", container]).await?;
        let copied = docker(["cp", &format!("{container}:/data"), &to.display().to_string()]).await;
        docker(["unpause", container]).await?;
        copied.map(drop)
    }

    /// Writes what a node has logged since a moment, in seconds since the Unix epoch.
    pub(crate) async fn write_log(&self, node: usize, since: &str, to: &Path) -> Result<(), FaultError> {
        let log = helpers::said_since(self.container_of(node), since).await?;
        Ok(std::fs::write(to, log).map_err(LocalError::io(to.display().to_string()))?)
    }

    fn container_of(&self, node: usize) -> &str {
        self.nodes[node].name()
    }

    async fn leader(&self) -> Option<usize> {
        let ask = |node: &Container| {
            let url = format!("{}/readyz", node.client_url().unwrap_or_default());
            let request = self.http.get(url).send();
            async move { request.await.ok()?.error_for_status().ok()?.json::<Readiness>().await.ok() }
        };
        let answers = join_all(self.nodes.iter().map(ask)).await;
        answers.iter().position(|answer| answer.as_ref().is_some_and(|ready| ready.role == NodeRole::Leader))
    }

    /// Makes a fault.
    ///
    /// # Errors
    /// [`FaultError`]; nothing has changed then.
    pub async fn make(&mut self, request: &FaultRequest) -> Result<FaultReply, FaultError> {
        let asks = matches!(request.node.as_deref(), None | Some("leader" | "follower"));
        let leader = if asks && !request.name.is_of_zookeeper() { self.leader().await } else { None };
        let names = Names {
            nodes: self.nodes.iter().map(node_id).collect(),
            zookeepers: self.zookeepers.iter().map(zookeeper_id).collect(),
            leader,
        };
        let planned = request.plan(&names, rand::random())?;
        let at = planned.at.clone().unwrap_or_else(|| "all".to_owned());
        let affected =
            self.nodes.iter().chain(&self.zookeepers).find(|c| c.node() == Some(&at) || c.zookeeper() == Some(&at));
        if affected.is_some_and(|container| !container.runs()) {
            let why = format!("{at} does not run; heal it first: quorapay heal --node {at} --target compose");
            return Err(FaultError::Impossible(why));
        }
        self.mark = Mark { name: request.name.name().to_owned(), at };
        ActiveFault::inject(planned.action, self).await?;
        let heal = (!request.name.is_momentary()).then_some(HealRequest { name: Some(request.name), node: planned.at });
        Ok(FaultReply { lines: vec![planned.line], heal })
    }

    fn container_at(&self, endpoint: Endpoint) -> &Container {
        match endpoint {
            Endpoint::Node(node) => &self.nodes[node],
            Endpoint::ZooKeeper(server) => &self.zookeepers[server],
        }
    }

    /// The receiving ends of links, each with the addresses from which packets come.
    fn receivers(&self, fault: &LinkFault) -> Result<BTreeMap<Endpoint, Vec<String>>, FaultError> {
        let mut receivers: BTreeMap<Endpoint, Vec<String>> = BTreeMap::new();
        for &(from, to) in &fault.links {
            // What does not run sends nothing and receives nothing.
            if let (Some(source), true) = (self.container_at(from).address(), self.container_at(to).runs()) {
                receivers.entry(to).or_default().push(source.to_owned());
            }
        }
        if receivers.is_empty() {
            return Err(FaultError::impossible(
                "none of the processes on these links runs; quorapay heal --all --target compose",
            ));
        }
        Ok(receivers)
    }

    fn names_of(containers: &[Container], numbers: &[usize]) -> Vec<String> {
        numbers.iter().map(|number| containers[*number].name().to_owned()).collect()
    }

    async fn wait_for_zookeeper(&mut self) -> Result<(), FaultError> {
        let deadline = Instant::now() + ZOOKEEPER_TIMEOUT;
        loop {
            self.refresh().await?;
            match self.zookeepers.iter().find(|server| !server.is_healthy()) {
                None => return Ok(()),
                Some(server) if Instant::now() >= deadline => {
                    let (name, seconds) = (server.name(), ZOOKEEPER_TIMEOUT.as_secs());
                    let why = format!("{name} does not serve {seconds} s after its start; docker logs {name}");
                    return Err(FaultError::Impossible(why));
                }
                // The health of a container has to be polled.
                Some(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
    }
}

fn node_id(container: &Container) -> String {
    container.node().unwrap_or_default().to_owned()
}

fn zookeeper_id(container: &Container) -> String {
    container.zookeeper().unwrap_or_default().to_owned()
}

/// Runs `docker VERB` on these containers, if there are any.
async fn on_all(verb: &[&str], containers: &[String]) -> Result<(), FaultError> {
    if containers.is_empty() {
        return Ok(());
    }
    docker(verb.iter().copied().chain(containers.iter().map(String::as_str))).await.map(drop)
}

const SHARED_CLOCK: &str =
    "containers share the clock of their machine, so it cannot be set off for one; use --target dev";

impl Target for ComposeStack {
    async fn kill(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        self.refresh().await?;
        let running: Vec<usize> = nodes.iter().copied().filter(|node| self.nodes[*node].runs()).collect();
        // Docker does not restart what is killed through it.
        on_all(&["kill"], &Self::names_of(&self.nodes, &running)).await
    }

    async fn start(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        self.refresh().await?;
        let dead: Vec<usize> = nodes.iter().copied().filter(|node| !self.nodes[*node].runs()).collect();
        on_all(&["start"], &Self::names_of(&self.nodes, &dead)).await
    }

    async fn pause(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        on_all(&["pause"], &Self::names_of(&self.nodes, nodes)).await
    }

    async fn resume(&mut self, nodes: &[usize]) -> Result<(), FaultError> {
        self.refresh().await?;
        let paused: Vec<usize> = nodes.iter().copied().filter(|node| self.nodes[*node].is_paused()).collect();
        on_all(&["unpause"], &Self::names_of(&self.nodes, &paused)).await
    }

    async fn begin_links(&mut self, fault: &LinkFault) -> Result<(), FaultError> {
        let Some(matching) = packet_filter(fault.state, PEER_PORT) else {
            return Err(FaultError::impossible(
                "packet filters lose packets and cannot delay them; use loss, or --target dev",
            ));
        };
        helpers::require_image().await?;
        self.refresh().await?;
        let receivers = self.receivers(fault)?;
        let all = receivers
            .iter()
            .map(|(to, sources)| helpers::add_filters(self.container_at(*to).name(), sources, &matching, &self.mark));
        try_join_all(all).await.map(drop)
    }

    async fn end_links(&mut self, fault: &LinkFault) -> Result<(), FaultError> {
        self.refresh().await?;
        let ends: BTreeSet<Endpoint> = fault.links.iter().map(|(_, to)| *to).collect();
        let running = ends.into_iter().map(|end| self.container_at(end)).filter(|container| container.runs());
        let all = running.map(|container| helpers::remove_filters(container.name(), &self.mark));
        try_join_all(all).await.map(drop)
    }

    async fn fill_disk(&mut self, node: usize) -> Result<Hold, FaultError> {
        // The volume is on the machine's own disk, which must not be filled.
        self.tamper(node, "pwrite64", "error=ENOSPC").await
    }

    async fn tamper(&mut self, node: usize, calls: &str, how: &str) -> Result<Hold, FaultError> {
        helpers::require_image().await?;
        let mark = Mark { at: node_id(&self.nodes[node]), ..self.mark.clone() };
        let name = helpers::tamper(self.container_of(node), calls, how, &self.project, &mark).await?;
        Ok(Hold::Container(name))
    }

    async fn release(&mut self, hold: Hold) -> Result<(), FaultError> {
        match hold {
            Hold::Container(name) => helpers::remove(&name).await,
            Hold::None | Hold::Ballast(_) | Hold::Injection(_) | Hold::DamagedLedgers(_) => Ok(()),
        }
    }

    async fn kill_held(&mut self, node: usize, hold: Hold) -> Result<(), FaultError> {
        self.kill(&[node]).await?;
        self.release(hold).await
    }

    fn may_still_end(&self, _: usize) -> bool {
        false
    }

    async fn lose_power(&mut self, _: &[usize]) -> Result<(), FaultError> {
        Err(FaultError::impossible("the disks of containers cannot lose their power; use quorapay chaos as root"))
    }

    async fn set_clock(&mut self, _: usize, _: i64) -> Result<(), FaultError> {
        Err(FaultError::impossible(SHARED_CLOCK))
    }

    async fn kill_zookeepers(&mut self, servers: &[usize]) -> Result<(), FaultError> {
        self.refresh().await?;
        let running: Vec<usize> = servers.iter().copied().filter(|server| self.zookeepers[*server].runs()).collect();
        on_all(&["kill"], &Self::names_of(&self.zookeepers, &running)).await
    }

    async fn wipe_zookeepers(&mut self) -> Result<(), FaultError> {
        helpers::require_image().await?;
        let all: Vec<usize> = (0..self.zookeepers.len()).collect();
        self.kill_zookeepers(&all).await?;
        let wipe = |server: &Container| helpers::wipe(server.name().to_owned(), &["/data", "/datalog"]);
        try_join_all(self.zookeepers.iter().map(wipe)).await.map(drop)
    }

    async fn start_zookeepers(&mut self) -> Result<(), FaultError> {
        self.refresh().await?;
        let dead = self.zookeepers.iter().filter(|server| !server.runs()).map(|server| server.name().to_owned());
        let dead: Vec<String> = dead.collect();
        on_all(&["start"], &dead).await?;
        self.wait_for_zookeeper().await
    }

    async fn wipe_disk(&mut self, node: usize) -> Result<(), FaultError> {
        helpers::require_image().await?;
        self.kill(&[node]).await?;
        helpers::wipe(self.container_of(node).to_owned(), &["/data"]).await
    }

    async fn flip_bit(&mut self, node: usize, _: u64) -> Result<Hold, FaultError> {
        let container = self.nodes[node].name().to_owned();
        docker(["stop", "--time", STOP_SECONDS, &container]).await?;
        // The program in the node's own image flips the bit, because only it knows which flip is noticed.
        let flip = ["fault", "bit-flip", "--target", "files", "--data-dir", "/data"];
        let run = ["run", "--rm", "--volumes-from", &container, self.nodes[node].image()];
        let flipped = docker(run.into_iter().chain(flip)).await;
        docker(["start", &container]).await?;
        flipped.map(|_| Hold::None)
    }
}
