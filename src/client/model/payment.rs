//! Payments: as they are asked for, as they are decided, and where they stand.

use std::fmt;

use serde::{Deserialize, Serialize};

use quorapay_core::domain::{AccountId, Currency, MinorUnits, OrderId};
use quorapay_core::domain::{Epoch, LogIndex};

/// When the money is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capture {
    /// At once.
    #[default]
    Automatic,
    /// By captures later; until then it is held.
    Manual,
}

/// The order that a payment pays for. Live holds and captures of an order never exceed its total, under whatever keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The caller's name for it.
    pub id: OrderId,
    /// All that may ever be charged for it, in the payment's currency. The same in every payment of the order.
    pub total: MinorUnits,
}

/// The body of `POST /v1/payments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NewPayment {
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives.
    pub to: AccountId,
    /// Positive.
    pub amount: MinorUnits,
    /// The currency of `amount`.
    pub currency: Currency,
    /// When the money is taken.
    #[serde(skip_serializing_if = "is_automatic")]
    pub capture: Capture,
    /// Seconds until what is still held is given back, only with [`Capture::Manual`]; the node's default without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u32>,
    /// The order that it pays for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Free text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON object of the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Map<String, serde_json::Value>>,
}

impl NewPayment {
    /// A payment that is taken at once and says nothing more.
    #[must_use]
    pub const fn new(from: AccountId, to: AccountId, amount: MinorUnits, currency: Currency) -> Self {
        let capture = Capture::Automatic;
        Self { from, to, amount, currency, capture, expires_in: None, order: None, description: None, metadata: None }
    }
}

// serde hands fields over by reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_automatic(capture: &Capture) -> bool {
    *capture == Capture::Automatic
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// The money moved.
    Succeeded,
    /// The money is held.
    Authorized,
    /// Some of it moved, the rest is held.
    PartiallyCaptured,
    /// All of the hold that was wanted moved.
    Captured,
    /// The hold was given back.
    Voided,
    /// Nobody captured in time.
    Expired,
    /// Some of it went back.
    PartiallyRefunded,
    /// All of it went back.
    Refunded,
    /// The bank refused it; nothing moved.
    Rejected,
    /// A status that this client does not know.
    #[serde(other)]
    Other,
}

impl PaymentStatus {
    /// Every status that a node can be asked for.
    pub const ALL: [Self; 9] = [
        Self::Succeeded,
        Self::Authorized,
        Self::PartiallyCaptured,
        Self::Captured,
        Self::Voided,
        Self::Expired,
        Self::PartiallyRefunded,
        Self::Refunded,
        Self::Rejected,
    ];

    /// The word that stands for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Authorized => "authorized",
            Self::PartiallyCaptured => "partially_captured",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
            Self::PartiallyRefunded => "partially_refunded",
            Self::Refunded => "refunded",
            Self::Rejected => "rejected",
            Self::Other => "other",
        }
    }

    /// Reads a word that a node can be asked for.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Balances right after a payment or a change, in its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PaymentBalances {
    /// Money moved: the posted balances of both accounts.
    Posted {
        /// Of the paying account.
        from: MinorUnits,
        /// Of the receiving account.
        to: MinorUnits,
    },
    /// Money was set aside.
    Held {
        /// All that is held of the paying account.
        from_held: MinorUnits,
    },
}

/// A payment as the ledger holds it: as it was decided in the answer to a write, where it stands now in a read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Why the bank refused it, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives.
    pub to: AccountId,
    /// How much.
    pub amount: MinorUnits,
    /// Of what.
    pub currency: Currency,
    /// When the money is taken.
    #[serde(default)]
    pub capture: Capture,
    /// How much of it was taken.
    #[serde(default)]
    pub captured: MinorUnits,
    /// How much of that went back.
    #[serde(default)]
    pub refunded: MinorUnits,
    /// How much is held.
    #[serde(default)]
    pub held: MinorUnits,
    /// When the hold ends, RFC 3339; of holds only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The order that it pays for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// A JSON object of the caller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<serde_json::Value>,
    /// When the ledger took it, RFC 3339.
    pub created_at: String,
    /// Its place in the ledger.
    pub index: LogIndex,
    /// The leadership that appended it.
    #[serde(default)]
    pub epoch: Epoch,
    /// Balances right after it was decided; absent where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balances: Option<PaymentBalances>,
    /// What became of it, oldest first; only where one payment was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryStep>,
}

/// A capture, a void, a refund or an expiry in the history of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    /// `capture`, `void`, `refund` or `expiry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How much was taken, given back or sent back.
    pub amount: MinorUnits,
    /// Where the payment stood after it.
    pub status: PaymentStatus,
    /// When the ledger took it, RFC 3339.
    pub created_at: String,
    /// Its place in the ledger.
    pub index: LogIndex,
    /// Posted balances right after it; absent for an expiry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balances: Option<PaymentBalances>,
}

/// What a capture, a void or a refund did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentChange {
    /// `capture`, `void` or `refund`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How much was taken, given back or sent back.
    pub amount: MinorUnits,
    /// When the ledger took it, RFC 3339.
    pub created_at: String,
    /// Its place in the ledger.
    pub index: LogIndex,
}

/// A payment right after a capture, a void or a refund; or as a refused one left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedPayment {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: PaymentStatus,
    /// Why the change was refused, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<String>,
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives.
    pub to: AccountId,
    /// How much was asked for in the beginning.
    pub amount: MinorUnits,
    /// Of what.
    pub currency: Currency,
    /// How much of it was taken.
    #[serde(default)]
    pub captured: MinorUnits,
    /// How much of that went back.
    #[serde(default)]
    pub refunded: MinorUnits,
    /// How much is held.
    #[serde(default)]
    pub held: MinorUnits,
    /// When the hold ends, RFC 3339; of holds only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The order that it pays for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// What was done; absent where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<PaymentChange>,
    /// Posted balances right after it; absent where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balances: Option<PaymentBalances>,
    /// Its place in the ledger.
    pub index: LogIndex,
    /// The leadership that appended it.
    #[serde(default)]
    pub epoch: Epoch,
}

/// Which payments to list. Empty means every payment, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Paid or received by this account.
    pub account: Option<AccountId>,
    /// In this status.
    pub status: Option<PaymentStatus>,
    /// In this currency.
    pub currency: Option<Currency>,
    /// For this order.
    pub order_id: Option<OrderId>,
    /// Not before, RFC 3339.
    pub from_time: Option<String>,
    /// Before, RFC 3339.
    pub to_time: Option<String>,
}

/// One page of payments, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentPage {
    /// The payments.
    pub payments: Vec<Payment>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}
