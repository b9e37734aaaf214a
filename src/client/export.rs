//! Exports: rows as they come, and whether they all came.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use serde::Deserialize;

use super::accounts::{filter_query, statement_path};
use super::call::{Attempt, Call, judge, root_cause};
use super::error::ClientError;
use super::model::StatementFilter;
use super::retry::Budget;
use super::send::Client;
use quorapay_core::domain::AccountId;
use quorapay_core::domain::LogIndex;

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

impl ExportFormat {
    /// The word that stands for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }
}

/// An export on its way. Read it to its end: only there it says whether it is whole.
#[derive(Debug)]
pub struct Export {
    response: Response,
    format: ExportFormat,
    /// How long the node may stay silent.
    patience: Duration,
    last_line: LastLine,
}

/// The last line of an export in the making. Longer ones are no last lines of a whole export and are not kept.
#[derive(Debug, Default)]
struct LastLine {
    text: Vec<u8>,
    ended: bool,
}

/// More than the last line of a whole export has.
const LONGEST_LAST_LINE: usize = 1_024;

#[derive(Deserialize)]
struct Trailer {
    complete: bool,
}

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
        self.export(Call::read(&statement_path(id), filter_query(filter)), format).await
    }

    /// Exports the ledger from an index to its end, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn export_ledger(&self, from: LogIndex, format: ExportFormat) -> Result<Export, ClientError> {
        self.export(Call::read(&["v1", "ledger"], vec![("from_index", from.to_string())]), format).await
    }

    /// Begins an export at the first URL that answers. What follows has no deadline as a whole, only between two pieces.
    async fn export(&self, call: Call, format: ExportFormat) -> Result<Export, ClientError> {
        let call = call.with("format", format.as_str());
        let mut budget = Budget::new(self.deadline);
        let mut at = self.preferred.load(Ordering::Relaxed);
        let (mut last, mut last_problem) = ("the deadline is too short for one attempt".to_owned(), None);
        let mut attempts = 0;
        while let Some(time) = budget.attempt() {
            let url = call.url(&self.urls[at]);
            let failed = match tokio::time::timeout(time, self.http.get(url.clone()).send()).await {
                Err(_) => Attempt::Failed { open: false, why: "no answer in time".to_owned(), problem: None },
                Ok(Err(error)) => Attempt::Failed { open: false, why: root_cause(&error), problem: None },
                Ok(Ok(response)) if response.status().is_success() => {
                    self.preferred.store(at, Ordering::Relaxed);
                    let last_line = LastLine::default();
                    return Ok(Export { response, format, patience: self.deadline, last_line });
                }
                Ok(Ok(response)) => {
                    let status = response.status();
                    judge(status, response.bytes().await.unwrap_or_default(), false)
                }
            };
            match failed {
                Attempt::Refused(problem) => return Err(ClientError::Refused(problem)),
                Attempt::Failed { why, problem, .. } => (last, last_problem) = (why, problem),
                Attempt::Unexpected(reason) => return Err(ClientError::Unexpected { url: url.to_string(), reason }),
                Attempt::Succeeded { .. } => unreachable!("a success is returned above"),
            }
            at = (at + 1) % self.urls.len();
            attempts += 1;
            if attempts % self.urls.len() == 0 {
                budget.rest().await;
            }
        }
        Err(last_problem.map_or_else(|| self.unreachable(self.deadline, last), ClientError::Refused))
    }
}

impl Export {
    /// The end of the ledger as of which it is made.
    #[must_use]
    pub fn index(&self) -> Option<LogIndex> {
        let header = self.response.headers().get("Quorapay-Index")?;
        header.to_str().ok()?.parse().ok().map(LogIndex)
    }

    /// The next piece; `None` after the last. The pieces one after the other are the export, its last line included.
    ///
    /// # Errors
    /// [`ClientError::Incomplete`] if the node broke off, fell silent, or ended without saying that this was all.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = match tokio::time::timeout(self.patience, self.response.chunk()).await {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => return Err(self.incomplete(root_cause(&error))),
            Err(_) => return Err(self.incomplete(format!("nothing came for {} ms", self.patience.as_millis()))),
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
            let room = LONGEST_LAST_LINE.saturating_sub(self.text.len());
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
                    serde_json::from_slice::<Trailer>(&self.text).is_ok_and(|trailer| trailer.complete)
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
