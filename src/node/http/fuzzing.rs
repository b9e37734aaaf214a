//! Fuzzes the readers of requests, for [`crate::fuzzing`].

use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::batch_body::{BatchForm, BatchReader};
use super::change_body::{self, ChangeName};
use super::problem::Problem;
use super::read::{Freshness, List};
use super::read_json::read_object;
use super::request::Query;
use super::write_json::append_json;
use super::{access, accounts, api_keys, compat, export, ledger, payment_body, payments, render, statements};
use quorapay_api::limits::MAX_JSON_DEPTH;
use quorapay_api::{ApiKeyRotation, NewApiKey};
use quorapay_core::domain::{AccountId, BatchRequest, Capture, IdempotencyKey, OperationRequest, PaymentRequest};
use quorapay_core::replication::Entry;

/// The body of `POST /v1/payments`: the request equals the JSON, and a request that is written again is read as the
/// same request.
pub(crate) fn payment_body(bytes: &[u8]) {
    let request = match payment_body::parse(bytes) {
        Ok(request) => request,
        Err(problem) => return refused(problem),
    };
    let given: Value = serde_json::from_slice(bytes).expect("what is read as a payment is JSON");
    assert!(depth(&given) <= MAX_JSON_DEPTH);
    let written = written(&request);
    for (name, value) in written.as_object().expect("an object") {
        let left_out = given.get(name).is_none_or(Value::is_null);
        assert!(left_out || given[name] == *value, "{name} was read as {value}");
    }
    let again = payment_body::parse(written.to_string().as_bytes()).expect("it is read again");
    assert_eq!(again, request);
    let fingerprint = |request| OperationRequest::Payment(request).fingerprint();
    assert_eq!(fingerprint(again), fingerprint(request));
}

/// The header with an API key, and the bodies of calls about keys: a key that was read has one spelling, and a body that was
/// read is read again as the same request.
pub(crate) fn api_key(bytes: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        if let Ok(key) = access::key_in(&headers) {
            assert!(bytes.ends_with(key.expose().as_bytes()));
        }
    }
    match read_object::<NewApiKey>(bytes) {
        Err(problem) => refused(problem),
        Ok(body) => {
            let written = serde_json::to_vec(&body).expect("JSON");
            let again = read_object::<NewApiKey>(&written).expect("it is read again");
            let fingerprint = |body| api_keys::creation(body).map(|(id, change)| change.fingerprint(id)).ok();
            assert_eq!(fingerprint(body), fingerprint(again));
        }
    }
    if let Err(problem) = read_object::<ApiKeyRotation>(bytes) {
        refused(problem);
    }
}

/// A payment as a caller writes it.
fn written(request: &PaymentRequest) -> Value {
    let mut body = json!({
        "from": request.from, "to": request.to, "amount": request.amount, "currency": request.currency.code(),
    });
    match request.capture {
        Capture::Automatic => body["capture"] = json!("automatic"),
        Capture::Manual { expires_in_s } => {
            (body["capture"], body["expires_in"]) = (json!("manual"), json!(expires_in_s));
        }
    }
    if let Some(order) = &request.order {
        body["order"] = json!({ "id": order.id, "total": order.total });
    }
    if let Some(description) = &request.description {
        body["description"] = json!(description);
    }
    if let Some(metadata) = &request.metadata {
        body["metadata"] = serde_json::from_str(metadata).expect("metadata are JSON");
    }
    body
}

fn depth(value: &Value) -> usize {
    let inner = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        _ => return 0,
    };
    1 + inner.unwrap_or_default()
}

/// The body of `POST /v1/payments/batch`. The first byte is the size of the pieces in which it arrives, the second its
/// form: the pieces make no difference, and lines are read as the same batch as an array.
pub(crate) fn batch_body(bytes: &[u8]) {
    let [piece, form, body @ ..] = bytes else { return };
    let form = if form % 2 == 0 { BatchForm::Json } else { BatchForm::Lines };
    let whole = read_batch(form, body.len(), body);
    let in_pieces = read_batch(form, usize::from(*piece), body);
    assert_eq!(visible(&in_pieces), visible(&whole), "in pieces of {piece} bytes it is another batch");
    let Ok(batch) = whole else { return };
    let items: Vec<String> = batch
        .items
        .iter()
        .map(|item| {
            let mut body = written(&item.request);
            if let Some(key) = &item.key {
                body["idempotency_key"] = json!(key.as_str());
            }
            body.to_string()
        })
        .collect();
    let array = read_batch(BatchForm::Json, usize::MAX, format!("[{}]", items.join(",")).as_bytes()).expect("an array");
    let lines = read_batch(BatchForm::Lines, usize::MAX, items.join("\n").as_bytes()).expect("lines");
    assert_eq!((&array.items, &lines.items), (&batch.items, &batch.items));
}

fn read_batch(form: BatchForm, piece: usize, body: &[u8]) -> Result<BatchRequest, Problem> {
    let mut reader = BatchReader::new(form, None);
    body.chunks(piece.max(1)).try_for_each(|piece| reader.feed(piece))?;
    reader.finish(&IdempotencyKey::parse("batch").expect("valid"))
}

/// What a caller sees of it.
fn visible(result: &Result<BatchRequest, Problem>) -> Result<&BatchRequest, (&'static str, Option<&str>)> {
    result.as_ref().map_err(|problem| (problem.code(), problem.field_name()))
}

/// The bodies of a capture, a refund and a void: an empty one is an empty object.
pub(crate) fn change_body(bytes: &[u8]) {
    for name in [ChangeName::Capture, ChangeName::Refund, ChangeName::Void] {
        match change_body::parse(name, bytes) {
            Err(problem) => refused(problem),
            Ok(change) => {
                let amount = change.named_amount().map(|amount| json!({ "amount": amount }).to_string());
                let again = change_body::parse(name, amount.unwrap_or_default().as_bytes()).expect("read again");
                assert_eq!(again, change);
            }
        }
    }
}

/// The bodies of `POST` and `PATCH` of accounts.
pub(crate) fn account_body(bytes: &[u8]) {
    let account = AccountId::parse("shop").expect("valid");
    let opened = read_object(bytes).and_then(accounts::opening);
    let changed = read_object(bytes).and_then(|body| accounts::changing(&account, body));
    for problem in [opened.err(), changed.err()].into_iter().flatten() {
        refused(problem);
    }
}

/// The bodies of the earlier systems' payments.
pub(crate) fn compatible_body(bytes: &[u8]) {
    compat::fuzzing::bodies(bytes);
}

/// A query: every reader accepts it or names the wrong parameter.
pub(crate) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let query = || Query::new(Some(text));
    let readers: [&dyn Fn() -> Result<(), Problem>; 8] = [
        &|| payments::take_filter(&mut query()).map(drop),
        &|| statements::take_filter(&mut query()).map(drop),
        &|| ledger::take_from(&mut query()).map(drop),
        &|| export::take_format(&mut query()).map(drop),
        &|| Freshness::take(&mut query()).map(drop),
        &|| query().limit().map(drop),
        &|| cursor(List::Payments, &mut query()),
        &|| query().finish(),
    ];
    for read in readers {
        if let Err(problem) = read() {
            assert!(problem.field_name().is_some(), "{} names nothing", problem.code());
            refused(problem);
        }
    }
}

/// A cursor that is accepted is one that a node could have issued.
fn cursor(list: List, query: &mut Query<'_>) -> Result<(), Problem> {
    let Some(place) = list.take_before(query)? else { return Ok(()) };
    let text = format!("cursor={}", list.cursor_before(place));
    let again = list.take_before(&mut Query::new(Some(&text))).expect("one that was given");
    assert_eq!(again, Some(place));
    Ok(())
}

/// An entry is shown as JSON and as CSV, whatever is in it.
pub(crate) fn entry(entry: &Arc<Entry>) {
    let mut out = Vec::new();
    append_json(&mut out, &render::ledger_entry(entry));
    let shown: Value = serde_json::from_slice(&out).expect("an entry is shown as JSON");
    assert_eq!(shown["hash"], entry.hash.to_string());
    out.clear();
    let rows = render::ledger_rows(&mut out, entry);
    assert!(rows > 0 && out.ends_with(b"\n"));
}

/// A refusal is a 4xx with a code and a JSON body.
fn refused(problem: Problem) {
    let (code, status) = (problem.code(), problem.status());
    assert!(status.is_client_error(), "{code}");
    let answer = problem.into_answer();
    let body: Value = serde_json::from_slice(answer.body()).expect("a problem is JSON");
    assert_eq!((&body["code"], &body["outcome"]), (&json!(code), &json!("not_applied")));
}
