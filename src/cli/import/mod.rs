//! `quorapay import`: payments from a file, each once, however often the import is interrupted and begun again.
//!
//! The file is read twice: first to its end, to check every row and to digest the content; then, if all is well, row by
//! row into batches. Every row has an idempotency key of its own, named by the file or derived from its content, so that
//! a row that was sent before is answered and not paid again.

mod records;
mod report;
mod resume;
mod row;
mod send;
mod source;

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;

use super::CliError;
use super::connection::{Connection, block_on, print_line, to_json};
use super::exit;
use super::export::FormatWord;
use super::progress::bytes_bar;
use quorapay_client::Client;
use report::{RefusedRow, Report};
use resume::{Counts, Progress, ResumeFile};
use row::Fault;
use send::{Batch, Keyed};
use source::{ContentDigest, Row, Rows, derived_key};

const HELP: &str = "\
Examples:
  quorapay import payments.csv --dry-run
  quorapay import payments.csv --report refused.csv
  quorapay import payments.ndjson --batch 5000 --json

CSV has a header. Its columns, in any order: from, to, currency, and either amount (150.75) or amount_minor (15075);
and if wanted capture, expires_in, order_id, order_total (written like the amount), description, metadata (JSON),
idempotency_key. NDJSON has on each line the body of POST /v1/payments, with idempotency_key if wanted.

A row without a key gets one from the file's content and its number: the same file can be imported again and again and is
paid once. A file that was changed is another file: its rows without keys are other payments.

Nothing is sent unless every row is well-formed, or --skip-invalid is given. An import that was interrupted goes on with
the same command; how far it came is in FILE.resume until it is done. Rows that the bank refuses do not stop it.

The exit code is 0 if every row is in the ledger as a payment made, 1 if rows were refused, invalid or skipped.";

/// Import payments from a CSV or NDJSON file
#[derive(Debug, Args)]
#[command(after_help = format!("{HELP}\n\n{}", exit::HELP))]
pub(super) struct Import {
    /// The file
    file: PathBuf,
    /// How it is written [default: by its name: .csv, .ndjson or .jsonl]
    #[arg(long, value_enum)]
    format: Option<FormatWord>,
    /// Check every row and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Pay the well-formed rows even if others are not
    #[arg(long)]
    skip_invalid: bool,
    /// How many payments are sent at a time
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Write the refused rows to this file, as CSV with line numbers and codes
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// What the first reading found.
struct Survey {
    digest: ContentDigest,
    rows: u64,
    invalid: u64,
}

/// The result.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    file: &'a Path,
    rows: u64,
    /// Rows that are no payment; none of them was sent.
    invalid: u64,
    sent: bool,
    #[serde(flatten)]
    counts: Counts,
    /// The first of the invalid and refused rows.
    refused_rows: &'a [RefusedRow],
}

impl Import {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let format = self.format()?;
        let resume = ResumeFile::of(&self.file);
        let begun = if self.dry_run { None } else { resume.load()? };
        let mut report = Report::open(self.report.as_deref(), begun.as_ref().map(|begun| begun.report_bytes))?;
        let survey = self.survey(format, begun.is_none().then_some(&mut report))?;
        if let Some(begun) = begun.as_ref().filter(|begun| begun.digest != survey.digest) {
            return Err(self.changed(begun, &resume));
        }
        let blocked = survey.invalid > 0 && !self.skip_invalid;
        if self.dry_run || blocked {
            return self.finish(&survey, None, &mut report);
        }
        let client = self.connection.client()?;
        let start = begun.unwrap_or_else(|| Progress {
            digest: survey.digest.clone(),
            offset: 0,
            lines: 0,
            rows: 0,
            counts: Counts::default(),
            report_bytes: 0,
        });
        let counts = block_on(self.send(&client, format, start, &mut report, &resume))??;
        report.flush()?;
        resume.remove()?;
        self.finish(&survey, Some(counts), &mut report)
    }

    fn format(&self) -> Result<FormatWord, CliError> {
        let by_name = || match self.file.extension()?.to_str()? {
            "csv" => Some(FormatWord::Csv),
            "ndjson" | "jsonl" => Some(FormatWord::Ndjson),
            _ => None,
        };
        let unknown = || CliError::Usage("say with --format how the file is written: csv or ndjson".to_owned());
        self.format.or_else(by_name).ok_or_else(unknown)
    }

    /// Reads the whole file once: checks every row, digests the content.
    fn survey(&self, format: FormatWord, mut report: Option<&mut Report>) -> Result<Survey, CliError> {
        let bar = bytes_bar(self.length()?);
        let mut rows = Rows::survey(&self.file, format)?;
        let (mut count, mut invalid) = (0, 0);
        while let Some(row) = rows.next(&self.file)? {
            count += 1;
            if let Err(fault) = &row.item {
                invalid += 1;
                if let Some(report) = &mut report {
                    report.add(invalid_row(&row, fault))?;
                }
            }
            advance(&bar, &row, || format!("checked, {count} rows, {invalid} invalid"));
        }
        bar.finish_and_clear();
        Ok(Survey { digest: rows.digest(), rows: count, invalid })
    }

    async fn send(
        &self,
        client: &Client,
        format: FormatWord,
        mut progress: Progress,
        report: &mut Report,
        resume: &ResumeFile,
    ) -> Result<Counts, CliError> {
        let bar = bytes_bar(self.length()?);
        let place = (progress.rows > 0).then(|| progress.place());
        let mut rows = Rows::from(&self.file, format, place)?;
        // From the first batch on there may be something to go on with.
        progress.report_bytes = report.flush()?;
        resume.save(&progress)?;
        let size = usize::try_from(self.batch).expect("a usize holds 32 bits here");
        let (mut batch, mut last) = (Batch::default(), None);
        loop {
            let row = rows.next(&self.file)?;
            let (ended, mut row) = (row.is_none(), row);
            let keyed = row.as_mut().and_then(|row| keyed(row, &progress.digest));
            let held_back = keyed.and_then(|keyed| batch.push(keyed).err());
            if ended || held_back.is_some() || batch.len() == size {
                // What is held back comes after this batch, so the batch ends with the row before.
                if held_back.is_none() {
                    last = row.as_ref().map(|row| (row.end, row.number)).or(last);
                }
                progress.add(std::mem::take(&mut batch).send(client, report).await?, last);
                progress.report_bytes = report.flush()?;
                resume.save(&progress)?;
                let counts = progress.counts;
                bar.set_message(format!("{} paid, {} refused", counts.succeeded, counts.refused));
                bar.set_position(progress.offset);
            }
            if let Some(keyed) = held_back {
                batch.push(*keyed).unwrap_or_else(|_| unreachable!("an empty batch has room for any row"));
            }
            let Some(row) = row else { break };
            last = Some((row.end, row.number));
        }
        bar.finish_and_clear();
        Ok(progress.counts)
    }

    fn finish(&self, survey: &Survey, sent: Option<Counts>, report: &mut Report) -> Result<(), CliError> {
        report.flush()?;
        let summary = Summary {
            file: &self.file,
            rows: survey.rows,
            invalid: survey.invalid,
            sent: sent.is_some(),
            counts: sent.unwrap_or_default(),
            refused_rows: report.shown(),
        };
        print_line(&if self.connection.json { to_json(&summary) } else { describe(&summary) })?;
        let refused = survey.invalid + summary.counts.refused;
        match (refused, sent) {
            (0, _) => Ok(()),
            (_, None) => Err(CliError::Shown(format!("{refused} invalid rows; nothing was sent"))),
            (_, Some(_)) => Err(CliError::Shown(format!("{refused} rows were not paid"))),
        }
    }

    fn changed(&self, begun: &Progress, resume: &ResumeFile) -> CliError {
        let (file, resume) = (self.file.display(), resume.path().display());
        CliError::Failed(format!(
            "{file} was changed since an import of it stopped behind row {}; put it back as it was, or remove {resume} to \
             import it as another file, which pays its rows without keys of their own again",
            begun.rows
        ))
    }

    fn length(&self) -> Result<u64, CliError> {
        let failed = |source| CliError::Io { what: format!("reading {}", self.file.display()), source };
        std::fs::metadata(&self.file).map(|metadata| metadata.len()).map_err(failed)
    }
}

impl Progress {
    /// Adds a batch that is decided, up to and including this row.
    fn add(&mut self, counts: Counts, last: Option<(records::Place, u64)>) {
        self.counts.succeeded += counts.succeeded;
        self.counts.replayed += counts.replayed;
        self.counts.refused += counts.refused;
        if let Some((place, rows)) = last {
            (self.offset, self.lines, self.rows) = (place.offset, place.lines, rows);
        }
    }
}

/// A well-formed row with its key; invalid ones are not sent.
fn keyed(row: &mut Row, digest: &ContentDigest) -> Option<Keyed> {
    let mut item = row.item.as_ref().ok()?.clone();
    let key = item.idempotency_key.get_or_insert_with(|| derived_key(digest, row.number)).clone();
    Some(Keyed { line: row.line, number: row.number, key, item })
}

fn invalid_row(row: &Row, fault: &Fault) -> RefusedRow {
    RefusedRow {
        line: row.line,
        row: row.number,
        idempotency_key: String::new(),
        code: fault.code.clone(),
        field: fault.field.clone(),
        detail: Some(fault.detail.clone()),
        payment_id: None,
    }
}

/// Moves a bar on now and then: to write a message for every row would cost more than to read it.
fn advance(bar: &ProgressBar, row: &Row, message: impl FnOnce() -> String) {
    const ROWS: u64 = 1_000;
    if row.number.is_multiple_of(ROWS) {
        bar.set_position(row.end.offset);
        bar.set_message(message());
    }
}

fn describe(summary: &Summary<'_>) -> String {
    let Summary { file, rows, invalid, counts, .. } = summary;
    let mut lines = vec![if summary.sent {
        let Counts { succeeded, replayed, refused } = counts;
        let before =
            if *replayed > 0 { format!(" ({replayed} rows were in the ledger before)") } else { String::new() };
        format!("{}: {rows} rows, {succeeded} paid{before}, {refused} refused, {invalid} invalid", file.display())
    } else {
        format!("{}: {rows} rows, {invalid} invalid; nothing was sent", file.display())
    }];
    lines.extend(summary.refused_rows.iter().map(|row| {
        let field = row.field.as_ref().map(|field| format!(", {field}")).unwrap_or_default();
        let detail = row.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("line {}: {}{field}{detail}", row.line, row.code)
    }));
    let refused = invalid + counts.refused;
    let shown = u64::try_from(summary.refused_rows.len()).expect("a usize fits into 64 bits");
    if refused > shown {
        lines.push(format!("and {} more; --report FILE has them all", refused - shown));
    }
    lines.join("\n")
}
