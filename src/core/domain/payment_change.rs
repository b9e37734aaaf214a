//! What happens to a payment after it was made: captures, voids, refunds, and the expiry of its hold.

use crate::domain::LogIndex;
use serde::{Deserialize, Serialize};

use super::{
    Fingerprint, FingerprintBuilder, HoldEnd, IdempotencyKey, MinorUnits, PaymentId, PaymentState, Rejection, Stamp,
};

/// What a caller asks to be done to a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentChangeKind {
    /// Take a part of what is held, or all of it.
    Capture(Option<MinorUnits>),
    /// Release what is still held.
    Void,
    /// Give a part of what was captured back, or all that is left of it.
    Refund(Option<MinorUnits>),
}

impl PaymentChangeKind {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Capture(_) => "capture",
            Self::Void => "void",
            Self::Refund(_) => "refund",
        }
    }

    /// The amount that was named.
    #[must_use]
    pub const fn named_amount(self) -> Option<MinorUnits> {
        match self {
            Self::Capture(amount) | Self::Refund(amount) => amount,
            Self::Void => None,
        }
    }

    /// The fingerprint by which a repeated change is told from another one under the same key.
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

/// A change of a payment as the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentChange {
    /// The key under which it was asked for.
    pub key: IdempotencyKey,
    /// Fingerprint of the request.
    pub fingerprint: Fingerprint,
    /// The payment concerned.
    pub payment: PaymentId,
    /// What was asked for.
    pub change: PaymentChangeKind,
    /// Where the payment stood; `None` if there is no such payment. With it every node can check the decision without
    /// keeping all payments in memory.
    pub before: Option<Box<PaymentState>>,
    /// What was decided.
    pub outcome: PaymentChangeOutcome,
}

/// The decision on a change of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentChangeOutcome {
    /// Done.
    Applied {
        /// What was captured, released or given back.
        amount: MinorUnits,
        /// Posted balance of the account that paid, right after it.
        from_balance: MinorUnits,
        /// Posted balance of the account that received, right after it.
        to_balance: MinorUnits,
    },
    /// Nothing moved.
    Rejected(Rejection),
}

impl PaymentChange {
    /// Where the payment stands after it; `None` if there is no such payment.
    #[must_use]
    pub fn after(&self, stamp: Stamp) -> Option<PaymentState> {
        let before = self.before.as_deref()?;
        match self.outcome {
            PaymentChangeOutcome::Rejected(_) => Some(before.clone()),
            PaymentChangeOutcome::Applied { amount, .. } => Some(before.changed(self.change, amount, stamp.index)),
        }
    }
}

/// The end of a hold whose time is up. The leader makes it of the ledger's own time; no caller asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// The payment concerned.
    pub payment: PaymentId,
    /// Where the payment stood; what it held is released.
    pub before: PaymentState,
}

impl Expiry {
    /// Where the payment stands after it.
    #[must_use]
    pub fn after(&self, stamp: Stamp) -> PaymentState {
        self.before.expired(stamp.index)
    }
}

impl PaymentState {
    /// The state after a change that the bank allowed. `index` is the change's own place.
    ///
    /// The arithmetic cannot leave its range: the bank allows nothing that exceeds what is held or captured.
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
