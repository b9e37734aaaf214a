//! `payment capture`, `void` and `refund`.

use clap::Args;

use super::describe::describe_change;
use crate::cli::CliError;
use crate::cli::connection::{Connection, block_on, committed, parse_key};
use quorapay_client::{ChangedPayment, Client, ClientError, Outcome};
use quorapay_core::domain::{IdempotencyKey, MinorUnits};

/// Take what a payment holds, all of it or a part
#[derive(Debug, Args)]
pub(super) struct Capture {
    #[command(flatten)]
    change: Change,
    /// How much, in the currency's own decimals; all that is held without one
    amount: Option<String>,
}

/// Give back what a payment still holds
#[derive(Debug, Args)]
pub(super) struct Void {
    #[command(flatten)]
    change: Change,
}

/// Send back what was taken, all of it or a part
#[derive(Debug, Args)]
pub(super) struct Refund {
    #[command(flatten)]
    change: Change,
    /// How much, in the currency's own decimals; all that is left without one
    amount: Option<String>,
}

/// What every change needs.
#[derive(Debug, Args)]
struct Change {
    /// The payment's id
    id: String,
    /// Idempotency key; a new UUID without one
    #[arg(long, value_parser = parse_key)]
    key: Option<IdempotencyKey>,
    #[command(flatten)]
    connection: Connection,
}

impl Capture {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let amount = self.amount.as_deref();
        self.change.run(amount, async |client, key, amount| client.capture(key, &self.change.id, amount).await)
    }
}

impl Void {
    pub(super) fn run(&self) -> Result<(), CliError> {
        self.change.run(None, async |client, key, _| client.void(key, &self.change.id).await)
    }
}

impl Refund {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let amount = self.amount.as_deref();
        self.change.run(amount, async |client, key, amount| client.refund(key, &self.change.id, amount).await)
    }
}

impl Change {
    fn run(
        &self,
        amount: Option<&str>,
        send: impl AsyncFnOnce(&Client, &IdempotencyKey, Option<MinorUnits>) -> Result<Outcome<ChangedPayment>, ClientError>,
    ) -> Result<(), CliError> {
        let client = self.connection.client()?;
        let amount = amount.map(|text| self.units(&client, text)).transpose()?;
        let key = self.connection.announced_key(self.key.as_ref())?;
        let (changed, replayed) = committed(block_on(send(&client, &key, amount))??, &key)?;
        self.connection.show(&changed, |changed| {
            let note = if replayed { "\n(done before under this key; not done again)" } else { "" };
            format!("{}{note}", describe_change(changed))
        })
    }

    /// Parses an amount in the payment's currency, which has to be fetched.
    fn units(&self, client: &Client, text: &str) -> Result<MinorUnits, CliError> {
        let payment = block_on(client.payment(&self.id))??;
        payment.currency.parse_amount(text).map_err(|error| CliError::Usage(error.to_string()))
    }
}
