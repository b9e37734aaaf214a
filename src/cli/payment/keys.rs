//! `payment by-key` and `fence`: look an idempotency key up, or close it.

use clap::Args;

use super::describe::describe_lookup;
use crate::cli::CliError;
use crate::cli::connection::{Connection, block_on, committed, parse_key};
use quorapay_core::domain::IdempotencyKey;

/// What became of an idempotency key: committed, in flight, fenced, or unknown
#[derive(Debug, Args)]
pub(super) struct ByKey {
    /// The key
    #[arg(value_parser = parse_key)]
    key: IdempotencyKey,
    #[command(flatten)]
    connection: Connection,
}

/// Close an idempotency key for ever, or tell what was done under it
///
/// For writes whose outcome is unknown and no longer wanted: after this nothing can happen under the key any more.
#[derive(Debug, Args)]
pub(super) struct Fence {
    /// The key
    #[arg(value_parser = parse_key)]
    key: IdempotencyKey,
    #[command(flatten)]
    connection: Connection,
}

impl ByKey {
    pub(super) fn run(&self) -> Result<(), CliError> {
        self.connection.show(&block_on(self.connection.client()?.payment_by_key(&self.key))??, describe_lookup)
    }
}

impl Fence {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let outcome = block_on(self.connection.client()?.fence(&self.key))??;
        self.connection.show(&committed(outcome, &self.key)?.0, describe_lookup)
    }
}
