//! A payment's state after its captures and refunds.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{AccountId, Currency, LogIndex, MinorUnits, OrderId, PaymentOutcome, PaymentRequest, Rejection};

/// How a payment's hold ended, other than by captures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HoldEnd {
    /// There was no hold, it is still open, or it was captured in full.
    #[default]
    None,
    /// The caller released it.
    Voided,
    /// It expired.
    Expired,
    /// The bank refused the payment.
    Rejected,
}

/// A payment's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentState {
    /// The account that pays.
    pub from: AccountId,
    /// The account that receives.
    pub to: AccountId,
    /// The currency of all amounts.
    pub currency: Currency,
    /// The requested amount.
    pub amount: MinorUnits,
    /// The amount held for later captures. Always `held + captured <= amount`.
    pub held: MinorUnits,
    /// The amount captured.
    pub captured: MinorUnits,
    /// The amount refunded. At most `captured`.
    pub refunded: MinorUnits,
    /// When the hold expires, in milliseconds since the Unix epoch; `None` for a payment without a hold.
    pub expires_at_ms: Option<u64>,
    /// How the hold ended.
    pub end: HoldEnd,
    /// The order that it pays for.
    pub order: Option<OrderId>,
    /// The number of captures, voids, refunds and expiries so far.
    pub changes: u32,
    /// Index of the entry with its latest change, zero if there was none. Each change contains the state before it, so
    /// the history can be followed backwards.
    pub last_change: LogIndex,
}

/// A payment's status. The names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Captured at once.
    Succeeded,
    /// Held, nothing captured yet.
    Authorized,
    /// Held, a part captured.
    PartiallyCaptured,
    /// Captured after a hold, in full or with the rest released.
    Captured,
    /// Released before anything was captured.
    Voided,
    /// Expired before anything was captured.
    Expired,
    /// A part of what was captured was given back.
    PartiallyRefunded,
    /// All that was captured was given back.
    Refunded,
    /// The bank refused it.
    Rejected,
}

impl PaymentStatus {
    const ALL: [Self; 9] = [
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

    /// The status in the API.
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
        }
    }

    /// Every status.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// Parses what [`Self::as_str`] returns.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::all().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl PaymentState {
    /// The state right after the decision on a request; `None` for a repeated item of a batch.
    #[must_use]
    pub fn decided(request: &PaymentRequest, outcome: PaymentOutcome) -> Option<Self> {
        let (held, captured, expires_at_ms, end) = match outcome {
            PaymentOutcome::Succeeded { .. } => (MinorUnits::ZERO, request.amount, None, HoldEnd::None),
            PaymentOutcome::Authorized { expires_at_ms, .. } => {
                (request.amount, MinorUnits::ZERO, Some(expires_at_ms), HoldEnd::None)
            }
            PaymentOutcome::Rejected(_) => (MinorUnits::ZERO, MinorUnits::ZERO, None, HoldEnd::Rejected),
            PaymentOutcome::Repeated { .. } => return None,
        };
        Some(Self {
            from: request.from.clone(),
            to: request.to.clone(),
            currency: request.currency,
            amount: request.amount,
            held,
            captured,
            refunded: MinorUnits::ZERO,
            expires_at_ms,
            end,
            order: request.order.as_ref().map(|order| order.id.clone()),
            changes: 0,
            last_change: LogIndex(0),
        })
    }

    /// The amount that may still be refunded.
    #[must_use]
    pub fn refundable(&self) -> MinorUnits {
        self.captured.less(self.refunded)
    }

    /// Whether the hold is open.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held > MinorUnits::ZERO
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> PaymentStatus {
        let zero = MinorUnits::ZERO;
        match self.end {
            HoldEnd::Rejected => PaymentStatus::Rejected,
            HoldEnd::Voided if self.captured == zero => PaymentStatus::Voided,
            HoldEnd::Expired if self.captured == zero => PaymentStatus::Expired,
            _ if self.is_held() && self.captured == zero => PaymentStatus::Authorized,
            _ if self.is_held() => PaymentStatus::PartiallyCaptured,
            _ if self.refunded == self.captured => PaymentStatus::Refunded,
            _ if self.refunded > zero => PaymentStatus::PartiallyRefunded,
            _ if self.expires_at_ms.is_some() => PaymentStatus::Captured,
            _ => PaymentStatus::Succeeded,
        }
    }

    /// Why there is no open hold to capture or void.
    #[must_use]
    pub const fn why_not_held(&self) -> Rejection {
        match self.end {
            HoldEnd::Rejected => Rejection::PaymentRejected,
            HoldEnd::Voided => Rejection::PaymentVoided,
            HoldEnd::Expired => Rejection::PaymentExpired,
            HoldEnd::None => Rejection::NothingHeld,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_back_as_it_was_written() {
        for status in PaymentStatus::all() {
            assert_eq!(PaymentStatus::parse(status.as_str()), Some(status));
            let json = serde_json::to_string(&status).expect("a text");
            assert_eq!(json, format!("\"{status}\""));
            assert_eq!(serde_json::from_str::<PaymentStatus>(&json).expect("its own text"), status);
        }
        assert!(serde_json::from_str::<PaymentStatus>("\"paid\"").is_err());
    }
}
