//! `quorapay pay`: one payment.

use clap::{Args, ValueEnum};

use super::CliError;
use super::connection::{Connection, block_on, committed, parse_key};
use super::exit;
use super::payment::describe;
use quorapay_client::{Capture, NewPayment, Order};
use quorapay_core::domain::{
    AccountId, AccountIdError, Currency, CurrencyError, IdempotencyKey, MAX_HOLD_SECONDS, MinorUnits, OrderId,
    OrderIdError,
};

const EXAMPLES: &str = "\
Examples:
  quorapay pay external:card shop:42 150.75 USD
  quorapay pay shop:42 supplier:7 1200 JPY --description 'invoice 9'
  quorapay pay external:card shop:42 150.75 USD --key order-1001    # again: the same payment, not a second one
  quorapay pay wallet:9 shop:42 150.75 USD --capture manual --expires-in 3600   # held for an hour, see `payment`
  quorapay pay external:card shop:42 150.75 USD --order 1001 --order-total 150.75   # the order is charged once";

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
    /// Take the money at once, or hold it until `payment capture`
    #[arg(long, value_enum, default_value_t = CaptureArgument::Automatic)]
    capture: CaptureArgument,
    /// Seconds until a hold that nobody captured is given back [default: 7 days]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_HOLD_SECONDS)))]
    expires_in: Option<u32>,
    /// The order that this pays for: holds and captures of one order never exceed its total, whatever the keys
    #[arg(long, value_name = "ID", value_parser = parse_order, requires = "order_total")]
    order: Option<OrderId>,
    /// All that may be charged for the order, written like the amount
    #[arg(long, value_name = "AMOUNT", requires = "order")]
    order_total: Option<String>,
    /// Free text, at most 500 characters
    #[arg(long)]
    description: Option<String>,
    /// A JSON object of your own, at most 4 KiB
    #[arg(long, value_name = "JSON", value_parser = parse_metadata)]
    metadata: Option<Metadata>,
    #[command(flatten)]
    connection: Connection,
}

/// When the money is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CaptureArgument {
    Automatic,
    Manual,
}

type Metadata = serde_json::Map<String, serde_json::Value>;

impl Pay {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let payment = self.payment()?;
        let client = self.connection.client()?;
        let key = self.connection.announced_key(self.key.as_ref())?;
        let (payment, replayed) = committed(block_on(client.pay(&key, &payment))??, &key)?;
        self.connection.show(&payment, |payment| {
            let note = if replayed { "\n(paid before under this key; not paid again)" } else { "" };
            format!("{}{note}", describe(payment))
        })
    }

    fn payment(&self) -> Result<NewPayment, CliError> {
        let capture = match self.capture {
            CaptureArgument::Automatic => Capture::Automatic,
            CaptureArgument::Manual => Capture::Manual,
        };
        if capture == Capture::Automatic && self.expires_in.is_some() {
            return Err(CliError::Usage("--expires-in is for --capture manual".to_owned()));
        }
        let order = match (&self.order, &self.order_total) {
            (Some(id), Some(total)) => Some(Order { id: id.clone(), total: self.units(total)? }),
            _ => None,
        };
        Ok(NewPayment {
            capture,
            expires_in: self.expires_in,
            order,
            description: self.description.clone(),
            metadata: self.metadata.clone(),
            ..NewPayment::new(self.from.clone(), self.to.clone(), self.units(&self.amount)?, self.currency)
        })
    }

    fn units(&self, text: &str) -> Result<MinorUnits, CliError> {
        self.currency.parse_amount(text).map_err(|error| CliError::Usage(error.to_string()))
    }
}

pub(super) fn parse_account(text: &str) -> Result<AccountId, AccountIdError> {
    AccountId::parse(text)
}

pub(super) fn parse_order(text: &str) -> Result<OrderId, OrderIdError> {
    OrderId::parse(text)
}

pub(super) fn parse_currency(text: &str) -> Result<Currency, CurrencyError> {
    Currency::parse(text)
}

fn parse_metadata(text: &str) -> Result<Metadata, String> {
    serde_json::from_str(text).map_err(|error| format!("no JSON object: {error}"))
}
