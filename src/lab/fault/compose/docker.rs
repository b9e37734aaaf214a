//! Calls of the docker command, and what it says of containers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::fault::error::FaultError;
use crate::local::run;

/// Labels of `docker-compose.yml`.
const NODE_LABEL: &str = "quorapay.node";
const ZOOKEEPER_LABEL: &str = "quorapay.zookeeper";
const TEST_STACK_LABEL: &str = "quorapay.test-stack";
/// The label of compose itself.
const PROJECT_LABEL: &str = "com.docker.compose.project";
/// Labels of helper containers: the name of the fault, and where.
pub(super) const FAULT_LABEL: &str = "quorapay.fault";
pub(super) const FAULT_AT_LABEL: &str = "quorapay.fault-at";
/// The project of the stack that a helper container breaks.
pub(super) const FAULT_PROJECT_LABEL: &str = "quorapay.fault-project";

/// The setting of a node that says how clients reach it.
const CLIENT_URL: &str = "QUORAPAY_CLIENT_URL=";

/// Runs `docker` with these arguments and returns its output.
pub(super) async fn docker<I>(arguments: I) -> Result<String, FaultError>
where
    I: IntoIterator,
    I::Item: AsRef<std::ffi::OsStr>,
{
    Ok(run("docker", arguments).await?)
}

/// What `docker inspect` says of a container.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    name: String,
    config: Config,
    state: State,
    #[serde(default)]
    restart_count: u64,
    network_settings: NetworkSettings,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: String,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    running: bool,
    paused: bool,
    health: Option<Health>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    #[serde(default)]
    networks: BTreeMap<String, Endpoint>,
}

#[derive(Clone, Debug, Deserialize)]
struct Endpoint {
    #[serde(rename = "IPAddress", default)]
    address: String,
}

impl Container {
    pub(super) fn name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    pub(super) fn image(&self) -> &str {
        &self.config.image
    }

    fn label(&self, label: &str) -> Option<&str> {
        self.config.labels.get(label).map(String::as_str)
    }

    /// The id of the node that it runs.
    pub(super) fn node(&self) -> Option<&str> {
        self.label(NODE_LABEL)
    }

    /// The name of the ZooKeeper server that it runs.
    pub(super) fn zookeeper(&self) -> Option<&str> {
        self.label(ZOOKEEPER_LABEL)
    }

    pub(super) fn project(&self) -> &str {
        self.label(PROJECT_LABEL).unwrap_or("without a project")
    }

    pub(super) fn is_of_test_stack(&self) -> bool {
        self.label(TEST_STACK_LABEL) == Some("true")
    }

    /// The fault that a helper container makes in a stack, and where.
    pub(super) fn fault_in(&self, project: &str) -> Option<(&str, &str)> {
        let fault = (self.label(FAULT_LABEL)?, self.label(FAULT_AT_LABEL)?);
        (self.label(FAULT_PROJECT_LABEL) == Some(project)).then_some(fault)
    }

    pub(super) fn restarts(&self) -> u64 {
        self.restart_count
    }

    pub(super) fn runs(&self) -> bool {
        self.state.running
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.paused
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.state.running && self.state.health.as_ref().is_none_or(|health| health.status == "healthy")
    }

    /// Its address within the stack's network; `None` while it does not run.
    pub(super) fn address(&self) -> Option<&str> {
        let mut addresses = self.network_settings.networks.values().map(|endpoint| endpoint.address.as_str());
        addresses.find(|address| !address.is_empty())
    }

    /// How clients reach the node.
    pub(super) fn client_url(&self) -> Option<&str> {
        self.config.env.iter().find_map(|variable| variable.strip_prefix(CLIENT_URL))
    }
}

/// The containers with a label, running or not.
pub(super) async fn containers_with(label: &str) -> Result<Vec<Container>, FaultError> {
    let listed = docker(["ps", "--all", "--quiet", "--filter", &format!("label={label}")]).await?;
    let ids: Vec<&str> = listed.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let shown = docker(["inspect"].into_iter().chain(ids)).await?;
    let unreadable = |error| FaultError::Impossible(format!("docker inspect says what is not understood: {error}"));
    serde_json::from_str(&shown).map_err(unreadable)
}

/// All containers of nodes and of ZooKeeper servers.
pub(super) async fn all_processes() -> Result<Vec<Container>, FaultError> {
    let mut all = containers_with(NODE_LABEL).await?;
    all.extend(containers_with(ZOOKEEPER_LABEL).await?);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_read_as_docker_shows_it() {
        let shown = r#"[{"Name": "/quorapay-node1", "Id": "x",
            "Config": {"Image": "quorapay:latest", "Env": ["A=b", "QUORAPAY_CLIENT_URL=http://127.0.0.1:7101"],
                "Labels": {"quorapay.node": "node1", "quorapay.test-stack": "true", "com.docker.compose.project": "main"}},
            "State": {"Running": true, "Paused": false, "Health": {"Status": "starting"}},
            "NetworkSettings": {"Networks": {"quorapay": {"IPAddress": "172.18.0.5"}}}}]"#;
        let containers: Vec<Container> = serde_json::from_str(shown).expect("it is understood");
        let node = &containers[0];
        assert_eq!((node.name(), node.node(), node.zookeeper()), ("quorapay-node1", Some("node1"), None));
        assert_eq!((node.address(), node.client_url()), (Some("172.18.0.5"), Some("http://127.0.0.1:7101")));
        assert!(node.is_of_test_stack() && node.runs() && !node.is_healthy());
    }
}
