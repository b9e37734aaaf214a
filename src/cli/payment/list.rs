//! `payment list`, and the arguments of all listings.

use clap::Args;

use crate::cli::CliError;
use crate::cli::connection::{Connection, block_on};
use crate::cli::pay::{parse_account, parse_currency, parse_order};
use crate::cli::table::{Align, table};
use quorapay_client::{Page, PaymentFilter, PaymentPage, PaymentStatus};
use quorapay_core::domain::{AccountId, Currency, OrderId};

/// Payments where they stand now, newest first
#[derive(Debug, Args)]
pub(super) struct List {
    /// Paid or received by this account
    #[arg(long, value_parser = parse_account)]
    account: Option<AccountId>,
    /// In this status
    #[arg(long, value_parser = parse_status)]
    status: Option<PaymentStatus>,
    /// In this currency
    #[arg(long, value_parser = parse_currency)]
    currency: Option<Currency>,
    /// For this order
    #[arg(long, value_name = "ID", value_parser = parse_order)]
    order: Option<OrderId>,
    #[command(flatten)]
    times: TimeArguments,
    #[command(flatten)]
    page: PageArguments,
    #[command(flatten)]
    connection: Connection,
}

/// A time range.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct TimeArguments {
    /// Not before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) from_time: Option<String>,
    /// Before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) to_time: Option<String>,
}

/// A page of a listing.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct PageArguments {
    /// Where to go on: the cursor that the page before ended with
    #[arg(long)]
    cursor: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

impl PageArguments {
    pub(in crate::cli) fn page(&self) -> Page {
        Page { cursor: self.cursor.clone(), limit: Some(self.limit) }
    }
}

/// The line under a page that names the cursor of the next.
pub(in crate::cli) fn next_page(cursor: Option<&str>) -> String {
    cursor.map(|cursor| format!("\nmore with --cursor {cursor}")).unwrap_or_default()
}

impl List {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let filter = PaymentFilter {
            account: self.account.clone(),
            status: self.status,
            currency: self.currency,
            order_id: self.order.clone(),
            from_time: self.times.from_time.clone(),
            to_time: self.times.to_time.clone(),
        };
        let page = block_on(self.connection.client()?.payments(&filter, &self.page.page()))??;
        self.connection.show(&page, describe_page)
    }
}

fn parse_status(text: &str) -> Result<PaymentStatus, String> {
    PaymentStatus::parse(text).ok_or_else(|| {
        let words: Vec<&str> = PaymentStatus::ALL.iter().map(|status| status.as_str()).collect();
        format!("a status is one of {}", words.join(", "))
    })
}

fn describe_page(page: &PaymentPage) -> String {
    let rows: Vec<_> = page
        .payments
        .iter()
        .map(|payment| {
            [
                payment.created_at.to_string(),
                payment.id.to_string(),
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
