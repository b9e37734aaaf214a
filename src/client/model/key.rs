//! What is known of an idempotency key.

use serde::{Deserialize, Serialize};

use super::{AccountChanged, Payment};
use quorapay_core::domain::LogIndex;

/// What is known of an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Decided by a committed entry.
    Committed,
    /// Appended, not yet committed.
    InFlight,
    /// Not in the ledger as of the index; a request on its way may still come.
    Unknown,
    /// Closed: nothing was decided under it, and nothing ever will be.
    Fenced,
}

/// A batch without its results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSummary {
    /// `decided` or `aborted`.
    pub status: String,
    /// Payments that were made, now or before.
    pub succeeded: u64,
    /// Payments that were refused.
    pub rejected: u64,
    /// Its place in the ledger.
    pub index: LogIndex,
}

/// The answer of `GET /v1/payments/by-key/{key}` and of a fence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLookup {
    /// Where the key stands.
    pub state: KeyState,
    /// The payment as it was decided, if the key was a payment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<Payment>,
    /// The payment after the change, if the key was a capture's, a void's or a refund's: a
    /// [`super::ChangedPayment`], or less than that if there is no such payment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<serde_json::Value>,
    /// The batch, if the key was a whole batch's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSummary>,
    /// What was changed, if the key was an account's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountChanged>,
    /// The entry that closed the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<LogIndex>,
    /// As of this place in the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of_index: Option<LogIndex>,
}
