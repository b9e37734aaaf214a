//! `quorapay demo`: shows in half a minute how a cluster loses its leader under load.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::CliError;
use quorapay_lab::dev::{
    CALLERS, DevCluster, DevOptions, LostLeader, compare_ledgers, count_lost_and_doubled, lose_the_leader,
};

/// How long payments are made before the leader is killed, without it, and after its return.
const PHASE: Duration = Duration::from_secs(2);

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
        println!("Three nodes keep one payment ledger. One is killed while customers pay. Is any payment lost?\n");
        println!("starting ZooKeeper and three nodes");
        let options = DevOptions {
            nodes: 3,
            port: self.port,
            data_dir,
            zookeeper: None,
            zookeepers: 1,
            chaos_mode: false,
            direct: true,
            clocks: false,
        };
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
    let seconds = PHASE.as_secs();
    println!("{CALLERS} customers pay at all three nodes, as fast as they get answers, for {} s", 3 * seconds);
    println!("after {seconds} s the leader's process is killed (kill -9), and {seconds} s later it is started again\n");
    let lost = lose_the_leader(cluster, PHASE).await?;
    tell(&lost);
    let (missing, doubled) = count_lost_and_doubled(cluster, &lost.counts).await?;
    let paid = lost.counts.paid();
    println!("  at the end    of {paid} payments that were answered, {missing} are lost and {doubled} were made twice");
    println!(
        "                {} failed; the slowest answer took {} ms",
        lost.counts.failed(),
        lost.counts.slowest().as_millis()
    );
    let end = compare_ledgers(cluster).await?;
    println!("                all three ledgers are equal: {} entries, last hash {}", end.index, end.hash);
    if missing > 0 || doubled > 0 || lost.counts.failed() > 0 || paid == 0 {
        return Err(CliError::Failed("some payments failed, were lost or were made twice".to_owned()));
    }
    println!("\nNo payment was lost, none was made twice, none failed.");
    Ok(())
}

fn tell(lost: &LostLeader) {
    let LostLeader { leader, successor, .. } = lost;
    let ms = |time: Duration| time.as_millis();
    println!("  before        {:.0} payments/s, each on the disks of a majority; {leader} leads", lost.rate_before);
    println!("  the kill      nobody could pay for {} ms; then {successor} led", ms(lost.nobody_paid));
    println!("  without it    {:.0} payments/s with two of three nodes", lost.rate_after);
    println!(
        "  its return    {leader} had missed {} payments; it had them {} ms after its start",
        lost.missed,
        ms(lost.caught_up_after)
    );
}
