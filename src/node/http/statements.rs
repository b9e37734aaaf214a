//! `/v1/accounts/{id}/statement`: what moved an account's money, with a running balance, by pages or as a whole.

use std::borrow::Cow;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::runtime::{Page, StatementFilter, StatementLine};
use quorapay_api::{ExportFormat, Statement, query, schema};
use quorapay_core::domain::AccountId;

use super::accounts::{account_id, not_found};
use super::call::Call;
use super::export::{self, Export};
use super::metrics::Route;
use super::payments::{take_currency, take_moment};
use super::problem::Problem;
use super::read::{List, Read};
use super::request::Query;
use super::state::Api;
use super::{openapi, render, request};

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(statement))
}

/// Read a statement
///
/// What moved the account's money, newest first, with the balance after each. Holds and voids move nothing.
#[utoipa::path(
    get, path = "/v1/accounts/{id}/statement", tag = "Accounts", operation_id = "getStatement",
    security(("api_key" = ["payments:read"])),
    params(
        ("id" = inline(schema::AccountIdText), Path), query::StatementFilter, query::StatementExport, query::Page, query::Freshness,
        query::Deadline,
    ),
    responses(
        (status = 200, description = "A page of the statement, or all of it.", content(
            (Statement = "application/json", example = json!(openapi::example("statement"))),
            (String = "text/csv"),
            (String = "application/x-ndjson"),
        )),
        openapi::StatementProblems,
    ),
)]
async fn statement(api: Call, id: Result<Path<String>, PathRejection>, request: Request) -> Response {
    api.answer(Route::AccountStatement, async {
        let (parts, _) = request.into_parts();
        let id = account_id(id)?;
        api.check_readable([&id])?;
        let mut query = Query::new(parts.uri.query());
        let filter = take_filter(&mut query)?;
        if let Some(format) = export::take_format(&mut query)? {
            let permit = api.permits.export()?;
            let timeout = request::timeout(&parts.headers)?;
            let read = Read::begin(&api, &parts.headers, query).await?;
            if read.fetch(api.node.account(id.clone())).await?.1.is_none() {
                return Err(not_found(&read, &id));
            }
            let pages = api.node.queries().export_statement(id, filter, read.applied_index());
            let as_of = read.applied_index();
            let export = Export { format, columns: &render::STATEMENT_COLUMNS, as_of, timeout, _permit: permit };
            return Ok(export.answer(read.as_of(), pages, move |out, line| {
                match format {
                    ExportFormat::Csv => render::statement_row(out, line),
                    ExportFormat::Ndjson => export::json_row(out, &render::statement_entry(line)),
                }
                1
            }));
        }
        let before = List::Statement.take_before(&mut query)?;
        let limit = query.limit()?;
        let read = Read::begin(&api, &parts.headers, query).await?;
        if read.fetch(api.node.account(id.clone())).await?.1.is_none() {
            return Err(not_found(&read, &id));
        }
        let page = read.fetch(api.node.queries().statement(&id, filter, read.applied_index(), before, limit)).await?;
        Ok(read.answer(&statement_page(&id, &page)))
    })
    .await
}

pub(super) fn statement_page<'a>(account: &'a AccountId, page: &'a Page<StatementLine>) -> Statement<'a> {
    let next_cursor = page.next_before.map(|cursor| List::Statement.cursor_before(cursor));
    let entries = page.found.iter().map(render::statement_entry).collect();
    Statement { account: Cow::Borrowed(account), entries, next_cursor }
}

pub(super) fn take_filter(query: &mut Query<'_>) -> Result<StatementFilter, Problem> {
    Ok(StatementFilter {
        currency: take_currency(query)?,
        from_time: take_moment(query, query::FROM_TIME)?,
        to_time: take_moment(query, query::TO_TIME)?,
    })
}
