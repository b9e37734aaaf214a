//! `quorapay demo`: shows in half a minute how a cluster loses its leader under load.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::connection::to_json;
use quorapay_lab::dev::{CALLERS, DevCluster, DevOptions, compare_ledgers, kill_leader_under_stress, pay_once};

const STRESS: Duration = Duration::from_secs(4);
/// When the leader is killed during the stress.
const KILL_AFTER: Duration = Duration::from_secs(2);

/// Show a cluster losing its leader under load, and check that nothing is lost
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  quorapay demo\n  quorapay demo --port 8101 --keep /tmp/demo")]
pub(super) struct Demo {
    /// Port of the first node for clients; peers use ports 100 above
    #[arg(long, default_value_t = 7301, value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    port: u16,
    /// Keep the ledgers and logs in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Demo {
    pub(super) fn run(self) -> Result<(), CliError> {
        super::connection::block_on(self.play())?
    }

    async fn play(self) -> Result<(), CliError> {
        let temporary = std::env::temp_dir().join(format!("quorapay-demo-{}", uuid::Uuid::new_v4()));
        let data_dir = self.keep.clone().unwrap_or_else(|| temporary.clone());
        println!("starting ZooKeeper and three nodes");
        let options = DevOptions { nodes: 3, port: self.port, data_dir, zookeeper: None, chaos_mode: false };
        let mut cluster = DevCluster::start(options).await?;
        let result = show(&mut cluster).await;
        cluster.stop().await;
        if self.keep.is_none() {
            // What cannot be removed stays in the system's temporary directory.
            let _ = std::fs::remove_dir_all(&temporary);
        }
        result
    }
}

async fn show(cluster: &mut DevCluster) -> Result<(), CliError> {
    println!("paid: {}", to_json(&pay_once(cluster).await?));
    println!("{CALLERS} callers pay at all three nodes; after {} s the leader is killed", KILL_AFTER.as_secs());
    let (leader, stress) = kill_leader_under_stress(cluster, STRESS, KILL_AFTER).await?;
    println!("killed {leader}: {stress}");
    let restarted = cluster.restart_dead()?;
    println!("restarted {}", restarted.join(", "));
    cluster.wait_until_ready().await?;
    let end = compare_ledgers(cluster).await?;
    println!("all ledgers are equal: {} entries, last hash {}", end.index, end.hash);
    if stress.failed() > 0 || stress.paid() == 0 {
        return Err(CliError::Failed("some payments failed".to_owned()));
    }
    println!("no payment was lost, none failed");
    Ok(())
}
