//! `quorapay pay`: one payment.

use clap::Args;

use super::CliError;
use super::amount::parse_amount;
use super::connection::{Connection, block_on, committed, parse_key};
use super::exit;
use super::payment::describe;
use crate::client::NewPayment;
use crate::domain::{AccountId, AccountIdError, Currency, CurrencyError, IdempotencyKey};

const EXAMPLES: &str = "\
Examples:
  quorapay pay external:card shop:42 150.75 USD
  quorapay pay shop:42 supplier:7 1200 JPY --description 'invoice 9'
  quorapay pay external:card shop:42 150.75 USD --key order-1001    # again: the same payment, not a second one";

/// Pay from one account to another, once
///
/// The idempotency key is shown before the payment is sent: whatever happens, the same command with that key never pays
/// twice and tells what became of the payment.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Pay {
    /// The account that pays; ids under `external:` are the outside world
    #[arg(value_parser = parse_account)]
    from: AccountId,
    /// The account that receives
    #[arg(value_parser = parse_account)]
    to: AccountId,
    /// How much, in the currency's own decimals: 150.75 USD, 1200 JPY
    amount: String,
    /// ISO 4217 code
    #[arg(value_parser = parse_currency)]
    currency: Currency,
    /// Idempotency key; a new UUID without one
    #[arg(long, value_parser = parse_key)]
    key: Option<IdempotencyKey>,
    /// Free text, at most 500 characters
    #[arg(long)]
    description: Option<String>,
    /// A JSON object of your own, at most 4 KiB
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Metadata>,
    #[command(flatten)]
    connection: Connection,
}

type Metadata = serde_json::Map<String, serde_json::Value>;

impl Pay {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let amount = parse_amount(&self.amount, self.currency).map_err(|error| CliError::Usage(error.to_string()))?;
        let client = self.connection.client()?;
        let key = self.connection.announced_key(self.key.as_ref())?;
        let payment = NewPayment {
            from: self.from.clone(),
            to: self.to.clone(),
            amount,
            currency: self.currency,
            description: self.description.clone(),
            metadata: self.metadata.clone(),
        };
        let (payment, replayed) = committed(block_on(client.pay(&key, &payment))??, &key)?;
        self.connection.show(&payment, |payment| {
            let note = if replayed { "\n(paid before under this key; not paid again)" } else { "" };
            format!("{}{note}", describe(payment))
        })
    }
}

pub(super) fn parse_account(text: &str) -> Result<AccountId, AccountIdError> {
    AccountId::parse(text)
}

pub(super) fn parse_currency(text: &str) -> Result<Currency, CurrencyError> {
    Currency::parse(text)
}

fn parse_metadata(text: &str) -> Result<Metadata, String> {
    serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))
}
