//! `quorapay account`: open accounts, look at them, change their policy, freeze and close them.

mod describe;

use clap::{Args, Subcommand};

use super::CliError;
use super::connection::{Connection, block_on, committed, parse_key};
use super::exit;
use super::pay::{parse_account, parse_currency};
use super::payment::{PageArguments, TimeArguments};
use describe::{describe, describe_change, describe_page, describe_statement};
use quorapay_client::{AccountSettings, StatementFilter};
use quorapay_core::domain::{AccountId, AccountStatus, Currency, IdempotencyKey, Overdraft, OverdraftError};

const EXAMPLES: &str = "\
Examples:
  quorapay account open shop:42
  quorapay account open supplier:7 --overdraft limit:100000      # down to -1000.00 in a currency of two decimals
  quorapay account get shop:42
  quorapay account set shop:42 --overdraft none
  quorapay account freeze shop:42                 # neither pays nor is paid until `unfreeze`
  quorapay account close shop:42                  # for ever; its balances and holds must be zero
  quorapay account statement shop:42 --currency USD --limit 20";

/// Open accounts, look at them, change their policy, freeze and close them
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct AccountArguments {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    Open(Open),
    Get(Get),
    List(List),
    Set(Set),
    Freeze(Freeze),
    Unfreeze(Unfreeze),
    Close(Close),
    Statement(StatementArguments),
}

/// Open an account; one also opens by itself when it is first paid
#[derive(Debug, Args)]
struct Open {
    /// The account
    #[arg(value_parser = parse_account)]
    id: AccountId,
    /// How far below zero it may go: none, limit:N (minor units) or unlimited
    #[arg(long, default_value = "none", value_parser = parse_overdraft)]
    overdraft: Overdraft,
    /// Idempotency key; a new UUID without one
    #[arg(long, value_parser = parse_key)]
    key: Option<IdempotencyKey>,
    #[command(flatten)]
    connection: Connection,
}

/// An account with its balances
#[derive(Debug, Args)]
struct Get {
    /// The account
    #[arg(value_parser = parse_account)]
    id: AccountId,
    #[command(flatten)]
    connection: Connection,
}

/// Accounts, in the order of their ids
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    page: PageArguments,
    #[command(flatten)]
    connection: Connection,
}

/// Give an account another overdraft policy
#[derive(Debug, Args)]
struct Set {
    /// How far below zero it may go: none, limit:N (minor units) or unlimited
    #[arg(long, value_parser = parse_overdraft)]
    overdraft: Overdraft,
    #[command(flatten)]
    change: Change,
}

/// Let an account neither pay nor be paid until it is unfrozen
#[derive(Debug, Args)]
struct Freeze {
    #[command(flatten)]
    change: Change,
}

/// Let a frozen account pay and be paid again
#[derive(Debug, Args)]
struct Unfreeze {
    #[command(flatten)]
    change: Change,
}

/// Close an account for ever; its balances and holds must be zero
#[derive(Debug, Args)]
struct Close {
    #[command(flatten)]
    change: Change,
}

/// What every change needs.
#[derive(Debug, Args)]
struct Change {
    /// The account
    #[arg(value_parser = parse_account)]
    id: AccountId,
    /// Idempotency key; a new UUID without one
    #[arg(long, value_parser = parse_key)]
    key: Option<IdempotencyKey>,
    #[command(flatten)]
    connection: Connection,
}

/// What an account paid and received, with its balance after each
#[derive(Debug, Args)]
struct StatementArguments {
    /// The account
    #[arg(value_parser = parse_account)]
    id: AccountId,
    /// In this currency
    #[arg(long, value_parser = parse_currency)]
    currency: Option<Currency>,
    #[command(flatten)]
    times: TimeArguments,
    #[command(flatten)]
    page: PageArguments,
    #[command(flatten)]
    connection: Connection,
}

impl AccountArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match &self.command {
            AccountCommand::Open(open) => open.run(),
            AccountCommand::Get(get) => get.run(),
            AccountCommand::List(list) => list.run(),
            AccountCommand::Set(set) => {
                set.change.run(AccountSettings { overdraft: Some(set.overdraft), status: None })
            }
            AccountCommand::Freeze(freeze) => freeze.change.set_status(AccountStatus::Frozen),
            AccountCommand::Unfreeze(unfreeze) => unfreeze.change.set_status(AccountStatus::Active),
            AccountCommand::Close(close) => close.change.set_status(AccountStatus::Closed),
            AccountCommand::Statement(statement) => statement.run(),
        }
    }
}

impl Open {
    fn run(&self) -> Result<(), CliError> {
        let client = self.connection.client()?;
        let key = self.connection.announced_key(self.key.as_ref())?;
        let outcome = block_on(client.open_account(&key, &self.id, self.overdraft))??;
        self.connection.show(&committed(outcome, &key)?.0, |opened| describe(opened))
    }
}

impl Get {
    fn run(&self) -> Result<(), CliError> {
        self.connection.show(&block_on(self.connection.client()?.account(&self.id))??, |found| describe(found))
    }
}

impl List {
    fn run(&self) -> Result<(), CliError> {
        let page = block_on(self.connection.client()?.accounts(&self.page.page()))??;
        self.connection.show(&page, describe_page)
    }
}

impl Change {
    fn set_status(&self, status: AccountStatus) -> Result<(), CliError> {
        self.run(AccountSettings { overdraft: None, status: Some(status) })
    }

    fn run(&self, settings: AccountSettings) -> Result<(), CliError> {
        let client = self.connection.client()?;
        let key = self.connection.announced_key(self.key.as_ref())?;
        let outcome = block_on(client.set_account(&key, &self.id, settings))??;
        self.connection.show(&committed(outcome, &key)?.0, describe_change)
    }
}

impl StatementArguments {
    fn run(&self) -> Result<(), CliError> {
        let filter = StatementFilter {
            currency: self.currency,
            from_time: self.times.from_time.clone(),
            to_time: self.times.to_time.clone(),
        };
        let statement = block_on(self.connection.client()?.statement(&self.id, &filter, &self.page.page()))??;
        self.connection.show(&statement, describe_statement)
    }
}

fn parse_overdraft(text: &str) -> Result<Overdraft, OverdraftError> {
    Overdraft::parse(text)
}
