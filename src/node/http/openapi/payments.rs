//! Payments, changes and batches as callers write and see them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use quorapay_core::domain::MAX_BATCH_ITEMS;

use super::words::{AccountIdText, Amount, Balance, CurrencyCode, Key, Metadata, Moment, OrderIdText, PaymentIdText};

/// When the money is taken: at once, or by later captures until the hold is used up, voided or expired.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum CaptureWord {
    Automatic,
    Manual,
}

/// The order that a payment pays for. All live holds and captures of an order together never exceed its total, whatever
/// idempotency keys its callers use.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Order {
    pub(super) id: OrderIdText,
    /// What all payments for it may come to, in minor units. Every payment for an order names the same total.
    pub(super) total: Amount,
}

/// A payment to make.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewPayment {
    pub(super) from: AccountIdText,
    /// Another account than `from`.
    pub(super) to: AccountIdText,
    pub(super) amount: Amount,
    pub(super) currency: CurrencyCode,
    #[schema(default = "automatic", nullable = false)]
    pub(super) capture: Option<CaptureWord>,
    /// Lifetime of the hold in seconds of the ledger's time. Only with `capture: "manual"`; seven days if absent.
    #[schema(minimum = 1, maximum = 7_776_000)]
    pub(super) expires_in: Option<u32>,
    pub(super) order: Option<Order>,
    #[schema(max_length = 500)]
    pub(super) description: Option<String>,
    /// At most 4 KiB as compact JSON.
    pub(super) metadata: Option<Metadata>,
}

/// A payment of a batch: a payment to make, with a key of its own if it likes.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewBatchPayment {
    pub(super) from: AccountIdText,
    /// Another account than `from`.
    pub(super) to: AccountIdText,
    pub(super) amount: Amount,
    pub(super) currency: CurrencyCode,
    #[schema(default = "automatic", nullable = false)]
    pub(super) capture: Option<CaptureWord>,
    /// Lifetime of the hold in seconds of the ledger's time. Only with `capture: "manual"`; seven days if absent.
    #[schema(minimum = 1, maximum = 7_776_000)]
    pub(super) expires_in: Option<u32>,
    pub(super) order: Option<Order>,
    #[schema(max_length = 500)]
    pub(super) description: Option<String>,
    /// At most 4 KiB as compact JSON.
    pub(super) metadata: Option<Metadata>,
    /// A name for this payment alone: a later batch or call with the same key repeats this payment's answer.
    pub(super) idempotency_key: Option<Key>,
}

/// A batch in an object, to say what else holds for it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BatchObject {
    /// All or none, instead of each by itself.
    #[schema(default = false, nullable = false)]
    pub(super) atomic: Option<bool>,
    #[schema(min_items = 1, max_items = 10_000)]
    pub(super) payments: Vec<NewBatchPayment>,
}

/// A batch: the payments, or an object with them.
pub(in crate::http) struct BatchBody;

impl PartialSchema for BatchBody {
    fn schema() -> RefOr<Schema> {
        let payments = ArrayBuilder::new().items(Ref::from_schema_name("NewBatchPayment"));
        OneOfBuilder::new()
            .item(payments.min_items(Some(1)).max_items(Some(MAX_BATCH_ITEMS)))
            .item(Ref::from_schema_name("BatchObject"))
            .description(Some("A batch: the payments, or an object with them."))
            .into()
    }
}

impl ToSchema for BatchBody {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((NewBatchPayment::name().into(), NewBatchPayment::schema()));
        schemas.push((BatchObject::name().into(), BatchObject::schema()));
        NewBatchPayment::schemas(schemas);
    }
}

/// A batch as lines: its payments, one per line.
pub(in crate::http) struct BatchLines;

impl PartialSchema for BatchLines {
    fn schema() -> RefOr<Schema> {
        let payments = ArrayBuilder::new().items(Ref::from_schema_name("NewBatchPayment"));
        payments.min_items(Some(1)).max_items(Some(MAX_BATCH_ITEMS)).description(Some("One payment per line.")).into()
    }
}

impl ToSchema for BatchLines {}

/// How much of a payment is captured or given back.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Part {
    /// All that is left if absent.
    pub(super) amount: Option<Amount>,
}

/// There is nothing to say.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Nothing {}

/// How far a payment has come.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum PaymentStatusWord {
    Succeeded,
    Authorized,
    PartiallyCaptured,
    Captured,
    Voided,
    Expired,
    PartiallyRefunded,
    Refunded,
    Rejected,
}

/// What the deciding entry left behind: the posted balances of both accounts, or of a hold what the payer has on hold.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PaymentBalances {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) from: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) to: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) from_held: Option<Balance>,
}

/// A payment. The answer to the call that made it shows it as it was decided, for ever; reads show where it stands.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::http) struct Payment {
    pub(super) id: PaymentIdText,
    pub(super) status: PaymentStatusWord,
    /// Why the bank refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "insufficient_funds")]
    pub(super) rejection: Option<String>,
    pub(super) from: AccountIdText,
    pub(super) to: AccountIdText,
    pub(super) amount: Amount,
    pub(super) currency: CurrencyCode,
    pub(super) capture: CaptureWord,
    /// Minor units taken so far.
    #[schema(minimum = 0)]
    pub(super) captured: i64,
    /// Minor units given back so far.
    #[schema(minimum = 0)]
    pub(super) refunded: i64,
    /// Minor units still set aside.
    #[schema(minimum = 0)]
    pub(super) held: i64,
    /// When the hold ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) expires_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) order: Option<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Object)]
    pub(super) metadata: Option<Value>,
    pub(super) created_at: Moment,
    /// Place of the deciding entry in the ledger.
    pub(super) index: u64,
    /// Leadership that decided it.
    pub(super) epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) balances: Option<PaymentBalances>,
}

/// What was done to a payment.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum ChangeWord {
    Capture,
    Void,
    Refund,
    Expiry,
}

/// One step of a payment's history.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct HistoryStep {
    pub(super) r#type: ChangeWord,
    pub(super) amount: Amount,
    pub(super) created_at: Moment,
    pub(super) index: u64,
    /// The payment's status after it.
    pub(super) status: PaymentStatusWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) balances: Option<PaymentBalances>,
}

/// A payment where it stands, with what was done to it, oldest first.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::http) struct PaymentWithHistory {
    #[serde(flatten)]
    pub(super) payment: Payment,
    pub(super) history: Vec<HistoryStep>,
}

/// A page of payments, newest first.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct PaymentPage {
    pub(super) payments: Vec<Payment>,
    /// Where the list goes on; `null` at its end.
    pub(super) next_cursor: Option<String>,
}

/// What a capture, a void or a refund did.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ChangeDone {
    pub(super) r#type: ChangeWord,
    pub(super) amount: Amount,
    pub(super) created_at: Moment,
    pub(super) index: u64,
}

/// A payment as a change left it, or as it stands if the change was refused.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ChangedPayment {
    pub(super) id: PaymentIdText,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) status: Option<PaymentStatusWord>,
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
    #[schema(nullable = false, minimum = 0)]
    pub(super) captured: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub(super) refunded: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 0)]
    pub(super) held: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) expires_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) order_id: Option<OrderIdText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) change: Option<ChangeDone>,
    /// Posted balances right after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) balances: Option<PaymentBalances>,
    /// Why the change was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) rejection: Option<String>,
    pub(super) index: u64,
    pub(super) epoch: u64,
}

/// What became of one payment of a batch.
#[derive(Deserialize, Serialize, ToSchema)]
pub(in crate::http) struct BatchResult {
    #[serde(flatten)]
    pub(super) payment: Payment,
    /// There, and `true`, if an earlier payment with the same key is shown in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) replayed: Option<bool>,
}

/// What became of a batch as a whole.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum BatchStatusWord {
    Decided,
    Aborted,
}

/// A decided batch, with a result per payment in order.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DecidedBatch {
    pub(super) status: BatchStatusWord,
    pub(super) succeeded: u32,
    pub(super) rejected: u32,
    pub(super) replayed: u32,
    pub(super) index: u64,
    pub(super) epoch: u64,
    pub(super) created_at: Moment,
    pub(super) results: Vec<BatchResult>,
}

/// A batch under its own key, without its payments.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct BatchSummary {
    pub(super) status: BatchStatusWord,
    pub(super) succeeded: u32,
    pub(super) rejected: u32,
    pub(super) replayed: u32,
    pub(super) index: u64,
}
