//! `quorapay payment`: look payments up.

use clap::{Args, Subcommand};

use super::CliError;
use super::connection::{Connection, block_on, parse_key};
use super::exit;
use super::pay::{parse_account, parse_currency};
use super::table::{Align, table};
use crate::client::{KeyLookup, KeyState, Page, Payment, PaymentFilter, PaymentPage, PaymentStatus};
use crate::domain::{AccountId, Currency, IdempotencyKey};

const EXAMPLES: &str = "\
Examples:
  quorapay payment get 0198c1f0-7c1e-7000-8000-00000000002a
  quorapay payment get --key order-1001          # committed, in flight, or unknown
  quorapay payment list --account shop:42 --limit 20";

/// Look payments up
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct PaymentArguments {
    #[command(subcommand)]
    command: PaymentCommand,
}

#[derive(Debug, Subcommand)]
enum PaymentCommand {
    Get(Get),
    List(List),
}

/// One payment, by its id or by its idempotency key
#[derive(Debug, Args)]
struct Get {
    /// The payment's id
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    id: Option<String>,
    /// The key under which it was asked for
    #[arg(long, value_parser = parse_key)]
    key: Option<IdempotencyKey>,
    #[command(flatten)]
    connection: Connection,
}

/// Payments, newest first
#[derive(Debug, Args)]
struct List {
    /// Paid or received by this account
    #[arg(long, value_parser = parse_account)]
    account: Option<AccountId>,
    /// In this status
    #[arg(long, value_parser = parse_status)]
    status: Option<PaymentStatus>,
    /// In this currency
    #[arg(long, value_parser = parse_currency)]
    currency: Option<Currency>,
    /// Not before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    from_time: Option<String>,
    /// Before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    to_time: Option<String>,
    #[command(flatten)]
    page: PageArguments,
    #[command(flatten)]
    connection: Connection,
}

/// Which part of a listing.
#[derive(Clone, Debug, Args)]
pub(super) struct PageArguments {
    /// Where to go on: the cursor that the page before ended with
    #[arg(long)]
    cursor: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl PageArguments {
    pub(super) fn page(&self) -> Page {
        Page { cursor: self.cursor.clone(), limit: Some(self.limit) }
    }
}

/// The line under a page that tells how to get the next.
pub(super) fn next_page(cursor: Option<&str>) -> String {
    cursor.map(|cursor| format!("\nmore with --cursor {cursor}")).unwrap_or_default()
}

impl PaymentArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match &self.command {
            PaymentCommand::Get(get) => get.run(),
            PaymentCommand::List(list) => list.run(),
        }
    }
}

impl Get {
    fn run(&self) -> Result<(), CliError> {
        let client = self.connection.client()?;
        match (&self.id, &self.key) {
            (_, Some(key)) => self.connection.show(&block_on(client.payment_by_key(key))??, describe_lookup),
            (Some(id), None) => self.connection.show(&block_on(client.payment(id))??, describe),
            (None, None) => Err(CliError::Usage("give a payment's id, or --key".to_owned())),
        }
    }
}

impl List {
    fn run(&self) -> Result<(), CliError> {
        let filter = PaymentFilter {
            account: self.account.clone(),
            status: self.status,
            currency: self.currency,
            from_time: self.from_time.clone(),
            to_time: self.to_time.clone(),
        };
        let page = block_on(self.connection.client()?.payments(&filter, &self.page.page()))??;
        self.connection.show(&page, describe_page)
    }
}

fn parse_status(text: &str) -> Result<PaymentStatus, String> {
    match text {
        "succeeded" => Ok(PaymentStatus::Succeeded),
        "rejected" => Ok(PaymentStatus::Rejected),
        _ => Err("a status is succeeded or rejected".to_owned()),
    }
}

/// A payment for people.
pub(super) fn describe(payment: &Payment) -> String {
    let Payment { id, status, from, to, currency, created_at, index, epoch, .. } = payment;
    let amount = currency.format(payment.amount);
    let mut lines = vec![
        format!("payment     {id}  {status}"),
        format!("amount      {amount} {currency}"),
        format!("from        {from}{}", balance(payment, |balances| balances.from)),
        format!("to          {to}{}", balance(payment, |balances| balances.to)),
        format!("ledger      index {index}, epoch {epoch}, {created_at}"),
    ];
    lines.extend(payment.rejection.iter().map(|code| format!("refused     {code}")));
    lines.extend(payment.description.iter().map(|text| format!("description {text}")));
    lines.extend(payment.metadata.iter().map(|json| format!("metadata    {json}")));
    lines.join("\n")
}

fn balance(payment: &Payment, of: impl Fn(&crate::client::PaymentBalances) -> crate::domain::MinorUnits) -> String {
    let written = payment.balances.as_ref().map(|balances| payment.currency.format(of(balances)));
    written.map(|balance| format!("  (balance {balance})")).unwrap_or_default()
}

fn describe_lookup(lookup: &KeyLookup) -> String {
    let index = lookup.as_of_index;
    match (lookup.state, &lookup.payment) {
        (KeyState::Committed, Some(payment)) => describe(payment),
        (KeyState::Committed, None) => "committed, but not as a payment".to_owned(),
        (KeyState::InFlight, _) => format!("in flight as of index {index}: ask again"),
        (KeyState::Unknown, _) => format!("unknown as of index {index}: nothing was paid under this key until then"),
    }
}

fn describe_page(page: &PaymentPage) -> String {
    let rows: Vec<_> = page
        .payments
        .iter()
        .map(|payment| {
            [
                payment.created_at.clone(),
                payment.id.clone(),
                payment.status.to_string(),
                payment.from.to_string(),
                payment.to.to_string(),
                payment.currency.format(payment.amount),
                payment.currency.to_string(),
            ]
        })
        .collect();
    let headings = [
        ("created", Align::Left),
        ("payment", Align::Left),
        ("status", Align::Left),
        ("from", Align::Left),
        ("to", Align::Left),
        ("amount", Align::Right),
        ("", Align::Left),
    ];
    format!("{}{}", table(headings, &rows), next_page(page.next_cursor.as_deref()))
}
