//! The postings and payments of an operation, in one shape for all kinds: for statements, views, exports and checks.

use super::{
    AccountId, Currency, IdempotencyKey, MinorUnits, Operation, PaymentChange, PaymentChangeKind, PaymentChangeOutcome,
    PaymentId, PaymentOutcome, PaymentRequest, Stamp,
};

/// A movement of money from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posting<'entry> {
    /// The payment that it belongs to.
    pub payment: PaymentId,
    /// The kind of movement.
    pub kind: PostingKind,
    /// The debited account: for a refund, the one that had received the payment.
    pub from: &'entry AccountId,
    /// The credited account.
    pub to: &'entry AccountId,
    /// The amount. Positive.
    pub amount: MinorUnits,
    /// The currency of all amounts.
    pub currency: Currency,
    /// Posted balance of `from` right after.
    pub from_balance: MinorUnits,
    /// Posted balance of `to` right after.
    pub to_balance: MinorUnits,
}

/// The kind of a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PostingKind {
    /// A payment that was captured at once.
    Payment,
    /// A capture of a hold.
    Capture,
    /// A refund.
    Refund,
}

impl PostingKind {
    /// Its name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Capture => "capture",
            Self::Refund => "refund",
        }
    }
}

/// A payment that an operation decided, alone or in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecidedPayment<'entry> {
    /// Its number within the entry.
    pub item: u16,
    /// Its own key; `None` for a payment of a batch without one.
    pub key: Option<&'entry IdempotencyKey>,
    /// The request.
    pub request: &'entry PaymentRequest,
    /// The decision.
    pub outcome: PaymentOutcome,
}

impl Operation {
    /// The payments that it decided, in order, including a batch's repeated ones.
    pub fn payments(&self) -> impl Iterator<Item = DecidedPayment<'_>> {
        let single = match self {
            Self::Payment(payment) => Some(DecidedPayment {
                item: 0,
                key: Some(&payment.key),
                request: &payment.request,
                outcome: payment.outcome,
            }),
            _ => None,
        };
        let batch = match self {
            Self::Batch(batch) => Some(batch),
            _ => None,
        };
        let many = batch.into_iter().flat_map(|batch| batch.numbered()).map(|(item, decided)| DecidedPayment {
            item,
            key: decided.key.as_ref().map(|(key, _)| key),
            request: &decided.request,
            outcome: decided.outcome,
        });
        single.into_iter().chain(many)
    }

    /// Its postings, in order. `stamp` is that of its entry.
    pub fn postings(&self, stamp: Stamp) -> impl Iterator<Item = Posting<'_>> {
        let change = match self {
            Self::PaymentChange(change) => change.posting(),
            _ => None,
        };
        change.into_iter().chain(self.payments().filter_map(move |payment| payment.posting(stamp)))
    }
}

impl<'entry> DecidedPayment<'entry> {
    /// Whether it was decided in this entry, with whatever outcome. A repeated one was decided in an earlier entry.
    #[must_use]
    pub const fn is_decided(self) -> bool {
        !matches!(self.outcome, PaymentOutcome::Repeated { .. })
    }

    /// Its posting, if it was captured at once.
    #[must_use]
    pub fn posting(self, stamp: Stamp) -> Option<Posting<'entry>> {
        let PaymentOutcome::Succeeded { from_balance, to_balance } = self.outcome else { return None };
        Some(Posting {
            payment: PaymentId::derive(stamp, self.item),
            kind: PostingKind::Payment,
            from: &self.request.from,
            to: &self.request.to,
            amount: self.request.amount,
            currency: self.request.currency,
            from_balance,
            to_balance,
        })
    }
}

impl PaymentChange {
    /// Its posting, if it moved money.
    #[must_use]
    pub fn posting(&self) -> Option<Posting<'_>> {
        let PaymentChangeOutcome::Applied { amount, from_balance, to_balance } = self.outcome else { return None };
        let payment = self.before.as_deref()?;
        let posting = Posting {
            payment: self.payment,
            kind: PostingKind::Capture,
            from: &payment.from,
            to: &payment.to,
            amount,
            currency: payment.currency,
            from_balance,
            to_balance,
        };
        match self.change {
            PaymentChangeKind::Capture(_) => Some(posting),
            PaymentChangeKind::Refund(_) => Some(Posting {
                kind: PostingKind::Refund,
                from: posting.to,
                to: posting.from,
                from_balance: to_balance,
                to_balance: from_balance,
                ..posting
            }),
            PaymentChangeKind::Void => None,
        }
    }
}
