//! The refused rows: in a CSV file, and the first of them for the summary.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::CliError;

/// Refused rows that the summary shows; the file has all of them.
const SHOWN: usize = 20;

/// A row that was not paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RefusedRow {
    /// The line on which it begins, counted from 1.
    pub(super) line: u64,
    /// Its number among the rows, counted from 1.
    pub(super) row: u64,
    pub(super) idempotency_key: String,
    pub(super) code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    /// The payment that the bank refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payment_id: Option<String>,
}

/// Where refused rows go.
#[derive(Debug)]
pub(super) struct Report {
    file: Option<(PathBuf, BufWriter<File>)>,
    shown: Vec<RefusedRow>,
}

impl Report {
    /// Begins a report, or goes on with one that had this many bytes: what an interrupted import wrote behind them
    /// belongs to a batch that will be repeated.
    pub(super) fn open(path: Option<&Path>, written: Option<u64>) -> Result<Self, CliError> {
        let file = path.map(|path| begin(path, written.unwrap_or(0)).map_err(|source| writing(path, source)));
        let mut report = Self { file: file.transpose()?, shown: Vec::new() };
        if report.flush()? == 0 {
            report.write(["line", "row", "idempotency_key", "code", "field", "detail", "payment_id"])?;
        }
        Ok(report)
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: RefusedRow) -> Result<(), CliError> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let numbers = (row.line.to_string(), row.row.to_string());
        let (field, detail, payment) = (text(&row.field), text(&row.detail), text(&row.payment_id));
        self.write([&numbers.0, &numbers.1, &row.idempotency_key, &row.code, &field, &detail, &payment])?;
        if self.shown.len() < SHOWN {
            self.shown.push(row);
        }
        Ok(())
    }

    /// Sees to it that everything added is in the file. Says how long it is.
    pub(super) fn flush(&mut self) -> Result<u64, CliError> {
        let Some((path, file)) = &mut self.file else { return Ok(0) };
        file.flush().and_then(|()| file.stream_position()).map_err(|source| writing(path, source))
    }

    /// The first refused rows.
    pub(super) fn shown(&self) -> &[RefusedRow] {
        &self.shown
    }

    fn write(&mut self, fields: [&str; 7]) -> Result<(), CliError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        let line = fields.map(quote).join(",");
        writeln!(file, "{line}").map_err(|source| writing(path, source))
    }
}

/// Opens a report behind its first `kept` bytes; one that has fewer is another and begins anew.
fn begin(path: &Path, kept: u64) -> io::Result<(PathBuf, BufWriter<File>)> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
    file.set_len(if file.metadata()?.len() < kept { 0 } else { kept })?;
    file.seek(SeekFrom::End(0))?;
    Ok((path.to_owned(), BufWriter::new(file)))
}

fn quote(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.to_owned() }
}

fn writing(path: &Path, source: io::Error) -> CliError {
    CliError::Io { what: format!("writing {}", path.display()), source }
}
