//! The refused rows: all of them in a CSV file, the first of them for the summary.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::ImportError;

/// How many refused rows the summary has.
const MAX_SUMMARY_ROWS: usize = 20;

/// Columns of the CSV file.
const HEADER: [&str; 7] = ["line", "row", "idempotency_key", "code", "field", "detail", "payment_id"];

/// A row that was not paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRow {
    /// The line on which it begins, counted from 1.
    pub line: u64,
    /// Its number among the rows, counted from 1.
    pub row: u64,
    /// Its key; empty for an invalid row.
    pub idempotency_key: String,
    /// Why it was refused, as the HTTP interface names it.
    pub code: String,
    /// The field that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The reason for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The payment that the bank refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_id: Option<String>,
}

/// Collects refused rows.
#[derive(Debug)]
pub(super) struct RefusalReport {
    file: Option<(PathBuf, csv::Writer<File>)>,
    first_rows: Vec<RefusedRow>,
}

impl RefusalReport {
    /// Begins a report, or continues one that had `written` bytes at the checkpoint: what comes after them belongs to a
    /// batch that will be repeated.
    pub(super) fn open(path: Option<&Path>, written: Option<u64>) -> Result<Self, ImportError> {
        let file = path.map(|path| open(path, written.unwrap_or(0)).map_err(|source| writing(path, source)));
        let mut report = Self { file: file.transpose()?, first_rows: Vec::new() };
        if report.flush()? == 0 {
            report.write(HEADER)?;
        }
        Ok(report)
    }

    pub(super) fn add(&mut self, row: RefusedRow) -> Result<(), ImportError> {
        let (line, number) = (row.line.to_string(), row.row.to_string());
        let [field, detail, payment] =
            [&row.field, &row.detail, &row.payment_id].map(|text| text.as_deref().unwrap_or_default());
        self.write([&line, &number, &row.idempotency_key, &row.code, field, detail, payment])?;
        if self.first_rows.len() < MAX_SUMMARY_ROWS {
            self.first_rows.push(row);
        }
        Ok(())
    }

    /// Writes everything that was added to the file. Returns the file's length.
    pub(super) fn flush(&mut self) -> Result<u64, ImportError> {
        let Some((path, file)) = &mut self.file else { return Ok(0) };
        file.flush().and_then(|()| file.get_ref().stream_position()).map_err(|source| writing(path, source))
    }

    #[cfg(test)]
    pub(super) fn first_rows(&self) -> &[RefusedRow] {
        &self.first_rows
    }

    pub(super) fn into_first_rows(self) -> Vec<RefusedRow> {
        self.first_rows
    }

    fn write(&mut self, fields: [&str; HEADER.len()]) -> Result<(), ImportError> {
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        file.write_record(fields).map_err(|error| writing(path, error.into()))
    }
}

/// Opens a report behind its first `kept` bytes. A file with fewer is another one and is overwritten.
fn open(path: &Path, kept: u64) -> io::Result<(PathBuf, csv::Writer<File>)> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
    file.set_len(if file.metadata()?.len() < kept { 0 } else { kept })?;
    file.seek(SeekFrom::End(0))?;
    Ok((path.to_owned(), csv::Writer::from_writer(file)))
}

fn writing(path: &Path, source: io::Error) -> ImportError {
    ImportError::io("writing", path, source)
}
