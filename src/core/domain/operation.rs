//! Requests and operations. An [`Operation`] is a decided request with its outcome, refusals included, so that a retry
//! is answered from the ledger and never decided again.

use serde::{Deserialize, Serialize};

use super::{
    AccountChange, AccountChangeKind, AccountId, AccountOutcome, ApiKeyChange, ApiKeyChangeKind, ApiKeyId,
    ApiKeyOutcome, Batch, BatchRequest, Expiry, Fingerprint, FingerprintBuilder, IdempotencyKey, KeyHolder, LogIndex,
    Payment, PaymentChange, PaymentChangeKind, PaymentChangeOutcome, PaymentId, PaymentRequest, Rejection,
};

/// Approximate size of a request without free text.
const PLAIN_REQUEST_BYTES: usize = 256;

/// A write that a caller requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationRequest {
    /// Move or hold money.
    Payment(PaymentRequest),
    /// Open or change an account.
    Account {
        /// The account.
        account: AccountId,
        /// The change.
        change: AccountChangeKind,
    },
    /// Capture, void or refund a payment.
    PaymentChange {
        /// The payment.
        payment: PaymentId,
        /// The change.
        change: PaymentChangeKind,
    },
    /// Make many payments.
    Batch(BatchRequest),
    /// Make sure that nothing can ever apply under the key, unless something already has.
    // The name in recorded client histories.
    #[serde(rename = "Fence")]
    KeyFence,
    /// Create, rotate or revoke an API key.
    ApiKey {
        /// The API key.
        id: ApiKeyId,
        /// The change.
        change: ApiKeyChangeKind,
    },
}

/// A write under its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// The caller's identifier for this write.
    pub key: IdempotencyKey,
    /// The requested write.
    pub request: OperationRequest,
}

/// A tombstone: the key is used, and nothing was done under it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFence {
    /// The fenced key.
    pub key: IdempotencyKey,
    /// Fingerprint of a request for a fence.
    pub fingerprint: Fingerprint,
}

/// A decided request, as an entry of the ledger holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A payment, made or refused.
    Payment(Payment),
    /// A change of an account, made or refused.
    Account(AccountChange),
    /// A change of a payment, made or refused.
    PaymentChange(PaymentChange),
    /// The expiry of a hold.
    Expiry(Expiry),
    /// Many payments, each made or refused.
    Batch(Batch),
    /// A fenced key.
    KeyFence(KeyFence),
    /// A change of an API key, made or refused.
    ApiKey(ApiKeyChange),
}

impl Operation {
    /// The request's idempotency key; `None` for an expiry, which has no request.
    #[must_use]
    pub const fn key(&self) -> Option<&IdempotencyKey> {
        match self {
            Self::Payment(payment) => Some(&payment.key),
            Self::Account(change) => Some(&change.key),
            Self::PaymentChange(change) => Some(&change.key),
            Self::Batch(batch) => Some(&batch.key),
            Self::KeyFence(fence) => Some(&fence.key),
            Self::ApiKey(change) => Some(&change.key),
            Self::Expiry(_) => None,
        }
    }

    /// All keys that it holds: its own and those of a batch's items.
    pub fn keys(&self) -> impl Iterator<Item = &IdempotencyKey> {
        let batch = match self {
            Self::Batch(batch) => Some(batch),
            _ => None,
        };
        self.key().into_iter().chain(batch.into_iter().flat_map(|batch| batch.keyed_here().map(|(key, _)| key)))
    }

    /// Fingerprint of the request; `None` for an expiry.
    #[must_use]
    pub const fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Payment(payment) => Some(payment.fingerprint),
            Self::Account(change) => Some(change.fingerprint),
            Self::PaymentChange(change) => Some(change.fingerprint),
            Self::Batch(batch) => Some(batch.fingerprint),
            Self::KeyFence(fence) => Some(fence.fingerprint),
            Self::ApiKey(change) => Some(change.fingerprint),
            Self::Expiry(_) => None,
        }
    }

    /// Fingerprint of the request under a key, its own or that of one of a batch's items.
    #[must_use]
    pub fn fingerprint_under(&self, key: &IdempotencyKey) -> Option<Fingerprint> {
        if self.key() == Some(key) {
            return self.fingerprint();
        }
        let Self::Batch(batch) = self else { return None };
        let (_, item) = batch.keyed_here().find(|(held, _)| *held == key)?;
        item.key.as_ref().map(|(_, fingerprint)| *fingerprint)
    }

    /// The holder of one of its keys. `index` is that of its entry.
    #[must_use]
    pub fn holder_of(&self, key: &IdempotencyKey, index: LogIndex) -> KeyHolder {
        let fenced = matches!(self, Self::KeyFence(_));
        KeyHolder { index, fingerprint: self.fingerprint_under(key).filter(|_| !fenced) }
    }

    /// Why it was refused, if it was. A batch's items have their own outcomes.
    #[must_use]
    pub const fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Payment(payment) => payment.outcome.rejection(),
            Self::Account(AccountChange { outcome: AccountOutcome::Rejected(rejection), .. })
            | Self::PaymentChange(PaymentChange { outcome: PaymentChangeOutcome::Rejected(rejection), .. })
            | Self::ApiKey(ApiKeyChange { outcome: ApiKeyOutcome::Rejected(rejection), .. }) => Some(*rejection),
            Self::ApiKey(_)
            | Self::Account(_)
            | Self::PaymentChange(_)
            | Self::Expiry(_)
            | Self::Batch(_)
            | Self::KeyFence(_) => None,
        }
    }
}

impl OperationRequest {
    /// The fingerprint that distinguishes a repeated request from a different one under the same key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Payment(payment) => payment.fingerprint(),
            Self::Account { account, change } => change.fingerprint(account),
            Self::PaymentChange { payment, change } => change.fingerprint(*payment),
            Self::Batch(batch) => batch.fingerprint(),
            Self::KeyFence => FingerprintBuilder::new("fence").finish(),
            Self::ApiKey { id, change } => change.fingerprint(*id),
        }
    }

    /// Its approximate size in memory and on the wire.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Payment(payment) => PLAIN_REQUEST_BYTES + payment.text_bytes(),
            Self::Batch(batch) => batch.items.iter().map(|item| PLAIN_REQUEST_BYTES + item.request.text_bytes()).sum(),
            Self::ApiKey { change: ApiKeyChangeKind::Create { grant, .. }, .. } => {
                PLAIN_REQUEST_BYTES + grant.text_bytes()
            }
            Self::Account { .. } | Self::PaymentChange { .. } | Self::KeyFence | Self::ApiKey { .. } => {
                PLAIN_REQUEST_BYTES
            }
        }
    }
}
