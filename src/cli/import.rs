//! `quorapay import`: sends the payments of a file.

use std::path::PathBuf;

use clap::Args;

use super::connection::{Connection, block_on, print_line, to_json};
use super::exit;
use super::export::FormatArgument;
use super::progress::bytes_bar;
use super::{CliError, ExitCode};
use quorapay_lab::import::{CheckedImport, Counts, FileFormat, Import, ImportError, ImportOptions, StopCause, Summary};

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
pub(super) struct ImportArguments {
    /// The file
    file: PathBuf,
    /// How it is written [default: by its name: .csv, .ndjson or .jsonl]
    #[arg(long, value_enum)]
    format: Option<FormatArgument>,
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

impl ImportArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let import = Import::open(self.options()?)?;
        let bar = bytes_bar(import.file_bytes()?);
        let mut import = import.check(|progress| {
            bar.set_position(progress.bytes);
            bar.set_message(format!("checked, {} rows, {} invalid", progress.rows, progress.invalid));
        })?;
        bar.finish_and_clear();
        if import.may_send() {
            self.send(&mut import)?;
        }
        let summary = import.finish()?;
        print_line(&if self.connection.json { to_json(&summary) } else { describe(&summary) })?;
        let refused = summary.invalid + summary.counts.refused;
        match (refused, summary.sent) {
            (0, _) => Ok(()),
            (_, false) => Err(CliError::Shown(format!("{refused} invalid rows; nothing was sent"))),
            (_, true) => Err(CliError::Shown(format!("{refused} rows were not paid"))),
        }
    }

    fn send(&self, import: &mut CheckedImport) -> Result<(), CliError> {
        let client = self.connection.client()?;
        let bar = bytes_bar(import.file_bytes()?);
        let sent = import.send(&client, |progress| {
            bar.set_message(format!("{} paid, {} refused", progress.counts.succeeded, progress.counts.refused));
            bar.set_position(progress.bytes);
        });
        block_on(sent)??;
        bar.finish_and_clear();
        Ok(())
    }

    fn options(&self) -> Result<ImportOptions, CliError> {
        Ok(ImportOptions {
            file: self.file.clone(),
            format: self.format()?,
            dry_run: self.dry_run,
            skip_invalid: self.skip_invalid,
            batch_size: usize::try_from(self.batch).expect("a usize holds 32 bits here"),
            report: self.report.clone(),
        })
    }

    fn format(&self) -> Result<FileFormat, CliError> {
        let by_name = || match self.file.extension()?.to_str()? {
            "csv" => Some(FileFormat::Csv),
            "ndjson" | "jsonl" => Some(FileFormat::Ndjson),
            _ => None,
        };
        let unknown = || CliError::Usage("say with --format how the file is written: csv or ndjson".to_owned());
        self.format.map(FileFormat::from).or_else(by_name).ok_or_else(unknown)
    }
}

impl From<FormatArgument> for FileFormat {
    fn from(format: FormatArgument) -> Self {
        match format {
            FormatArgument::Csv => Self::Csv,
            FormatArgument::Ndjson => Self::Ndjson,
        }
    }
}

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        let detail = error.to_string();
        match error {
            ImportError::Io { what, source } => Self::Io { what, source },
            ImportError::Empty { .. }
            | ImportError::Header { .. }
            | ImportError::Changed { .. }
            | ImportError::ResultCount { .. } => Self::Failed(detail),
            ImportError::Stopped { cause, .. } => Self::Stopped {
                detail,
                code: match cause {
                    StopCause::OutcomeUnknown => ExitCode::OutcomeUnknown,
                    StopCause::Unreachable => ExitCode::Unreachable,
                    StopCause::Failed => ExitCode::Failed,
                },
            },
        }
    }
}

fn describe(summary: &Summary) -> String {
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
