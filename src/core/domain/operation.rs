//! What callers ask for, and what the ledger says of it: every decision is an [`Operation`] with its outcome inside,
//! refusals included, so that a retry is answered from the ledger and never decided again.

use crate::domain::LogIndex;
use serde::{Deserialize, Serialize};

use super::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, Batch, BatchRequest, Expiry, Fingerprint,
    FingerprintBuilder, IdempotencyKey, KeyHolder, Payment, PaymentChange, PaymentChangeKind, PaymentChangeOutcome,
    PaymentId, PaymentRequest, Rejection,
};

/// About what a request without free text takes.
const PLAIN_REQUEST_BYTES: usize = 256;

/// A write that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationRequest {
    /// Move money, or set it aside.
    Payment(PaymentRequest),
    /// Open or change an account.
    Account {
        /// The account concerned.
        account: AccountId,
        /// What is done to it.
        change: AccountChangeKind,
    },
    /// Capture, void or refund a payment.
    PaymentChange {
        /// The payment concerned.
        payment: PaymentId,
        /// What is done to it.
        change: PaymentChangeKind,
    },
    /// Make many payments at once.
    Batch(BatchRequest),
    /// See to it that nothing can ever apply under the key, unless something has already.
    // Histories of clients name it so.
    #[serde(rename = "Fence")]
    KeyFence,
}

/// A write under its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The caller's name for this intent.
    pub key: IdempotencyKey,
    /// What is asked for.
    pub request: OperationRequest,
}

/// A tombstone: the key is used up, and nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFence {
    /// The key that it uses up.
    pub key: IdempotencyKey,
    /// Fingerprint of a request for a fence.
    pub fingerprint: Fingerprint,
}

/// One application entry of the ledger: something decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A payment, made or refused.
    Payment(Payment),
    /// A change of an account, made or refused.
    Account(AccountChange),
    /// A change of a payment, made or refused.
    PaymentChange(PaymentChange),
    /// The end of a hold whose time was up.
    Expiry(Expiry),
    /// Many payments, each made or refused.
    Batch(Batch),
    /// A key that was used up for nothing.
    KeyFence(KeyFence),
}

impl Operation {
    /// The key under which it was asked for; `None` if nobody asked.
    #[must_use]
    pub const fn key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::Payment(payment) => Some(&payment.key),
            Self::Account(change) => Some(&change.key),
            Self::PaymentChange(change) => Some(&change.key),
            Self::Batch(batch) => Some(&batch.key),
            Self::KeyFence(fence) => Some(&fence.key),
            Self::Expiry(_) => None,
        }
    }

    /// Every key that it uses up: its own, and those of a batch's payments.
    pub fn keys(&self) -> impl Iterator<Item = &IdempotencyKey> {
        let batch = match self {
            Self::Batch(batch) => Some(batch),
            _ => None,
        };
        self.key().into_iter().chain(batch.into_iter().flat_map(|batch| batch.keyed_here().map(|(key, _)| key)))
    }

    /// Fingerprint of the request that led to it; `None` if nobody asked.
    #[must_use]
    pub const fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Payment(payment) => Some(payment.fingerprint),
            Self::Account(change) => Some(change.fingerprint),
            Self::PaymentChange(change) => Some(change.fingerprint),
            Self::Batch(batch) => Some(batch.fingerprint),
            Self::KeyFence(fence) => Some(fence.fingerprint),
            Self::Expiry(_) => None,
        }
    }

    /// Fingerprint of the request that it holds under a key, its own or that of one of a batch's payments.
    #[must_use]
    pub fn fingerprint_under(&self, key: &IdempotencyKey) -> Option<Fingerprint> {
        if self.key() == Some(key) {
            return self.fingerprint();
        }
        let Self::Batch(batch) = self else { return None };
        let (_, item) = batch.keyed_here().find(|(held, _)| *held == key)?;
        item.key.as_ref().map(|(_, fingerprint)| *fingerprint)
    }

    /// What the key that it uses up is held by. `index` is that of its entry.
    #[must_use]
    pub fn holder_of(&self, key: &IdempotencyKey, index: LogIndex) -> KeyHolder {
        let fenced = matches!(self, Self::KeyFence(_));
        KeyHolder { index, fingerprint: self.fingerprint_under(key).filter(|_| !fenced) }
    }

    /// Why it was refused, if it was. A batch's payments have their own outcomes.
    #[must_use]
    pub const fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Payment(payment) => payment.outcome.rejection(),
            Self::Account(AccountChange { outcome: AccountOutcome::Rejected(rejection), .. })
            | Self::PaymentChange(PaymentChange { outcome: PaymentChangeOutcome::Rejected(rejection), .. }) => {
                Some(*rejection)
            }
            Self::Account(_) | Self::PaymentChange(_) | Self::Expiry(_) | Self::Batch(_) | Self::KeyFence(_) => None,
        }
    }
}

impl OperationRequest {
    /// The fingerprint by which a repeated request is told from another one under the same key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Payment(payment) => payment.fingerprint(),
            Self::Account { account, change } => change.fingerprint(account),
            Self::PaymentChange { payment, change } => change.fingerprint(*payment),
            Self::Batch(batch) => batch.fingerprint(),
            Self::KeyFence => FingerprintBuilder::new("fence").finish(),
        }
    }

    /// About how many bytes it takes in memory and on the wire.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Payment(payment) => PLAIN_REQUEST_BYTES + payment.text_bytes(),
            Self::Batch(batch) => batch.items.iter().map(|item| PLAIN_REQUEST_BYTES + item.request.text_bytes()).sum(),
            Self::Account { .. } | Self::PaymentChange { .. } | Self::KeyFence => PLAIN_REQUEST_BYTES,
        }
    }
}
