//! `/v1/payments`: make a payment, read one with what became of it, and list them.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{CommittedWrite, PaymentFilter, PaymentRecord};
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, OperationRequest, OrderId, PaymentStatus};
use quorapay_core::domain::{LogIndex, Timestamp};

use super::answer::{Answer, Mark};
use super::json::write_object;
use super::metrics::Route;
use super::problem::Problem;
use super::read::{List, Read};
use super::render::ShownPayment;
use super::request::Query;
use super::{Api, openapi, path_payment_id, payment_body, render, request, writes};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(by_id))
}

/// Make a payment
///
/// Moves money at once, or with `capture: "manual"` sets it aside for captures. A refusal by the bank is a 409 with the
/// refused payment in `payment`.
#[utoipa::path(
    post, path = "/v1/payments", tag = "Payments", operation_id = "makePayment", params(openapi::WriteHeaders),
    request_body(content = openapi::NewPayment, example = json!(openapi::example("new_payment"))),
    responses(
        (status = 201, description = "Decided and on a majority of disks.", body = openapi::Payment,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("payment"))),
        openapi::PaymentProblems,
    ),
)]
async fn create(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::PaymentCreate, make_payment(&api, request)).await
}

async fn make_payment(api: &Api, request: Request) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let write = writes::begin(&parts)?;
    let body = request::body(&parts.headers, body, write.deadline).await?;
    let payment = payment_body::parse(&body)?;
    let key = write.key.clone();
    let committed = write.submit(api, OperationRequest::Payment(payment)).await?;
    created(&committed, &key)
}

/// The answer to a payment. Under its key it may have been one of a batch.
fn created(committed: &CommittedWrite, key: &IdempotencyKey) -> Result<Answer, Problem> {
    let shown = ShownPayment::decided_under(&committed.entry, key)
        .expect("a payment's key and fingerprint lead to that payment's entry");
    let mut body = Vec::with_capacity(shown.estimated_bytes());
    render::payment(&mut body, &shown);
    match shown.rejection() {
        None => Ok(Answer::json(StatusCode::CREATED, body, Mark::of_write(committed))),
        Some(rejection) => Err(writes::refused(committed, rejection).raw_member("payment", body)),
    }
}

/// Read a payment
///
/// As it stands, with its captures, refunds, void and expiry, oldest first.
#[utoipa::path(
    get, path = "/v1/payments/{id}", tag = "Payments", operation_id = "getPayment",
    params(("id" = inline(openapi::PaymentIdText), Path), openapi::Freshness, openapi::Deadline),
    responses(
        (status = 200, description = "The payment.", body = openapi::PaymentWithHistory,
         example = json!(openapi::example("payment_with_history"))),
        openapi::PaymentReadProblems,
    ),
)]
async fn by_id(State(api): State<Api>, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::PaymentGet, async {
        let (parts, _) = request.into_parts();
        let id = path_payment_id(id)?;
        let read = Read::begin(&api.node, &parts.headers, Query::new(parts.uri.query())).await?;
        let index = id.index();
        let known = index > LogIndex(0) && index <= read.applied_index();
        let view = if known { read.fetch(api.node.queries().payment(id, read.applied_index())).await? } else { None };
        // An id of another history may have an index that this ledger has too: the whole id must agree.
        let shown = view.as_ref().and_then(|view| Some((view, ShownPayment::now(view)?)));
        match shown.filter(|(_, shown)| shown.id() == id) {
            Some((view, shown)) => Ok(read.answer_json(with_history(view, &shown))),
            None => Err(read.not_found("payment_not_found", format!("there is no payment {id}"))),
        }
    })
    .await
}

fn with_history(view: &PaymentRecord, shown: &ShownPayment<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(shown.estimated_bytes() + 256 * view.history.len());
    write_object(&mut body, |object| {
        render::payment_fields(object, shown);
        object.array("history", &view.history, |out, entry| render::history_step(out, entry));
    });
    body
}

/// List payments
///
/// Newest first, each as it stands. All conditions given must hold.
#[utoipa::path(
    get, path = "/v1/payments", tag = "Payments", operation_id = "listPayments",
    params(openapi::PaymentFilter, openapi::Page, openapi::Freshness, openapi::Deadline),
    responses(
        (status = 200, description = "A page of payments.", body = openapi::PaymentPage,
         example = json!(openapi::example("payment_page"))),
        openapi::PaymentListProblems,
    ),
)]
async fn list(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::PaymentList, async {
        let (parts, _) = request.into_parts();
        let mut query = Query::new(parts.uri.query());
        let filter = take_filter(&mut query)?;
        let before = List::Payments.take_before(&mut query)?;
        let limit = query.limit()?;
        let read = Read::begin(&api.node, &parts.headers, query).await?;
        let page = read.fetch(api.node.queries().list_payments(&filter, read.applied_index(), before, limit)).await?;
        let payments = page.found.iter().filter_map(ShownPayment::now);
        Ok(read.answer(|object| {
            object.array("payments", payments, |out, shown| render::payment(out, &shown));
            object.field("next_cursor", &page.next_before.map(|place| List::Payments.cursor_before(place)));
        }))
    })
    .await
}

pub(super) fn take_filter(query: &mut Query<'_>) -> Result<PaymentFilter, Problem> {
    Ok(PaymentFilter {
        account: query.parse("account", "invalid_account_id", "an account id", |text| AccountId::parse(text).ok())?,
        status: query.parse("status", "invalid_status", &statuses(), PaymentStatus::parse)?,
        currency: take_currency(query)?,
        order: query.parse("order_id", "invalid_order", "an order id", |text| OrderId::parse(text).ok())?,
        from_time: take_moment(query, "from_time")?,
        to_time: take_moment(query, "to_time")?,
    })
}

fn statuses() -> String {
    let names: Vec<&str> = PaymentStatus::all().map(PaymentStatus::as_str).collect();
    format!("one of {}", names.join(", "))
}

/// Takes the currency out that a list is limited to.
pub(super) fn take_currency(query: &mut Query<'_>) -> Result<Option<Currency>, Problem> {
    query.parse("currency", "invalid_currency", "an ISO 4217 code", |text| Currency::parse(text).ok())
}

/// Takes a bound of a list's stretch of time out.
pub(super) fn take_moment(query: &mut Query<'_>, name: &'static str) -> Result<Option<Timestamp>, Problem> {
    query.parse(name, "invalid_time", "a moment in RFC 3339, such as 2026-01-31T12:00:00Z", parse_moment)
}

/// Reads a moment; what is finer than a millisecond is rounded up, so that `[from_time, to_time)` keeps its meaning.
fn parse_moment(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    let milliseconds = moment.as_nanosecond().max(0).div_euclid(1_000_000);
    let finer = i128::from(moment.as_nanosecond() > milliseconds * 1_000_000);
    u64::try_from(milliseconds + finer).ok().map(Timestamp)
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

    #[test]
    fn a_moment_between_two_milliseconds_counts_as_the_later_one() {
        assert_eq!(parse_moment("1970-01-01T00:00:00.0010Z"), Some(Timestamp(1)));
        assert_eq!(parse_moment("1970-01-01T00:00:00.0011Z"), Some(Timestamp(2)));
        assert_eq!(parse_moment("1969-12-31T23:59:59Z"), Some(Timestamp(0)));
    }
}
