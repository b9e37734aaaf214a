//! `quorapay demo`: a cluster that loses its leader under load, by itself, in half a minute.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::dev::{DevCluster, DevOptions};
use super::drill::{compare_ledgers, pay_once, stress};

const STRESS: Duration = Duration::from_secs(4);
const UNTIL_THE_KILL: Duration = Duration::from_secs(2);

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
        let passing = std::env::temp_dir().join(format!("quorapay-demo-{}", uuid::Uuid::new_v4()));
        let data_dir = self.keep.clone().unwrap_or_else(|| passing.clone());
        println!("starting ZooKeeper and three nodes");
        let options = DevOptions { nodes: 3, port: self.port, data_dir, zookeeper: None };
        let mut cluster = DevCluster::start(options).await?;
        let result = show(&mut cluster).await;
        cluster.stop().await;
        if self.keep.is_none() {
            // What cannot be removed is in the system's temporary directory and harms nobody.
            let _ = std::fs::remove_dir_all(&passing);
        }
        result
    }
}

async fn show(cluster: &mut DevCluster) -> Result<(), CliError> {
    println!("{}", pay_once(cluster).await?);
    println!("16 callers pay at all three nodes; after {} s the leader is killed", UNTIL_THE_KILL.as_secs());
    let leader = cluster.client()?.cluster().await?.leader;
    let leader = leader.ok_or_else(|| CliError::Failed("there is no leader".to_owned()))?;
    let (under_load, killed) = {
        let pid = cluster.nodes().iter().find(|node| node.id == leader.as_str()).and_then(|node| node.pid);
        tokio::join!(stress(cluster, STRESS), kill_after(UNTIL_THE_KILL, pid))
    };
    killed?;
    let stress = under_load?;
    cluster.kill(leader.as_str()).await?;
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

/// Kills a process as a power cut would.
async fn kill_after(wait: Duration, pid: Option<u32>) -> Result<(), CliError> {
    tokio::time::sleep(wait).await;
    let pid = pid.ok_or_else(|| CliError::Failed("the leader does not run".to_owned()))?;
    let killed = tokio::process::Command::new("kill").arg("-KILL").arg(pid.to_string()).status().await;
    killed.map(drop).map_err(|source| CliError::Io { what: "kill".to_owned(), source })
}
