//! An interactive session with a development cluster: reads keys and prints what happens.

use std::io::IsTerminal;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli::CliError;
use crate::cli::connection::{print_line, to_json};
use crate::cli::signals::Signals;
use crate::cli::status;
use quorapay_lab::dev::{DevCluster, pay_once, stress};

/// Prints a line. A closed pipe does not end the cluster.
macro_rules! say {
    ($($format:tt)*) => {
        print_line(&format!($($format)*)).unwrap_or_default()
    };
}

/// How often the processes are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// Duration of the stress that the key `s` starts.
const STRESS: Duration = Duration::from_secs(5);

/// Runs until Ctrl-C, SIGTERM or the key `q`, then stops the cluster.
pub(super) async fn run(
    mut cluster: DevCluster,
    mut signals: Signals,
    input: bool,
    restart: bool,
) -> Result<(), CliError> {
    announce(&cluster, input);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    // Without a terminal nobody types, and the end of the input does not end the session.
    let mut listening = input && std::io::stdin().is_terminal();
    let mut watch = tokio::time::interval(CHECK_INTERVAL);
    let result = loop {
        tokio::select! {
            () = signals.received() => break Ok(()),
            _ = watch.tick() => {
                if let Err(error) = check_processes(&mut cluster, restart) {
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

fn check_processes(cluster: &mut DevCluster, restart: bool) -> Result<(), CliError> {
    let dead = cluster.take_dead()?;
    for line in &dead {
        say!("{line}");
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
        "p" => say!("paid: {}", to_json(&pay_once(cluster).await?)),
        "s" => say!("{}", stress(cluster, STRESS).await?),
        "k" => {
            let leader = cluster.client()?.cluster().await.map_err(CliError::Client)?.leader;
            let leader = leader.ok_or_else(|| CliError::Failed("there is no leader just now".to_owned()))?;
            cluster.kill(leader.as_str()).await?;
            say!("killed {leader}, the leader");
        }
        "r" => say!("restarted {}", cluster.restart_dead()?.join(", ")),
        "t" => say!("{}", status::describe(&cluster.client()?.cluster().await?)),
        "" => {}
        other => say!("no such key: {other}; there are p, s, k, r, t and q"),
    }
    Ok(())
}
