//! An interactive session with a development cluster: takes keys and orders of other programs, and prints what happens.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use console::style;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::keys::{self, Key};
use super::logs::FollowedLog;
use crate::cli::CliError;
use crate::cli::connection::{print_line, to_json};
use crate::cli::signals::Signals;
use crate::cli::status;
use quorapay_client::Client;
use quorapay_lab::dev::{CALLERS, Control, DevCluster, PendingOrder, Stress, pay_once};
use quorapay_lab::fault::FaultReply;

/// Prints a line. A closed pipe does not end the cluster.
macro_rules! say {
    ($($format:tt)*) => {
        print_line(&format!($($format)*)).unwrap_or_default()
    };
}

/// How often the processes are checked, faults maintained and logs read.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
/// How often the live table is drawn.
const TABLE_INTERVAL: Duration = Duration::from_secs(1);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Runs until Ctrl-C, SIGTERM or the key `q`, then stops the cluster.
pub(super) async fn run(
    mut cluster: DevCluster,
    mut signals: Signals,
    input: bool,
    restart: bool,
) -> Result<(), CliError> {
    announce(&cluster, input);
    let control = cluster.take_control().expect("nobody has taken it before");
    let mut session = Session { cluster, restart, stress: None, logs: None, table: None };
    let result = tokio::select! {
        () = signals.received() => Ok(()),
        result = session.take_keys_and_orders(control, input) => result,
    };
    say!("stopping");
    session.stress = None;
    session.table = None;
    session.cluster.stop().await;
    result
}

fn announce(cluster: &DevCluster, input: bool) {
    say!("{}", style("ready").green().bold());
    for node in cluster.nodes() {
        say!("  {}  {}", painted(&node.id, &node.id), node.url);
    }
    let url = &cluster.nodes()[0].url;
    say!(
        "\npay with:\n  curl -s {url}/v1/payments -H 'Content-Type: application/json' -H \"Idempotency-Key: $(date +%s%N)\" \\\n    \
         -d '{{\"from\":\"external:card\",\"to\":\"shop:1\",\"amount\":15075,\"currency\":\"USD\"}}'\n"
    );
    if input {
        say!("{}", keys::HELP);
    }
}

/// A text in the colour of a node.
fn painted(node: &str, text: &str) -> String {
    let number = node.bytes().last().map_or(0, |digit| digit.wrapping_sub(b'1') % 5);
    let text = style(text);
    match number {
        0 => text.cyan(),
        1 => text.magenta(),
        2 => text.yellow(),
        3 => text.blue(),
        _ => text.green(),
    }
    .to_string()
}

struct Session {
    cluster: DevCluster,
    /// Whether nodes that die are started again.
    restart: bool,
    stress: Option<Stress>,
    /// The logs while they are shown.
    logs: Option<Vec<FollowedLog>>,
    table: Option<LiveTable>,
}

/// A task that asks for the status again and again. Dropping it ends it.
struct LiveTable {
    texts: mpsc::Receiver<String>,
    task: JoinHandle<()>,
}

impl LiveTable {
    fn start(client: Client) -> Self {
        let (sender, texts) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let mut due = tokio::time::interval(TABLE_INTERVAL);
            loop {
                due.tick().await;
                let text =
                    client.cluster().await.map_or_else(|error| error.to_string(), |view| status::describe(&view));
                if sender.send(text).await.is_err() {
                    return;
                }
            }
        });
        Self { texts, task }
    }
}

impl Drop for LiveTable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Returns when the key `q` is pressed.
    async fn take_keys_and_orders(&mut self, mut control: Control, input: bool) -> Result<(), CliError> {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        // Without a terminal nobody types, and the end of the input does not end the session.
        let mut listening = input && std::io::stdin().is_terminal();
        let mut watch = tokio::time::interval(CHECK_INTERVAL);
        loop {
            tokio::select! {
                _ = watch.tick() => self.check().await?,
                order = control.next() => self.carry_out(order).await,
                counts = finished(&mut self.stress) => {
                    self.stress = None;
                    say!("{} {counts}", style("stress is over:").bold());
                }
                text = next_text(&mut self.table) => self.draw(&text),
                line = lines.next_line(), if listening => match line {
                    Ok(Some(line)) => {
                        if self.take_line(&line).await {
                            return Ok(());
                        }
                    }
                    Ok(None) | Err(_) => listening = false,
                },
            }
        }
    }

    /// Whether it was the key that ends the session.
    async fn take_line(&mut self, line: &str) -> bool {
        if self.table.take().is_some() {
            say!("(the live table has ended)");
        }
        let key = match Key::parse(line) {
            Ok(key) => key,
            Err(why) => {
                say!("{why}");
                return false;
            }
        };
        if key == Key::Quit {
            return true;
        }
        if let Err(error) = self.press(key).await {
            say!("{}", style(error).red());
        }
        false
    }

    async fn press(&mut self, key: Key) -> Result<(), CliError> {
        match key {
            Key::Nothing | Key::Quit => {}
            Key::Pay => {
                let client = self.cluster.client()?;
                // Without a leader a payment waits, and other keys are to work meanwhile.
                tokio::spawn(async move {
                    match pay_once(&client).await {
                        Ok(payment) => say!("paid: {}", to_json(&payment)),
                        Err(error) => say!("{}", style(error).red()),
                    }
                });
            }
            Key::Stress(_) if self.stress.is_some() => say!("stress is on already"),
            Key::Stress(time) => {
                self.stress = Some(Stress::start(&self.cluster.urls(), time)?);
                say!("{CALLERS} callers pay at all nodes for {} s", time.as_secs());
            }
            Key::Break(request) => {
                let made = self.cluster.break_something(&request).await?;
                made.lines.iter().for_each(|line| say!("{} {line}", style("broken:").red().bold()));
            }
            Key::Heal(request) => show_healed(&self.cluster.heal(&request).await?),
            Key::Table => self.table = Some(LiveTable::start(self.cluster.client()?)),
            Key::Logs => self.switch_logs(),
        }
        Ok(())
    }

    fn switch_logs(&mut self) {
        if self.logs.take().is_some() {
            return say!("the logs are off");
        }
        let nodes = self.cluster.nodes().iter();
        self.logs = Some(nodes.map(|node| FollowedLog::from_its_end(node.id.clone(), node.log.clone())).collect());
        say!("the logs are on");
    }

    async fn carry_out(&mut self, pending: PendingOrder) {
        let result = self.cluster.carry_out(&pending.order).await;
        if let Ok(reply) = &result {
            reply.lines.iter().for_each(|line| say!("{} {line}", style("another program:").bold()));
        }
        pending.answer(&result);
    }

    async fn check(&mut self) -> Result<(), CliError> {
        let dead = self.cluster.take_dead()?;
        dead.iter().for_each(|line| say!("{}", style(line).red()));
        if self.restart && !dead.is_empty() {
            for id in self.cluster.restart_dead().await? {
                say!("restarted {}", painted(&id, &id));
            }
        }
        if let Err(error) = self.cluster.maintain().await {
            say!("{}", style(error).red());
        }
        if self.table.is_none() {
            for log in self.logs.iter_mut().flatten() {
                log.new_lines().iter().for_each(|line| say!("{} {line}", painted(&log.node, &log.node)));
            }
        }
        Ok(())
    }

    /// Draws the live table in the place of the one before if this is a terminal, else below it.
    fn draw(&self, table: &str) {
        let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
        let faults = self.cluster.lasting_faults();
        let faults = if faults.is_empty() { "no fault lasts".to_owned() } else { faults.join("\n") };
        let stress = if self.stress.is_some() { "payments are being made\n" } else { "" };
        say!("{clear}{table}\n\n{}\n{stress}(Enter ends the live table)", style(faults).red());
        let _ = std::io::stdout().flush();
    }
}

fn show_healed(reply: &FaultReply) {
    if reply.lines.is_empty() {
        say!("nothing was broken");
    }
    reply.lines.iter().for_each(|line| say!("{}", style(line).green()));
}

/// What the payments came to, once they have ended.
async fn finished(stress: &mut Option<Stress>) -> String {
    match stress {
        Some(stress) => stress.finish().await.to_string(),
        None => std::future::pending().await,
    }
}

async fn next_text(table: &mut Option<LiveTable>) -> String {
    let text = match table {
        Some(table) => table.texts.recv().await,
        None => None,
    };
    match text {
        Some(text) => text,
        None => std::future::pending().await,
    }
}
