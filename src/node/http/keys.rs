//! `/v1/payments/by-key`: what became of an idempotency key, and seeing to it that nothing ever applies under it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{Batch, IdempotencyKey, Operation, OperationRequest};
use quorapay_core::replication::Entry;

use super::answer::{Answer, Mark};
use super::json::{ObjectWriter, write_object};
use super::metrics::Route;
use super::problem::Problem;
use super::read::Read;
use super::render::ShownPayment;
use super::request::Query;
use super::{Api, batches, openapi, path_text, render, request, writes};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(by_key)).routes(routes!(fence))
}

/// What became of a key
///
/// Settles an unknown outcome: shows what was decided under the key, with what its call was answered.
#[utoipa::path(
    get, path = "/v1/payments/by-key/{key}", tag = "Keys", operation_id = "getKey",
    params(("key" = inline(openapi::Key), Path), openapi::Freshness, openapi::Deadline),
    responses(
        (status = 200, description = "What the key stands for.", body = openapi::KeyState,
         example = json!(openapi::example("key"))),
        openapi::KeyProblems,
    ),
)]
async fn by_key(State(api): State<Api>, key: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::PaymentByKey, async {
        let (parts, _) = request.into_parts();
        let key = path_key(key)?;
        let read = Read::begin(&api.node, &parts.headers, Query::new(parts.uri.query())).await?;
        state_of(&api, &read, &key).await
    })
    .await
}

/// Fence a key
///
/// Commits that nothing can ever apply under the key from now on, or answers what already has.
#[utoipa::path(
    post, path = "/v1/payments/by-key/{key}/fence", tag = "Keys", operation_id = "fenceKey",
    params(("key" = inline(openapi::Key), Path), openapi::Deadline),
    responses(
        (status = 200, description = "Fenced, or what had applied before.", body = openapi::KeyState,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was fenced earlier.")),
         example = json!(openapi::example("fence"))),
        openapi::FenceProblems,
    ),
)]
async fn fence(State(api): State<Api>, key: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::KeyFence, async {
        let (parts, _) = request.into_parts();
        let key = path_key(key)?;
        Query::new(parts.uri.query()).finish()?;
        let deadline = request::deadline(&parts.headers)?;
        let write = writes::Write { deadline, key: key.clone() };
        let committed = write.submit(&api, OperationRequest::KeyFence).await?;
        // If something has applied under the key already, that is its entry.
        let mut body = Vec::with_capacity(512);
        write_object(&mut body, |object| held_by(object, &committed.entry, &key));
        Ok(Answer::json(StatusCode::OK, body, Mark::of_write(&committed)))
    })
    .await
}

fn path_key(path: Result<Path<String>, PathRejection>) -> Result<IdempotencyKey, Problem> {
    let text = path_text(path)?;
    IdempotencyKey::parse(&text)
        .map_err(|error| Problem::bad_request("invalid_idempotency_key", error.to_string()).field("key"))
}

async fn state_of(api: &Api, read: &Read<'_>, key: &IdempotencyKey) -> Result<Answer, Problem> {
    let index = read.fetch(api.node.queries().find_key(key.digest())).await?;
    let applied = read.applied_index();
    let entry = match index {
        Some(index) if index <= applied => read.fetch(api.node.queries().entry(index)).await?,
        _ => None,
    };
    Ok(read.answer(|object| {
        match entry.as_deref() {
            Some(entry) => held_by(object, entry, key),
            None => {
                object.field("state", if index.is_some() { "in_flight" } else { "unknown" });
            }
        }
        object.field("as_of_index", &applied);
    }))
}

/// Writes what holds a key: as its call was answered, so that nothing has to be guessed from where things stand now.
fn held_by(object: &mut ObjectWriter<'_>, entry: &Entry, key: &IdempotencyKey) {
    let state = if matches!(entry.operation(), Some(Operation::KeyFence(_))) { "fenced" } else { "committed" };
    object.field("state", state);
    match entry.operation() {
        Some(Operation::Batch(batch)) if batch.key == *key => {
            object.object("batch", |object| batch_fields(object, entry.index, batch));
        }
        Some(Operation::Payment(_) | Operation::Batch(_)) => {
            if let Some(shown) = ShownPayment::decided_under(entry, key) {
                object.object("payment", |object| render::payment_fields(object, &shown));
            }
        }
        Some(Operation::PaymentChange(change)) => {
            let mut json = Vec::with_capacity(512);
            render::change(&mut json, entry, change);
            object.raw("change", &json);
        }
        Some(Operation::Account(change)) => {
            let mut json = Vec::with_capacity(128);
            render::account_change(&mut json, entry, change);
            object.raw("account", &json);
        }
        Some(Operation::KeyFence(_)) => {
            object.field("index", &entry.index);
        }
        Some(Operation::Expiry(_)) | None => {}
    }
}

fn batch_fields(object: &mut ObjectWriter<'_>, index: LogIndex, batch: &Batch) {
    batches::summary_fields(object, batch);
    object.field("index", &index);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::samples;
    use quorapay_core::domain::{
        AccountChangeKind, MinorUnits, Overdraft, PaymentChangeKind, PaymentChangeOutcome, PaymentOutcome, Rejection,
    };

    fn held(entry: &Entry, key: &str) -> Value {
        samples::rendered(|out| write_object(out, |object| held_by(object, entry, &samples::key(key))))
    }

    #[test]
    fn a_key_shows_whatever_was_decided_under_it() {
        let payment = held(&samples::payment_entry(samples::request(), samples::succeeded()), "order \"42\"");
        assert_eq!((&payment["state"], &payment["payment"]["status"]), (&json!("committed"), &json!("succeeded")));
        let (entry, id) = samples::change_entry(PaymentChangeKind::Capture(None), samples::applied(1_250));
        let change = held(&entry, "change");
        assert_eq!(
            (&change["change"]["id"], &change["change"]["status"]),
            (&json!(id.to_string()), &json!("captured"))
        );
        let opened = held(&samples::account_entry("shop", AccountChangeKind::Open(Overdraft::None)), "account");
        assert_eq!((&opened["state"], &opened["account"]["id"]), (&json!("committed"), &json!("shop")));
        let fenced = held(&samples::fence_entry("k"), "k");
        assert_eq!(fenced, json!({"state": "fenced", "index": 7}));
    }

    #[test]
    fn a_refused_change_is_shown_with_its_reason() {
        let refused = PaymentChangeOutcome::Rejected(Rejection::AmountExceedsHeld);
        let amount = MinorUnits::new(9_000);
        let change = held(&samples::change_entry(PaymentChangeKind::Capture(Some(amount)), refused).0, "change");
        assert_eq!(change["change"]["rejection"], "amount_exceeds_held");
        assert_eq!(change["change"].get("change"), None);
    }

    #[test]
    fn a_batch_is_shown_under_its_own_key_and_each_payment_under_that_payments() {
        let refused = PaymentOutcome::Rejected(Rejection::AccountFrozen);
        let entry = samples::batch_entry(false, &[samples::succeeded(), refused]);
        let batch = held(&entry, "batch");
        assert_eq!(
            batch["batch"],
            json!({"status": "decided", "succeeded": 1, "rejected": 1, "replayed": 0, "index": 7})
        );
        let item = held(&entry, "item 1");
        assert_eq!((&item["payment"]["rejection"], item.get("batch")), (&json!("account_frozen"), None));
        assert!(item["payment"]["id"].as_str().expect("an id").contains("-8001-"));
    }
}
