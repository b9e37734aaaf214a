//! SyncPay's payments and its list of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::runtime::{CommittedWrite, Consistency, Page, PaymentFilter, PaymentRecord};
use quorapay_api::compatible::{
    DecimalNumber, SyncPayPayment, SyncPayReceipt, SyncPayTransaction, SyncPayTransactions,
};
use quorapay_api::limits::MAX_PAGE_ITEMS;
use quorapay_api::{Code, headers, query};
use quorapay_core::domain::{Currency, Epoch, IdempotencyKey, MinorUnits, PaymentRequest, PaymentStatus};
use quorapay_core::replication::NodeId;

use super::super::answer::{AsOf, HttpAnswer};
use super::super::call::Call;
use super::super::metrics::Route;
use super::super::problem::Problem;
use super::super::read::{List, Read};
use super::super::read_json::{RequestBody, read_object};
use super::super::request::{self, Query};
use super::super::write_json::to_json;
use super::super::{openapi, render};
use super::shared::{Compatible, amount, body, payment_of, refuse_same};

const RECEIPT_BYTES: usize = 256;

impl RequestBody for SyncPayPayment {
    fn code_of(_: &str) -> Code {
        Code::InvalidField
    }
}

pub(super) fn router() -> OpenApiRouter<Compatible> {
    OpenApiRouter::new()
        .routes(routes!(payment))
        .routes(routes!(pay))
        .routes(routes!(transactions))
        .routes(routes!(get_ledger))
}

/// Pay
///
/// A payment from `sender` to `receiver`. Its key is `transaction_id` or the `Idempotency-Key`; given both, they must
/// be the same. Accounts are opened with unlimited overdraft when they are first used.
#[utoipa::path(
    post, path = "/payment", tag = "SyncPay", operation_id = "syncPayPayment",
    security(("api_key" = ["payments:write"])), params(query::OptionalKeyHeader, query::Deadline),
    request_body(content = SyncPayPayment, example = json!(openapi::example("syncpay_payment"))),
    responses(
        (status = 200, description = "Made, now or earlier.", body = SyncPayReceipt,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("syncpay_receipt"))),
        openapi::SyncPayPaymentErrors,
    ),
)]
async fn payment(compatible: Call<Compatible>, request: Request) -> Response {
    compatible.answer(Route::CompatiblePayment, make_payment(&compatible, request)).await
}

/// Pay, by another name
///
/// The same as `/payment`.
#[utoipa::path(
    post, path = "/pay", tag = "SyncPay", operation_id = "syncPayPay",
    security(("api_key" = ["payments:write"])), params(query::OptionalKeyHeader, query::Deadline),
    request_body(content = SyncPayPayment, example = json!(openapi::example("syncpay_payment"))),
    responses(
        (status = 200, description = "Made, now or earlier.", body = SyncPayReceipt,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("syncpay_receipt"))),
        openapi::SyncPayPaymentErrors,
    ),
)]
async fn pay(compatible: Call<Compatible>, request: Request) -> Response {
    payment(compatible, request).await
}

async fn make_payment(compatible: &Call<Compatible>, request: Request) -> Result<HttpAnswer, Problem> {
    let (parts, request_body) = request.into_parts();
    let deadline = request::deadline(&parts.headers)?;
    let body = body(&parts, request_body, deadline).await?;
    let (transaction_id, request) = parse(&body)?;
    let key = key(&parts.headers, transaction_id)?;
    let committed = compatible.pay(key.clone(), request, deadline).await?;
    let processed_by = processed_by(compatible, &committed, deadline).await;
    let body = to_json(&receipt(&committed, &key, &processed_by), RECEIPT_BYTES);
    Ok(HttpAnswer::json(StatusCode::OK, body, AsOf::of_write(&committed)))
}

pub(super) fn parse(body: &[u8]) -> Result<(Option<IdempotencyKey>, PaymentRequest), Problem> {
    let SyncPayPayment { amount: number, sender, receiver, transaction_id, currency } = read_object(body)?;
    refuse_same(&sender, &receiver, "sender", "receiver")?;
    let (amount, currency) = amount(&number, currency)?;
    let request = PaymentRequest { opens_accounts: true, ..PaymentRequest::plain(sender, receiver, amount, currency) };
    Ok((transaction_id, request))
}

/// The payment's key: its `transaction_id`, or the header, or a new one. If both are given they must be equal, because
/// a repeat with only one of them must find the payment.
fn key(given: &HeaderMap, transaction_id: Option<IdempotencyKey>) -> Result<IdempotencyKey, Problem> {
    let is_given = given.contains_key(headers::IDEMPOTENCY_KEY.lower);
    let header = is_given.then(|| request::idempotency_key(given)).transpose()?;
    match (transaction_id, header) {
        (Some(id), Some(header)) if id != header => {
            let detail = "transaction_id and Idempotency-Key name the same thing here: give one, or both alike";
            Err(Problem::bad_request(Code::InvalidIdempotencyKey, detail))
        }
        (Some(key), _) | (None, Some(key)) => Ok(key),
        (None, None) => {
            Ok(IdempotencyKey::parse(&Uuid::new_v4().to_string()).expect("a UUID is printable ASCII and short"))
        }
    }
}

/// The node that led when the payment was decided: the same on every node at any later time.
async fn processed_by(compatible: &Compatible, committed: &CommittedWrite, deadline: Instant) -> NodeId {
    let epoch = committed.entry.epoch;
    if committed.epoch == epoch {
        return committed.leader.clone();
    }
    let node = &compatible.api.node;
    let read = async {
        node.read_point(Consistency::Local, Some(committed.entry.index), deadline).await?;
        node.queries().leaders(epoch, epoch).await
    };
    // The money has moved, so a failure to read the history here must not fail the request.
    let leader = read.await.ok().and_then(|mut leaders| leaders.remove(&epoch));
    leader.unwrap_or_else(|| committed.leader.clone())
}

pub(super) fn receipt<'a>(
    committed: &'a CommittedWrite,
    key: &'a IdempotencyKey,
    processed_by: &'a NodeId,
) -> SyncPayReceipt<'a> {
    let request = payment_of(committed, key).request;
    SyncPayReceipt {
        status: "success",
        transaction_id: Cow::Borrowed(key),
        timestamp: committed.entry.timestamp.into(),
        amount: decimal(request.amount, request.currency),
        sender: Cow::Borrowed(&request.from),
        receiver: Cow::Borrowed(&request.to),
        processed_by: Cow::Borrowed(processed_by),
    }
}

fn decimal(amount: MinorUnits, currency: Currency) -> DecimalNumber {
    DecimalNumber::of(currency.format(amount))
}

/// List payments
///
/// All payments, newest first: the newest 1,000 unless `limit` says otherwise. Where there are more, `next_cursor` is
/// given.
#[utoipa::path(
    get, path = "/transactions", tag = "SyncPay", operation_id = "syncPayTransactions",
    security(("api_key" = ["payments:read"])),
    params(query::LongPage, query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "Payments.", body = SyncPayTransactions,
         example = json!(openapi::example("syncpay_transactions"))),
        openapi::SyncPayListErrors,
    ),
)]
async fn transactions(compatible: Call<Compatible>, request: Request) -> Response {
    compatible.answer(Route::CompatibleTransactions, list(&compatible, request)).await
}

/// List payments, by another name
///
/// The same as `/transactions`.
#[utoipa::path(
    get, path = "/get_ledger", tag = "SyncPay", operation_id = "syncPayGetLedger",
    security(("api_key" = ["payments:read"])),
    params(query::LongPage, query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "Payments.", body = SyncPayTransactions,
         example = json!(openapi::example("syncpay_transactions"))),
        openapi::SyncPayListErrors,
    ),
)]
async fn get_ledger(compatible: Call<Compatible>, request: Request) -> Response {
    transactions(compatible, request).await
}

async fn list(compatible: &Call<Compatible>, request: Request) -> Result<HttpAnswer, Problem> {
    let node = &compatible.api.node;
    let (parts, _) = request.into_parts();
    compatible.check_readable([])?;
    let mut query = Query::new(parts.uri.query());
    let before = List::Payments.take_before(&mut query)?;
    // Clients of the earlier system expect the whole list.
    let limit = query.limit_or(MAX_PAGE_ITEMS)?;
    let read = Read::begin(compatible, &parts.headers, query).await?;
    let at = read.applied_index();
    // Before the page: memory knows the count of a moment ago, not of long ago.
    let total = read.fetch(node.queries().payment_count(at)).await?;
    let page = read.fetch(node.queries().list_payments(&PaymentFilter::default(), at, before, limit)).await?;
    let epochs = || page.found.iter().map(|record| record.entry.epoch);
    let (first, last) = (epochs().min().unwrap_or(Epoch(0)), epochs().max().unwrap_or(Epoch(0)));
    let leaders = read.fetch(node.queries().leaders(first, last)).await?;
    Ok(read.answer(&transaction_page(&page, &leaders, total, node.node_id())))
}

pub(super) fn transaction_page<'a>(
    page: &'a Page<PaymentRecord>,
    leaders: &'a BTreeMap<Epoch, NodeId>,
    total_count: u64,
    node: &'a NodeId,
) -> SyncPayTransactions<'a> {
    let shown = page.found.iter().filter_map(|record| transaction(record, leaders.get(&record.entry.epoch)));
    SyncPayTransactions {
        transactions: shown.collect(),
        total_count,
        node_id: Cow::Borrowed(node),
        next_cursor: page.next_before.map(|cursor| List::Payments.cursor_before(cursor)),
    }
}

pub(super) fn transaction<'a>(record: &'a PaymentRecord, leader: Option<&'a NodeId>) -> Option<SyncPayTransaction<'a>> {
    let (decided, payment) = render::payment_now(record)?;
    Some(SyncPayTransaction {
        id: match decided.key {
            Some(key) => Cow::Borrowed(key.as_str()),
            // A payment of a batch may have no key of its own.
            None => Cow::Owned(payment.id.to_string()),
        },
        amount: decimal(payment.amount, payment.currency),
        sender: payment.from,
        receiver: payment.to,
        timestamp: record.entry.timestamp.into(),
        status: syncpay_status(record.state.status()),
        processed_by: leader.map(Cow::Borrowed),
    })
}

/// The earlier system has only `success`. Any other status is that of version 1.
const fn syncpay_status(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::Succeeded => "success",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::{PaymentOutcome, PaymentState, Rejection};

    fn refusal(body: &str) -> String {
        let problem = parse(body.as_bytes()).expect_err(body);
        String::from_utf8(problem.into_plain_answer().body().to_vec()).expect("text")
    }

    #[test]
    fn a_payment_is_read_with_what_it_names_and_opens_its_accounts() {
        let body = br#"{"amount": 150.75, "sender": "ann", "receiver": "bob", "transaction_id": "t 1", "memo": 1}"#;
        let (id, request) = parse(body).expect("valid");
        assert_eq!(id.expect("given").as_str(), "t 1");
        assert_eq!((request.from.as_str(), request.to.as_str(), request.opens_accounts), ("ann", "bob", true));
        assert_eq!((request.amount.get(), request.currency.code()), (15_075, "USD"));
        let body = br#"{"amount": 150, "sender": "ann", "receiver": "bob", "currency": "JPY", "transaction_id": null}"#;
        let (id, request) = parse(body).expect("valid");
        assert_eq!((id, request.amount.get(), request.currency.code()), (None, 150, "JPY"));
    }

    #[test]
    fn a_missing_or_wrong_field_is_named_in_the_error() {
        for (body, names) in [
            (r#"{"sender":"a","receiver":"b"}"#, "amount"),
            (r#"{"amount":1,"receiver":"b"}"#, "sender"),
            (r#"{"amount":1,"sender":"a"}"#, "receiver"),
            (r#"{"amount":1,"sender":"a","receiver":"a"}"#, "receiver"),
            (r#"{"amount":1,"sender":"a","receiver":"b c"}"#, "receiver"),
            (r#"{"amount":1,"sender":5,"receiver":"b"}"#, "sender"),
            (r#"{"amount":"1","sender":"a","receiver":"b"}"#, "amount"),
            (r#"{"amount":null,"sender":"a","receiver":"b"}"#, "amount"),
            (r#"{"amount":1.005,"sender":"a","receiver":"b"}"#, "amount"),
            (r#"{"amount":1,"amount":1,"sender":"a","receiver":"b"}"#, "amount"),
            (r#"{"amount":1,"sender":"a","receiver":"b","currency":"GOLD"}"#, "currency"),
            (r#"{"amount":1,"sender":"a","receiver":"b","transaction_id":""}"#, "transaction_id"),
            (r#"{"amount":1,"sender":"a","receiver":"b","transaction_id":7}"#, "transaction_id"),
            (r#"{"amount":NaN,"sender":"a","receiver":"b"}"#, "JSON"),
            ("", "JSON"),
        ] {
            let error = refusal(body);
            assert!(error.starts_with(r#"{"error":""#) && error.contains(names), "{body}: {error}");
        }
    }

    #[test]
    fn a_payments_key_is_its_id_or_the_header_or_fresh() {
        let headers = |key: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("idempotency-key", axum::http::HeaderValue::from_static(key));
            headers
        };
        let id = || Some(samples::key("t"));
        assert_eq!(key(&HeaderMap::new(), id()).expect("valid").as_str(), "t");
        assert_eq!(key(&headers("h"), None).expect("valid").as_str(), "h");
        assert_eq!(key(&headers("t"), id()).expect("valid").as_str(), "t");
        assert_eq!(key(&headers("h"), id()).expect_err("two names").code(), "invalid_idempotency_key");
        assert_eq!(key(&headers(""), id()).expect_err("empty").code(), "invalid_idempotency_key");
        let fresh = || key(&HeaderMap::new(), None).expect("fresh");
        assert_ne!(fresh(), fresh());
    }

    fn listed(outcome: PaymentOutcome) -> Value {
        let entry = Arc::new(samples::payment_entry(samples::request(), outcome));
        let state = PaymentState::decided(&samples::request(), outcome).expect("no repeat");
        let record = PaymentRecord { entry, item: 0, state, history: Vec::new() };
        samples::shown(&transaction(&record, Some(&samples::node("node1"))))
    }

    #[test]
    fn a_transaction_is_listed_with_its_amount_as_a_decimal_number() {
        let expected = json!({
            "id": "order \"42\"", "amount": 12.5, "sender": "external:card", "receiver": "shop",
            "timestamp": 1_700_000_000.005, "status": "success", "processed_by": "node1",
        });
        assert_eq!(listed(samples::succeeded()), expected);
        assert_eq!(listed(PaymentOutcome::Rejected(Rejection::AccountFrozen))["status"], "rejected");
    }

    #[test]
    fn a_payment_of_a_batch_without_a_key_is_listed_by_its_payment_id() {
        let mut entry = samples::batch_entry(false, &[samples::succeeded()]);
        if let quorapay_core::replication::EntryBody::Operation(quorapay_core::domain::Operation::Batch(batch)) =
            &mut entry.body
        {
            batch.items[0].key = None;
        }
        let state = PaymentState::decided(&samples::request(), samples::succeeded()).expect("no repeat");
        let record = PaymentRecord { entry: Arc::new(entry), item: 0, state, history: Vec::new() };
        let (_, payment) = render::payment_now(&record).expect("a payment");
        let listed = samples::shown(&transaction(&record, None));
        assert_eq!((&listed["id"], &listed["processed_by"]), (&json!(payment.id.to_string()), &Value::Null));
    }
}
