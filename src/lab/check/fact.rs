//! What committed entries say, small enough to be kept by the million.

use super::model::AccountNumber;
use quorapay_core::domain::Epoch;
use quorapay_core::domain::{
    AccountChangeKind, AccountOutcome, Fingerprint, IdempotencyKey, PaymentChangeKind, PaymentChangeOutcome, PaymentId,
    PaymentOutcome, Rejection,
};

/// What a committed entry says.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) epoch: Epoch,
    pub(super) what: What,
}

/// The kinds of entries.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// An entry of the protocol: nobody asked for it.
    Protocol,
    /// A payment.
    Payment(PaymentFact),
    /// A change of an account.
    Account(AccountFact),
    /// A capture, a void or a refund.
    Change(ChangeFact),
    /// The end of a hold whose time was up: nobody asked for it either.
    Expiry(PaymentId),
    /// Many payments.
    Batch(BatchFact),
    /// A key that was used up for nothing.
    Fence(Keyed),
}

/// A key, and what tells its request from any other.
#[derive(Clone, Debug)]
pub(super) struct Keyed {
    pub(super) key: IdempotencyKey,
    pub(super) fingerprint: Fingerprint,
}

/// A payment.
#[derive(Clone, Debug)]
pub(super) struct PaymentFact {
    pub(super) keyed: Keyed,
    pub(super) id: PaymentId,
    pub(super) outcome: PaymentOutcome,
}

/// A change of an account.
#[derive(Clone, Debug)]
pub(super) struct AccountFact {
    pub(super) keyed: Keyed,
    pub(super) account: AccountNumber,
    pub(super) change: AccountChangeKind,
    pub(super) outcome: AccountOutcome,
}

/// A change of a payment.
#[derive(Clone, Debug)]
pub(super) struct ChangeFact {
    pub(super) keyed: Keyed,
    pub(super) payment: PaymentId,
    pub(super) change: PaymentChangeKind,
    pub(super) outcome: PaymentChangeOutcome,
}

/// Many payments.
#[derive(Clone, Debug)]
pub(super) struct BatchFact {
    pub(super) keyed: Keyed,
    /// It was to be all or none, and it is none. Its payments may all have been refused for reasons of their own.
    pub(super) is_aborted: bool,
    pub(super) items: Box<[ItemFact]>,
}

/// One payment of a batch.
#[derive(Clone, Debug)]
pub(super) struct ItemFact {
    /// Its own key, if this entry uses it up.
    pub(super) keyed: Option<Keyed>,
    pub(super) id: PaymentId,
    pub(super) outcome: PaymentOutcome,
}

/// What a key holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held<'a> {
    Payment(&'a Keyed, PaymentId, PaymentOutcome),
    Account(&'a AccountFact),
    Change(&'a ChangeFact),
    Batch(&'a BatchFact),
    Fence,
}

impl Held<'_> {
    /// Tells its request from any other; `None` for a fence, which answers none.
    pub(super) const fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Payment(keyed, ..) => Some(keyed.fingerprint),
            Self::Account(fact) => Some(fact.keyed.fingerprint),
            Self::Change(fact) => Some(fact.keyed.fingerprint),
            Self::Batch(fact) => Some(fact.keyed.fingerprint),
            Self::Fence => None,
        }
    }

    /// Why it was refused, if it was.
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
    /// Every key that it uses up, with the item of a batch that it belongs to.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&IdempotencyKey, Option<u16>)> {
        let (own, items) = match &self.what {
            What::Protocol | What::Expiry(_) => (None, None),
            What::Payment(fact) => (Some(&fact.keyed), None),
            What::Account(fact) => (Some(&fact.keyed), None),
            What::Change(fact) => (Some(&fact.keyed), None),
            What::Fence(keyed) => (Some(keyed), None),
            What::Batch(fact) => (Some(&fact.keyed), Some(&fact.items)),
        };
        let items = items.into_iter().flatten().zip(0_u16..);
        let items = items.filter_map(|(item, number)| Some((&item.keyed.as_ref()?.key, Some(number))));
        own.map(|keyed| (&keyed.key, None)).into_iter().chain(items)
    }

    /// What it holds under its own key, or under that of an item.
    pub(super) fn held(&self, item: Option<u16>) -> Option<Held<'_>> {
        match (&self.what, item) {
            (What::Batch(batch), Some(item)) => {
                let item = batch.items.get(usize::from(item))?;
                Some(Held::Payment(item.keyed.as_ref()?, item.id, item.outcome))
            }
            (What::Batch(batch), None) => Some(Held::Batch(batch)),
            (What::Payment(fact), _) => Some(Held::Payment(&fact.keyed, fact.id, fact.outcome)),
            (What::Account(fact), _) => Some(Held::Account(fact)),
            (What::Change(fact), _) => Some(Held::Change(fact)),
            (What::Fence(_), _) => Some(Held::Fence),
            (What::Protocol | What::Expiry(_), _) => None,
        }
    }

    /// The payments that it decided, as lists show them: not the repeated ones of a batch.
    pub(super) fn payments(&self) -> impl DoubleEndedIterator<Item = (PaymentId, PaymentOutcome)> {
        let (own, items) = match &self.what {
            What::Payment(fact) => (Some((fact.id, fact.outcome)), None),
            What::Batch(batch) => (None, Some(&batch.items)),
            _ => (None, None),
        };
        let items = items.into_iter().flatten().map(|item| (item.id, item.outcome));
        own.into_iter().chain(items).filter(|(_, outcome)| !matches!(outcome, PaymentOutcome::Repeated { .. }))
    }
}
