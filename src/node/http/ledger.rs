//! `/v1/ledger`: the raw entries with their hashes, by pages or as an export.

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use quorapay_api::{Code, ExportFormat, LedgerPage, query};
use quorapay_core::domain::LogIndex;

use super::answer::HttpAnswer;
use super::call::Call;
use super::export::{self, Export};
use super::metrics::Route;
use super::problem::Problem;
use super::read::Read;
use super::request::{self, Query};
use super::state::Api;
use super::{openapi, render};

/// The first entry of every ledger.
const FIRST: LogIndex = LogIndex(1);

pub(super) fn router() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(entries))
}

/// Read the ledger
///
/// The raw entries with their hashes, oldest first, for those who check the history themselves.
#[utoipa::path(
    get, path = "/v1/ledger", tag = "Ledger", operation_id = "getLedger",
    security(("api_key" = ["payments:read"])),
    params(query::LedgerRange, query::Freshness, query::Deadline),
    responses(
        (status = 200, description = "Some entries, or all of them.", content(
            (LedgerPage = "application/json", example = json!(openapi::example("ledger"))),
            (String = "text/csv"),
            (String = "application/x-ndjson"),
        )),
        openapi::LedgerProblems,
    ),
)]
async fn entries(api: Call, request: Request) -> Response {
    api.answer(Route::Ledger, async {
        let (parts, _) = request.into_parts();
        api.check_readable([])?;
        let mut query = Query::new(parts.uri.query());
        let from = take_from(&mut query)?;
        if let Some(format) = export::take_format(&mut query)? {
            return export(&api, &parts.headers, query, from, format).await;
        }
        let limit = query.limit()?;
        let read = Read::begin(&api, &parts.headers, query).await?;
        let entries = match from <= read.applied_index() {
            true => read.fetch(api.node.queries().entries(from, read.applied_index(), limit)).await?,
            false => Vec::new(),
        };
        // At the end of the ledger the next page begins at the same index.
        let next_index = entries.last().map_or(from, |last| last.index.next());
        let entries = entries.iter().map(|entry| render::ledger_entry(entry)).collect();
        Ok(read.answer(&LedgerPage { entries, next_index }))
    })
    .await
}

async fn export(
    api: &Call,
    headers: &HeaderMap,
    query: Query<'_>,
    from: LogIndex,
    format: ExportFormat,
) -> Result<HttpAnswer, Problem> {
    let permit = api.permits.export()?;
    let timeout = request::timeout(headers)?;
    let read = Read::begin(api, headers, query).await?;
    let as_of = read.applied_index();
    let pages = api.node.queries().export_entries(from, as_of);
    let export = Export { format, columns: &render::LEDGER_COLUMNS, as_of, timeout, _permit: permit };
    Ok(export.answer(read.as_of(), pages, move |out, entry| match format {
        ExportFormat::Csv => render::ledger_rows(out, entry),
        ExportFormat::Ndjson => {
            export::json_row(out, &render::ledger_entry(entry));
            1
        }
    }))
}

pub(super) fn take_from(query: &mut Query<'_>) -> Result<LogIndex, Problem> {
    // SQLite's integers end at 2^63 - 1, and so do indexes.
    let parse = |text: &str| text.parse::<i64>().ok().and_then(|index| u64::try_from(index).ok()).map(LogIndex);
    let from = query.parse(query::FROM_INDEX, Code::InvalidIndex, "a whole number from 1", parse)?;
    Ok(from.unwrap_or(FIRST).max(FIRST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_read_from_its_first_entry_unless_another_is_named() {
        let from = |query: &str| take_from(&mut Query::new(Some(query)));
        assert_eq!(from("").expect("default"), FIRST);
        assert_eq!(from("from_index=0").expect("before the first"), FIRST);
        assert_eq!(from("from_index=12").expect("valid"), LogIndex(12));
        for bad in ["from_index=-1", "from_index=x", "from_index=9223372036854775808"] {
            assert_eq!(from(bad).expect_err(bad).code(), "invalid_index");
        }
    }
}
