//! The surfaces of two earlier systems, for clients that change nothing but the address: SyncPay and a fault-tolerant
//! payment ledger. `docs/COMPATIBILITY.md` maps their words to this system's.
//!
//! They are other shapes for the same ledger. Nothing is decided here: requests become the payments that version 1 makes,
//! and answers are rendered from the same entries. Errors have those systems' shape, `{error}`.

mod amount;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod syncpay;
mod transfer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::runtime::CommittedWrite;
use quorapay_core::domain::Timestamp;
use quorapay_core::domain::{Currency, DecidedPayment, IdempotencyKey, MinorUnits, OperationRequest, PaymentRequest};
use quorapay_core::replication::NodeId;

use super::answer::{Answer, Mark};
use super::json::ObjectWriter;
use super::metrics::Route;
use super::problem::Problem;
use super::writes::Write;
use super::{Api, render, request};

/// What the handlers of these surfaces hold.
#[derive(Clone)]
struct Compatible {
    api: Api,
    own: Arc<Own>,
}

/// What only these surfaces need.
struct Own {
    settings: Map<String, Value>,
    chaos_mode: bool,
    /// When each other node last answered this one's question for its status.
    last_seen: Mutex<BTreeMap<NodeId, Timestamp>>,
}

/// All routes of the earlier systems. Their state is their own, so that version 1 carries nothing of it.
pub(super) fn router(api: Api, settings: Map<String, Value>, chaos_mode: bool) -> Router<Api> {
    let own = Own { settings, chaos_mode, last_seen: Mutex::default() };
    Router::new().merge(syncpay::router()).merge(transfer::router()).with_state(Compatible { api, own: Arc::new(own) })
}

impl Compatible {
    /// Turns what a handler comes to into a response, errors in the shape of these surfaces.
    async fn answer(&self, route: Route, handler: impl Future<Output = Result<Answer, Problem>>) -> Response {
        self.api.answer(route, async { Ok(handler.await.unwrap_or_else(Problem::into_plain_answer)) }).await
    }

    /// Makes a payment and waits for its entry. A refusal by the bank is a 422.
    async fn pay(
        &self,
        key: IdempotencyKey,
        request: PaymentRequest,
        deadline: Instant,
    ) -> Result<CommittedWrite, Problem> {
        let write = Write { deadline, key: key.clone() };
        let committed = write.submit(&self.api, OperationRequest::Payment(request)).await?;
        match payment_of(&committed, &key).outcome.rejection() {
            None => Ok(committed),
            Some(rejection) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let refused = Problem::new(status, rejection.code(), render::reason(rejection));
                Err(refused.mark(Mark::of_write(&committed)))
            }
        }
    }
}

/// The payment that was decided under a key.
fn payment_of<'entry>(committed: &'entry CommittedWrite, key: &IdempotencyKey) -> DecidedPayment<'entry> {
    let payments = committed.entry.operation().into_iter().flat_map(|operation| operation.payments());
    let mut under_key = payments.filter(|payment| payment.key == Some(key));
    under_key.next().expect("a payment's key and fingerprint lead to that payment's entry")
}

/// Reads the body of a write, which must be said to be JSON: a page in a browser can send anything else unasked.
async fn body(parts: &Parts, body: Body, deadline: Instant) -> Result<Bytes, Problem> {
    request::require_json(&parts.headers).map_err(|_| {
        Problem::bad_request("invalid_json", "the body must be JSON with content-type application/json")
    })?;
    request::body(&parts.headers, body, deadline).await
}

/// Reads the amount of a payment in its currency, US dollars unless the caller says otherwise.
fn amount(raw: &RawValue, currency: Option<Currency>) -> Result<(MinorUnits, Currency), Problem> {
    let currency =
        currency.unwrap_or_else(|| Currency::parse("USD").expect("the dollar is a currency with minor units"));
    let invalid =
        |error: amount::AmountError| Problem::bad_request("invalid_amount", error.to_string()).field("amount");
    amount::read(raw.get(), currency).map(|amount| (amount, currency)).map_err(invalid)
}

/// Refuses a payment from an account to itself.
fn refuse_same<T: PartialEq>(from: &T, to: &T, from_name: &str, to_name: &str) -> Result<(), Problem> {
    if from != to {
        return Ok(());
    }
    Err(Problem::bad_request("same_account", format!("{from_name} and {to_name} are the same account")))
}

/// Writes a field whose `Display` is a JSON number.
fn number(object: &mut ObjectWriter<'_>, name: &'static str, number: impl fmt::Display) {
    use std::io::Write;
    write!(object.value(name), "{number}").expect("writing to memory does not fail");
}

/// Milliseconds as a number of seconds with three decimals, written from the digits.
struct Seconds(i64);

impl Seconds {
    fn of(moment: Timestamp) -> Self {
        Self(i64::try_from(moment.0).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let milliseconds = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", milliseconds / 1_000, milliseconds % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_number_of_seconds_with_three_decimals() {
        for (milliseconds, text) in
            [(1_700_000_000_005, "1700000000.005"), (0, "0.000"), (-1_020, "-1.020"), (-7, "-0.007")]
        {
            assert_eq!(Seconds(milliseconds).to_string(), text);
        }
        assert_eq!(Seconds::of(Timestamp(u64::MAX)).to_string(), "9223372036854775.807");
    }

    #[test]
    fn an_amount_is_in_dollars_unless_another_currency_is_named() {
        let raw = RawValue::from_string("150.75".to_owned()).expect("JSON");
        let (amount_read, currency) = amount(&raw, None).expect("valid");
        assert_eq!((amount_read, currency.code()), (MinorUnits::new(15_075), "USD"));
        let yen = Currency::parse("JPY").expect("known");
        let problem = amount(&raw, Some(yen)).expect_err("yen have no decimals");
        assert_eq!((problem.code(), problem.field_name()), ("invalid_amount", Some("amount")));
    }
}
