//! Changes of a payment: captures, voids, refunds, and the expiry of its hold.

use serde::{Deserialize, Serialize};

use super::{
    Fingerprint, FingerprintBuilder, HoldEnd, IdempotencyKey, LogIndex, MinorUnits, PaymentId, PaymentState, Rejection,
    Stamp,
};

/// A change of a payment, as requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentChangeKind {
    /// Take a part of the held amount, or all of it.
    Capture(Option<MinorUnits>),
    /// Release the amount that is still held.
    Void,
    /// Give back a part of the captured amount, or the rest of it.
    Refund(Option<MinorUnits>),
}

impl PaymentChangeKind {
    /// Its name in the API and in fingerprints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture(_) => "capture",
            Self::Void => "void",
            Self::Refund(_) => "refund",
        }
    }

    /// The requested amount, if the caller named one.
    #[must_use]
    pub const fn named_amount(self) -> Option<MinorUnits> {
        match self {
            Self::Capture(amount) | Self::Refund(amount) => amount,
            Self::Void => None,
        }
    }

    /// The fingerprint that distinguishes a repeated request from a different one under the same key.
    #[must_use]
    pub fn fingerprint(self, payment: PaymentId) -> Fingerprint {
        let builder = FingerprintBuilder::new(self.name()).text(&payment.to_string());
        match self.named_amount() {
            None => builder.number(0),
            Some(amount) => builder.number(1).number(amount.get()),
        }
        .finish()
    }
}

/// A decided change of a payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentChange {
    /// The request's idempotency key.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The payment.
    pub payment: PaymentId,
    /// The requested change.
    pub change: PaymentChangeKind,
    /// The payment's state before the change; `None` if there is no such payment. With it every node can check the
    /// decision without holding all payments in memory.
    pub before: Option<Box<PaymentState>>,
    /// The decision.
    pub outcome: PaymentChangeOutcome,
}

/// The decision on a change of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentChangeOutcome {
    /// The payment was changed.
    Applied {
        /// The amount captured, released or refunded.
        amount: MinorUnits,
        /// Posted balance of the paying account right after it.
        from_balance: MinorUnits,
        /// Posted balance of the receiving account right after it.
        to_balance: MinorUnits,
    },
    /// Nothing moved.
    Rejected(Rejection),
}

impl PaymentChange {
    /// The payment's state after the change; `None` if there is no such payment.
    #[must_use]
    pub fn after(&self, stamp: Stamp) -> Option<PaymentState> {
        let before = self.before.as_deref()?;
        match self.outcome {
            PaymentChangeOutcome::Rejected(_) => Some(before.clone()),
            PaymentChangeOutcome::Applied { amount, .. } => Some(before.changed(self.change, amount, stamp.index)),
        }
    }
}

/// The expiry of a hold. The leader decides it by the ledger's time, without a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// The payment.
    pub payment: PaymentId,
    /// The payment's state before the expiry, which releases the held amount.
    pub before: PaymentState,
}

impl Expiry {
    /// The payment's state after the expiry.
    #[must_use]
    pub fn after(&self, stamp: Stamp) -> PaymentState {
        self.before.expired(stamp.index)
    }
}

impl PaymentState {
    /// The state after a change that the bank allowed. `index` is that of the change.
    ///
    /// The arithmetic cannot overflow: the bank allows no amount above what is held or captured.
    #[must_use]
    pub(super) fn changed(&self, change: PaymentChangeKind, amount: MinorUnits, index: LogIndex) -> Self {
        let mut state = Self { changes: self.changes + 1, last_change: index, ..self.clone() };
        match change {
            PaymentChangeKind::Capture(_) => {
                state.held = state.held.less(amount);
                state.captured = state.captured.plus(amount);
            }
            PaymentChangeKind::Void => {
                state.held = state.held.less(amount);
                state.end = HoldEnd::Voided;
            }
            PaymentChangeKind::Refund(_) => state.refunded = state.refunded.plus(amount),
        }
        state
    }

    /// The state after its hold expired.
    #[must_use]
    pub(super) fn expired(&self, index: LogIndex) -> Self {
        Self {
            changes: self.changes + 1,
            last_change: index,
            held: MinorUnits::ZERO,
            end: HoldEnd::Expired,
            ..self.clone()
        }
    }
}
