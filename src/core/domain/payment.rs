//! Payments: the request and the decision.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::{
    AccountId, Currency, Fingerprint, FingerprintBuilder, IdempotencyKey, LogIndex, MinorUnits, OrderCap, OrderState,
    Rejection,
};

/// Lifetime of a hold if the caller does not name one: seven days, as usual for cards.
pub const DEFAULT_HOLD_SECONDS: u32 = 7 * 24 * 60 * 60;

/// Longest lifetime of a hold.
pub const MAX_HOLD_SECONDS: u32 = 90 * 24 * 60 * 60;

/// When the money is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Capture {
    /// At once.
    #[default]
    Automatic,
    /// It is held, and taken by captures until the hold is used up, voided or expired.
    Manual {
        /// Lifetime of the hold in seconds of the ledger's time, 1 to [`MAX_HOLD_SECONDS`].
        expires_in_s: u32,
    },
}

/// A request to move money from one account to another, now or by later captures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentRequest {
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives; never the same as `from`.
    pub to: AccountId,
    /// Positive.
    pub amount: MinorUnits,
    /// The currency of `amount`.
    pub currency: Currency,
    /// When the money is taken.
    pub capture: Capture,
    /// The order that it pays for. Boxed: most payments have none, and memory holds many payments.
    pub order: Option<Box<OrderCap>>,
    /// Whether accounts that do not exist yet are opened with unlimited overdraft, as the APIs of earlier systems do on
    /// first use.
    pub opens_accounts: bool,
    /// Free text, at most 500 characters.
    pub description: Option<CompactString>,
    /// A JSON object in its compact form with sorted keys, at most 4 KiB.
    pub metadata: Option<CompactString>,
}

impl PaymentRequest {
    /// A payment that is captured at once, for no order and with no free text.
    #[must_use]
    pub fn plain(from: AccountId, to: AccountId, amount: MinorUnits, currency: Currency) -> Self {
        Self {
            from,
            to,
            amount,
            currency,
            capture: Capture::Automatic,
            order: None,
            opens_accounts: false,
            description: None,
            metadata: None,
        }
    }

    /// The fingerprint that distinguishes a repeated request from a different one under the same key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.add_to(FingerprintBuilder::new("payment")).finish()
    }

    /// Adds every field to a fingerprint.
    pub(super) fn add_to(&self, builder: FingerprintBuilder) -> FingerprintBuilder {
        let builder = builder
            .text(self.from.as_str())
            .text(self.to.as_str())
            .number(self.amount.get())
            .text(self.currency.code())
            .number(match self.capture {
                Capture::Automatic => 0,
                Capture::Manual { expires_in_s } => i64::from(expires_in_s),
            })
            .optional(self.description.as_deref())
            .optional(self.metadata.as_deref())
            .number(i64::from(self.opens_accounts));
        match &self.order {
            None => builder.optional(None),
            Some(order) => builder.optional(Some(order.id.as_str())).number(order.total.get()),
        }
    }

    /// Size of its free texts in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.description.as_ref().map_or(0, |text| text.len()) + self.metadata.as_ref().map_or(0, |text| text.len())
    }
}

/// A decided payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// The request's idempotency key.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The request.
    pub request: PaymentRequest,
    /// The order's state before the payment; `None` without an order and for an order's first payment.
    pub order_before: Option<OrderState>,
    /// The decision.
    pub outcome: PaymentOutcome,
}

/// The decision on a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentOutcome {
    /// The money moved; the posted balances in the payment's currency right after it.
    Succeeded {
        /// Balance of the paying account.
        from_balance: MinorUnits,
        /// Balance of the receiving account.
        to_balance: MinorUnits,
    },
    /// Nothing moved.
    Rejected(Rejection),
    /// The money is held.
    Authorized {
        /// The paying account's held amount in the payment's currency right after it, this payment included.
        from_held: MinorUnits,
        /// When the hold expires, in milliseconds since the Unix epoch, on the ledger's own time.
        expires_at_ms: u64,
    },
    /// Only in a batch: the item's key already belongs to the same payment. That payment is the answer, and nothing
    /// moved.
    Repeated {
        /// Index of the ledger entry that holds the key.
        index: LogIndex,
    },
}

impl PaymentOutcome {
    /// Why it was refused, if it was.
    #[must_use]
    pub const fn rejection(self) -> Option<Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Succeeded { .. } | Self::Authorized { .. } | Self::Repeated { .. } => None,
        }
    }
}
