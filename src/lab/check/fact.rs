//! The content of committed entries as far as checks need it. Small, because millions are kept in memory.

use super::model::AccountNumber;
use quorapay_core::domain::Epoch;
use quorapay_core::domain::{
    AccountChangeKind, AccountOutcome, Fingerprint, IdempotencyKey, PaymentChangeKind, PaymentChangeOutcome, PaymentId,
    PaymentOutcome, Rejection,
};

/// A committed entry.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) epoch: Epoch,
    pub(super) kind: FactKind,
}

/// The kinds of entries.
#[derive(Clone, Debug)]
pub(super) enum FactKind {
    /// An entry of the replication protocol, which no client requested.
    Protocol,
    /// A payment.
    Payment(PaymentFact),
    /// A change of an account.
    Account(AccountFact),
    /// A capture, a void or a refund.
    Change(ChangeFact),
    /// The expiry of a hold, which no client requested either.
    Expiry(PaymentId),
    /// A batch of payments.
    Batch(BatchFact),
    /// A key that was closed without a payment.
    Fence(KeyedRequest),
    /// A change of an API key.
    ApiKey(KeyedRequest),
}

/// A key with the fingerprint of its request.
#[derive(Clone, Debug)]
pub(super) struct KeyedRequest {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: Fingerprint,
}

/// A payment.
#[derive(Clone, Debug)]
pub(super) struct PaymentFact {
    pub(super) keyed: KeyedRequest,
    pub(super) id: PaymentId,
    pub(super) outcome: PaymentOutcome,
}

/// A change of an account.
#[derive(Clone, Debug)]
pub(super) struct AccountFact {
    pub(super) keyed: KeyedRequest,
    pub(super) account: AccountNumber,
    pub(super) change: AccountChangeKind,
    pub(super) outcome: AccountOutcome,
}

/// A change of a payment.
#[derive(Clone, Debug)]
pub(super) struct ChangeFact {
    pub(super) keyed: KeyedRequest,
    pub(super) payment: PaymentId,
    pub(super) change: PaymentChangeKind,
    pub(super) outcome: PaymentChangeOutcome,
}

/// A batch of payments.
#[derive(Clone, Debug)]
pub(super) struct BatchFact {
    pub(super) keyed: KeyedRequest,
    /// Whether it was atomic and none of its payments was made.
    pub(super) is_aborted: bool,
    pub(super) items: Box<[ItemFact]>,
}

/// One payment of a batch.
#[derive(Clone, Debug)]
pub(super) struct ItemFact {
    /// Its own key, if this entry is the one that uses it.
    pub(super) keyed: Option<KeyedRequest>,
    pub(super) id: PaymentId,
    pub(super) outcome: PaymentOutcome,
}

/// What the ledger has under a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyContent<'a> {
    Payment(&'a KeyedRequest, PaymentId, PaymentOutcome),
    Account(&'a AccountFact),
    Change(&'a ChangeFact),
    Batch(&'a BatchFact),
    Fence,
}

impl KeyContent<'_> {
    /// The fingerprint of its request; `None` for a fence, which has none.
    pub(super) const fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Payment(keyed, ..) => Some(keyed.fingerprint),
            Self::Account(fact) => Some(fact.keyed.fingerprint),
            Self::Change(fact) => Some(fact.keyed.fingerprint),
            Self::Batch(fact) => Some(fact.keyed.fingerprint),
            Self::Fence => None,
        }
    }

    /// The reason if it was refused.
    pub(super) fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Payment(_, _, outcome) => outcome.rejection(),
            Self::Account(fact) => match fact.outcome {
                AccountOutcome::Rejected(rejection) => Some(rejection),
                AccountOutcome::Applied => None,
            },
            Self::Change(fact) => match fact.outcome {
                PaymentChangeOutcome::Rejected(rejection) => Some(rejection),
                PaymentChangeOutcome::Applied { .. } => None,
            },
            Self::Batch(batch) => batch.is_aborted.then_some(Rejection::BatchAborted),
            Self::Fence => None,
        }
    }
}

impl Fact {
    /// Every key that it uses, with the number of the batch item that it belongs to.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&IdempotencyKey, Option<u16>)> {
        let (own, items) = match &self.kind {
            FactKind::Protocol | FactKind::Expiry(_) => (None, None),
            FactKind::Payment(fact) => (Some(&fact.keyed), None),
            FactKind::Account(fact) => (Some(&fact.keyed), None),
            FactKind::Change(fact) => (Some(&fact.keyed), None),
            FactKind::Fence(keyed) | FactKind::ApiKey(keyed) => (Some(keyed), None),
            FactKind::Batch(fact) => (Some(&fact.keyed), Some(&fact.items)),
        };
        let items = items.into_iter().flatten().zip(0_u16..);
        let items = items.filter_map(|(item, number)| Some((&item.keyed.as_ref()?.key, Some(number))));
        own.map(|keyed| (&keyed.key, None)).into_iter().chain(items)
    }

    /// Its content under its own key, or under that of a batch item.
    pub(super) fn content(&self, item: Option<u16>) -> Option<KeyContent<'_>> {
        match (&self.kind, item) {
            (FactKind::Batch(batch), Some(item)) => {
                let item = batch.items.get(usize::from(item))?;
                Some(KeyContent::Payment(item.keyed.as_ref()?, item.id, item.outcome))
            }
            (FactKind::Batch(batch), None) => Some(KeyContent::Batch(batch)),
            (FactKind::Payment(fact), _) => Some(KeyContent::Payment(&fact.keyed, fact.id, fact.outcome)),
            (FactKind::Account(fact), _) => Some(KeyContent::Account(fact)),
            (FactKind::Change(fact), _) => Some(KeyContent::Change(fact)),
            (FactKind::Fence(_), _) => Some(KeyContent::Fence),
            // No history asks for one.
            (FactKind::Protocol | FactKind::Expiry(_) | FactKind::ApiKey(_), _) => None,
        }
    }

    /// The payments that it decided, as lists show them, without the repeated ones of a batch.
    pub(super) fn payments(&self) -> impl DoubleEndedIterator<Item = (PaymentId, PaymentOutcome)> {
        let (own, items) = match &self.kind {
            FactKind::Payment(fact) => (Some((fact.id, fact.outcome)), None),
            FactKind::Batch(batch) => (None, Some(&batch.items)),
            _ => (None, None),
        };
        let items = items.into_iter().flatten().map(|item| (item.id, item.outcome));
        own.into_iter().chain(items).filter(|(_, outcome)| !matches!(outcome, PaymentOutcome::Repeated { .. }))
    }
}
