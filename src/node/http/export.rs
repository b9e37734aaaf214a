//! Exports: all rows of a list, streamed, so that memory holds only some of them.
//!
//! The status is sent before the rows. So an export that fails closes the connection, and the last row of a complete
//! export says that it is complete.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::runtime::ReadError;
use quorapay_api::{Code, ExportFormat, ExportTrailer, query};
use quorapay_core::domain::LogIndex;

use super::answer::{AsOf, HttpAnswer};
use super::problem::Problem;
use super::render;
use super::request::Query;
use super::write_json::append_json;

/// The parameters of an export that do not depend on its rows.
#[derive(Debug)]
pub(super) struct Export {
    /// How rows are written.
    pub(super) format: ExportFormat,
    /// The names of the columns.
    pub(super) columns: &'static [&'static str],
    /// The end of the ledger as of which it is made.
    pub(super) as_of: LogIndex,
    /// The time limit for each chunk of rows. The whole has none.
    pub(super) timeout: Duration,
    /// Kept until the last row is sent, or nobody reads any more.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// Takes out the format of an export, if one is wanted.
pub(super) fn take_format(query: &mut Query<'_>) -> Result<Option<ExportFormat>, Problem> {
    query.parse(query::FORMAT, Code::InvalidFormat, "\"csv\" or \"ndjson\"", ExportFormat::parse)
}

/// Writes a JSON value as a row.
pub(super) fn json_row(out: &mut Vec<u8>, row: &impl Serialize) {
    append_json(out, row);
    out.push(b'\n');
}

/// The state of an export between two chunks.
struct ExportState<S, W> {
    export: Export,
    pages: Pin<Box<S>>,
    write: W,
    rows: u64,
    begun: bool,
}

/// Why an export failed. The caller sees the connection close.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the next rows were not read in time")]
    TooSlow,
}

impl Export {
    /// The answer. `write` writes one item of a page and returns the number of its rows.
    pub(super) fn answer<T, S, W>(self, answered: AsOf, pages: S, write: W) -> HttpAnswer
    where
        T: Send + 'static,
        S: Stream<Item = Result<Vec<T>, ReadError>> + Send + 'static,
        W: FnMut(&mut Vec<u8>, &T) -> u64 + Send + 'static,
    {
        let format = self.format;
        let state = ExportState { export: self, pages: Box::pin(pages), write, rows: 0, begun: false };
        let chunks = stream::unfold(Some(state), async |state| state?.next_chunk().await);
        HttpAnswer::export(format, Body::from_stream(chunks), answered)
    }

    fn write_end(&self, out: &mut Vec<u8>, rows: u64) {
        let trailer = ExportTrailer { complete: true, rows, as_of_index: self.as_of };
        match self.format {
            ExportFormat::Csv => render::complete_row(out, self.columns.len(), &trailer),
            ExportFormat::Ndjson => json_row(out, &trailer),
        }
    }
}

impl<T, S, W> ExportState<S, W>
where
    S: Stream<Item = Result<Vec<T>, ReadError>>,
    W: FnMut(&mut Vec<u8>, &T) -> u64,
{
    /// The next chunk of the answer, and the state after it unless that was the last one.
    async fn next_chunk(mut self) -> Option<(Result<Bytes, ExportError>, Option<Self>)> {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.begun, true) && self.export.format == ExportFormat::Csv {
            render::row(&mut out, self.export.columns.iter().copied());
        }
        // Pages may be empty, and an empty chunk must not be sent.
        while out.is_empty() || self.rows == 0 {
            let page = tokio::time::timeout(self.export.timeout, self.pages.next()).await;
            let page =
                match page.map_err(|_| ExportError::TooSlow).map(|page| page.transpose().map_err(ExportError::from)) {
                    Ok(Ok(page)) => page,
                    Ok(Err(error)) | Err(error) => return Some((Err(error), None)),
                };
            let Some(items) = page else {
                self.export.write_end(&mut out, self.rows);
                return Some((Ok(out.into()), None));
            };
            self.rows += items.iter().map(|item| (self.write)(&mut out, item)).sum::<u64>();
        }
        Some((Ok(out.into()), Some(self)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::http::answer::NodeName;
    use crate::http::samples;
    use crate::runtime::ReadPoint;
    use quorapay_core::domain::Epoch;

    fn export(format: ExportFormat, pages: Vec<Result<Vec<u32>, ReadError>>) -> axum::response::Response {
        let export = Export {
            format,
            columns: &["number", "double"],
            as_of: LogIndex(9),
            timeout: Duration::from_secs(5),
            _permit: Arc::new(Semaphore::new(1)).try_acquire_owned().expect("free"),
        };
        let point = ReadPoint { applied_index: LogIndex(9), epoch: Epoch(1), staleness_ms: 0 };
        let write = move |out: &mut Vec<u8>, number: &u32| {
            let double = (number * 2).to_string();
            match format {
                ExportFormat::Csv => render::row(out, [number.to_string().as_str(), &double]),
                ExportFormat::Ndjson => json_row(out, &(number * 2)),
            }
            1
        };
        let answer = export.answer(AsOf::of_read(&point, None), stream::iter(pages), write);
        answer.into_response(&NodeName::new(samples::node("node1")), None)
    }

    async fn text(response: axum::response::Response) -> String {
        let bytes = response.into_body().collect().await.expect("whole").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn an_export_has_all_rows_and_a_last_one_that_says_so() {
        let pages = || vec![Ok(vec![1, 2]), Ok(vec![]), Ok(vec![3])];
        let csv = export(ExportFormat::Csv, pages());
        assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8; header=present");
        assert_eq!(text(csv).await, "number,double\n1,2\n2,4\n3,6\ncomplete,3\n");
        let ndjson = export(ExportFormat::Ndjson, pages());
        assert_eq!(ndjson.headers()["content-type"], "application/x-ndjson");
        assert_eq!(text(ndjson).await, "2\n4\n6\n{\"complete\":true,\"rows\":3,\"as_of_index\":9}\n");
    }

    #[tokio::test]
    async fn an_empty_export_is_complete_too() {
        assert_eq!(text(export(ExportFormat::Csv, vec![])).await, "number,double\ncomplete,0\n");
        let ndjson = text(export(ExportFormat::Ndjson, vec![Ok(vec![])])).await;
        assert_eq!(ndjson, "{\"complete\":true,\"rows\":0,\"as_of_index\":9}\n");
    }

    #[tokio::test]
    async fn an_export_that_cannot_go_on_breaks_off_without_a_last_row() {
        let broken = export(ExportFormat::Csv, vec![Ok(vec![1]), Err(ReadError::Storage), Ok(vec![2])]);
        let mut body = broken.into_body();
        let first = body.frame().await.expect("rows").expect("good").into_data().expect("data");
        assert_eq!(first, "number,double\n1,2\n");
        assert!(body.frame().await.expect("an end").is_err());
        assert!(body.frame().await.is_none());
    }
}
