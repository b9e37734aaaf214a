//! `quorapay ready`: can a node serve? For health checks and scripts.

use clap::Args;

use super::CliError;
use super::connection::{Connection, block_on};
use super::exit;
use quorapay_client::{ClientError, Readiness};

const EXAMPLES: &str = "\
Examples:
  quorapay ready                                   # exit code 0 as soon as the node can serve
  quorapay ready --deadline-ms 60000               # wait for it up to a minute
  quorapay ready --url http://127.0.0.1:7102 --json";

/// Wait until a node can serve, or say why it cannot
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Ready {
    #[command(flatten)]
    connection: Connection,
}

impl Ready {
    pub(super) fn run(&self) -> Result<(), CliError> {
        // "Not ready" is no refusal of a request: the node's reason is the whole message.
        let readiness = block_on(self.connection.client()?.ready())?.map_err(|error| match error {
            ClientError::Refused(problem) => CliError::Failed(problem.to_string()),
            other => CliError::Client(other),
        })?;
        self.connection.show(&readiness, describe)
    }
}

fn describe(readiness: &Readiness) -> String {
    let Readiness { node_id, role, leader, zookeeper, .. } = readiness;
    format!("{node_id} is ready: {role}, leader {leader}, ZooKeeper {zookeeper}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_ready_node_says_who_it_follows() {
        let answer = json!({
            "status": "ready", "node_id": "node2", "role": "follower", "leader": "node1", "zookeeper": "disconnected",
        });
        let readiness: Readiness = serde_json::from_value(answer).unwrap();
        assert_eq!(describe(&readiness), "node2 is ready: follower, leader node1, ZooKeeper disconnected");
    }
}
