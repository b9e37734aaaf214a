//! `/v1/api-keys`: API keys, created, listed, rotated and revoked. No secret comes here: callers send digests.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::CommittedWrite;
use quorapay_api::{ApiKeyList, ApiKeyRotation, ChangedApiKey, Code, NewApiKey, Nothing, query, schema};
use quorapay_core::domain::{
    ApiKeyChangeKind, ApiKeyGrant, ApiKeyId, MAX_API_KEY_PREFIXES, Operation, OperationRequest,
};

use super::answer::{AsOf, HttpAnswer};
use super::call::Call;
use super::metrics::Route;
use super::problem::Problem;
use super::read::Read;
use super::read_json::{RequestBody, read_object};
use super::request::Query;
use super::state::{Api, path_text};
use super::write_json::to_json;
use super::{openapi, render, request, writes};

impl RequestBody for NewApiKey {
    fn code_of(_: &str) -> Code {
        Code::InvalidApiKeyField
    }
}

impl RequestBody for ApiKeyRotation {
    fn code_of(_: &str) -> Code {
        Code::InvalidApiKeyField
    }
}

/// Capacity for a changed key.
const CHANGED_KEY_BYTES: usize = 192;
/// Capacity for each key of a list.
const LISTED_KEY_BYTES: usize = 384;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(rotate)).routes(routes!(revoke))
}

/// Create an API key
///
/// Whoever creates it makes its id and its secret, keeps both, and sends the secret's SHA-256: `quorapay api-key create`
/// does that. The caller's own key must have every scope that it gives away, and neither accounts nor limits.
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "API keys", operation_id = "createApiKey", params(query::KeyHeader, query::Deadline),
    security(("api_key" = ["cluster:admin"])),
    request_body(content = NewApiKey, example = json!(openapi::example("new_api_key"))),
    responses(
        (status = 201, description = "Created, on every node.", body = ChangedApiKey,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("created_api_key"))),
        openapi::ApiKeyCreateProblems,
    ),
)]
async fn create(api: Call, request: Request) -> Response {
    api.answer(Route::ApiKeyCreate, async {
        let (parts, body) = request.into_parts();
        let write = writes::begin(&parts)?;
        let body = request::body(&parts.headers, body, write.deadline).await?;
        let (id, change) = creation(read_object(&body)?)?;
        let committed = write.submit(&api, OperationRequest::ApiKey { id, change }).await?;
        changed(StatusCode::CREATED, &committed)
    })
    .await
}

/// Rotate an API key
///
/// Gives it another secret. The old one stays valid beside it for the time stated, so that its holders can change over.
#[utoipa::path(
    post, path = "/v1/api-keys/{id}/rotate", tag = "API keys", operation_id = "rotateApiKey",
    params(("id" = inline(schema::ApiKeyIdText), Path), query::KeyHeader, query::Deadline),
    security(("api_key" = ["cluster:admin"])),
    request_body(content = ApiKeyRotation, example = json!(openapi::example("api_key_rotation"))),
    responses(
        (status = 200, description = "Rotated, on every node.", body = ChangedApiKey,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("rotated_api_key"))),
        openapi::ApiKeyChangeProblems,
    ),
)]
async fn rotate(api: Call, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::ApiKeyRotate, async {
        let (parts, body) = request.into_parts();
        let id = api_key_id(id)?;
        let write = writes::begin(&parts)?;
        let body = request::body(&parts.headers, body, write.deadline).await?;
        let ApiKeyRotation { secret_sha256: secret, old_valid_for_s } = read_object(&body)?;
        let change = ApiKeyChangeKind::Rotate { secret, old_valid_for_s };
        let committed = write.submit(&api, OperationRequest::ApiKey { id, change }).await?;
        changed(StatusCode::OK, &committed)
    })
    .await
}

/// Revoke an API key
///
/// Ends it for good. Once this is answered, no node takes a write or answers a linearizable read with it.
#[utoipa::path(
    post, path = "/v1/api-keys/{id}/revoke", tag = "API keys", operation_id = "revokeApiKey",
    params(("id" = inline(schema::ApiKeyIdText), Path), query::KeyHeader, query::Deadline),
    security(("api_key" = ["cluster:admin"])),
    request_body(content = Option<Nothing>, example = json!({})),
    responses(
        (status = 200, description = "Revoked, on every node.", body = ChangedApiKey,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("revoked_api_key"))),
        openapi::ApiKeyChangeProblems,
    ),
)]
async fn revoke(api: Call, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::ApiKeyRevoke, async {
        let (parts, body) = request.into_parts();
        let id = api_key_id(id)?;
        let (write, body) = writes::begin_with_optional_body(&parts, body).await?;
        if !body.is_empty() {
            let Nothing {} = read_object(&body)?;
        }
        let committed = write.submit(&api, OperationRequest::ApiKey { id, change: ApiKeyChangeKind::Revoke }).await?;
        changed(StatusCode::OK, &committed)
    })
    .await
}

/// List API keys
///
/// All of them in the order of their ids, without their secrets. Revoked ones are shown until their places are needed.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "API keys", operation_id = "listApiKeys",
    params(query::Freshness, query::Deadline),
    security(("api_key" = ["cluster:admin"])),
    responses(
        (status = 200, description = "The keys.", body = ApiKeyList, example = json!(openapi::example("api_keys"))),
        openapi::ApiKeyListProblems,
    ),
)]
async fn list(api: Call, request: Request) -> Response {
    api.answer(Route::ApiKeyList, async {
        let (parts, _) = request.into_parts();
        let read = Read::begin(&api, &parts.headers, Query::new(parts.uri.query())).await?;
        api.check_readable([])?;
        let keys = api.node.api_keys();
        let api_keys: Vec<_> = keys.iter().map(|(id, state)| render::api_key(*id, state)).collect();
        let bytes = LISTED_KEY_BYTES * (1 + api_keys.len());
        Ok(read.answer_sized(&ApiKeyList { api_keys, index: read.applied_index() }, bytes))
    })
    .await
}

/// The change that a body asks for.
pub(super) fn creation(body: NewApiKey) -> Result<(ApiKeyId, ApiKeyChangeKind), Problem> {
    let NewApiKey { id, secret_sha256, name, scopes, debit_prefixes, credit_prefixes, limits, expires_at } = body;
    for (field, prefixes) in [("debit_prefixes", &debit_prefixes), ("credit_prefixes", &credit_prefixes)] {
        if prefixes.len() > MAX_API_KEY_PREFIXES {
            let detail = format!("{field} has at most {MAX_API_KEY_PREFIXES} prefixes");
            return Err(Problem::bad_request(Code::InvalidApiKeyField, detail).field(field));
        }
    }
    let (debits, credits, expires_at) = (debit_prefixes, credit_prefixes, expires_at.map(|moment| moment.0));
    let grant = ApiKeyGrant { name, scopes, debits, credits, limits, expires_at };
    Ok((id, ApiKeyChangeKind::Create { grant: Box::new(grant), secret: secret_sha256 }))
}

fn changed(status: StatusCode, committed: &CommittedWrite) -> Result<HttpAnswer, Problem> {
    let Some(Operation::ApiKey(change)) = committed.entry.operation() else {
        unreachable!("an API key change's key and fingerprint lead to an API key change's entry");
    };
    if let Some(rejection) = committed.entry.operation().and_then(Operation::rejection) {
        return Err(writes::refused(committed, rejection));
    }
    let body: ChangedApiKey = render::changed_api_key(&committed.entry, change);
    Ok(HttpAnswer::json(status, to_json(&body, CHANGED_KEY_BYTES), AsOf::of_write(committed)))
}

fn api_key_id(path: Result<Path<String>, PathRejection>) -> Result<ApiKeyId, Problem> {
    let text = path_text(path)?;
    ApiKeyId::parse(&text)
        .map_err(|error| Problem::bad_request(Code::InvalidApiKeyField, error.to_string()).field("id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#""id":"0102030405060708","name":"x","secret_sha256":"66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925""#;

    fn read(rest: &str) -> Result<ApiKeyGrant, (&'static str, Option<String>)> {
        let body = format!("{{{KEY}{rest}}}");
        let created = read_object::<NewApiKey>(body.as_bytes()).and_then(creation);
        match created.map_err(|problem| (problem.code(), problem.field_name().map(str::to_owned)))? {
            (_, ApiKeyChangeKind::Create { grant, .. }) => Ok(*grant),
            (_, other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_has_scopes_and_perhaps_accounts_limits_and_an_end() {
        let plain = read(r#","scopes":["metrics"]"#).expect("valid");
        assert_eq!((plain.scopes.len(), plain.debits.len(), plain.limits.len(), plain.expires_at), (1, 0, 0, None));
        let full = read(
            r#","scopes":["payments:write","metrics"],"debit_prefixes":["external:"],"credit_prefixes":["shop:1:"],
            "limits":{"EUR":5},"expires_at":"1970-01-01T00:00:01Z""#,
        );
        let full = full.expect("valid");
        assert_eq!((full.scopes.len(), full.debits.len(), full.credits.len(), full.limits.len()), (2, 1, 1, 1));
        assert_eq!(full.expires_at.map(|at| at.0), Some(1_000));
    }

    #[test]
    fn a_bad_field_of_a_key_is_named() {
        let wrong = |field: &str| Err(("invalid_api_key_field", Some(field.to_owned())));
        assert_eq!(read(r#","scopes":["admin"]"#), wrong("scopes"));
        assert_eq!(read(r#","scopes":[]"#), wrong("scopes"));
        assert_eq!(read(r#","scopes":["metrics"],"limits":{"EUR":0}"#), wrong("limits.EUR"));
        assert_eq!(read(r#","scopes":["metrics"],"debit_prefixes":["a b"]"#), wrong("debit_prefixes[0]"));
        assert_eq!(read(""), Err(("missing_field", Some("scopes".to_owned()))));
        let many: Vec<String> = (0..=MAX_API_KEY_PREFIXES).map(|number| format!("\"p{number}\"")).collect();
        let many = format!(r#","scopes":["metrics"],"credit_prefixes":[{}]"#, many.join(","));
        assert_eq!(read(&many), wrong("credit_prefixes"));
    }
}
