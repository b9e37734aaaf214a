//! The command line: one file per command, thin; what a command does stands in the layers below.

mod account;
mod amount;
mod bench;
mod connection;
mod exit;
mod pay;
mod payment;
mod status;
mod table;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

pub use exit::{CliError, ExitCode};

/// A replicated payment ledger: run it, pay with it, look at it.
#[derive(Debug, Parser)]
#[command(name = "quorapay", version, arg_required_else_help = true, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Pay(pay::Pay),
    Payment(payment::PaymentArguments),
    Account(account::AccountArguments),
    Status(status::Status),
    Bench(bench::Bench),
}

/// Does what the command line says. Errors are one line on stderr and an exit code.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    start_tracing();
    let result = match cli.command {
        Command::Pay(pay) => pay.run(),
        Command::Payment(payment) => payment.run(),
        Command::Account(account) => account.run(),
        Command::Status(status) => status.run(),
        Command::Bench(bench) => bench.run(),
    };
    match result {
        Ok(()) => ExitCode::Ok,
        Err(error) => {
            eprintln!("quorapay: {error}");
            error.exit_code()
        }
    }
}

/// Logs go to stderr, so that stdout holds nothing but the command's result.
fn start_tracing() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
