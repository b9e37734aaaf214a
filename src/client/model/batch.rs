//! Batches: many payments in one request, each with a result of its own.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{NewPayment, Payment};
use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::domain::{IdempotencyKey, MAX_BATCH_ITEMS};

/// Longest body of a batch, in bytes.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// One payment of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchItem {
    /// Its own key: whoever repeats the payment, in another batch or by itself, is answered with this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The payment.
    #[serde(flatten)]
    pub payment: NewPayment,
}

/// A batch as newline-delimited JSON, grown payment by payment; never more than a node takes.
#[derive(Clone, Debug, Default)]
pub struct BatchLines {
    body: Vec<u8>,
    payments: usize,
}

/// The batch is as large as a node takes; the payment was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch has at most {MAX_BATCH_ITEMS} payments and {MAX_BATCH_BYTES} bytes")]
pub struct BatchLinesFull;

impl BatchLines {
    /// Adds a payment.
    ///
    /// # Errors
    /// [`BatchLinesFull`] if there is no room for it.
    pub fn push(&mut self, item: &BatchItem) -> Result<(), BatchLinesFull> {
        if self.payments == MAX_BATCH_ITEMS {
            return Err(BatchLinesFull);
        }
        let before = self.body.len();
        serde_json::to_writer(&mut self.body, item).expect("requests are made of strings, numbers and maps");
        self.body.push(b'\n');
        if self.body.len() > MAX_BATCH_BYTES {
            self.body.truncate(before);
            return Err(BatchLinesFull);
        }
        self.payments += 1;
        Ok(())
    }

    /// How many payments it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.payments
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.payments == 0
    }

    /// The body as it travels.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.body)
    }
}

/// What became of one payment of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemResult {
    /// The payment as it was decided.
    #[serde(flatten)]
    pub payment: Payment,
    /// Whether it had been decided before, under the same key of its own.
    #[serde(default)]
    pub replayed: bool,
}

/// The answer of `POST /v1/payments/batch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchResult {
    /// `decided`.
    pub status: String,
    /// Its place in the ledger.
    pub index: LogIndex,
    /// The leadership that appended it.
    pub epoch: Epoch,
    /// When the ledger took it, RFC 3339.
    pub created_at: String,
    /// Payments that were made, now or before.
    pub succeeded: u64,
    /// Payments that the bank refused.
    pub rejected: u64,
    /// One for each payment, in the order of the request.
    pub results: Vec<ItemResult>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use quorapay_core::domain::{AccountId, Currency, MinorUnits};

    fn item(description: &str) -> BatchItem {
        let account = |id| AccountId::parse(id).unwrap();
        let currency = Currency::parse("USD").unwrap();
        let payment = NewPayment {
            description: Some(description.to_owned()),
            ..NewPayment::new(account("external:card"), account("shop"), MinorUnits::new(5), currency)
        };
        BatchItem { idempotency_key: Some(IdempotencyKey::parse("row-1").unwrap()), payment }
    }

    #[test]
    fn a_batch_never_grows_beyond_what_a_node_takes() {
        let mut many = BatchLines::default();
        (0..MAX_BATCH_ITEMS).for_each(|_| many.push(&item("")).unwrap());
        assert_eq!(many.push(&item("")), Err(BatchLinesFull));
        let mut large = BatchLines::default();
        let megabyte = item(&"x".repeat(1 << 20));
        (0..15).for_each(|_| large.push(&megabyte).unwrap());
        let before = large.as_bytes().len();
        assert_eq!(large.push(&megabyte), Err(BatchLinesFull));
        assert_eq!((large.len(), large.as_bytes().len()), (15, before));
    }

    #[test]
    fn each_line_is_a_payment_with_its_key() {
        let mut lines = BatchLines::default();
        lines.push(&item("a\nb")).unwrap();
        let text = std::str::from_utf8(lines.as_bytes()).unwrap();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(text).unwrap();
        assert_eq!((&line["idempotency_key"], &line["amount"]), (&"row-1".into(), &5.into()));
    }
}
