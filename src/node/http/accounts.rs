//! `/v1/accounts`: open one, list them, read one, change its policy or its status.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{AccountSnapshot, CommittedWrite};
use quorapay_api::{AccountAtIndex, AccountPage, AccountSettings, ChangedAccount, Code, NewAccount, query, schema};
use quorapay_core::domain::{
    AccountChangeKind, AccountId, AccountIdError, Operation, OperationRequest, Overdraft, Rejection,
};

use super::answer::{AsOf, HttpAnswer};
use super::call::Call;
use super::metrics::Route;
use super::problem::Problem;
use super::read::{List, Read};
use super::read_json::{RequestBody, read_object};
use super::request::Query;
use super::state::{Api, path_text};
use super::write_json::to_json;
use super::{openapi, render, request, writes};

impl RequestBody for NewAccount {
    fn code_of(field: &str) -> Code {
        if field == "id" { Code::InvalidAccountId } else { Code::InvalidOverdraft }
    }
}

impl RequestBody for AccountSettings {
    fn code_of(field: &str) -> Code {
        if field == "status" { Code::InvalidStatus } else { Code::InvalidOverdraft }
    }
}

/// Capacity for a change of an account.
const CHANGED_ACCOUNT_BYTES: usize = 128;

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list, open)).routes(routes!(by_id, change))
}

/// Open an account
///
/// Accounts exist from their first credit too; opening one gives it an overdraft policy.
#[utoipa::path(
    post, path = "/v1/accounts", tag = "Accounts", operation_id = "openAccount",
    security(("api_key" = ["accounts:admin"])), params(query::KeyHeader, query::Deadline),
    request_body(content = NewAccount, example = json!(openapi::example("new_account"))),
    responses(
        (status = 201, description = "Opened.", body = ChangedAccount,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("opened_account"))),
        openapi::AccountOpenProblems,
    ),
)]
async fn open(api: Call, request: Request) -> Response {
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
    security(("api_key" = ["accounts:admin"])),
    params(("id" = inline(schema::AccountIdText), Path), query::KeyHeader, query::Deadline),
    request_body(content = AccountSettings, example = json!({ "status": "frozen" })),
    responses(
        (status = 200, description = "Changed: what was set.", body = ChangedAccount,
         headers(("Idempotent-Replayed" = bool, description = "There, and `true`, if it was decided earlier.")),
         example = json!(openapi::example("changed_account"))),
        openapi::AccountChangeProblems,
    ),
)]
async fn change(api: Call, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::AccountChange, async {
        let (parts, body) = request.into_parts();
        let account = account_id(id)?;
        let write = writes::begin(&parts)?;
        let body = request::body(&parts.headers, body, write.deadline).await?;
        let change = changing(&account, read_object(&body)?)?;
        let committed = write.submit(&api, OperationRequest::Account { account, change }).await?;
        changed(StatusCode::OK, &committed)
    })
    .await
}

pub(super) fn opening(body: NewAccount) -> Result<(AccountId, AccountChangeKind), Problem> {
    check_overdraft(&body.id, body.overdraft)?;
    let overdraft = body.overdraft.unwrap_or_default();
    let change = AccountChangeKind::Open(render::applied_overdraft(&body.id, overdraft));
    Ok((body.id, change))
}

pub(super) fn changing(account: &AccountId, body: AccountSettings) -> Result<AccountChangeKind, Problem> {
    let AccountSettings { overdraft, status } = body;
    if overdraft.is_none() && status.is_none() {
        let detail = "a change of an account names its overdraft, its status or both";
        return Err(Problem::bad_request(Code::NothingToChange, detail));
    }
    check_overdraft(account, overdraft)?;
    Ok(AccountChangeKind::Change { overdraft, status })
}

/// An account of the outside world may always go negative, so no other policy is accepted for it.
fn check_overdraft(account: &AccountId, overdraft: Option<Overdraft>) -> Result<(), Problem> {
    if account.is_external() && overdraft.is_some_and(|overdraft| overdraft != Overdraft::Unlimited) {
        let detail = "an account under external: may always go negative, its overdraft is unlimited";
        return Err(Problem::bad_request(Code::InvalidOverdraft, detail).field("overdraft"));
    }
    Ok(())
}

pub(super) fn changed(status: StatusCode, committed: &CommittedWrite) -> Result<HttpAnswer, Problem> {
    let Some(Operation::Account(change)) = committed.entry.operation() else {
        unreachable!("an account change's key and fingerprint lead to an account change's entry");
    };
    if let Some(rejection) = committed.entry.operation().and_then(Operation::rejection) {
        return Err(writes::refused(committed, rejection).account(change.account.clone()));
    }
    let body = to_json(&render::changed_account(&committed.entry, change), CHANGED_ACCOUNT_BYTES);
    Ok(HttpAnswer::json(status, body, AsOf::of_write(committed)))
}

/// List accounts
///
/// In the order of their ids, all as of one index.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "Accounts", operation_id = "listAccounts",
    security(("api_key" = ["payments:read"])),
    params(query::Page, query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "A page of accounts.", body = AccountPage,
         example = json!(openapi::example("account_page"))),
        openapi::AccountListProblems,
    ),
)]
async fn list(api: Call, request: Request) -> Response {
    api.answer(Route::AccountList, async {
        let (parts, _) = request.into_parts();
        let mut query = Query::new(parts.uri.query());
        let after = List::Accounts.take_cursor(&mut query, |place| AccountId::parse(place).ok())?;
        api.check_readable([])?;
        let limit = query.limit()?;
        let read = Read::begin(&api, &parts.headers, query).await?;
        let (index, accounts) = read.fetch(api.node.accounts(after, limit)).await?;
        let full = accounts.len() == limit;
        let next_cursor = accounts.last().filter(|_| full).map(|last| List::Accounts.cursor(last.id.as_str()));
        let accounts = accounts.into_iter().map(|AccountSnapshot { id, state }| render::account(id, &state));
        Ok(read.answer(&AccountPage { accounts: accounts.collect(), next_cursor, index }))
    })
    .await
}

/// Read an account
///
/// Its policy, its status and its balances, all as of one index.
#[utoipa::path(
    get, path = "/v1/accounts/{id}", tag = "Accounts", operation_id = "getAccount",
    security(("api_key" = ["payments:read"])),
    params(("id" = inline(schema::AccountIdText), Path), query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "The account.", body = AccountAtIndex,
         example = json!(openapi::example("account"))),
        openapi::AccountReadProblems,
    ),
)]
async fn by_id(api: Call, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::AccountGet, async {
        let (parts, _) = request.into_parts();
        let id = account_id(id)?;
        api.check_readable([&id])?;
        let read = Read::begin(&api, &parts.headers, Query::new(parts.uri.query())).await?;
        let (index, snapshot) = read.fetch(api.node.account(id.clone())).await?;
        let AccountSnapshot { id, state } = snapshot.ok_or_else(|| not_found(&read, &id))?;
        Ok(read.answer(&AccountAtIndex { account: render::account(id, &state), index }))
    })
    .await
}

/// An account's id from the path.
pub(super) fn account_id(path: Result<Path<String>, PathRejection>) -> Result<AccountId, Problem> {
    let invalid = |error: AccountIdError| Problem::bad_request(Code::InvalidAccountId, error.to_string()).field("id");
    AccountId::parse(&path_text(path)?).map_err(invalid)
}

/// The problem of an unknown account.
pub(super) fn not_found(read: &Read<'_>, id: &AccountId) -> Problem {
    read.not_found(Code::Bank(Rejection::AccountNotFound), format!("there is no account {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::domain::AccountStatus;

    fn opened(body: &str) -> Result<(String, AccountChangeKind), (&'static str, Option<String>)> {
        let opened = read_object(body.as_bytes()).and_then(opening);
        opened.map(|(id, change)| (id.to_string(), change)).map_err(|problem| named(&problem))
    }

    fn patched(id: &str, body: &str) -> Result<AccountChangeKind, (&'static str, Option<String>)> {
        let account = AccountId::parse(id).expect("valid");
        read_object(body.as_bytes()).and_then(|body| changing(&account, body)).map_err(|problem| named(&problem))
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
