//! The faults that are found in a stack, whoever made them, and how they are healed.

use futures_util::future::try_join_all;

use super::docker::{self, Container, FAULT_LABEL};
use super::{ComposeStack, Mark, helpers, node_id, on_all, zookeeper_id};
use crate::fault::error::FaultError;
use crate::fault::request::{FaultName, FaultReply, HealRequest};
use crate::fault::target::Target;

/// A fault that lasts.
#[derive(Debug)]
struct Found {
    /// What it is about, by name.
    at: String,
    line: String,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// A node that does not run. Whether its disk was wiped too cannot be seen, and starting it heals both.
    DeadNode(String),
    DeadZooKeeper,
    Paused(String),
    Filters(Mark, Vec<String>),
    Helper(String, String),
}

impl Found {
    fn is_meant_by(&self, request: &HealRequest) -> bool {
        let kind = request.name.is_none_or(|name| match &self.cause {
            Cause::DeadNode(_) => matches!(name, FaultName::Kill | FaultName::DiskWiped),
            Cause::DeadZooKeeper => name.is_of_zookeeper(),
            Cause::Paused(_) => name == FaultName::Pause,
            Cause::Filters(mark, _) => mark.name == name.name(),
            Cause::Helper(_, made) => made == name.name(),
        });
        kind && request.node.as_ref().is_none_or(|node| *node == self.at)
    }
}

impl ComposeStack {
    /// Heals the faults that are meant, whoever made them, and starts what does not run because of them.
    ///
    /// # Errors
    /// [`FaultError`] if there is no such fault, or one cannot be healed.
    pub async fn heal(&mut self, request: &HealRequest) -> Result<FaultReply, FaultError> {
        let found = self.found().await?;
        let all = found.iter().map(|found| found.line.clone()).collect::<Vec<_>>();
        let meant: Vec<Found> = found.into_iter().filter(|found| found.is_meant_by(request)).collect();
        if meant.is_empty() && !request.is_all() {
            let lasting =
                if all.is_empty() { "no fault lasts".to_owned() } else { format!("these last: {}", all.join("; ")) };
            return Err(FaultError::Impossible(format!("there is no such fault to heal; {lasting}")));
        }
        let mut dead_nodes = Vec::new();
        let mut zookeeper = false;
        for found in &meant {
            match &found.cause {
                Cause::DeadNode(container) => dead_nodes.push(container.clone()),
                Cause::DeadZooKeeper => zookeeper = true,
                Cause::Paused(container) => on_all(&["unpause"], std::slice::from_ref(container)).await?,
                Cause::Filters(mark, containers) => {
                    try_join_all(containers.iter().map(|container| helpers::remove_filters(container, mark))).await?;
                }
                Cause::Helper(container, _) => helpers::remove(container).await?,
            }
        }
        on_all(&["start"], &dead_nodes).await?;
        if zookeeper {
            self.start_zookeepers().await?;
        }
        let lines = meant.into_iter().map(|found| format!("healed: {}", found.line)).collect();
        Ok(FaultReply { lines, heal: None })
    }

    /// The faults that last, a line for each.
    ///
    /// # Errors
    /// [`FaultError::Local`] if docker does not answer.
    pub async fn lasting_faults(&mut self) -> Result<FaultReply, FaultError> {
        let lines = self.found().await?.into_iter().map(|found| found.line).collect();
        Ok(FaultReply { lines, heal: None })
    }

    async fn found(&mut self) -> Result<Vec<Found>, FaultError> {
        self.refresh().await?;
        let mut found = Vec::new();
        for node in &self.nodes {
            let (at, name) = (node_id(node), node.name().to_owned());
            if !node.runs() {
                found.push(Found { line: format!("kill: {at} does not run"), at, cause: Cause::DeadNode(name) });
            } else if node.is_paused() {
                found.push(Found { line: format!("pause: {at} is paused"), at, cause: Cause::Paused(name) });
            }
        }
        for server in self.zookeepers.iter().filter(|server| !server.runs()) {
            let at = zookeeper_id(server);
            let line = format!("zookeeper-server: {at} does not run");
            found.push(Found { at, line, cause: Cause::DeadZooKeeper });
        }
        let helpers = docker::containers_with(FAULT_LABEL).await?;
        let ours = |helper| Some((helper, Container::fault_in(helper, &self.project)?));
        for (container, (name, at)) in helpers.iter().filter_map(ours) {
            // A helper that has ended does nothing any more; it is found so that it is removed.
            let cause = Cause::Helper(container.name().to_owned(), name.to_owned());
            found.push(Found { at: at.to_owned(), line: format!("{name}: at {at}"), cause });
        }
        found.extend(self.filters().await?);
        Ok(found)
    }

    async fn filters(&self) -> Result<Vec<Found>, FaultError> {
        if helpers::require_image().await.is_err() {
            // Without the image nobody has set a filter here.
            return Ok(Vec::new());
        }
        let running: Vec<&Container> = self.nodes.iter().chain(&self.zookeepers).filter(|one| one.runs()).collect();
        let marks = try_join_all(running.iter().map(|container| helpers::filters_in(container.name()))).await?;
        let mut found: Vec<Found> = Vec::new();
        for (container, marks) in running.iter().zip(marks) {
            for mark in marks {
                let name = container.name().to_owned();
                let known = found.iter_mut().find_map(|found| match &mut found.cause {
                    Cause::Filters(of, containers) if *of == mark => Some(containers),
                    _ => None,
                });
                match known {
                    Some(containers) => containers.push(name),
                    None => found.push(Found {
                        at: mark.at.clone(),
                        line: format!("{}: at the links of {}", mark.name, mark.at),
                        cause: Cause::Filters(mark, vec![name]),
                    }),
                }
            }
        }
        Ok(found)
    }
}
