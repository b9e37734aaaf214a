//! Payments in answers: as they were decided, where they stand, and what was done to them.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use quorapay_core::domain::{self, AccountId, Currency, Epoch, LogIndex, MinorUnits, OrderId, PaymentId};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Rfc3339;
#[cfg(feature = "openapi")]
use crate::schema::{AccountIdText, Amount, Balance, CurrencyCode, OrderIdText, PaymentIdText};
use crate::wire_enum::wire_enum;

wire_enum! {
    /// How far a payment has come.
    PaymentStatus as "PaymentStatusWord" {
        /// The money moved at once.
        Succeeded = "succeeded",
        /// The money is held.
        Authorized = "authorized",
        /// A part of the hold was captured, the rest is held.
        PartiallyCaptured = "partially_captured",
        /// The hold was captured, in full or with the rest released.
        Captured = "captured",
        /// The hold was released before anything was captured.
        Voided = "voided",
        /// The hold expired before anything was captured.
        Expired = "expired",
        /// A part of what was captured was refunded.
        PartiallyRefunded = "partially_refunded",
        /// All that was captured was refunded.
        Refunded = "refunded",
        /// The bank refused it; nothing moved.
        Rejected = "rejected",
    }
}

impl From<domain::PaymentStatus> for PaymentStatus {
    fn from(status: domain::PaymentStatus) -> Self {
        match status {
            domain::PaymentStatus::Succeeded => Self::Succeeded,
            domain::PaymentStatus::Authorized => Self::Authorized,
            domain::PaymentStatus::PartiallyCaptured => Self::PartiallyCaptured,
            domain::PaymentStatus::Captured => Self::Captured,
            domain::PaymentStatus::Voided => Self::Voided,
            domain::PaymentStatus::Expired => Self::Expired,
            domain::PaymentStatus::PartiallyRefunded => Self::PartiallyRefunded,
            domain::PaymentStatus::Refunded => Self::Refunded,
            domain::PaymentStatus::Rejected => Self::Rejected,
        }
    }
}

/// When the money is taken: at once, or by later captures until the hold is used up, voided or expired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = CaptureWord))]
pub enum Capture {
    /// At once.
    #[default]
    Automatic,
    /// By captures later; until then it is held.
    Manual,
}

impl Capture {
    // serde hands fields over by reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(crate) fn is_automatic(&self) -> bool {
        *self == Self::Automatic
    }
}

impl From<domain::Capture> for Capture {
    fn from(capture: domain::Capture) -> Self {
        match capture {
            domain::Capture::Automatic => Self::Automatic,
            domain::Capture::Manual { .. } => Self::Manual,
        }
    }
}

/// The order that a payment pays for. All live holds and captures of an order together never exceed its total, whatever
/// idempotency keys its callers use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Order {
    /// The caller's name for it.
    #[cfg_attr(feature = "openapi", schema(value_type = OrderIdText))]
    pub id: OrderId,
    /// What all payments for it may come to, in minor units. Every payment for an order names the same total.
    #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
    pub total: MinorUnits,
}

impl From<&domain::OrderCap> for Order {
    fn from(order: &domain::OrderCap) -> Self {
        Self { id: order.id.clone(), total: order.total }
    }
}

/// A JSON object of the caller's in an answer: the text that the ledger holds, or what a client has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata<'a> {
    /// Compact JSON.
    Json(&'a str),
    /// Its fields.
    Fields(serde_json::Map<String, Value>),
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Json(text) => {
                serde_json::from_str::<&RawValue>(text).map_err(S::Error::custom)?.serialize(serializer)
            }
            Self::Fields(fields) => fields.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Metadata<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Map::deserialize(deserializer).map(Self::Fields)
    }
}

impl fmt::Display for Metadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(text) => f.write_str(text),
            Self::Fields(fields) => f.write_str(&serde_json::to_string(fields).map_err(|_| fmt::Error)?),
        }
    }
}

/// A payment's id as text. Within the ledger it is a number.
pub(crate) mod payment_id {
    use super::{Deserialize, Deserializer, PaymentId, Serializer};
    use serde::de::Error;

    // serde hands fields over by reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(crate) fn serialize<S: Serializer>(id: &PaymentId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PaymentId, D::Error> {
        let text = compact_str::CompactString::deserialize(deserializer)?;
        PaymentId::parse(&text).map_err(D::Error::custom)
    }
}

/// What the deciding entry left behind: the posted balances of both accounts, or of a hold what the payer has on hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum PaymentBalances {
    /// Money moved: the posted balances of both accounts.
    Posted {
        /// Posted balance of the paying account.
        #[cfg_attr(feature = "openapi", schema(value_type = Balance))]
        from: MinorUnits,
        /// Posted balance of the receiving account.
        #[cfg_attr(feature = "openapi", schema(value_type = Balance))]
        to: MinorUnits,
    },
    /// Money was set aside.
    Held {
        /// All that is held of the paying account.
        #[cfg_attr(feature = "openapi", schema(value_type = Balance))]
        from_held: MinorUnits,
    },
}

/// A payment. The answer to the call that made it shows it as it was decided, for ever; reads show where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Payment<'a> {
    /// Names the payment.
    #[serde(with = "payment_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentIdText))]
    pub id: PaymentId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Why the bank refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, example = "insufficient_funds"))]
    pub rejection: Option<Cow<'a, str>>,
    /// The account that pays.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub from: Cow<'a, AccountId>,
    /// The account that receives.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub to: Cow<'a, AccountId>,
    /// How much was asked for.
    #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
    pub amount: MinorUnits,
    /// The currency of all amounts.
    #[cfg_attr(feature = "openapi", schema(value_type = CurrencyCode))]
    pub currency: Currency,
    /// When the money is taken.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required))]
    pub capture: Capture,
    /// Minor units taken so far.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = i64, minimum = 0))]
    pub captured: MinorUnits,
    /// Minor units given back so far.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = i64, minimum = 0))]
    pub refunded: MinorUnits,
    /// Minor units still set aside.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = i64, minimum = 0))]
    pub held: MinorUnits,
    /// When the hold ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub expires_at: Option<Rfc3339>,
    /// The order that it pays for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub order: Option<Order>,
    /// Free text of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub description: Option<Cow<'a, str>>,
    /// A JSON object of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = Object))]
    pub metadata: Option<Metadata<'a>>,
    /// When the ledger took it.
    pub created_at: Rfc3339,
    /// Place of the deciding entry in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
    /// Leadership that decided it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = u64))]
    pub epoch: Epoch,
    /// Balances right after it was decided; absent where it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub balances: Option<PaymentBalances>,
}

wire_enum! {
    /// What was done to a payment.
    ChangeKind as "ChangeWord" {
        /// Money that was held was taken.
        Capture = "capture",
        /// What was held was released.
        Void = "void",
        /// Money that was taken was given back.
        Refund = "refund",
        /// The hold's time was up, and what was held was released.
        Expiry = "expiry",
    }
}

impl From<domain::PaymentChangeKind> for ChangeKind {
    fn from(change: domain::PaymentChangeKind) -> Self {
        match change {
            domain::PaymentChangeKind::Capture(_) => Self::Capture,
            domain::PaymentChangeKind::Void => Self::Void,
            domain::PaymentChangeKind::Refund(_) => Self::Refund,
        }
    }
}

/// One step of a payment's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HistoryStep {
    /// What was done.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// How much was captured, released or given back.
    #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
    pub amount: MinorUnits,
    /// When the ledger took it.
    pub created_at: Rfc3339,
    /// Its place in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
    /// The payment's status after it.
    pub status: PaymentStatus,
    /// Posted balances right after it; absent for an expiry.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub balances: Option<PaymentBalances>,
}

/// A payment where it stands, with what was done to it, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentWithHistory<'a> {
    /// The payment.
    #[serde(flatten)]
    pub payment: Payment<'a>,
    /// What was done to it, oldest first.
    pub history: Vec<HistoryStep>,
}

impl<'a> Deref for PaymentWithHistory<'a> {
    type Target = Payment<'a>;

    fn deref(&self) -> &Payment<'a> {
        &self.payment
    }
}

/// A page of payments, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PaymentPage<'a> {
    /// The payments.
    pub payments: Vec<Payment<'a>>,
    /// Where the list goes on; `null` at its end.
    pub next_cursor: Option<String>,
}

/// What a capture, a void or a refund did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = ChangeDone))]
pub struct PaymentChange {
    /// What was done.
    #[serde(rename = "type")]
    pub kind: ChangeKind,
    /// How much was captured, released or given back.
    #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
    pub amount: MinorUnits,
    /// When the ledger took it.
    pub created_at: Rfc3339,
    /// Its place in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
}

/// A payment as a change left it, or as it stands if the change was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangedPayment<'a> {
    /// Names the payment.
    #[serde(with = "payment_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentIdText))]
    pub id: PaymentId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// The account that pays.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub from: Cow<'a, AccountId>,
    /// The account that receives.
    #[cfg_attr(feature = "openapi", schema(value_type = AccountIdText))]
    pub to: Cow<'a, AccountId>,
    /// How much was asked for when the payment was made.
    #[cfg_attr(feature = "openapi", schema(value_type = Amount))]
    pub amount: MinorUnits,
    /// The currency of all amounts.
    #[cfg_attr(feature = "openapi", schema(value_type = CurrencyCode))]
    pub currency: Currency,
    /// Minor units taken so far.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = i64, minimum = 0))]
    pub captured: MinorUnits,
    /// Minor units given back so far.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = i64, minimum = 0))]
    pub refunded: MinorUnits,
    /// Minor units still set aside.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = i64, minimum = 0))]
    pub held: MinorUnits,
    /// When the hold ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub expires_at: Option<Rfc3339>,
    /// The order that it pays for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = OrderIdText))]
    pub order_id: Option<OrderId>,
    /// What was done; absent where it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub change: Option<PaymentChange>,
    /// Posted balances right after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub balances: Option<PaymentBalances>,
    /// Why the change was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub rejection: Option<Cow<'a, str>>,
    /// Place of the deciding entry in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
    /// Leadership that decided it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, value_type = u64))]
    pub epoch: Epoch,
}
