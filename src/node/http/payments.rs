//! `/v1/payments`: make a payment, read one with its history, and list them.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{CommittedWrite, Page, PaymentFilter, PaymentRecord};
use quorapay_api::{
    Code, NewPayment, Payment, PaymentPage, PaymentWithHistory, ProblemPayment, Rfc3339, query, schema,
};
use quorapay_core::domain::{
    AccountId, Currency, IdempotencyKey, LogIndex, OperationRequest, OrderId, PaymentStatus, Rejection, Timestamp,
};

use super::answer::{AsOf, HttpAnswer};
use super::call::Call;
use super::metrics::Route;
use super::problem::Problem;
use super::read::{List, Read};
use super::request::Query;
use super::state::{Api, path_payment_id};
use super::write_json::to_json;
use super::{openapi, payment_body, render, request, writes};

/// Capacity for a step of a payment's history.
const HISTORY_STEP_BYTES: usize = 256;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(by_id))
}

/// Make a payment
///
/// Moves money at once, or with `capture: "manual"` sets it aside for captures. A refusal by the bank is a 409 with the
/// refused payment in `payment`.
#[utoipa::path(
    post, path = "/v1/payments", tag = "Payments", operation_id = "makePayment",
    security(("api_key" = ["payments:write"])), params(query::KeyHeader, query::Deadline),
    request_body(content = NewPayment, example = json!(openapi::example("new_payment"))),
    responses(
        (status = 201, description = "Decided and on a majority of disks.", body = Payment,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("payment"))),
        openapi::PaymentProblems,
    ),
)]
async fn create(api: Call, request: Request) -> Response {
    api.answer(Route::PaymentCreate, make_payment(&api, request)).await
}

async fn make_payment(api: &Call, request: Request) -> Result<HttpAnswer, Problem> {
    let (parts, body) = request.into_parts();
    let write = writes::begin(&parts)?;
    let body = request::body(&parts.headers, body, write.deadline).await?;
    let payment = payment_body::parse(&body)?;
    let committed = write.submit(api, OperationRequest::Payment(payment)).await?;
    Ok(created(&committed, &write.key))
}

/// The answer to a payment. The payment under the key may be one of a batch.
pub(super) fn created(committed: &CommittedWrite, key: &IdempotencyKey) -> HttpAnswer {
    let decided = render::decided_under(&committed.entry, key)
        .expect("a payment's key and fingerprint lead to that payment's entry");
    let payment = render::decided_payment(&committed.entry, &decided).expect("a repeated payment holds no key");
    let bytes = render::estimated_bytes(decided.request);
    match decided.outcome.rejection() {
        None => HttpAnswer::json(StatusCode::CREATED, to_json(&payment, bytes), AsOf::of_write(committed)),
        Some(rejection) => {
            writes::refused(committed, rejection).answer_with_payment(ProblemPayment::Refused(payment), bytes)
        }
    }
}

/// Read a payment
///
/// As it stands, with its captures, refunds, void and expiry, oldest first.
#[utoipa::path(
    get, path = "/v1/payments/{id}", tag = "Payments", operation_id = "getPayment",
    security(("api_key" = ["payments:read"])),
    params(("id" = inline(schema::PaymentIdText), Path), query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "The payment.", body = PaymentWithHistory,
         example = json!(openapi::example("payment_with_history"))),
        openapi::PaymentReadProblems,
    ),
)]
async fn by_id(api: Call, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::PaymentGet, async {
        let (parts, _) = request.into_parts();
        let id = path_payment_id(id)?;
        let read = Read::begin(&api, &parts.headers, Query::new(parts.uri.query())).await?;
        let index = id.index();
        let known = index > LogIndex(0) && index <= read.applied_index();
        let record = if known { read.fetch(api.node.queries().payment(id, read.applied_index())).await? } else { None };
        let found = record.as_ref().and_then(|record| Some((record, render::payment_now(record)?)));
        // An id from another history may contain an index that this ledger has too, so the whole id must match.
        let Some((record, (decided, payment))) = found.filter(|(_, (_, payment))| payment.id == id) else {
            let code = Code::Bank(Rejection::PaymentNotFound);
            return Err(read.not_found(code, format!("there is no payment {id}")));
        };
        api.check_readable([&decided.request.from, &decided.request.to])?;
        let bytes = render::estimated_bytes(decided.request) + HISTORY_STEP_BYTES * record.history.len();
        Ok(read.answer_sized(&with_history(record, payment), bytes))
    })
    .await
}

pub(super) fn with_history<'entry>(record: &PaymentRecord, payment: Payment<'entry>) -> PaymentWithHistory<'entry> {
    let history = record.history.iter().filter_map(|entry| render::history_step(entry)).collect();
    PaymentWithHistory { payment, history }
}

/// List payments
///
/// Newest first, each as it stands. All conditions given must hold.
#[utoipa::path(
    get, path = "/v1/payments", tag = "Payments", operation_id = "listPayments",
    security(("api_key" = ["payments:read"])),
    params(query::PaymentFilter, query::Page, query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "A page of payments.", body = PaymentPage,
         example = json!(openapi::example("payment_page"))),
        openapi::PaymentListProblems,
    ),
)]
async fn list(api: Call, request: Request) -> Response {
    api.answer(Route::PaymentList, async {
        let (parts, _) = request.into_parts();
        let mut query = Query::new(parts.uri.query());
        let filter = take_filter(&mut query)?;
        api.check_readable(&filter.account)?;
        let before = List::Payments.take_before(&mut query)?;
        let limit = query.limit()?;
        let read = Read::begin(&api, &parts.headers, query).await?;
        let page = read.fetch(api.node.queries().list_payments(&filter, read.applied_index(), before, limit)).await?;
        let bytes: usize = page.found.iter().map(render::estimated_bytes_of).sum();
        Ok(read.answer_sized(&payment_page(&page), bytes))
    })
    .await
}

pub(super) fn payment_page(page: &Page<PaymentRecord>) -> PaymentPage<'_> {
    let payments = page.found.iter().filter_map(|record| Some(render::payment_now(record)?.1));
    let next_cursor = page.next_before.map(|cursor| List::Payments.cursor_before(cursor));
    PaymentPage { payments: payments.collect(), next_cursor }
}

pub(super) fn take_filter(query: &mut Query<'_>) -> Result<PaymentFilter, Problem> {
    Ok(PaymentFilter {
        account: query
            .parse(query::ACCOUNT, Code::InvalidAccountId, "an account id", |text| AccountId::parse(text).ok())?,
        status: query.parse(query::STATUS, Code::InvalidStatus, &statuses(), PaymentStatus::parse)?,
        currency: take_currency(query)?,
        order: query.parse(query::ORDER_ID, Code::InvalidOrder, "an order id", |text| OrderId::parse(text).ok())?,
        from_time: take_moment(query, query::FROM_TIME)?,
        to_time: take_moment(query, query::TO_TIME)?,
    })
}

fn statuses() -> String {
    let names: Vec<&str> = PaymentStatus::all().map(PaymentStatus::as_str).collect();
    format!("one of {}", names.join(", "))
}

/// Takes out the currency of a list.
pub(super) fn take_currency(query: &mut Query<'_>) -> Result<Option<Currency>, Problem> {
    query.parse(query::CURRENCY, Code::InvalidCurrency, "an ISO 4217 code", |text| Currency::parse(text).ok())
}

/// Takes out one end of a list's interval of time.
pub(super) fn take_moment(query: &mut Query<'_>, name: &'static str) -> Result<Option<Timestamp>, Problem> {
    let wanted = "a moment in RFC 3339, such as 2026-01-31T12:00:00Z";
    query.parse(name, Code::InvalidTime, wanted, |text| Rfc3339::parse(text).map(|moment| moment.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_filtered_by_any_of_its_conditions() {
        let query = "account=shop:1&status=partially_refunded&currency=JPY&order_id=o%201\
                     &from_time=1970-01-01T00:00:01Z&to_time=2026-01-31T12:00:00.5%2B02:00";
        let filter = take_filter(&mut Query::new(Some(query))).expect("valid");
        assert_eq!(filter.account.expect("given").as_str(), "shop:1");
        assert_eq!(filter.status, Some(PaymentStatus::PartiallyRefunded));
        assert_eq!(filter.currency.expect("given").code(), "JPY");
        assert_eq!(filter.order.expect("given").as_str(), "o 1");
        assert_eq!(filter.from_time, Some(Timestamp(1_000)));
        assert_eq!(filter.to_time, Some(Timestamp(1_769_853_600_500)));
        assert_eq!(take_filter(&mut Query::new(None)).expect("empty"), PaymentFilter::default());
    }

    #[test]
    fn a_bad_condition_is_named() {
        let cases = [
            ("account=a/b", "invalid_account_id", "account"),
            ("status=paid", "invalid_status", "status"),
            ("order_id=", "invalid_order", "order_id"),
            ("currency=eur", "invalid_currency", "currency"),
            ("from_time=yesterday", "invalid_time", "from_time"),
            ("to_time=2026-01-31", "invalid_time", "to_time"),
        ];
        for (query, code, field) in cases {
            let problem = take_filter(&mut Query::new(Some(query))).expect_err(query);
            assert_eq!((problem.code(), problem.field_name()), (code, Some(field)));
        }
    }
}
