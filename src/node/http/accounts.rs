//! `/v1/accounts`: open one, list them, read one, change its policy or its status.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::CommittedWrite;
use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountIdError, AccountStatus, Operation, OperationRequest, Overdraft,
};

use super::answer::{Answer, Mark};
use super::json::{RequestBody, read_object};
use super::metrics::Route;
use super::problem::Problem;
use super::read::{List, Read};
use super::request::Query;
use super::{Api, openapi, path_text, render, request, writes};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenBody {
    id: AccountId,
    overdraft: Option<Overdraft>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchBody {
    overdraft: Option<Overdraft>,
    status: Option<StatusWord>,
}

/// A status by its word. Read through a text, because `serde_json` takes an enum of another type for broken JSON and
/// would not name the field.
#[derive(Clone, Copy, Debug)]
struct StatusWord(AccountStatus);

impl<'de> Deserialize<'de> for StatusWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = compact_str::CompactString::deserialize(deserializer)?;
        let unknown = || D::Error::custom("status is \"active\", \"frozen\" or \"closed\"");
        AccountStatus::parse(&word).map(Self).ok_or_else(unknown)
    }
}

impl RequestBody for OpenBody {
    fn code_of(field: &str) -> &'static str {
        if field == "id" { "invalid_account_id" } else { "invalid_overdraft" }
    }
}

impl RequestBody for PatchBody {
    fn code_of(field: &str) -> &'static str {
        if field == "status" { "invalid_status" } else { "invalid_overdraft" }
    }
}

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, open)).routes(routes!(by_id, change))
}

/// Open an account
///
/// Accounts exist from their first credit too; opening one gives it an overdraft policy.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "Accounts", operation_id = "openAccount", params(openapi::WriteHeaders),
    request_body(content = openapi::NewAccount, example = json!(openapi::example("new_account"))),
    responses(
        (status = 201, description = "Opened.", body = openapi::ChangedAccount,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("opened_account"))),
        openapi::AccountOpenProblems,
    ),
)]
async fn open(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::AccountOpen, async {
        let (parts, body) = request.into_parts();
        let write = writes::begin(&parts)?;
        let body = request::body(&parts.headers, body, write.deadline).await?;
        let (account, change) = opening(read_object(&body)?)?;
        let committed = write.submit(&api, OperationRequest::Account { account, change }).await?;
        changed(StatusCode::CREATED, &committed)
    })
    .await
}

/// Change an account
///
/// Gives it another overdraft policy, another status, or both. Frozen accounts neither pay nor receive; only an empty
/// account can be closed, and stays so.
#[utoipa::path(
    patch, path = "/v1/accounts/{id}", tag = "Accounts", operation_id = "changeAccount",
    params(("id" = inline(openapi::AccountIdText), Path), openapi::WriteHeaders),
    request_body(content = openapi::AccountPatch, example = json!({ "status": "frozen" })),
    responses(
        (status = 200, description = "Changed: what was set.", body = openapi::ChangedAccount,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("changed_account"))),
        openapi::AccountChangeProblems,
    ),
)]
async fn change(State(api): State<Api>, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::AccountChange, async {
        let (parts, body) = request.into_parts();
        let account = account_id(id)?;
        let write = writes::begin(&parts)?;
        let body = request::body(&parts.headers, body, write.deadline).await?;
        let change = changing(&account, &read_object(&body)?)?;
        let committed = write.submit(&api, OperationRequest::Account { account, change }).await?;
        changed(StatusCode::OK, &committed)
    })
    .await
}

pub(super) fn opening(body: OpenBody) -> Result<(AccountId, AccountChangeKind), Problem> {
    check_overdraft(&body.id, body.overdraft)?;
    let overdraft = body.overdraft.unwrap_or_default();
    let change = AccountChangeKind::Open(render::applied_overdraft(&body.id, overdraft));
    Ok((body.id, change))
}

pub(super) fn changing(account: &AccountId, body: &PatchBody) -> Result<AccountChangeKind, Problem> {
    let (overdraft, status) = (body.overdraft, body.status.map(|word| word.0));
    if overdraft.is_none() && status.is_none() {
        let detail = "a change of an account names its overdraft, its status or both";
        return Err(Problem::bad_request("nothing_to_change", detail));
    }
    check_overdraft(account, overdraft)?;
    Ok(AccountChangeKind::Change { overdraft, status })
}

/// The outside world may always go negative: to promise anything else would be a lie.
fn check_overdraft(account: &AccountId, overdraft: Option<Overdraft>) -> Result<(), Problem> {
    if account.is_external() && overdraft.is_some_and(|overdraft| overdraft != Overdraft::Unlimited) {
        let detail = "an account under external: may always go negative, its overdraft is unlimited";
        return Err(Problem::bad_request("invalid_overdraft", detail).field("overdraft"));
    }
    Ok(())
}

fn changed(status: StatusCode, committed: &CommittedWrite) -> Result<Answer, Problem> {
    let Some(Operation::Account(change)) = committed.entry.operation() else {
        unreachable!("an account change's key and fingerprint lead to an account change's entry");
    };
    if let Some(rejection) = committed.entry.operation().and_then(Operation::rejection) {
        return Err(writes::refused(committed, rejection).member("account", &change.account));
    }
    let mut body = Vec::with_capacity(128);
    render::account_change(&mut body, &committed.entry, change);
    Ok(Answer::json(status, body, Mark::of_write(committed)))
}

/// List accounts
///
/// In the order of their ids, all as of one index.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "Accounts", operation_id = "listAccounts",
    params(openapi::Page, openapi::Freshness, openapi::Deadline),
    responses(
        (status = 200, description = "A page of accounts.", body = openapi::AccountPage,
         example = json!(openapi::example("account_page"))),
        openapi::AccountListProblems,
    ),
)]
async fn list(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::AccountList, async {
        let (parts, _) = request.into_parts();
        let mut query = Query::new(parts.uri.query());
        let after = List::Accounts.take_cursor(&mut query, |place| AccountId::parse(place).ok())?;
        let limit = query.limit()?;
        let read = Read::begin(&api.node, &parts.headers, query).await?;
        let (index, accounts) = read.fetch(api.node.accounts(after, limit)).await?;
        let full = accounts.len() == limit;
        let next = accounts.last().filter(|_| full).map(|last| List::Accounts.cursor(last.id.as_str()));
        Ok(read.answer(|object| {
            object.array("accounts", &accounts, render::account);
            object.field("next_cursor", &next).field("index", &index);
        }))
    })
    .await
}

/// Read an account
///
/// Its policy, its status and its balances, all as of one index.
#[utoipa::path(
    get, path = "/v1/accounts/{id}", tag = "Accounts", operation_id = "getAccount",
    params(("id" = inline(openapi::AccountIdText), Path), openapi::Freshness, openapi::Deadline),
    responses(
        (status = 200, description = "The account.", body = openapi::AccountAtIndex,
         example = json!(openapi::example("account"))),
        openapi::AccountReadProblems,
    ),
)]
async fn by_id(State(api): State<Api>, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::AccountGet, async {
        let (parts, _) = request.into_parts();
        let id = account_id(id)?;
        let read = Read::begin(&api.node, &parts.headers, Query::new(parts.uri.query())).await?;
        let (index, snapshot) = read.fetch(api.node.account(id.clone())).await?;
        let snapshot = snapshot.ok_or_else(|| not_found(&read, &id))?;
        Ok(read.answer(|object| {
            render::account_fields(object, &snapshot.id, &snapshot.state);
            object.field("index", &index);
        }))
    })
    .await
}

/// An account's id from the path.
pub(super) fn account_id(path: Result<Path<String>, PathRejection>) -> Result<AccountId, Problem> {
    let invalid = |error: AccountIdError| Problem::bad_request("invalid_account_id", error.to_string()).field("id");
    AccountId::parse(&path_text(path)?).map_err(invalid)
}

/// The answer that there is no such account.
pub(super) fn not_found(read: &Read<'_>, id: &AccountId) -> Problem {
    read.not_found("account_not_found", format!("there is no account {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(body: &str) -> Result<(String, AccountChangeKind), (&'static str, Option<String>)> {
        let opened = read_object(body.as_bytes()).and_then(opening);
        opened.map(|(id, change)| (id.to_string(), change)).map_err(|problem| named(&problem))
    }

    fn patched(id: &str, body: &str) -> Result<AccountChangeKind, (&'static str, Option<String>)> {
        let account = AccountId::parse(id).expect("valid");
        read_object(body.as_bytes()).and_then(|body| changing(&account, &body)).map_err(|problem| named(&problem))
    }

    fn named(problem: &Problem) -> (&'static str, Option<String>) {
        (problem.code(), problem.field_name().map(str::to_owned))
    }

    fn field(code: &'static str, field: &str) -> (&'static str, Option<String>) {
        (code, Some(field.to_owned()))
    }

    #[test]
    fn an_account_is_opened_without_overdraft_unless_one_is_given() {
        let open = |body, overdraft| assert_eq!(opened(body).expect("valid").1, AccountChangeKind::Open(overdraft));
        open(r#"{"id":"shop"}"#, Overdraft::None);
        open(r#"{"id":"shop","overdraft":"unlimited"}"#, Overdraft::Unlimited);
        open(r#"{"id":"external:card"}"#, Overdraft::Unlimited);
        open(r#"{"id":"external:card","overdraft":"unlimited"}"#, Overdraft::Unlimited);
    }

    #[test]
    fn a_change_names_a_policy_a_status_or_both() {
        let change = |overdraft, status| Ok(AccountChangeKind::Change { overdraft, status });
        assert_eq!(patched("a", r#"{"overdraft":"none"}"#), change(Some(Overdraft::None), None));
        assert_eq!(patched("a", r#"{"status":"frozen"}"#), change(None, Some(AccountStatus::Frozen)));
        let both = patched("a", r#"{"status":"active","overdraft":"none"}"#);
        assert_eq!(both, change(Some(Overdraft::None), Some(AccountStatus::Active)));
        for nothing in ["{}", r#"{"overdraft":null}"#, r#"{"status":null}"#] {
            assert_eq!(patched("a", nothing), Err(("nothing_to_change", None)), "{nothing}");
        }
    }

    #[test]
    fn the_outside_world_cannot_be_limited() {
        for limit in ["none", "limit:5"] {
            let body = format!(r#"{{"id":"external:card","overdraft":"{limit}"}}"#);
            assert_eq!(opened(&body), Err(field("invalid_overdraft", "overdraft")));
            let body = format!(r#"{{"overdraft":"{limit}"}}"#);
            assert_eq!(patched("external:card", &body), Err(field("invalid_overdraft", "overdraft")));
        }
    }

    #[test]
    fn a_bad_account_body_is_refused_with_its_field() {
        assert_eq!(opened(r#"{"id":"a b"}"#), Err(field("invalid_account_id", "id")));
        assert_eq!(opened(r#"{"id":"a","overdraft":"limit:0"}"#), Err(field("invalid_overdraft", "overdraft")));
        assert_eq!(opened(r#"{"overdraft":"none"}"#), Err(field("missing_field", "id")));
        assert_eq!(opened(r#"{"id":"a","name":"x"}"#), Err(field("unknown_field", "name")));
        for bad in ["\"open\"", "5", "{}", "true", "\"Frozen\""] {
            assert_eq!(
                patched("a", &format!(r#"{{"status":{bad}}}"#)),
                Err(field("invalid_status", "status")),
                "{bad}"
            );
        }
    }
}
