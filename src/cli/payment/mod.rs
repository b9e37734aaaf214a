//! `quorapay payment`: look payments up, capture, void and refund them, close a key.

mod change;
mod describe;
mod keys;
mod list;

use clap::{Args, Subcommand};

use super::CliError;
use super::connection::{Connection, block_on};
use super::exit;
use change::{Capture, Refund, Void};
use keys::{ByKey, Fence};
use list::List;

pub(super) use describe::describe;
pub(super) use list::{PageArguments, TimeArguments, next_page};

const EXAMPLES: &str = "\
Examples:
  quorapay payment get 0198c1f0-7c1e-7000-8000-00000000002a
  quorapay payment capture 0198c1f0-7c1e-7000-8000-00000000002a 50.25 --key order-1001-capture-1
  quorapay payment void 0198c1f0-7c1e-7000-8000-00000000002a
  quorapay payment refund 0198c1f0-7c1e-7000-8000-00000000002a        # all that is left
  quorapay payment list --account shop:42 --status authorized --limit 20
  quorapay payment by-key order-1001          # committed, in flight, fenced, or unknown
  quorapay payment fence order-1001           # from now on nothing can happen under this key";

/// Look payments up; capture, void and refund them
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct PaymentArguments {
    #[command(subcommand)]
    command: PaymentCommand,
}

#[derive(Debug, Subcommand)]
enum PaymentCommand {
    #[command(alias = "show")]
    Get(Get),
    List(List),
    Capture(Capture),
    Void(Void),
    Refund(Refund),
    ByKey(ByKey),
    Fence(Fence),
}

/// One payment where it stands now, with its history
#[derive(Debug, Args)]
struct Get {
    /// The payment's id
    id: String,
    #[command(flatten)]
    connection: Connection,
}

impl PaymentArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match &self.command {
            PaymentCommand::Get(get) => get.run(),
            PaymentCommand::List(list) => list.run(),
            PaymentCommand::Capture(capture) => capture.run(),
            PaymentCommand::Void(void) => void.run(),
            PaymentCommand::Refund(refund) => refund.run(),
            PaymentCommand::ByKey(by_key) => by_key.run(),
            PaymentCommand::Fence(fence) => fence.run(),
        }
    }
}

impl Get {
    fn run(&self) -> Result<(), CliError> {
        self.connection.show(&block_on(self.connection.client()?.payment(&self.id))??, describe::describe_with_history)
    }
}
