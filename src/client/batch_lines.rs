//! A batch as newline-delimited JSON.

use bytes::Bytes;

use quorapay_api::BatchItem;
use quorapay_api::limits::{MAX_BATCH_BODY_BYTES, MAX_BATCH_ITEMS};

/// A batch as newline-delimited JSON, to which payments are added one by one. It never grows beyond what a node takes.
#[derive(Clone, Debug, Default)]
pub struct BatchLines {
    body: Vec<u8>,
    payments: usize,
}

/// The batch is as large as a node takes; the payment was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a batch has at most {MAX_BATCH_ITEMS} payments and {MAX_BATCH_BODY_BYTES} bytes")]
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
        if self.body.len() > MAX_BATCH_BODY_BYTES {
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

    /// The body as it is sent.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(&self.body)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use quorapay_api::NewPayment;
    use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, MinorUnits};

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
