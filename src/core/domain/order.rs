//! Orders: the payments for one order never exceed its total, whatever idempotency keys they use.

use std::fmt;

use compact_str::CompactString;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::digest::first_16_bytes;
use super::{Currency, MinorUnits};

const MAX_ORDER_ID_CHARS: usize = 64;

/// Identifies an order of the caller: 1 to 64 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct OrderId(CompactString);

/// The text is not an order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order id has 1 to 64 printable ASCII characters")]
pub struct OrderIdError;

impl OrderId {
    /// Checks and wraps an order id.
    ///
    /// # Errors
    /// [`OrderIdError`] for an empty or long text and for any other character.
    pub fn parse(text: &str) -> Result<Self, OrderIdError> {
        Self::checked(text)?;
        Ok(Self(CompactString::new(text)))
    }

    fn checked(text: &str) -> Result<(), OrderIdError> {
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        let fits = (1..=MAX_ORDER_ID_CHARS).contains(&text.len()) && text.bytes().all(printable);
        if fits { Ok(()) } else { Err(OrderIdError) }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id's digest, which indexes use instead of it.
    #[must_use]
    pub fn digest(&self) -> OrderDigest {
        OrderDigest(first_16_bytes(&Sha256::digest(self.0.as_bytes())))
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OrderId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = CompactString::deserialize(deserializer)?;
        Self::checked(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(text))
    }
}

/// The first 16 bytes of the SHA-256 of an [`OrderId`]: fixed size for filters and index rows. Collisions are
/// infeasible to construct, so equal digests mean equal orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderDigest(pub [u8; 16]);

/// The order that a payment is for, with its limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderCap {
    /// The order.
    pub id: OrderId,
    /// The limit for the sum of all payments for the order, in the payment's currency. Every payment for an order names
    /// the same total.
    pub total: MinorUnits,
}

/// How much of an order is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// The currency of its first payment.
    pub currency: Currency,
    /// The total that its first payment named.
    pub total: MinorUnits,
    /// The sum of all open holds and captures. At most `total`. A refund does not lower it: the order cannot be paid
    /// again.
    pub used: MinorUnits,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_holds_1_to_64_printable_ascii_characters() {
        for good in ["a", "#1001", "2026/11 42", &"x".repeat(64)] {
            assert!(OrderId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "tab\t", "käse", &"x".repeat(65)] {
            assert_eq!(OrderId::parse(bad), Err(OrderIdError), "{bad}");
        }
    }
}
