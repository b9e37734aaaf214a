//! Raw entries of the ledger as callers see them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::payments::{CaptureWord, Order};
use super::words::{
    AccountIdText, Amount, Balance, CurrencyCode, Key, Moment, NodeIdText, OverdraftText, PaymentIdText,
};

/// What an entry is.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum EntryKind {
    EpochStart,
    Configuration,
    Payment,
    PaymentChange,
    Expiry,
    Batch,
    Account,
    Fence,
}

/// What was decided.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum DecisionWord {
    Succeeded,
    Authorized,
    Rejected,
    Repeated,
    Applied,
    Decided,
    Aborted,
}

/// What was asked of an account or of a payment.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum RawChangeWord {
    Open,
    Change,
    Capture,
    Void,
    Refund,
}

/// A node that votes.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RawVoter {
    pub(super) node_id: NodeIdText,
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(super) store_id: String,
    pub(super) peer_url: String,
}

/// A payment of a batch as the ledger holds it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RawPayment {
    pub(super) payment_id: PaymentIdText,
    pub(super) status: DecisionWord,
    pub(super) from: AccountIdText,
    pub(super) to: AccountIdText,
    pub(super) amount: Amount,
    pub(super) currency: CurrencyCode,
    pub(super) capture: CaptureWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) order: Option<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Object)]
    pub(super) metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) from_balance: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) to_balance: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) from_held: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) expires_at: Option<Moment>,
    /// Where the payment stands that it repeats.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) repeats_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) rejection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) idempotency_key: Option<Key>,
}

/// An entry of the ledger. `kind` says which of the other fields it has.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct RawEntry {
    pub(super) index: u64,
    pub(super) epoch: u64,
    /// Milliseconds since the Unix epoch; never smaller than the entry before.
    pub(super) timestamp: u64,
    pub(super) kind: EntryKind,
    /// Of an `epoch_start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) leader: Option<NodeIdText>,
    /// Of a `configuration`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) voters: Option<Vec<RawVoter>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) payment_id: Option<PaymentIdText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) status: Option<DecisionWord>,
    /// Of an `account` or a `payment_change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) change: Option<RawChangeWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) account: Option<AccountIdText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) overdraft: Option<OverdraftText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) account_status: Option<super::accounts::AccountStatusWord>,
    /// The amount that the caller of a `payment_change` named.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) named_amount: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) from: Option<AccountIdText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) to: Option<AccountIdText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) amount: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) currency: Option<CurrencyCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) capture: Option<CaptureWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) order: Option<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Object)]
    pub(super) metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) from_balance: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) to_balance: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) from_held: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) expires_at: Option<Moment>,
    /// Of a `batch`: all or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) atomic: Option<bool>,
    /// Of a `batch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) payments: Option<Vec<RawPayment>>,
    /// Why the bank refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) rejection: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) idempotency_key: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^[0-9a-f]{32}$")]
    pub(super) fingerprint: Option<String>,
    /// SHA-256 over the hash of the entry before and the canonical bytes of this one.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    pub(super) hash: String,
}

/// Entries in order.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct LedgerPage {
    pub(super) entries: Vec<RawEntry>,
    /// Where the ledger goes on.
    pub(super) next_index: u64,
}
