//! The fault-tolerant payment ledger's `POST /transfer`.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::CommittedWrite;
use quorapay_api::compatible::{DecimalNumber, Transfer, TransferReceipt};
use quorapay_api::{Code, headers, query};
use quorapay_core::domain::{AccountId, PaymentRequest};

use super::super::answer::{AsOf, HttpAnswer};
use super::super::call::Call;
use super::super::metrics::Route;
use super::super::openapi;
use super::super::problem::Problem;
use super::super::read_json::{RequestBody, read_object};
use super::super::write_json::to_json;
use super::super::writes::PendingWrite;
use super::shared::{Compatible, amount, body, payment_of, refuse_same};

const DB_HIT: HeaderName = HeaderName::from_static(headers::DB_HIT.lower);
const TRUE: HeaderValue = HeaderValue::from_static("true");

const RECEIPT_BYTES: usize = 96;

impl RequestBody for Transfer {
    fn code_of(_: &str) -> Code {
        Code::InvalidField
    }
}

pub(super) fn router() -> OpenApiRouter<Compatible> {
    OpenApiRouter::new().routes(routes!(transfer))
}

/// Transfer
///
/// A payment between two accounts that are named by numbers. They must exist: a payment of version 1 opens them.
#[utoipa::path(
    post, path = "/transfer", tag = "Fault-tolerant ledger", operation_id = "transfer",
    security(("api_key" = ["payments:write"])),
    params(query::KeyHeader, query::Deadline, query::SimulateChaos),
    request_body(content = Transfer, example = json!(openapi::example("transfer"))),
    responses(
        (status = 200, description = "Made, now or earlier.", body = TransferReceipt,
         headers(
             ("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier."),
             ("X-Db-Hit" = bool, description = "There, and `true`, if it was decided earlier."),
         ),
         example = json!(openapi::example("transfer_receipt"))),
        openapi::LedgerTransferErrors,
    ),
)]
async fn transfer(compatible: Call<Compatible>, request: Request) -> Response {
    let mut response = compatible.answer(Route::CompatibleTransfer, make_transfer(&compatible, request)).await;
    // A repeated refusal was found in the ledger too.
    if response.headers().contains_key(headers::REPLAYED.lower) {
        response.headers_mut().insert(DB_HIT, TRUE);
    }
    response
}

async fn make_transfer(compatible: &Call<Compatible>, request: Request) -> Result<HttpAnswer, Problem> {
    let (parts, request_body) = request.into_parts();
    let PendingWrite { deadline, key } = PendingWrite::of(&parts)?;
    let body = body(&parts, request_body, deadline).await?;
    let request = parse(&body)?;
    let committed = compatible.pay(key.clone(), request, deadline).await?;
    if compatible.state.chaos_mode && !committed.replayed && wants_chaos(&parts.headers) {
        return Ok(HttpAnswer::dropped(AsOf::of_write(&committed)));
    }
    let payment = payment_of(&committed, &key).request;
    let body = to_json(&receipt(&committed, payment), RECEIPT_BYTES);
    Ok(HttpAnswer::json(StatusCode::OK, body, AsOf::of_write(&committed)))
}

pub(super) fn parse(body: &[u8]) -> Result<PaymentRequest, Problem> {
    let Transfer { from_id, to_id, amount: number, currency } = read_object(body)?;
    refuse_same(&from_id, &to_id, "from_id", "to_id")?;
    let (amount, currency) = amount(&number, currency)?;
    let account = |id: u64| AccountId::parse(&id.to_string()).expect("digits are an account id");
    Ok(PaymentRequest::plain(account(from_id), account(to_id), amount, currency))
}

pub(super) fn receipt(committed: &CommittedWrite, payment: &PaymentRequest) -> TransferReceipt {
    let message = if committed.replayed { "Transfer Complete (Recovered)" } else { "Transfer Complete" };
    let amount = DecimalNumber::of(payment.currency.format(payment.amount));
    TransferReceipt { status: "success", message, amount }
}

/// Whether the caller asks for a dropped connection after the commit.
fn wants_chaos(given: &HeaderMap) -> bool {
    given.get(headers::SIMULATE_CHAOS.lower).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
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
