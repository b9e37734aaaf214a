//! The state and helpers of these handlers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::runtime::{CommittedWrite, PeerStatus};
use quorapay_api::Code;
use quorapay_api::compatible::DecimalNumber;
use quorapay_core::domain::{
    Currency, DecidedPayment, IdempotencyKey, MinorUnits, OperationRequest, PaymentRequest, Timestamp,
};
use quorapay_core::replication::NodeId;

use super::super::answer::{AsOf, HttpAnswer};
use super::super::call::Call;
use super::super::metrics::Route;
use super::super::problem::Problem;
use super::super::state::Api;
use super::super::writes::PendingWrite;
use super::super::{render, request};
use super::amount::{self, AmountError};

/// The state of these handlers.
#[derive(Clone)]
pub(super) struct Compatible {
    pub(super) api: Api,
    pub(super) state: Arc<CompatibleState>,
}

/// What only these surfaces need.
pub(super) struct CompatibleState {
    pub(super) settings: Map<String, Value>,
    pub(super) chaos_mode: bool,
    /// When each other node last answered a request for its status.
    last_seen: Mutex<BTreeMap<NodeId, Timestamp>>,
}

impl CompatibleState {
    pub(super) fn new(settings: Map<String, Value>, chaos_mode: bool) -> Self {
        Self { settings, chaos_mode, last_seen: Mutex::default() }
    }

    /// Records which nodes answered just now, and returns when each node last did.
    pub(super) fn see(&self, peers: &[PeerStatus], now: Timestamp) -> BTreeMap<NodeId, Timestamp> {
        let mut last_seen = self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let present = peers.iter().filter(|peer| peer.status.is_some());
        last_seen.extend(present.map(|peer| (peer.node_id.clone(), now)));
        last_seen.clone()
    }
}

impl Compatible {
    pub(super) fn new(api: Api, settings: Map<String, Value>, chaos_mode: bool) -> Self {
        Self { api, state: Arc::new(CompatibleState::new(settings, chaos_mode)) }
    }
}

impl AsRef<Api> for Compatible {
    fn as_ref(&self) -> &Api {
        &self.api
    }
}

impl Call<Compatible> {
    /// Makes a response of a handler's result, with errors in the shape of these surfaces.
    pub(super) async fn answer(
        &self,
        route: Route,
        handler: impl Future<Output = Result<HttpAnswer, Problem>>,
    ) -> Response {
        self.respond(route, handler, Problem::into_plain_answer).await
    }

    /// Makes a payment and waits for its entry. A refusal by the bank is a 422.
    pub(super) async fn pay(
        &self,
        key: IdempotencyKey,
        request: PaymentRequest,
        deadline: Instant,
    ) -> Result<CommittedWrite, Problem> {
        let write = PendingWrite { deadline, key: key.clone() };
        let committed = write.submit(self, OperationRequest::Payment(request)).await?;
        match payment_of(&committed, &key).outcome.rejection() {
            None => Ok(committed),
            Some(rejection) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let refused = Problem::new(status, Code::Bank(rejection), quorapay_api::reason(rejection));
                Err(refused.seen_as_of(AsOf::of_write(&committed)))
            }
        }
    }
}

/// The payment that was decided under a key.
pub(super) fn payment_of<'entry>(committed: &'entry CommittedWrite, key: &IdempotencyKey) -> DecidedPayment<'entry> {
    render::decided_under(&committed.entry, key).expect("a payment's key and fingerprint lead to that payment's entry")
}

/// Reads the body of a write, unless a page of another site sent it. Its content type must be JSON, because pages in
/// browsers can send other types across origins without permission.
pub(super) async fn body(parts: &Parts, body: Body, deadline: Instant) -> Result<Bytes, Problem> {
    request::refuse_foreign_page(&parts.headers)?;
    request::require_json(&parts.headers).map_err(|_| {
        Problem::bad_request(Code::InvalidJson, "the body must be JSON with content-type application/json")
    })?;
    request::body(&parts.headers, body, deadline).await
}

/// Reads the amount of a payment in its currency, US dollars unless the caller says otherwise.
pub(super) fn amount(number: &DecimalNumber, currency: Option<Currency>) -> Result<(MinorUnits, Currency), Problem> {
    let currency =
        currency.unwrap_or_else(|| Currency::parse("USD").expect("the dollar is a currency with minor units"));
    let invalid = |error: AmountError| Problem::bad_request(Code::InvalidAmount, error.to_string()).field("amount");
    amount::read(number.json(), currency).map(|amount| (amount, currency)).map_err(invalid)
}

/// Refuses a payment from an account to itself.
pub(super) fn refuse_same<T: PartialEq>(from: &T, to: &T, from_name: &str, to_name: &str) -> Result<(), Problem> {
    if from != to {
        return Ok(());
    }
    Err(Problem::bad_request(Code::SameAccount, format!("{from_name} and {to_name} are the same account")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_in_dollars_unless_another_currency_is_named() {
        let number = DecimalNumber::of("150.75");
        let (amount_read, currency) = amount(&number, None).expect("valid");
        assert_eq!((amount_read, currency.code()), (MinorUnits::new(15_075), "USD"));
        let yen = Currency::parse("JPY").expect("known");
        let problem = amount(&number, Some(yen)).expect_err("yen have no decimals");
        assert_eq!((problem.code(), problem.field_name()), ("invalid_amount", Some("amount")));
    }
}
