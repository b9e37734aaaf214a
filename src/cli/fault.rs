//! `quorapay fault` and `quorapay heal`: break something in a running cluster, and mend it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::CliError;
use super::connection::{block_on, print_line};
use super::duration::parse_duration;
use super::signals::Signals;
use quorapay_lab::dev::{self, Order};
use quorapay_lab::fault::{
    Amount, ComposeStack, Direction, Ends, FaultName, FaultReply, FaultRequest, HealRequest, flip_bit_of_stopped_node,
};

const EXAMPLES: &str = "\
Examples:
  quorapay fault kill                                    # the leader of the cluster that quorapay dev runs
  quorapay fault pause --node node2 --for 10s            # healed after 10 s, and on Ctrl-C
  quorapay fault partition --node node1                  # from the other nodes and from ZooKeeper
  quorapay fault partition --node node1 --one-way in     # it hears nobody
  quorapay fault partition --node node1 --from zookeeper
  quorapay fault partition --node node1 --from node3
  quorapay fault delay --node follower --by 80ms
  quorapay fault zookeeper-all --target compose
  quorapay heal --all";

const KINDS: &str = "\
Faults:             on dev                              on compose
  kill              SIGKILL                             docker kill
  pause             SIGSTOP                             docker pause
  partition         proxies between the processes       packet filters
  delay             the same; --by 40ms                 not possible: packet filters do not delay
  loss              the same; --by 5%                   packet filters
  disk-full         strace: writes fail with ENOSPC     the same, until docker restarts the node
  slow-sync         strace: --by 500ms for each sync    the same
  fsync-error       strace: every sync fails            the same, until docker restarts the node
  clock-step        faketime, if dev has --clocks;      not possible: containers share a clock
                    --by 1h or --by -1h
  clock-drift       the same; --by 100ms for a second   not possible
  disk-wiped        killed, and its files deleted       the same
  bit-flip          the node is stopped, a bit of its   the same
                    ledger flipped, the node started
  zookeeper-server  SIGKILL, if dev has started it      docker kill
  zookeeper-all     the same for all servers            the same
  zookeeper-wiped   the same, and their data deleted    the same";

const TARGETS: &str = "\
Targets:
  dev      the cluster of `quorapay dev` in --data-dir. strace: apt-get install strace
  compose  the stack of docker-compose.yml, if it says that it is a test stack:
           QUORAPAY_TEST_STACK=true in .env. Nothing else is touched. Packet filters and strace run
           in helper containers: docker build --tag quorapay-faults runbooks/faults

A fault lasts until it is healed, also when this command has ended or was killed. Healing starts what does not run.";

/// Break something in a running test cluster, until it is healed
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{KINDS}\n\n{TARGETS}\n\n{}", super::exit::HELP))]
pub(super) struct Fault {
    #[command(flatten)]
    what: FaultArguments,
    /// Heal it after this time, such as 10s, and on Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    lasting: Option<Duration>,
    #[command(flatten)]
    target: TargetArguments,
}

/// A fault.
#[derive(Clone, Debug, Args)]
pub(super) struct FaultArguments {
    /// The kind of fault
    #[arg(value_name = "FAULT", value_parser = FaultName::parse)]
    name: FaultName,
    /// A node or a ZooKeeper server by its name, or leader, or follower [default: the leader]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The other ends of the links that fail: all, peers, zookeeper, or a node
    /// [default: all for a partition, peers for delay and loss]
    #[arg(long, value_name = "ENDS", value_parser = parse_ends)]
    from: Option<Ends>,
    /// Only one direction fails: in, what others send to the node, or out, what it sends
    #[arg(long, value_name = "IN|OUT")]
    one_way: Option<OneWay>,
    /// How much: a time such as 40ms or -1h, or a share of packets such as 5%
    #[arg(long, value_name = "AMOUNT", value_parser = parse_amount, allow_hyphen_values = true)]
    by: Option<Amount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OneWay {
    In,
    Out,
}

/// The cluster that is broken.
#[derive(Debug, Args)]
struct TargetArguments {
    /// Which cluster
    #[arg(long, value_enum, default_value_t = TargetKind::Dev)]
    target: TargetKind,
    /// The folder of `quorapay dev`, or of the files
    #[arg(long, value_name = "DIR", default_value = "quorapay-dev")]
    data_dir: PathBuf,
    /// Which stack, if several of docker-compose.yml run
    #[arg(long, value_name = "NAME")]
    project: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TargetKind {
    /// The cluster of `quorapay dev` in --data-dir
    Dev,
    /// The test stack of docker-compose.yml
    Compose,
    /// The files of a stopped node in --data-dir, for bit-flip only
    Files,
}

/// Mend what `quorapay fault` and the keys of `quorapay dev` broke
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  quorapay heal --all                     # everything, and start whatever does not run
  quorapay heal partition --node node1
  quorapay heal --node node2
  quorapay heal --list                    # what lasts")]
pub(super) struct Heal {
    /// Only this kind of fault
    #[arg(value_name = "FAULT", value_parser = FaultName::parse)]
    name: Option<FaultName>,
    /// Only at this node or ZooKeeper server
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["name", "node"])]
    all: bool,
    /// Heal nothing, and say which faults last
    #[arg(long, conflicts_with_all = ["name", "node", "all"])]
    list: bool,
    #[command(flatten)]
    target: TargetArguments,
}

impl FaultArguments {
    pub(super) fn request(&self) -> FaultRequest {
        FaultRequest {
            name: self.name,
            node: self.node.clone(),
            from: self.from.clone(),
            direction: match self.one_way {
                None => Direction::Both,
                Some(OneWay::In) => Direction::In,
                Some(OneWay::Out) => Direction::Out,
            },
            by: self.by,
        }
    }
}

impl TargetArguments {
    async fn order(&self, order: &Order) -> Result<FaultReply, CliError> {
        match self.target {
            TargetKind::Dev => Ok(dev::order(&self.data_dir, order).await?),
            TargetKind::Compose => {
                let mut stack = ComposeStack::find(self.project.as_deref()).await?;
                Ok(match order {
                    Order::Fault(request) => stack.make(request).await?,
                    Order::Heal(request) => stack.heal(request).await?,
                    Order::List => stack.lasting_faults().await?,
                })
            }
            TargetKind::Files => self.break_files(order).await,
        }
    }

    async fn break_files(&self, order: &Order) -> Result<FaultReply, CliError> {
        if !matches!(order, Order::Fault(FaultRequest { name: FaultName::BitFlip, .. })) {
            return Err(CliError::Usage(
                "of the files of a stopped node only a bit can be flipped: bit-flip".to_owned(),
            ));
        }
        let shown = self.data_dir.display();
        if flip_bit_of_stopped_node(&self.data_dir, rand::random()).await? {
            let lines = vec![format!("a bit of the ledger in {shown} is flipped")];
            return Ok(FaultReply { lines, heal: None });
        }
        Err(CliError::Failed(format!("no bit was found in {shown} whose flip would be noticed; nothing is changed")))
    }
}

impl Fault {
    pub(super) fn run(&self) -> Result<(), CliError> {
        block_on(self.make())?
    }

    async fn make(&self) -> Result<(), CliError> {
        // Before the fault is made, so that no signal ends this command between the fault and its healing.
        let mut signals = Signals::listen()?;
        let request = self.what.request();
        let made = self.target.order(&Order::Fault(request)).await?;
        print_lines(&made)?;
        let (Some(lasting), Some(heal)) = (self.lasting, made.heal) else { return Ok(()) };
        tokio::select! {
            () = tokio::time::sleep(lasting) => {}
            () = signals.received() => {}
        }
        print_lines(&self.target.order(&Order::Heal(heal)).await?)
    }
}

impl Heal {
    pub(super) fn run(&self) -> Result<(), CliError> {
        if self.list {
            let lasting = block_on(self.target.order(&Order::List))??;
            return if lasting.lines.is_empty() { print_line("no fault lasts") } else { print_lines(&lasting) };
        }
        if !self.all && self.name.is_none() && self.node.is_none() {
            let usage = "name what is to be healed: a fault, --node, or --all; --list says what lasts";
            return Err(CliError::Usage(usage.to_owned()));
        }
        let request = HealRequest { name: self.name, node: self.node.clone() };
        let healed = block_on(self.target.order(&Order::Heal(request)))??;
        if healed.lines.is_empty() { print_line("nothing was broken") } else { print_lines(&healed) }
    }
}

fn print_lines(reply: &FaultReply) -> Result<(), CliError> {
    reply.lines.iter().try_for_each(|line| print_line(line))
}

/// Reads the other ends of links. A word that is none of the fixed ones names a node, which the cluster knows.
#[allow(clippy::unnecessary_wraps, reason = "the form of a parser of arguments")]
fn parse_ends(word: &str) -> Result<Ends, String> {
    Ok(match word {
        "all" => Ends::All,
        "peers" => Ends::Peers,
        "zookeeper" => Ends::Zookeeper,
        node => Ends::Node(node.to_owned()),
    })
}

/// Reads `5%` or `0.5%`, or a duration with an optional sign.
fn parse_amount(text: &str) -> Result<Amount, String> {
    let refuse = || format!("{text:?} is neither a time such as 40ms or -1h nor a share such as 5%");
    if let Some(share) = text.strip_suffix('%') {
        let (whole, tenths) = share.split_once('.').unwrap_or((share, "0"));
        let read = |digits: &str| digits.parse::<u16>().ok();
        let per_mille = match (read(whole), read(tenths), tenths.len()) {
            (Some(whole @ 0..=100), Some(tenths), 1) => whole * 10 + tenths,
            _ => return Err(refuse()),
        };
        return if per_mille <= 1_000 { Ok(Amount::PerMille(per_mille)) } else { Err(refuse()) };
    }
    let (negative, size) = match text.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let size = parse_duration(size).map_err(|_| refuse())?;
    let ms = i64::try_from(size.as_millis()).map_err(|_| refuse())?;
    Ok(Amount::Ms(if negative { -ms } else { ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_a_time_or_a_share() {
        assert_eq!(parse_amount("40ms"), Ok(Amount::Ms(40)));
        assert_eq!(parse_amount("-1h"), Ok(Amount::Ms(-3_600_000)));
        assert_eq!(parse_amount("5%"), Ok(Amount::PerMille(50)));
        assert_eq!(parse_amount("0.5%"), Ok(Amount::PerMille(5)));
        for bad in ["", "40", "101%", "5.55%", "%", "-5%", "fast"] {
            assert!(parse_amount(bad).is_err(), "{bad}");
        }
    }
}
