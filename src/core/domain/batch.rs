//! Batches: many payments in one entry of the ledger, so that an atomic batch cannot be torn apart.

use serde::{Deserialize, Serialize};

use super::{Fingerprint, FingerprintBuilder, IdempotencyKey, OrderState, PaymentOutcome, PaymentRequest, Rejection};

/// Most payments in one batch. An item's number has 14 bits in its payment's id.
pub const MAX_BATCH_ITEMS: usize = 10_000;

/// One payment of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem {
    /// The payment's own key, if it has one. Without it, the payment is covered by the batch's key alone.
    pub key: Option<IdempotencyKey>,
    /// What is asked for.
    pub request: PaymentRequest,
}

/// A request to make many payments in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRequest {
    /// All or none, instead of each by itself.
    pub atomic: bool,
    /// 1 to [`MAX_BATCH_ITEMS`] payments; no two have the same key, and none has the batch's.
    pub items: Vec<BatchItem>,
}

impl BatchRequest {
    /// The fingerprint by which a repeated batch is told from another one under the same key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let start = FingerprintBuilder::new("batch").number(i64::from(self.atomic));
        let add = |builder: FingerprintBuilder, item: &BatchItem| {
            item.request.add_to(builder.optional(item.key.as_ref().map(IdempotencyKey::as_str)))
        };
        self.items.iter().fold(start, add).finish()
    }
}

/// A batch as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The key under which it was asked for.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// All or none.
    pub atomic: bool,
    /// The payments in order, with what was decided on each.
    pub items: Vec<DecidedItem>,
}

/// One payment of a batch as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecidedItem {
    /// The payment's own key with the fingerprint of its request, if it has one.
    pub key: Option<(IdempotencyKey, Fingerprint)>,
    /// What was asked for.
    pub request: PaymentRequest,
    /// How far its order was paid before it; `None` without an order and for an order's first payment.
    pub order_before: Option<OrderState>,
    /// What was decided.
    pub outcome: PaymentOutcome,
}

/// What became of a batch as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchOutcome {
    /// Each payment has its own outcome.
    Decided,
    /// It was to be all or none, and it is none.
    Aborted,
}

impl Batch {
    /// What became of it as a whole.
    #[must_use]
    pub fn outcome(&self) -> BatchOutcome {
        let refused = self.items.iter().any(|item| item.outcome.rejection().is_some());
        if self.atomic && refused { BatchOutcome::Aborted } else { BatchOutcome::Decided }
    }

    /// The items whose keys this entry uses up, with their numbers. A repeated item's key is held by another entry, an
    /// item refused because of its key decided nothing under it, and an aborted batch uses up no key but its own.
    pub fn keyed_here(&self) -> impl Iterator<Item = (&IdempotencyKey, &DecidedItem)> {
        let aborted = self.outcome() == BatchOutcome::Aborted;
        let items = self.items.iter().filter(move |item| !aborted && item.was_decided());
        items.filter_map(|item| Some((&item.key.as_ref()?.0, item)))
    }

    /// The payments in it, with the numbers by which their ids tell them apart.
    pub fn numbered(&self) -> impl Iterator<Item = (u16, &DecidedItem)> {
        (0_u16..).zip(&self.items)
    }
}

impl DecidedItem {
    /// Whether the item's payment was decided by the bank here, for better or worse.
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
