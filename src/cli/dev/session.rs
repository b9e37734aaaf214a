//! A session with a development cluster: keys in, news out, until it is ended.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::signal::unix::{SignalKind, signal};

use super::cluster::DevCluster;
use super::layout::io_error;
use crate::cli::CliError;
use crate::cli::connection::print_line;
use crate::cli::drill::{pay_once, stress};

/// Writes a line; a reader that has closed the pipe does not end the cluster.
macro_rules! say {
    ($($words:tt)*) => {
        print_line(&format!($($words)*)).unwrap_or_default()
    };
}

/// How often the children are looked at.
const WATCH: Duration = Duration::from_millis(500);
const STRESS: Duration = Duration::from_secs(5);

/// Serves the cluster until Ctrl-C, SIGTERM, `q` or the end of the input.
pub(super) async fn run(mut cluster: DevCluster, input: bool, restart: bool) -> Result<(), CliError> {
    announce(&cluster, input);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(io_error("signals"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(io_error("signals"))?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    // Without a terminal nobody types, and the end of the input is no wish to end.
    let mut listening = input && std::io::stdin().is_terminal();
    let mut watch = tokio::time::interval(WATCH);
    let result = loop {
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            _ = watch.tick() => {
                if let Err(error) = look_after(&mut cluster, restart) {
                    break Err(error);
                }
            }
            line = lines.next_line(), if listening => match line {
                Ok(Some(key)) if key.trim() == "q" => break Ok(()),
                Ok(Some(key)) => {
                    if let Err(error) = press(&mut cluster, key.trim()).await {
                        say!("{error}");
                    }
                }
                Ok(None) | Err(_) => listening = false,
            },
        }
    };
    say!("stopping");
    cluster.stop().await;
    result
}

fn announce(cluster: &DevCluster, input: bool) {
    say!("ready");
    for node in cluster.nodes() {
        say!("  {}  {}", node.id, node.url);
    }
    let url = &cluster.nodes()[0].url;
    say!(
        "\npay with:\n  curl -s {url}/v1/payments -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\" \\\n    \
         -d '{{\"from\":\"external:card\",\"to\":\"shop:1\",\"amount\":15075,\"currency\":\"USD\"}}'\n"
    );
    if input {
        say!("keys (then Enter): p pay, s stress, k kill the leader, r restart the dead, t status, q quit");
    }
}

fn look_after(cluster: &mut DevCluster, restart: bool) -> Result<(), CliError> {
    let dead = cluster.take_dead()?;
    for news in &dead {
        say!("{news}");
    }
    if restart && !dead.is_empty() {
        for id in cluster.restart_dead()? {
            say!("restarted {id}");
        }
    }
    Ok(())
}

async fn press(cluster: &mut DevCluster, key: &str) -> Result<(), CliError> {
    match key {
        "p" => say!("{}", pay_once(cluster).await?),
        "s" => say!("{}", stress(cluster, STRESS).await?),
        "k" => {
            let leader = cluster.client()?.cluster().await?.leader;
            let leader = leader.ok_or_else(|| CliError::Failed("there is no leader just now".to_owned()))?;
            cluster.kill(leader.as_str()).await?;
            say!("killed {leader}, the leader");
        }
        "r" => say!("restarted {}", cluster.restart_dead()?.join(", ")),
        "t" => say!("{}", super::super::status::describe(&cluster.client()?.cluster().await?)),
        "" => {}
        other => say!("no such key: {other}; there are p, s, k, r, t and q"),
    }
    Ok(())
}
