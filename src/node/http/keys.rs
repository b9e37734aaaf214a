//! `/v1/payments/by-key`: what an idempotency key was used for, and fences.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use quorapay_api::{Code, KeyLookup, KeyState, query, schema};
use quorapay_core::domain::{IdempotencyKey, Operation, OperationRequest};
use quorapay_core::replication::Entry;

use super::answer::{AsOf, HttpAnswer};
use super::call::Call;
use super::metrics::Route;
use super::problem::Problem;
use super::read::Read;
use super::request::Query;
use super::state::{Api, path_text};
use super::write_json::to_json;
use super::{openapi, render, request, writes};

/// Capacity for a look-up with a payment.
const TYPICAL_LOOKUP_BYTES: usize = 512;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(by_key)).routes(routes!(fence))
}

/// What became of a key
///
/// Settles an unknown outcome: shows what was decided under the key, with what its call was answered.
#[utoipa::path(
    get, path = "/v1/payments/by-key/{key}", tag = "Keys", operation_id = "getKey",
    security(("api_key" = ["payments:read"])),
    params(("key" = inline(schema::Key), Path), query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "What the key stands for.", body = KeyLookup,
         example = json!(openapi::example("key"))),
        openapi::KeyProblems,
    ),
)]
async fn by_key(api: Call, key: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::PaymentByKey, async {
        let (parts, _) = request.into_parts();
        let key = path_key(key)?;
        let read = Read::begin(&api, &parts.headers, Query::new(parts.uri.query())).await?;
        state_of(&api, &read, &key).await
    })
    .await
}

/// Fence a key
///
/// Commits that nothing can ever apply under the key from now on, or answers what already has.
#[utoipa::path(
    post, path = "/v1/payments/by-key/{key}/fence", tag = "Keys", operation_id = "fenceKey",
    security(("api_key" = ["payments:write"])),
    params(("key" = inline(schema::Key), Path), query::Deadline),
    responses(
        (status = 200, description = "Fenced, or what had applied before.", body = KeyLookup,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was fenced earlier.")),
         example = json!(openapi::example("fence"))),
        openapi::FenceProblems,
    ),
)]
async fn fence(api: Call, key: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::KeyFence, async {
        let (parts, _) = request.into_parts();
        request::refuse_foreign_page(&parts.headers)?;
        let key = path_key(key)?;
        Query::new(parts.uri.query()).finish()?;
        let deadline = request::deadline(&parts.headers)?;
        let write = writes::PendingWrite { deadline, key: key.clone() };
        let committed = write.submit(&api, OperationRequest::KeyFence).await?;
        // If something was applied under the key before, this is its entry.
        let body = to_json(&render::lookup(&committed.entry, &key), TYPICAL_LOOKUP_BYTES);
        Ok(HttpAnswer::json(StatusCode::OK, body, AsOf::of_write(&committed)))
    })
    .await
}

fn path_key(path: Result<Path<String>, PathRejection>) -> Result<IdempotencyKey, Problem> {
    let text = path_text(path)?;
    IdempotencyKey::parse(&text)
        .map_err(|error| Problem::bad_request(Code::InvalidIdempotencyKey, error.to_string()).field("key"))
}

/// Checks that the caller may see what a key was used for.
fn check_readable(api: &Call, entry: &Entry, key: &IdempotencyKey) -> Result<(), Problem> {
    let parties = |from, to| api.check_readable([from, to]);
    match entry.operation() {
        Some(Operation::PaymentChange(change)) => match change.before.as_deref() {
            Some(before) => parties(&before.from, &before.to),
            None => Ok(()),
        },
        Some(Operation::Account(change)) => api.check_readable([&change.account]),
        Some(Operation::KeyFence(_)) => Ok(()),
        Some(Operation::Payment(_) | Operation::Batch(_)) => match render::decided_under(entry, key) {
            Some(payment) => parties(&payment.request.from, &payment.request.to),
            // The key of a batch, of which only counts are shown, for whoever may see one of its payments.
            None => {
                let payments = entry.operation().into_iter().flat_map(Operation::payments);
                api.check_readable(payments.flat_map(|payment| [&payment.request.from, &payment.request.to]))
            }
        },
        Some(Operation::ApiKey(_) | Operation::Expiry(_)) | None => api.check_readable([]),
    }
}

async fn state_of(api: &Call, read: &Read<'_>, key: &IdempotencyKey) -> Result<HttpAnswer, Problem> {
    let index = read.fetch(api.node.queries().find_key(key.digest())).await?;
    let applied = read.applied_index();
    let entry = match index {
        Some(index) if index <= applied => read.fetch(api.node.queries().entry(index)).await?,
        _ => None,
    };
    let found = match entry.as_deref() {
        Some(entry) => {
            check_readable(api, entry, key)?;
            render::lookup(entry, key)
        }
        None => KeyLookup::of_state(if index.is_some() { KeyState::InFlight } else { KeyState::Unknown }),
    };
    Ok(read.answer(&KeyLookup { as_of_index: Some(applied), ..found }))
}
