//! Exports: rows as they arrive, and whether they are all there.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;

use super::accounts::statement_path;
use super::call::{AttemptResult, Call, judge, root_cause};
use super::error::ClientError;
use super::retry::Budget;
use super::send::Client;
use super::{ExportFormat, StatementFilter};
use quorapay_api::{ExportTrailer, headers, query};
use quorapay_core::domain::AccountId;
use quorapay_core::domain::LogIndex;

/// An export that is being received. Read it to its end: only there it says whether it is whole.
#[derive(Debug)]
pub struct Export {
    response: Response,
    format: ExportFormat,
    /// How long the node may send nothing.
    timeout: Duration,
    last_line: LastLine,
}

/// The last line of an export so far. Longer ones are not last lines of a whole export and are not kept.
#[derive(Debug, Default)]
struct LastLine {
    text: Vec<u8>,
    ended: bool,
}

/// More than the last line of a whole export has.
const MAX_LAST_LINE_BYTES: usize = 1_024;

impl Client {
    /// Exports an account's statement, newest first.
    ///
    /// # Errors
    /// [`ClientError`]; an unknown account is `Refused` with code `account_not_found`.
    pub async fn export_statement(
        &self,
        id: &AccountId,
        filter: &StatementFilter,
        format: ExportFormat,
    ) -> Result<Export, ClientError> {
        self.export(Call::read(&statement_path(id), filter.parameters().collect()), format).await
    }

    /// Exports the ledger from an index to its end, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export_ledger(&self, from: LogIndex, format: ExportFormat) -> Result<Export, ClientError> {
        self.export(Call::read(&["v1", "ledger"], vec![(query::FROM_INDEX, from.to_string())]), format).await
    }

    /// Starts an export. It has no deadline as a whole, only the time between two pieces has.
    async fn export(&self, call: Call, format: ExportFormat) -> Result<Export, ClientError> {
        let response = self.open_stream(&call.with(query::FORMAT, format.as_str())).await?;
        Ok(Export { response, format, timeout: self.deadline, last_line: LastLine::default() })
    }

    /// Sends a call whose answer is a stream to one URL after another, until one answers.
    pub(super) async fn open_stream(&self, call: &Call) -> Result<Response, ClientError> {
        let mut budget = Budget::new(self.deadline);
        let mut at = self.preferred.load(Ordering::Relaxed);
        let (mut last, mut last_problem) = ("the deadline is too short for one attempt".to_owned(), None);
        let mut attempts = 0;
        while let Some(time) = budget.attempt_timeout() {
            let url = call.url(&self.urls[at]);
            let failed = match tokio::time::timeout(time, self.http.get(url.clone()).send()).await {
                Err(_) => AttemptResult::Failed { open: false, why: "no answer in time".to_owned(), problem: None },
                Ok(Err(error)) => AttemptResult::Failed { open: false, why: root_cause(&error), problem: None },
                Ok(Ok(response)) if response.status().is_success() => {
                    self.preferred.store(at, Ordering::Relaxed);
                    return Ok(response);
                }
                Ok(Ok(response)) => {
                    let status = response.status();
                    judge(status, response.bytes().await.unwrap_or_default(), false)
                }
            };
            match failed {
                AttemptResult::Refused(problem) => return Err(ClientError::Refused(problem)),
                AttemptResult::Failed { why, problem, .. } => (last, last_problem) = (why, problem),
                AttemptResult::Unexpected(reason) => {
                    return Err(ClientError::Unexpected { url: url.to_string(), reason });
                }
                AttemptResult::Succeeded { .. } => unreachable!("a success is returned above"),
            }
            at = (at + 1) % self.urls.len();
            attempts += 1;
            if attempts % self.urls.len() == 0 {
                budget.pause().await;
            }
        }
        Err(last_problem.map_or_else(|| self.unreachable(self.deadline, last), ClientError::Refused))
    }
}

impl Export {
    /// The end of the ledger as of which it is made.
    #[must_use]
    pub fn index(&self) -> Option<LogIndex> {
        let header = self.response.headers().get(headers::INDEX.lower)?;
        header.to_str().ok()?.parse().ok().map(LogIndex)
    }

    /// The next piece; `None` after the last. All pieces together are the export, including its last line.
    ///
    /// # Errors
    /// [`ClientError::Incomplete`] if the connection was closed early, timed out, or ended without the last line.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = match tokio::time::timeout(self.timeout, self.response.chunk()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(self.incomplete(root_cause(&error))),
            Err(_) => return Err(self.incomplete(format!("nothing came for {} ms", self.timeout.as_millis()))),
        };
        match &piece {
            Some(bytes) => self.last_line.read(bytes),
            None if self.last_line.says_complete(self.format) => {}
            None => return Err(self.incomplete("it ended without its last line".to_owned())),
        }
        Ok(piece)
    }

    fn incomplete(&self, reason: String) -> ClientError {
        ClientError::Incomplete { url: self.response.url().to_string(), reason }
    }
}

impl LastLine {
    fn read(&mut self, piece: &[u8]) {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.ended {
                self.text.clear();
            }
            let room = MAX_LAST_LINE_BYTES.saturating_sub(self.text.len());
            self.text.extend_from_slice(&line[..line.len().min(room)]);
            self.ended = line.ends_with(b"\n");
        }
    }

    fn says_complete(&self, format: ExportFormat) -> bool {
        self.ended
            && match format {
                // Rows begin with a number.
                ExportFormat::Csv => self.text.starts_with(b"complete,"),
                ExportFormat::Ndjson => {
                    serde_json::from_slice::<ExportTrailer>(&self.text).is_ok_and(|trailer| trailer.complete)
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says_complete(format: ExportFormat, pieces: &[&str]) -> bool {
        let mut last_line = LastLine::default();
        pieces.iter().for_each(|piece| last_line.read(piece.as_bytes()));
        last_line.says_complete(format)
    }

    #[test]
    fn only_an_export_that_ends_with_its_last_line_is_whole() {
        assert!(says_complete(ExportFormat::Csv, &["index,amount\n1,5\ncomp", "lete,1,7,\n"]));
        assert!(says_complete(ExportFormat::Ndjson, &["{\"index\":1}\n{\"complete\":true,\"rows\":1}\n"]));
        for cut in ["", "index,amount\n", "index,amount\n1,5\n", "index,amount\n1,5\ncomplete,1", "complete,1\n2,5\n"] {
            assert!(!says_complete(ExportFormat::Csv, &[cut]), "{cut:?}");
        }
        for cut in ["{\"index\":1}\n", "{\"complete\":true", "{\"complete\":true}\n{\"index\":1}\n"] {
            assert!(!says_complete(ExportFormat::Ndjson, &[cut]), "{cut:?}");
        }
    }
}
