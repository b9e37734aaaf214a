//! The fault-tolerant payment ledger's `POST /transfer`.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::runtime::CommittedWrite;
use quorapay_core::domain::{AccountId, Currency, PaymentRequest};

use super::super::answer::{Answer, Mark};
use super::super::json::{RequestBody, read_object, write_object};
use super::super::metrics::Route;
use super::super::problem::Problem;
use super::super::writes::Write;
use super::{Compatible, amount, body, number, payment_of, refuse_same};

const DB_HIT: HeaderName = HeaderName::from_static("x-db-hit");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// Accounts are numbers here. What else a caller sends is its own business, as it was.
#[derive(Deserialize)]
struct TransferBody {
    from_id: u64,
    to_id: u64,
    amount: Box<RawValue>,
    currency: Option<Currency>,
}

impl RequestBody for TransferBody {
    fn code_of(_: &str) -> &'static str {
        "invalid_field"
    }
}

pub(super) fn router() -> Router<Compatible> {
    Router::new().route("/transfer", post(transfer))
}

async fn transfer(State(compatible): State<Compatible>, request: Request) -> Response {
    let mut response = compatible.answer(Route::CompatibleTransfer, make_transfer(&compatible, request)).await;
    // A refusal that is repeated was found in the ledger too.
    if response.headers().contains_key("idempotent-replayed") {
        response.headers_mut().insert(DB_HIT, TRUE);
    }
    response
}

async fn make_transfer(compatible: &Compatible, request: Request) -> Result<Answer, Problem> {
    let (parts, request_body) = request.into_parts();
    let Write { deadline, key } = Write::of(&parts)?;
    let body = body(&parts, request_body, deadline).await?;
    let request = parse(&body)?;
    let committed = compatible.pay(key.clone(), request, deadline).await?;
    if compatible.own.chaos_mode && !committed.replayed && wants_chaos(&parts.headers) {
        return Ok(Answer::dropped(Mark::of_write(&committed)));
    }
    let payment = payment_of(&committed, &key).request;
    Ok(Answer::json(StatusCode::OK, complete(&committed, payment), Mark::of_write(&committed)))
}

pub(super) fn parse(body: &[u8]) -> Result<PaymentRequest, Problem> {
    let TransferBody { from_id, to_id, amount: raw, currency } = read_object(body)?;
    refuse_same(&from_id, &to_id, "from_id", "to_id")?;
    let (amount, currency) = amount(&raw, currency)?;
    let account = |id: u64| AccountId::parse(&id.to_string()).expect("digits are an account id");
    Ok(PaymentRequest::plain(account(from_id), account(to_id), amount, currency))
}

fn complete(committed: &CommittedWrite, payment: &PaymentRequest) -> Vec<u8> {
    let message = if committed.replayed { "Transfer Complete (Recovered)" } else { "Transfer Complete" };
    let mut body = Vec::with_capacity(96);
    write_object(&mut body, |object| {
        object.field("status", "success").field("message", message);
        number(object, "amount", payment.currency.format(payment.amount));
    });
    body
}

/// Whether the caller wants to see what it does when the connection is gone after the commit.
fn wants_chaos(headers: &HeaderMap) -> bool {
    headers.get("x-simulate-chaos").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_a_payment_between_numbered_accounts_in_dollars() {
        let request = parse(br#"{"from_id": 1, "to_id": 2, "amount": 100.00, "note": "ignored"}"#).expect("valid");
        assert_eq!((request.from.as_str(), request.to.as_str()), ("1", "2"));
        assert_eq!((request.amount.get(), request.currency.code(), request.opens_accounts), (10_000, "USD", false));
    }

    #[test]
    fn a_bad_transfer_is_refused_by_the_field() {
        for (body, names) in [
            (r#"{"from_id":1,"to_id":2}"#, "amount"),
            (r#"{"from_id":"1","to_id":2,"amount":1}"#, "from_id"),
            (r#"{"from_id":1,"to_id":-2,"amount":1}"#, "to_id"),
            (r#"{"from_id":1,"to_id":1.5,"amount":1}"#, "to_id"),
            (r#"{"from_id":1,"to_id":1,"amount":1}"#, "to_id"),
            (r#"{"from_id":1,"to_id":2,"amount":"1"}"#, "amount"),
            (r#"{"from_id":1,"to_id":2,"amount":NaN}"#, "JSON"),
            (r#"{"from_id":1,"to_id":2,"amount":1,"currency":"usd"}"#, "currency"),
            ("[1,2,3]", "JSON"),
        ] {
            let problem = parse(body.as_bytes()).expect_err(body);
            let text = String::from_utf8(problem.into_plain_answer().body().to_vec()).expect("text");
            assert!(text.starts_with(r#"{"error":""#) && text.contains(names), "{body}: {text}");
        }
    }

    #[test]
    fn only_the_word_true_asks_for_chaos() {
        let headers = |value| HeaderMap::from_iter([(HeaderName::from_static("x-simulate-chaos"), value)]);
        assert!(wants_chaos(&headers(HeaderValue::from_static("True"))));
        assert!(!wants_chaos(&headers(HeaderValue::from_static("false"))));
        assert!(!wants_chaos(&HeaderMap::new()));
    }
}
