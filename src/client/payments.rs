//! The calls that concern payments and keys.

use std::borrow::Cow;
use std::fmt::Display;

use futures_util::Stream;
use reqwest::Method;

use super::call::{Call, RequestContent};
use super::error::ClientError;
use super::pages::pages;
use super::send::{Client, Outcome, not_in_look_ups, recorded_fence, recorded_payment};
use super::{
    BatchItem, BatchLines, ChangedPayment, DecidedBatch, KeyLookup, NewPayment, Page, Payment, PaymentFilter,
    PaymentPage, PaymentWithHistory,
};
use quorapay_api::{BatchObject, ChangeAmount, query};
use quorapay_core::domain::{IdempotencyKey, MinorUnits};

impl Client {
    /// Pays, or holds the money if the payment says so.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no node could be reached at all: nothing moved then.
    pub async fn pay(&self, key: &IdempotencyKey, payment: &NewPayment) -> Result<Outcome<Payment>, ClientError> {
        self.decide(key, &Call::write(Method::POST, &["v1", "payments"], key, payment), recorded_payment).await
    }

    /// Takes some of what a payment holds, or without an amount all of it.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn capture(
        &self,
        key: &IdempotencyKey,
        id: impl Display,
        amount: Option<MinorUnits>,
    ) -> Result<Outcome<ChangedPayment>, ClientError> {
        self.change(key, id, "capture", amount).await
    }

    /// Gives back whatever a payment still holds.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn void(&self, key: &IdempotencyKey, id: impl Display) -> Result<Outcome<ChangedPayment>, ClientError> {
        self.change(key, id, "void", None).await
    }

    /// Sends some of what was taken back, or without an amount all that is left of it.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn refund(
        &self,
        key: &IdempotencyKey,
        id: impl Display,
        amount: Option<MinorUnits>,
    ) -> Result<Outcome<ChangedPayment>, ClientError> {
        self.change(key, id, "refund", amount).await
    }

    async fn change(
        &self,
        key: &IdempotencyKey,
        id: impl Display,
        name: &str,
        amount: Option<MinorUnits>,
    ) -> Result<Outcome<ChangedPayment>, ClientError> {
        let path = ["v1", "payments", &id.to_string(), name];
        let call = Call::write(Method::POST, &path, key, &ChangeAmount { amount });
        self.decide(key, &call, not_in_look_ups).await
    }

    /// Sends many payments in one request, as one JSON document: each is decided by itself, or with `atomic` all or
    /// none, which is then [`Outcome::Refused`] with code `batch_aborted` and the results in the problem.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn batch(
        &self,
        key: &IdempotencyKey,
        payments: &[BatchItem],
        atomic: bool,
    ) -> Result<Outcome<DecidedBatch>, ClientError> {
        let body = BatchObject { atomic, payments: Cow::Borrowed(payments) };
        let call = Call::write(Method::POST, &["v1", "payments", "batch"], key, &body);
        self.decide(key, &call, not_in_look_ups).await
    }

    /// Like [`Self::batch`], from lines that were written one by one.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn batch_lines(
        &self,
        key: &IdempotencyKey,
        lines: &BatchLines,
        atomic: bool,
    ) -> Result<Outcome<DecidedBatch>, ClientError> {
        let body = RequestContent { media_type: "application/x-ndjson", bytes: lines.to_bytes() };
        let mut call = Call::send(Method::POST, &["v1", "payments", "batch"], key, body);
        if atomic {
            call = call.with(query::ATOMIC, "true");
        }
        self.decide(key, &call, not_in_look_ups).await
    }

    /// A payment by its id, where it stands now, with its history.
    ///
    /// # Errors
    /// [`ClientError`]; an unknown id is `Refused` with code `payment_not_found`.
    pub async fn payment(&self, id: impl Display) -> Result<PaymentWithHistory, ClientError> {
        self.read(&Call::read(&["v1", "payments", &id.to_string()], Vec::new()), self.deadline).await
    }

    /// What is known of an idempotency key.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn payment_by_key(&self, key: &IdempotencyKey) -> Result<KeyLookup, ClientError> {
        self.read(&Call::read(&["v1", "payments", "by-key", key.as_str()], Vec::new()), self.deadline).await
    }

    /// Sees to it that nothing is ever decided under a key from now on, or tells what was.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn fence(&self, key: &IdempotencyKey) -> Result<Outcome<KeyLookup>, ClientError> {
        let call = Call::bare(Method::POST, &["v1", "payments", "by-key", key.as_str(), "fence"]);
        self.decide(key, &call, recorded_fence).await
    }

    /// One page of payments, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn payments(&self, filter: &PaymentFilter, page: &Page) -> Result<PaymentPage, ClientError> {
        let query = page.parameters().chain(filter.parameters()).collect();
        self.read(&Call::read(&["v1", "payments"], query), self.deadline).await
    }

    /// Every payment that meets the filter, newest first, page after page. Each page has a deadline of its own.
    pub fn all_payments<'a>(
        &'a self,
        filter: &'a PaymentFilter,
    ) -> impl Stream<Item = Result<Payment, ClientError>> + 'a {
        pages(async move |page: Page| {
            let got = self.payments(filter, &page).await?;
            Ok((got.payments, got.next_cursor))
        })
    }
}
