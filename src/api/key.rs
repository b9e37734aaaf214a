//! What an idempotency key was used for.

use std::borrow::Cow;

use quorapay_core::domain::{Epoch, LogIndex, PaymentId};
use serde::{Deserialize, Serialize};

use crate::payment::payment_id;
#[cfg(feature = "openapi")]
use crate::schema::PaymentIdText;
use crate::{BatchSummary, ChangedAccount, ChangedApiKey, ChangedPayment, Payment};

/// What a key stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KeyStateWord))]
pub enum KeyState {
    /// A write was decided under it, for better or worse.
    Committed,
    /// A write under it is on its way.
    InFlight,
    /// Nothing was decided under it as of `as_of_index`.
    Unknown,
    /// Nothing can ever apply under it.
    Fenced,
}

/// What became of a key: with what its call was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = KeyState))]
pub struct KeyLookup<'a> {
    /// Whether something was decided under it.
    pub state: KeyState,
    /// The payment, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub payment: Option<Payment<'a>>,
    /// The batch, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub batch: Option<BatchSummary>,
    /// The capture, void or refund, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub change: Option<ChangeByKey<'a>>,
    /// The change of an account, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub account: Option<ChangedAccount>,
    /// The change of an API key, if the key is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub api_key: Option<ChangedApiKey>,
    /// Place of the fence in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = u64))]
    pub index: Option<LogIndex>,
    /// As of where it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(required = false, value_type = u64))]
    pub as_of_index: Option<LogIndex>,
}

impl KeyLookup<'_> {
    /// A key of which nothing more is known than its state.
    #[must_use]
    pub const fn of_state(state: KeyState) -> Self {
        Self {
            state,
            payment: None,
            batch: None,
            change: None,
            account: None,
            api_key: None,
            index: None,
            as_of_index: None,
        }
    }
}

/// A capture, a void or a refund under its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ChangeByKey<'a> {
    /// The payment after it.
    Payment(ChangedPayment<'a>),
    /// It was refused, because there is no such payment.
    NoPayment(ChangeOfNoPayment<'a>),
}

/// A change that was refused because there is no such payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ChangeOfNoPayment<'a> {
    /// The id that was named.
    #[serde(with = "payment_id")]
    #[cfg_attr(feature = "openapi", schema(value_type = PaymentIdText))]
    pub id: PaymentId,
    /// Why it was refused.
    pub rejection: Cow<'a, str>,
    /// Place of the deciding entry in the ledger.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub index: LogIndex,
    /// Leadership that decided it.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
}
