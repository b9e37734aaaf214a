//! `/v1/payments`: make a payment, read one, list them, and settle what became of a key.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::domain::{AccountId, Currency, IdempotencyKey, Operation, OperationRequest, PaymentId};
use crate::replication::{Entry, LogIndex, Timestamp};
use crate::runtime::{Committed, PaymentFilter, PaymentStatus};

use super::answer::{Answer, Mark};
use super::metrics::Route;
use super::problem::Problem;
use super::read::{List, Read};
use super::request::Query;
use super::{Api, path_text, payment_body, render, request, writes};

/// Room for a payment without metadata, so that its answer is allocated once.
const USUAL_PAYMENT_BYTES: usize = 384;

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/payments", get(list).post(create))
        .route("/v1/payments/{id}", get(by_id))
        .route("/v1/payments/by-key/{key}", get(by_key))
}

async fn create(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::PaymentCreate, make_payment(&api, request)).await
}

async fn make_payment(api: &Api, request: Request) -> Result<Answer, Problem> {
    let (parts, body) = request.into_parts();
    let write = writes::begin(&parts)?;
    let body = request::body(&parts.headers, body, write.deadline).await?;
    let payment = payment_body::parse(&body)?;
    let committed = write.submit(api, OperationRequest::Payment(payment)).await?;
    created(&committed)
}

fn created(committed: &Committed) -> Result<Answer, Problem> {
    let entry = &committed.entry;
    let body = payment_json(entry).expect("a payment's key and fingerprint lead to a payment's entry");
    match entry.operation().and_then(Operation::rejection) {
        None => Ok(Answer::json(StatusCode::CREATED, body, Mark::of_write(committed))),
        Some(rejection) => Err(writes::refused(committed, rejection).raw_member("payment", body)),
    }
}

fn payment_json(entry: &Entry) -> Option<Vec<u8>> {
    let payment = render::payment_of(entry)?;
    let mut body = Vec::with_capacity(USUAL_PAYMENT_BYTES);
    render::payment(&mut body, entry, payment);
    Some(body)
}

async fn by_id(State(api): State<Api>, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::PaymentGet, async {
        let (parts, _) = request.into_parts();
        let id = PaymentId::parse(&path_text(id)?)
            .map_err(|error| Problem::bad_request("invalid_payment_id", error.to_string()).field("id"))?;
        let read = Read::begin(&api.node, &parts.headers, Query::new(parts.uri.query())).await?;
        let index = LogIndex(id.index());
        let known = index > LogIndex(0) && index <= read.applied_index();
        let entry = if known { read.fetch(api.node.entry(index)).await? } else { None };
        // An id of another history may have an index that this ledger has too: the whole id must agree.
        let found = entry.as_deref().filter(|entry| render::payment_id(entry) == id);
        match found.and_then(payment_json) {
            Some(body) => Ok(read.answer_json(body)),
            None => Err(read.not_found("payment_not_found", format!("there is no payment {id}"))),
        }
    })
    .await
}

async fn list(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::PaymentList, async {
        let (parts, _) = request.into_parts();
        let mut query = Query::new(parts.uri.query());
        let filter = take_filter(&mut query)?;
        let below = List::Payments.take_below(&mut query)?;
        let limit = query.limit()?;
        let read = Read::begin(&api.node, &parts.headers, query).await?;
        let below = below.unwrap_or_else(|| read.applied_index().next()).min(read.applied_index().next());
        let page = read.fetch(api.node.list_payments(&filter, below, limit)).await?;
        let payments = page.entries.iter().filter_map(|entry| Some((entry, render::payment_of(entry)?)));
        Ok(read.answer(|object| {
            object.array("payments", payments, |out, (entry, payment)| render::payment(out, entry, payment));
            object.field("next_cursor", &page.next_below.map(|below| List::Payments.cursor(&below.to_string())));
        }))
    })
    .await
}

fn take_filter(query: &mut Query<'_>) -> Result<PaymentFilter, Problem> {
    let moment = "a moment in RFC 3339, such as 2026-01-31T12:00:00Z";
    Ok(PaymentFilter {
        account: query.parse("account", "invalid_account_id", "an account id", |text| AccountId::parse(text).ok())?,
        status: query.parse("status", "invalid_status", "\"succeeded\" or \"rejected\"", |text| match text {
            "succeeded" => Some(PaymentStatus::Succeeded),
            "rejected" => Some(PaymentStatus::Rejected),
            _ => None,
        })?,
        currency: query.parse("currency", "invalid_currency", "an ISO 4217 code", |text| Currency::parse(text).ok())?,
        from_time: query.parse("from_time", "invalid_time", moment, parse_moment)?,
        to_time: query.parse("to_time", "invalid_time", moment, parse_moment)?,
    })
}

/// Reads a moment; what is finer than a millisecond is rounded up, so that `[from_time, to_time)` keeps its meaning.
fn parse_moment(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    let milliseconds = moment.as_nanosecond().max(0).div_euclid(1_000_000);
    let finer = i128::from(moment.as_nanosecond() > milliseconds * 1_000_000);
    u64::try_from(milliseconds + finer).ok().map(Timestamp)
}

async fn by_key(State(api): State<Api>, key: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::PaymentByKey, async {
        let (parts, _) = request.into_parts();
        let key = IdempotencyKey::parse(&path_text(key)?)
            .map_err(|error| Problem::bad_request("invalid_idempotency_key", error.to_string()).field("key"))?;
        let read = Read::begin(&api.node, &parts.headers, Query::new(parts.uri.query())).await?;
        let index = read.fetch(api.node.find_key(key.digest())).await?;
        let applied = read.applied_index();
        let entry = match index {
            Some(index) if index <= applied => read.fetch(api.node.entry(index)).await?,
            _ => None,
        };
        let state = key_state(index, applied);
        Ok(read.answer(|object| {
            object.field("state", state);
            if let Some(payment) = entry.as_deref().and_then(payment_json) {
                object.raw("payment", &payment);
            }
            object.field("as_of_index", &applied);
        }))
    })
    .await
}

fn key_state(index: Option<LogIndex>, applied: LogIndex) -> &'static str {
    match index {
        Some(index) if index <= applied => "committed",
        Some(_) => "in_flight",
        None => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_filtered_by_any_of_its_conditions() {
        let query = "account=shop:1&status=rejected&currency=JPY&from_time=1970-01-01T00:00:01Z&to_time=2026-01-31T12:00:00.5%2B02:00";
        let filter = take_filter(&mut Query::new(Some(query))).expect("valid");
        assert_eq!(filter.account.expect("given").as_str(), "shop:1");
        assert_eq!(filter.status, Some(PaymentStatus::Rejected));
        assert_eq!(filter.currency.expect("given").code(), "JPY");
        assert_eq!(filter.from_time, Some(Timestamp(1_000)));
        assert_eq!(filter.to_time, Some(Timestamp(1_769_853_600_500)));
        assert_eq!(take_filter(&mut Query::new(None)).expect("empty"), PaymentFilter::default());
    }

    #[test]
    fn a_bad_condition_is_named() {
        let cases = [
            ("account=a/b", "invalid_account_id", "account"),
            ("status=paid", "invalid_status", "status"),
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

    #[test]
    fn a_key_is_committed_in_flight_or_unknown() {
        assert_eq!(key_state(Some(LogIndex(5)), LogIndex(5)), "committed");
        assert_eq!(key_state(Some(LogIndex(6)), LogIndex(5)), "in_flight");
        assert_eq!(key_state(None, LogIndex(5)), "unknown");
    }
}
