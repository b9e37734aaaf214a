//! SyncPay's payments and its list of them, and what it says of its nodes (in `nodes`).

mod nodes;

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::runtime::{CommittedWrite, Consistency, PaymentFilter, PaymentRecord};
use quorapay_core::domain::Epoch;
use quorapay_core::domain::{AccountId, Currency, IdempotencyKey, PaymentRequest, PaymentStatus};
use quorapay_core::replication::NodeId;

use super::super::answer::{Answer, Mark};
use super::super::json::{ObjectWriter, RequestBody, read_object, write_object};
use super::super::metrics::Route;
use super::super::problem::Problem;
use super::super::read::{List, Read};
use super::super::render::ShownPayment;
use super::super::request::{self, MAX_LIMIT, Query};
use super::{Compatible, Seconds, amount, body, number, payment_of, refuse_same};

/// What else a caller sends is its own business, as it was.
#[derive(Deserialize)]
struct PaymentBody {
    amount: Box<RawValue>,
    sender: AccountId,
    receiver: AccountId,
    transaction_id: Option<IdempotencyKey>,
    currency: Option<Currency>,
}

impl RequestBody for PaymentBody {
    fn code_of(_: &str) -> &'static str {
        "invalid_field"
    }
}

pub(super) fn router() -> Router<Compatible> {
    Router::new()
        .route("/payment", post(pay))
        .route("/pay", post(pay))
        .route("/transactions", get(list))
        .route("/get_ledger", get(list))
        .merge(nodes::router())
}

async fn pay(State(compatible): State<Compatible>, request: Request) -> Response {
    compatible.answer(Route::CompatiblePayment, make_payment(&compatible, request)).await
}

async fn make_payment(compatible: &Compatible, request: Request) -> Result<Answer, Problem> {
    let (parts, request_body) = request.into_parts();
    let deadline = request::deadline(&parts.headers)?;
    let body = body(&parts, request_body, deadline).await?;
    let (transaction_id, request) = parse(&body)?;
    let key = key(&parts.headers, transaction_id)?;
    let committed = compatible.pay(key.clone(), request, deadline).await?;
    let processed_by = processed_by(compatible, &committed, deadline).await;
    let json = made(&committed, &key, &processed_by);
    Ok(Answer::json(StatusCode::OK, json, Mark::of_write(&committed)))
}

pub(super) fn parse(body: &[u8]) -> Result<(Option<IdempotencyKey>, PaymentRequest), Problem> {
    let PaymentBody { amount: raw, sender, receiver, transaction_id, currency } = read_object(body)?;
    refuse_same(&sender, &receiver, "sender", "receiver")?;
    let (amount, currency) = amount(&raw, currency)?;
    let request = PaymentRequest { opens_accounts: true, ..PaymentRequest::plain(sender, receiver, amount, currency) };
    Ok((transaction_id, request))
}

/// The payment's key: its `transaction_id`, or the header, or a fresh one. Given twice it must be the same both times,
/// because a repeat of either alone must find the payment.
fn key(headers: &HeaderMap, transaction_id: Option<IdempotencyKey>) -> Result<IdempotencyKey, Problem> {
    let header = headers.contains_key("idempotency-key").then(|| request::idempotency_key(headers)).transpose()?;
    match (transaction_id, header) {
        (Some(id), Some(header)) if id != header => {
            let detail = "transaction_id and Idempotency-Key name the same thing here: give one, or both alike";
            Err(Problem::bad_request("invalid_idempotency_key", detail))
        }
        (Some(key), _) | (None, Some(key)) => Ok(key),
        (None, None) => {
            Ok(IdempotencyKey::parse(&Uuid::new_v4().to_string()).expect("a UUID is printable ASCII and short"))
        }
    }
}

/// Who led when the payment was decided: the same answer from any node at any later time.
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
    // The money has moved: a node that cannot read its own history just now must not call that a failure.
    let leader = read.await.ok().and_then(|mut leaders| leaders.remove(&epoch));
    leader.unwrap_or_else(|| committed.leader.clone())
}

fn made(committed: &CommittedWrite, key: &IdempotencyKey, processed_by: &NodeId) -> Vec<u8> {
    let request = payment_of(committed, key).request;
    let mut body = Vec::with_capacity(256);
    write_object(&mut body, |object| {
        object.field("status", "success").field("transaction_id", key);
        number(object, "timestamp", Seconds::of(committed.entry.timestamp));
        movement(object, request);
        object.text("processed_by", processed_by);
    });
    body
}

fn movement(object: &mut ObjectWriter<'_>, request: &PaymentRequest) {
    number(object, "amount", request.currency.format(request.amount));
    object.text("sender", &request.from).text("receiver", &request.to);
}

async fn list(State(compatible): State<Compatible>, request: Request) -> Response {
    compatible
        .answer(Route::CompatibleTransactions, async {
            let node = &compatible.api.node;
            let (parts, _) = request.into_parts();
            let mut query = Query::new(parts.uri.query());
            let before = List::Payments.take_before(&mut query)?;
            let limit = take_limit(&mut query)?;
            let read = Read::begin(node, &parts.headers, query).await?;
            let at = read.applied_index();
            let page = read.fetch(node.queries().list_payments(&PaymentFilter::default(), at, before, limit)).await?;
            let total = read.fetch(node.queries().payment_count(at)).await?;
            let epochs = || page.found.iter().map(|view| view.entry.epoch);
            let (first, last) = (epochs().min().unwrap_or(Epoch(0)), epochs().max().unwrap_or(Epoch(0)));
            let leaders = read.fetch(node.queries().leaders(first, last)).await?;
            let shown = page.found.iter().filter_map(|view| Some((view, ShownPayment::now(view)?)));
            Ok(read.answer(|object| {
                object.array("transactions", shown, |out, (view, shown)| {
                    transaction(out, view, &shown, leaders.get(&view.entry.epoch));
                });
                object.field("total_count", &total).text("node_id", node.node_id());
                object.optional("next_cursor", page.next_before.map(|place| List::Payments.cursor_before(place)));
            }))
        })
        .await
}

/// As many as there may be, unless the caller says otherwise: clients of the earlier system expect the whole list.
fn take_limit(query: &mut Query<'_>) -> Result<usize, Problem> {
    let wanted = format!("a whole number from 1 to {MAX_LIMIT}");
    let parse = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    Ok(query.parse("limit", "invalid_limit", &wanted, parse)?.unwrap_or(MAX_LIMIT))
}

fn transaction(out: &mut Vec<u8>, view: &PaymentRecord, shown: &ShownPayment<'_>, leader: Option<&NodeId>) {
    write_object(out, |object| {
        match shown.payment().key {
            Some(key) => object.field("id", key),
            // A payment of a batch may have no key of its own.
            None => object.text("id", shown.id()),
        };
        movement(object, shown.payment().request);
        number(object, "timestamp", Seconds::of(view.entry.timestamp));
        object.field("status", status_word(view.state.status())).field("processed_by", &leader);
    });
}

/// The earlier system knew success alone. Whatever else became of a payment keeps its word of version 1.
const fn status_word(status: PaymentStatus) -> &'static str {
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
        let view = PaymentRecord { entry, item: 0, state, history: Vec::new() };
        let shown = ShownPayment::now(&view).expect("a payment");
        samples::rendered(|out| transaction(out, &view, &shown, Some(&samples::node("node1"))))
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
        let view = PaymentRecord { entry: Arc::new(entry), item: 0, state, history: Vec::new() };
        let shown = ShownPayment::now(&view).expect("a payment");
        let listed = samples::rendered(|out| transaction(out, &view, &shown, None));
        assert_eq!((&listed["id"], &listed["processed_by"]), (&json!(shown.id().to_string()), &Value::Null));
    }
}
