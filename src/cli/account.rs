//! `quorapay account`: open accounts, look at them, change their policy.

use clap::{Args, Subcommand};

use super::CliError;
use super::connection::{Connection, block_on, committed, parse_key};
use super::exit;
use super::pay::parse_account;
use super::payment::{PageArguments, next_page};
use super::table::{Align, table};
use crate::client::{Account, AccountPage, Statement};
use crate::domain::{AccountId, IdempotencyKey, Overdraft, OverdraftError};

const EXAMPLES: &str = "\
Examples:
  quorapay account open shop:42
  quorapay account open supplier:7 --overdraft limit:100000      # down to -1000.00 in a currency of two decimals
  quorapay account get shop:42
  quorapay account set-overdraft shop:42 none
  quorapay account statement shop:42 --limit 20";

/// Open accounts, look at them, change their overdraft policy
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
    SetOverdraft(SetOverdraft),
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
struct SetOverdraft {
    /// The account
    #[arg(value_parser = parse_account)]
    id: AccountId,
    /// How far below zero it may go: none, limit:N (minor units) or unlimited
    #[arg(value_parser = parse_overdraft)]
    overdraft: Overdraft,
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
            AccountCommand::SetOverdraft(set) => set.run(),
            AccountCommand::Statement(statement) => statement.run(),
        }
    }
}

impl Open {
    fn run(&self) -> Result<(), CliError> {
        let client = self.connection.client()?;
        let key = self.connection.announced_key(self.key.as_ref())?;
        let outcome = block_on(client.open_account(&key, &self.id, self.overdraft))??;
        self.connection.show(&committed(outcome, &key)?.0, describe)
    }
}

impl Get {
    fn run(&self) -> Result<(), CliError> {
        self.connection.show(&block_on(self.connection.client()?.account(&self.id))??, describe)
    }
}

impl List {
    fn run(&self) -> Result<(), CliError> {
        let page = block_on(self.connection.client()?.accounts(&self.page.page()))??;
        self.connection.show(&page, describe_page)
    }
}

impl SetOverdraft {
    fn run(&self) -> Result<(), CliError> {
        let client = self.connection.client()?;
        let key = self.connection.announced_key(self.key.as_ref())?;
        let outcome = block_on(client.set_overdraft(&key, &self.id, self.overdraft))??;
        self.connection.show(&committed(outcome, &key)?.0, |change| {
            format!("{} may now overdraw: {} (index {})", change.id, change.overdraft, change.index)
        })
    }
}

impl StatementArguments {
    fn run(&self) -> Result<(), CliError> {
        let statement = block_on(self.connection.client()?.statement(&self.id, &self.page.page()))??;
        self.connection.show(&statement, describe_statement)
    }
}

fn parse_overdraft(text: &str) -> Result<Overdraft, OverdraftError> {
    Overdraft::parse(text)
}

fn describe(account: &Account) -> String {
    let page = AccountPage { accounts: vec![account.clone()], next_cursor: None };
    describe_page(&page)
}

/// One row per account and currency; an account without money is one row of its own.
fn describe_page(page: &AccountPage) -> String {
    let mut rows = Vec::new();
    for account in &page.accounts {
        let (id, overdraft) = (account.id.to_string(), account.overdraft.to_string());
        if account.balances.is_empty() {
            rows.push([id, overdraft, "-".to_owned(), "-".to_owned(), "-".to_owned(), String::new()]);
            continue;
        }
        rows.extend(account.balances.iter().map(|balance| {
            let currency = balance.currency;
            let available = balance.available.map_or_else(|| "unlimited".to_owned(), |units| currency.format(units));
            [
                id.clone(),
                overdraft.clone(),
                currency.format(balance.posted),
                currency.format(balance.held),
                available,
                currency.to_string(),
            ]
        }));
    }
    let headings = [
        ("account", Align::Left),
        ("overdraft", Align::Left),
        ("posted", Align::Right),
        ("held", Align::Right),
        ("available", Align::Right),
        ("", Align::Left),
    ];
    format!("{}{}", table(headings, &rows), next_page(page.next_cursor.as_deref()))
}

fn describe_statement(statement: &Statement) -> String {
    let rows: Vec<_> = statement
        .entries
        .iter()
        .map(|entry| {
            [
                entry.index.to_string(),
                entry.created_at.clone(),
                entry.payment_id.clone(),
                entry.counterparty.to_string(),
                entry.currency.format(entry.amount),
                entry.currency.format(entry.balance),
                entry.currency.to_string(),
            ]
        })
        .collect();
    let headings = [
        ("index", Align::Right),
        ("created", Align::Left),
        ("payment", Align::Left),
        ("counterparty", Align::Left),
        ("amount", Align::Right),
        ("balance", Align::Right),
        ("", Align::Left),
    ];
    format!("{}{}", table(headings, &rows), next_page(statement.next_cursor.as_deref()))
}
