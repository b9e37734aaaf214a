//! The command line: one file per command, which parses arguments, calls a library and prints the result.
//!
//! ```text
//! node                           runs a node
//! pay, payment, account          payments and accounts
//! export, import                 files
//! status, events, ready          the state of a cluster and of a node, and what happens
//! verify, check                  ledgers alone, and histories against ledgers
//! recover                        a new cluster from a surviving ledger
//! backup, restore                the ledger as files, and a new cluster from them
//! certs                          a private authority and certificates
//! api_key                        keys for callers
//! dev, demo                      a cluster on this machine
//! fault                          breaks something in a running test cluster, and heals it
//! bench, chaos                   measurements and faults
//! connection                     the options of all client commands, and output
//! exit                           exit codes and errors
//! duration, signals              arguments and signals
//! progress, table                output for people
//! ```

mod account;
mod api_key;
mod backup;
mod bench;
mod certs;
mod chaos;
mod check;
mod connection;
mod demo;
mod dev;
mod duration;
mod events;
mod exit;
mod export;
mod fault;
mod import;
mod node;
mod pay;
mod payment;
mod progress;
mod ready;
mod recover;
mod restore;
mod signals;
mod status;
mod table;
mod verify;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub(crate) use exit::{CliError, ExitCode};

/// A replicated payment ledger: run it, pay with it, look at it.
#[derive(Debug, Parser)]
#[command(name = "quorapay", version, arg_required_else_help = true, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Node(node::NodeArguments),
    Dev(dev::Dev),
    Demo(demo::Demo),
    Pay(pay::Pay),
    Payment(payment::PaymentArguments),
    Account(account::AccountArguments),
    ApiKey(api_key::ApiKeyArguments),
    Export(export::ExportArguments),
    Import(import::ImportArguments),
    Status(status::Status),
    Events(events::Events),
    Ready(ready::Ready),
    Verify(verify::Verify),
    Check(check::Check),
    RebuildViews(verify::RebuildViews),
    Recover(recover::Recover),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Certs(certs::Certs),
    Fault(fault::Fault),
    Heal(fault::Heal),
    Bench(bench::Bench),
    Chaos(chaos::Chaos),
}

/// Runs a command. An error is one line on stderr and an exit code.
#[must_use]
pub(crate) fn run(cli: Cli) -> ExitCode {
    if !matches!(cli.command, Command::Node(_)) {
        start_tracing();
    }
    // For HTTP clients that are made without a choice of their own. It fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = match cli.command {
        Command::Node(node) => node.run(),
        Command::Dev(dev) => dev.run(),
        Command::Demo(demo) => demo.run(),
        Command::Pay(pay) => pay.run(),
        Command::Payment(payment) => payment.run(),
        Command::Account(account) => account.run(),
        Command::ApiKey(api_key) => api_key.run(),
        Command::Export(export) => export.run(),
        Command::Import(import) => import.run(),
        Command::Status(status) => status.run(),
        Command::Events(events) => events.run(),
        Command::Ready(ready) => ready.run(),
        Command::Verify(verify) => verify.run(),
        Command::Check(check) => check.run(),
        Command::RebuildViews(rebuild) => rebuild.run(),
        Command::Recover(recover) => recover.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        Command::Certs(certs) => certs.run(),
        Command::Fault(fault) => fault.run(),
        Command::Heal(heal) => heal.run(),
        Command::Bench(bench) => bench.run(),
        Command::Chaos(chaos) => chaos.run(),
    };
    match result {
        Ok(()) => ExitCode::Ok,
        Err(error) => {
            eprintln!("quorapay: {error}");
            // With --json, which means the same in every command that has it, the error is written to stdout too.
            let wanted = std::env::args().any(|argument| argument == "--json");
            if let Some(error) = error.for_programs().filter(|_| wanted) {
                connection::print_line(&connection::to_json(&error)).unwrap_or_default();
            }
            error.exit_code()
        }
    }
}

/// Logs go to stderr, so that stdout holds nothing but the command's result.
fn start_tracing() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid_and_its_examples_are_accepted() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
        for line in [
            "pay external:card shop:42 150.75 USD --key order-1001 --metadata {\"order\":7}",
            "pay a b 10 USD --capture manual --expires-in 3600 --order 7 --order-total 10",
            "payment get 0198c1f0-7c1e-7000-8000-00000000002a",
            "payment capture 0198c1f0-7c1e-7000-8000-00000000002a 50.25 --key c1",
            "payment void 0198c1f0-7c1e-7000-8000-00000000002a",
            "payment refund 0198c1f0-7c1e-7000-8000-00000000002a",
            "payment by-key order-1001",
            "payment fence order-1001",
            "payment list --account shop:42 --status authorized --limit 20",
            "account open supplier:7 --overdraft limit:100000",
            "account set shop:42 --overdraft none",
            "account freeze shop:42",
            "account unfreeze shop:42",
            "account close shop:42",
            "account statement shop:42 --limit 20",
            "export statement shop:42 --format csv --output shop.csv",
            "export ledger --format ndjson --from-index 1000",
            "import payments.csv --dry-run",
            "import payments.ndjson --batch 5000 --report refused.csv --skip-invalid",
            "status --url http://127.0.0.1:7101,http://127.0.0.1:7102 --json",
            "events --url http://127.0.0.1:7101 --json",
            "ready --deadline-ms 60000",
            "bench --rate 5000 --duration 60s --json",
            "chaos --seed 7 --nodes 5 --duration 10m --report /tmp/chaos",
            "chaos --faults kill,pause,partition --duration 30s",
            "chaos --network namespaces",
            "chaos --target compose --project test --rounds 5",
            "fault kill",
            "fault partition --node node1 --from zookeeper --one-way in --for 10s",
            "fault delay --node follower --by 80ms --target dev --data-dir /tmp/dev",
            "fault clock-step --by -1h",
            "heal --all",
            "heal partition --node node1",
            "heal --list",
            "dev --zookeepers 3 --clocks --direct",
            "backup --to monday.qpb --url http://127.0.0.1:7101",
            "backup --to tuesday.qpb --from monday.qpb --json",
            "backup --to -",
            "backup --to /backups --keep 24 --every 1h",
            "restore --config node1.toml monday.qpb tuesday.qpb --to-index 7",
            "certs init --folder /etc/quorapay/ca --days 1000",
            "certs node node1 --host node1.example --host 10.0.0.1 --to /etc/quorapay/tls",
            "certs client shop --json",
            "api-key new --to first.key",
            "api-key create till --scope payments:write --scope metrics --debit external: --credit shop:1: --limit EUR=5.00 --to a",
            "api-key rotate 5f0c2b9a7d31e864 --old-valid-for 30d --to b",
            "api-key revoke 5f0c2b9a7d31e864 --key r1",
            "status --api-key-file shop.key",
            "status --url https://127.0.0.1:7101 --ca ca.pem --client-certificate a.pem --client-key b.pem",
            "restore /backups --to-time 2026-11-30T12:00:00Z --keep-cluster-id",
            "verify monday.qpb tuesday.qpb --json",
            "chaos --faults power-loss,fsync-error --rounds 10",
            "check history.jsonl node1 node2/ledger.db --complete --json",
        ] {
            let arguments = std::iter::once("quorapay").chain(line.split(' '));
            assert!(Cli::try_parse_from(arguments).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_command_line_that_contradicts_itself_is_refused() {
        for line in [
            "payment get",
            "pay a b 1 US$",
            "pay a b 1 USD --order 7",
            "account set shop:42",
            "bench --retry --failover",
            "chaos --faults love",
            "chaos --target compose --nodes 5",
            "fault love",
            "fault loss --by 101%",
            "heal --all --node node1",
            "dev --zookeeper 127.0.0.1:2181 --zookeepers 3",
            "backup",
            "backup --to x --every 1h",
            "backup --to x --keep 2 --from y",
            "restore",
            "restore x --to-index 7 --to-time 2026-11-30T12:00:00Z",
            "restore x --to-time noon",
            "status --client-key b.pem",
            "certs node",
            "api-key create till --scope admin",
            "api-key create till",
            "api-key create a --scope metrics --to x --key-file y",
            "api-key rotate 5f0c --old-valid-for 1d",
            "api-key rotate 5f0c2b9a7d31e864",
        ] {
            let arguments = std::iter::once("quorapay").chain(line.split(' '));
            assert!(Cli::try_parse_from(arguments).is_err(), "{line}");
        }
    }
}
