//! `/v1/accounts`: open one, list them, read one, change its policy, and its statement.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use crate::domain::{AccountChangeKind, AccountId, AccountState, Operation, OperationRequest, Overdraft};
use crate::runtime::Committed;

use super::answer::{Answer, Mark};
use super::json::{read_object, write_object};
use super::metrics::Route;
use super::problem::Problem;
use super::read::{List, Read};
use super::request::Query;
use super::{Api, path_text, render, request, writes};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenBody {
    id: AccountId,
    #[serde(default)]
    overdraft: Overdraft,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchBody {
    overdraft: Overdraft,
}

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/v1/accounts", get(list).post(open))
        .route("/v1/accounts/{id}", get(by_id).patch(change))
        .route("/v1/accounts/{id}/statement", get(statement))
}

async fn open(State(api): State<Api>, request: Request) -> Response {
    api.answer(Route::AccountOpen, async {
        let (parts, body) = request.into_parts();
        let write = writes::begin(&parts)?;
        let body = request::body(&parts.headers, body, write.deadline).await?;
        let OpenBody { id, overdraft } = read_object(&body)?;
        let change = AccountChangeKind::Open(overdraft);
        let committed = write.submit(&api, OperationRequest::Account { account: id, change }).await?;
        changed(StatusCode::CREATED, &committed)
    })
    .await
}

async fn change(State(api): State<Api>, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::AccountChange, async {
        let (parts, body) = request.into_parts();
        let account = account_id(id)?;
        let write = writes::begin(&parts)?;
        let body = request::body(&parts.headers, body, write.deadline).await?;
        let PatchBody { overdraft } = read_object(&body)?;
        let change = AccountChangeKind::SetOverdraft(overdraft);
        let committed = write.submit(&api, OperationRequest::Account { account, change }).await?;
        changed(StatusCode::OK, &committed)
    })
    .await
}

fn changed(status: StatusCode, committed: &Committed) -> Result<Answer, Problem> {
    let Some(Operation::Account(change)) = committed.entry.operation() else {
        unreachable!("an account change's key and fingerprint lead to an account change's entry");
    };
    if let Some(rejection) = committed.entry.operation().and_then(Operation::rejection) {
        return Err(writes::refused(committed, rejection).member("account", &change.account));
    }
    let mut body = Vec::with_capacity(128);
    write_object(&mut body, |object| {
        match change.change {
            AccountChangeKind::Open(overdraft) => {
                let state = AccountState { overdraft, ..AccountState::default() };
                render::account_fields(object, &change.account, &state);
            }
            // The entry does not hold the balances, and a repeat must be answered with the same bytes.
            AccountChangeKind::SetOverdraft(overdraft) => {
                object.text("id", &change.account).text("overdraft", overdraft);
            }
        }
        object.field("index", &committed.entry.index);
    });
    Ok(Answer::json(status, body, Mark::of_write(committed)))
}

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

async fn statement(State(api): State<Api>, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::AccountStatement, async {
        let (parts, _) = request.into_parts();
        let id = account_id(id)?;
        let mut query = Query::new(parts.uri.query());
        let below = List::Statement.take_below(&mut query)?;
        let limit = query.limit()?;
        let read = Read::begin(&api.node, &parts.headers, query).await?;
        if read.fetch(api.node.account(id.clone())).await?.1.is_none() {
            return Err(not_found(&read, &id));
        }
        let newest = read.applied_index().next();
        let page = read.fetch(api.node.statement(&id, below.unwrap_or(newest).min(newest), limit)).await?;
        let entries = page.entries.iter().filter_map(|entry| Some((entry, render::payment_of(entry)?)));
        Ok(read.answer(|object| {
            object.text("account", &id);
            object.array("entries", entries, |out, (entry, payment)| {
                render::statement_entry(out, entry, payment, &id);
            });
            object.field("next_cursor", &page.next_below.map(|below| List::Statement.cursor(&below.to_string())));
        }))
    })
    .await
}

fn account_id(path: Result<Path<String>, PathRejection>) -> Result<AccountId, Problem> {
    let invalid = |error: crate::domain::AccountIdError| {
        Problem::bad_request("invalid_account_id", error.to_string()).field("id")
    };
    AccountId::parse(&path_text(path)?).map_err(invalid)
}

fn not_found(read: &Read<'_>, id: &AccountId) -> Problem {
    read.not_found("account_not_found", format!("there is no account {id}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> (&'static str, Option<String>) {
        let problem = read_object::<OpenBody>(body.as_bytes()).expect_err(body);
        (problem.code(), problem.field_name().map(str::to_owned))
    }

    #[test]
    fn an_account_is_opened_without_overdraft_unless_one_is_given() {
        let body: OpenBody = read_object(br#"{"id":"shop"}"#).expect("valid");
        assert_eq!((body.id.as_str(), body.overdraft), ("shop", Overdraft::None));
        let body: OpenBody = read_object(br#"{"id":"shop","overdraft":"unlimited"}"#).expect("valid");
        assert_eq!(body.overdraft, Overdraft::Unlimited);
    }

    #[test]
    fn a_bad_account_body_is_refused_with_its_field() {
        assert_eq!(refusal(r#"{"id":"a b"}"#), ("invalid_account_id", Some("id".to_owned())));
        assert_eq!(refusal(r#"{"id":"a","overdraft":"limit:0"}"#), ("invalid_overdraft", Some("overdraft".to_owned())));
        assert_eq!(refusal(r#"{"overdraft":"none"}"#), ("missing_field", Some("id".to_owned())));
        assert_eq!(refusal(r#"{"id":"a","name":"x"}"#), ("unknown_field", Some("name".to_owned())));
        assert!(read_object::<PatchBody>(b"{}").is_err(), "a change changes something");
    }
}
