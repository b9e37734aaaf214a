//! Batches: many payments in one entry of the ledger, so that an atomic batch is committed as a whole.

use serde::{Deserialize, Serialize};

use super::{Fingerprint, FingerprintBuilder, IdempotencyKey, OrderState, PaymentOutcome, PaymentRequest, Rejection};

/// Payments in one batch. An item's number has 14 bits in its payment's id.
pub const MAX_BATCH_ITEMS: usize = 10_000;

/// One payment of a batch, as requested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem {
    /// The payment's own key. Without one, only the batch's key protects it from repetition.
    pub key: Option<IdempotencyKey>,
    /// The request.
    pub request: PaymentRequest,
}

/// A request to make many payments in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRequest {
    /// Whether the payments succeed or fail together, instead of each by itself.
    pub atomic: bool,
    /// 1 to [`MAX_BATCH_ITEMS`] payments; no two have the same key, and none has the batch's.
    pub items: Vec<BatchItem>,
}

impl BatchRequest {
    /// The fingerprint that distinguishes a repeated request from a different one under the same key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let start = FingerprintBuilder::new("batch").number(i64::from(self.atomic));
        let add = |builder: FingerprintBuilder, item: &BatchItem| {
            item.request.add_to(builder.optional(item.key.as_ref().map(IdempotencyKey::as_str)))
        };
        self.items.iter().fold(start, add).finish()
    }
}

/// A decided batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The request's idempotency key.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// Whether the payments succeed or fail together.
    pub atomic: bool,
    /// The payments in order, with the decision on each.
    pub items: Vec<DecidedItem>,
}

/// One decided payment of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedItem {
    /// The payment's own key with the fingerprint of its request, if it has one.
    pub key: Option<(IdempotencyKey, Fingerprint)>,
    /// The request.
    pub request: PaymentRequest,
    /// The order's state before the payment; `None` without an order and for an order's first payment.
    pub order_before: Option<OrderState>,
    /// The decision.
    pub outcome: PaymentOutcome,
}

/// The outcome of a batch as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// Each payment has its own outcome.
    Decided,
    /// It is atomic, and one of its payments was refused, so none was made.
    Aborted,
}

impl Batch {
    /// The outcome of the batch as a whole.
    #[must_use]
    pub fn outcome(&self) -> BatchOutcome {
        let refused = self.items.iter().any(|item| item.outcome.rejection().is_some());
        if self.atomic && refused { BatchOutcome::Aborted } else { BatchOutcome::Decided }
    }

    /// The items whose keys this entry holds. A repeated item's key belongs to another entry, an item that was refused
    /// because of its key does not hold it, and an aborted batch holds only its own key.
    pub fn keyed_here(&self) -> impl Iterator<Item = (&IdempotencyKey, &DecidedItem)> {
        let aborted = self.outcome() == BatchOutcome::Aborted;
        let items = self.items.iter().filter(move |item| !aborted && item.was_decided());
        items.filter_map(|item| Some((&item.key.as_ref()?.0, item)))
    }

    /// The payments with the numbers that distinguish their ids.
    pub fn numbered(&self) -> impl Iterator<Item = (u16, &DecidedItem)> {
        (0_u16..).zip(&self.items)
    }
}

impl DecidedItem {
    /// Whether the bank decided the item's payment in this batch, with whatever outcome.
    #[must_use]
    pub const fn was_decided(&self) -> bool {
        !matches!(
            self.outcome,
            PaymentOutcome::Repeated { .. }
                | PaymentOutcome::Rejected(
                    Rejection::IdempotencyKeyReused | Rejection::IdempotencyKeyFenced | Rejection::BatchAborted
                )
        )
    }
}
