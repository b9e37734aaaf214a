//! The calls that concern payments and keys.

use futures_util::Stream;
use reqwest::Method;
use serde_json::json;

use super::call::{Call, Content, Query};
use super::error::ClientError;
use super::model::{
    BatchItem, BatchLines, BatchResult, ChangedPayment, KeyLookup, NewPayment, Page, Payment, PaymentFilter,
    PaymentPage,
};
use super::pages::{page_query, pages};
use super::send::{Client, Outcome, not_in_look_ups, recorded_fence, recorded_payment};
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
        id: &str,
        amount: Option<MinorUnits>,
    ) -> Result<Outcome<ChangedPayment>, ClientError> {
        self.change(key, id, "capture", amount).await
    }

    /// Gives back whatever a payment still holds.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn void(&self, key: &IdempotencyKey, id: &str) -> Result<Outcome<ChangedPayment>, ClientError> {
        self.change(key, id, "void", None).await
    }

    /// Sends some of what was taken back, or without an amount all that is left of it.
    ///
    /// # Errors
    /// Like [`Self::pay`].
    pub async fn refund(
        &self,
        key: &IdempotencyKey,
        id: &str,
        amount: Option<MinorUnits>,
    ) -> Result<Outcome<ChangedPayment>, ClientError> {
        self.change(key, id, "refund", amount).await
    }

    async fn change(
        &self,
        key: &IdempotencyKey,
        id: &str,
        name: &str,
        amount: Option<MinorUnits>,
    ) -> Result<Outcome<ChangedPayment>, ClientError> {
        let body = amount.map_or_else(|| json!({}), |amount| json!({ "amount": amount }));
        let call = Call::write(Method::POST, &["v1", "payments", id, name], key, &body);
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
    ) -> Result<Outcome<BatchResult>, ClientError> {
        let body = json!({ "atomic": atomic, "payments": payments });
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
    ) -> Result<Outcome<BatchResult>, ClientError> {
        let body = Content { media_type: "application/x-ndjson", bytes: lines.to_bytes() };
        let mut call = Call::send(Method::POST, &["v1", "payments", "batch"], key, body);
        if atomic {
            call = call.with("atomic", "true");
        }
        self.decide(key, &call, not_in_look_ups).await
    }

    /// A payment by its id, where it stands now, with its history.
    ///
    /// # Errors
    /// [`ClientError`]; an unknown id is `Refused` with code `payment_not_found`.
    pub async fn payment(&self, id: &str) -> Result<Payment, ClientError> {
        self.read(&Call::read(&["v1", "payments", id], Vec::new()), self.deadline).await
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
        let query = page_query(page).chain(filter_query(filter)).collect();
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

fn filter_query(filter: &PaymentFilter) -> Query {
    let given = [
        ("account", filter.account.as_ref().map(ToString::to_string)),
        ("status", filter.status.map(|status| status.to_string())),
        ("currency", filter.currency.map(|currency| currency.to_string())),
        ("order_id", filter.order_id.as_ref().map(ToString::to_string)),
        ("from_time", filter.from_time.clone()),
        ("to_time", filter.to_time.clone()),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
