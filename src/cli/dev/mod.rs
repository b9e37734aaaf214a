//! `quorapay dev`: ZooKeeper and several nodes on this machine, with keys to try things out.

mod keys;
mod logs;
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
  quorapay dev --zookeepers 3 --clocks                  # so that a server and the clocks can fail
  quorapay dev --zookeeper 127.0.0.1:2181 --no-input

From another terminal, `quorapay fault` breaks what these keys break, and more.";

/// Run ZooKeeper and a cluster of nodes on this machine
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", keys::HELP))]
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
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "zookeepers")]
    zookeeper: Option<String>,
    /// How many private ZooKeeper servers
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    zookeepers: u8,
    /// Take no keys; run until Ctrl-C or SIGTERM
    #[arg(long)]
    no_input: bool,
    /// Restart nodes that die
    #[arg(long)]
    restart: bool,
    /// Connect the nodes directly: a little faster, and links cannot fail
    #[arg(long)]
    direct: bool,
    /// Let the nodes' wall clocks be set off while they run; needs faketime
    #[arg(long)]
    clocks: bool,
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
            zookeepers: self.zookeepers,
            chaos_mode: self.chaos_mode,
            direct: self.direct,
            clocks: self.clocks,
        };
        // Two threads, so that what a key does holds up neither the proxies between the nodes nor the payments of a stress.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|source| CliError::Io { what: "starting".to_owned(), source })?;
        let result = runtime.block_on(async {
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
        });
        // An orderly shutdown would wait for a thread that reads from the terminal.
        runtime.shutdown_background();
        result
    }
}
