//! One import: check the file, send its rows, summarize.

use std::path::PathBuf;

use serde::Serialize;

use super::checkpoint::{Checkpoint, CheckpointFile, Counts};
use super::error::ImportError;
use super::file_format::FileFormat;
use super::records::FilePosition;
use super::report::{RefusalReport, RefusedRow};
use super::row::RowError;
use super::send::{KeyedRow, RowBatch};
use super::source::{ContentDigest, Row, Rows, derived_key};
use quorapay_client::Client;

/// How often the check reports its progress. Reporting every row costs more than reading it.
const ROWS_PER_PROGRESS: u64 = 1_000;

/// What to import and how.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The file.
    pub file: PathBuf,
    /// How it is written.
    pub format: FileFormat,
    /// Check every row and send nothing.
    pub dry_run: bool,
    /// Send the well-formed rows even if others are not.
    pub skip_invalid: bool,
    /// Payments in each request, at least 1.
    pub batch_size: usize,
    /// Where all refused rows are written, as CSV.
    pub report: Option<PathBuf>,
}

/// An import whose file has not been read yet.
#[derive(Debug)]
pub struct Import {
    options: ImportOptions,
    checkpoint_file: CheckpointFile,
    /// Where an earlier run of the same import stopped.
    checkpoint: Option<Checkpoint>,
    report: RefusalReport,
}

/// An import whose rows have been checked.
#[derive(Debug)]
pub struct CheckedImport {
    import: Import,
    digest: ContentDigest,
    rows: u64,
    invalid: u64,
    sent: Option<Counts>,
}

/// Progress of the check.
#[derive(Clone, Copy, Debug)]
pub struct CheckProgress {
    /// Bytes read.
    pub bytes: u64,
    /// Rows read.
    pub rows: u64,
    /// Invalid rows among them.
    pub invalid: u64,
}

/// Progress of sending.
#[derive(Clone, Copy, Debug)]
pub struct SendProgress {
    /// Bytes of the file whose rows are decided.
    pub bytes: u64,
    /// Outcomes of these rows.
    pub counts: Counts,
}

/// The result of an import.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// The file.
    pub file: PathBuf,
    /// Rows of the file.
    pub rows: u64,
    /// Rows that are no payment; none of them was sent.
    pub invalid: u64,
    /// Whether anything was sent.
    pub sent: bool,
    /// Outcomes of the rows that were sent.
    #[serde(flatten)]
    pub counts: Counts,
    /// The first of the invalid and refused rows.
    pub refused_rows: Vec<RefusedRow>,
}

impl Import {
    /// Opens the report, and the checkpoint of an earlier run if there is one.
    ///
    /// # Errors
    /// [`ImportError::Io`].
    pub fn open(options: ImportOptions) -> Result<Self, ImportError> {
        let checkpoint_file = CheckpointFile::of(&options.file);
        let checkpoint = if options.dry_run { None } else { checkpoint_file.load()? };
        let written = checkpoint.as_ref().map(|checkpoint| checkpoint.report_bytes);
        let report = RefusalReport::open(options.report.as_deref(), written)?;
        Ok(Self { options, checkpoint_file, checkpoint, report })
    }

    /// Size of the file.
    ///
    /// # Errors
    /// [`ImportError::Io`].
    pub fn file_bytes(&self) -> Result<u64, ImportError> {
        let metadata = std::fs::metadata(&self.options.file);
        metadata.map(|metadata| metadata.len()).map_err(|source| ImportError::io("reading", &self.options.file, source))
    }

    /// Reads the whole file once: checks every row and digests the content.
    ///
    /// # Errors
    /// [`ImportError::Changed`] if an import of another content under this name was interrupted; [`ImportError::Empty`],
    /// [`ImportError::Header`] and [`ImportError::Io`].
    pub fn check(mut self, mut progress: impl FnMut(CheckProgress)) -> Result<CheckedImport, ImportError> {
        let file = &self.options.file;
        let mut rows = Rows::digesting(file, self.options.format)?;
        let (mut count, mut invalid) = (0, 0);
        while let Some(row) = rows.next(file)? {
            count += 1;
            if let Err(error) = &row.item {
                invalid += 1;
                // An interrupted import has reported them before.
                if self.checkpoint.is_none() {
                    self.report.add(invalid_row(&row, error))?;
                }
            }
            if row.number.is_multiple_of(ROWS_PER_PROGRESS) {
                progress(CheckProgress { bytes: row.end.offset, rows: count, invalid });
            }
        }
        let digest = rows.digest();
        if let Some(checkpoint) = self.checkpoint.as_ref().filter(|checkpoint| checkpoint.digest != digest) {
            let (file, rows) = (file.clone(), checkpoint.rows);
            return Err(ImportError::Changed { file, checkpoint: self.checkpoint_file.path().to_owned(), rows });
        }
        Ok(CheckedImport { import: self, digest, rows: count, invalid, sent: None })
    }
}

impl CheckedImport {
    /// Whether the rows may be sent: this is no dry run, and invalid rows are absent or to be skipped.
    #[must_use]
    pub fn may_send(&self) -> bool {
        let options = &self.import.options;
        !options.dry_run && (self.invalid == 0 || options.skip_invalid)
    }

    /// Size of the file.
    ///
    /// # Errors
    /// [`ImportError::Io`].
    pub fn file_bytes(&self) -> Result<u64, ImportError> {
        self.import.file_bytes()
    }

    /// Sends every well-formed row that is not decided yet.
    ///
    /// # Errors
    /// [`ImportError::Stopped`] if not every row is known to be decided, [`ImportError::ResultCount`], and
    /// [`ImportError::Io`]. To run the same import again is safe.
    pub async fn send(&mut self, client: &Client, progress: impl FnMut(SendProgress)) -> Result<(), ImportError> {
        let start = self.import.checkpoint.take().unwrap_or_else(|| Checkpoint::start(self.digest.clone()));
        self.sent = Some(self.import.send_from(start, client, progress).await?);
        self.import.report.flush()?;
        self.import.checkpoint_file.remove()
    }

    /// The result.
    ///
    /// # Errors
    /// [`ImportError::Io`] if the report could not be written.
    pub fn finish(mut self) -> Result<Summary, ImportError> {
        self.import.report.flush()?;
        Ok(Summary {
            file: self.import.options.file,
            rows: self.rows,
            invalid: self.invalid,
            sent: self.sent.is_some(),
            counts: self.sent.unwrap_or_default(),
            refused_rows: self.import.report.into_first_rows(),
        })
    }
}

impl Import {
    async fn send_from(
        &mut self,
        mut checkpoint: Checkpoint,
        client: &Client,
        mut progress: impl FnMut(SendProgress),
    ) -> Result<Counts, ImportError> {
        let ImportOptions { file, format, batch_size, .. } = &self.options;
        let position = (checkpoint.rows > 0).then(|| checkpoint.position());
        let mut rows = Rows::from(file, *format, position)?;
        // Saved before the first batch: from then on there may be something to continue.
        checkpoint.report_bytes = self.report.flush()?;
        self.checkpoint_file.save(&checkpoint)?;
        let (mut batch, mut last) = (RowBatch::default(), None);
        loop {
            let row = rows.next(file)?;
            let keyed = row.as_ref().and_then(|row| keyed(row, &checkpoint.digest));
            let held_back = keyed.and_then(|keyed| batch.push(keyed).err());
            if row.is_none() || held_back.is_some() || batch.len() == *batch_size {
                // A row that is held back comes after this batch, which ends with the row before it.
                if held_back.is_none() {
                    last = row.as_ref().map(|row| (row.end, row.number)).or(last);
                }
                let counts = std::mem::take(&mut batch).send(client, &mut self.report).await?;
                checkpoint.advance(counts, last);
                checkpoint.report_bytes = self.report.flush()?;
                self.checkpoint_file.save(&checkpoint)?;
                progress(SendProgress { bytes: checkpoint.offset, counts: checkpoint.counts });
            }
            if let Some(keyed) = held_back {
                batch.push(*keyed).unwrap_or_else(|_| unreachable!("an empty batch has room for any row"));
            }
            let Some(row) = row else { break };
            last = Some((row.end, row.number));
        }
        Ok(checkpoint.counts)
    }
}

impl Checkpoint {
    /// Adds a decided batch, whose last row ended at this position and had this number.
    fn advance(&mut self, counts: Counts, last: Option<(FilePosition, u64)>) {
        self.counts.succeeded += counts.succeeded;
        self.counts.replayed += counts.replayed;
        self.counts.refused += counts.refused;
        if let Some((position, rows)) = last {
            (self.offset, self.lines, self.rows) = (position.offset, position.lines, rows);
        }
    }
}

/// A well-formed row with its key; `None` for an invalid one.
fn keyed(row: &Row, digest: &ContentDigest) -> Option<KeyedRow> {
    let mut item = row.item.as_ref().ok()?.clone();
    let key = item.idempotency_key.get_or_insert_with(|| derived_key(digest, row.number)).clone();
    Some(KeyedRow { line: row.line, number: row.number, key, item })
}

fn invalid_row(row: &Row, error: &RowError) -> RefusedRow {
    RefusedRow {
        line: row.line,
        row: row.number,
        idempotency_key: String::new(),
        code: error.code.clone(),
        field: error.field.clone(),
        detail: Some(error.detail.clone()),
        payment_id: None,
    }
}
