//! `quorapay dev`: ZooKeeper and several nodes on this machine, with keys to try things out.

mod session;

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::signals::Signals;
use quorapay_lab::dev::{DevCluster, DevOptions};

const EXAMPLES: &str = "\
Examples:
  quorapay dev
  quorapay dev --nodes 5 --port 8101 --data-dir /tmp/five
  quorapay dev --zookeeper 127.0.0.1:2181 --no-input

Keys, each followed by Enter:
  p  pay once through a random node     s  stress with payments for five seconds
  k  kill the leader (kill -9)          r  restart the nodes that died
  t  show the status of all nodes       q  quit";

/// Run ZooKeeper and a cluster of nodes on this machine
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Dev {
    /// How many nodes
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Port of the first node for clients; peers use ports 100 above
    #[arg(long, default_value_t = 7101, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    port: u16,
    /// Where ledgers, logs, configurations and dev.json are kept
    #[arg(long, value_name = "DIR", default_value = "quorapay-dev")]
    data_dir: PathBuf,
    /// Use this ZooKeeper instead of starting a private one
    #[arg(long, value_name = "HOST:PORT")]
    zookeeper: Option<String>,
    /// Take no keys; run until Ctrl-C or SIGTERM
    #[arg(long)]
    no_input: bool,
    /// Restart nodes that die
    #[arg(long)]
    restart: bool,
    /// Let clients of `POST /transfer` ask for a connection that is dropped after the commit (`X-Simulate-Chaos: true`)
    #[arg(long)]
    chaos_mode: bool,
}

impl Dev {
    pub(super) fn run(self) -> Result<(), CliError> {
        let options = DevOptions {
            nodes: self.nodes,
            port: self.port,
            data_dir: self.data_dir,
            zookeeper: self.zookeeper,
            chaos_mode: self.chaos_mode,
        };
        super::connection::block_on(async {
            let mut signals = Signals::listen()?;
            // A signal may come at any moment of the start; what has been started by then is stopped in order.
            let mut cluster = tokio::select! {
                launched = DevCluster::launch(options) => launched?,
                () = signals.received() => return Ok(()),
            };
            let ready = tokio::select! {
                ready = cluster.wait_until_ready() => Some(ready),
                () = signals.received() => None,
            };
            if !matches!(ready, Some(Ok(()))) {
                cluster.stop().await;
                return Ok(ready.unwrap_or(Ok(()))?);
            }
            session::run(cluster, signals, !self.no_input, self.restart).await
        })?
    }
}
