//! `quorapay export`: writes statements and the ledger to files.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::ProgressBar;

use super::CliError;
use super::connection::{Connection, block_on, print_line};
use super::exit;
use super::pay::{parse_account, parse_currency};
use super::payment::TimeArguments;
use super::progress::{counting_bar, endless_bar};
use quorapay_client::{ClientError, Export, ExportFormat, StatementFilter};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{AccountId, Currency};

const EXAMPLES: &str = "\
Examples:
  quorapay export statement shop:42 --format csv --output shop-42.csv
  quorapay export statement shop:42 --from-time 2026-01-01T00:00:00Z --to-time 2026-02-01T00:00:00Z > january.csv
  quorapay export ledger --format ndjson --output ledger.ndjson

The last line of a whole export says `complete`. While it is written, FILE is called FILE.part: a FILE that is there is
whole. Amounts are in minor units.";

/// Write statements and the ledger to files
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct ExportArguments {
    #[command(subcommand)]
    command: ExportCommand,
}

#[derive(Debug, Subcommand)]
enum ExportCommand {
    Statement(Statement),
    Ledger(Ledger),
}

/// What an account paid and received, newest first
#[derive(Debug, Args)]
struct Statement {
    /// The account
    #[arg(value_parser = parse_account)]
    id: AccountId,
    /// In this currency
    #[arg(long, value_parser = parse_currency)]
    currency: Option<Currency>,
    #[command(flatten)]
    times: TimeArguments,
    #[command(flatten)]
    target: Target,
}

/// Every entry of the ledger, oldest first
#[derive(Debug, Args)]
struct Ledger {
    /// The first entry to write
    #[arg(long, value_name = "INDEX", default_value_t = 1)]
    from_index: u64,
    #[command(flatten)]
    target: Target,
}

/// Where and in which format to write.
#[derive(Debug, Args)]
struct Target {
    /// How rows are written
    #[arg(long, value_enum, default_value_t = FormatArgument::Csv)]
    format: FormatArgument,
    /// The file; stdout without one
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FormatArgument {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object per line
    Ndjson,
}

impl FormatArgument {
    const fn format(self) -> ExportFormat {
        match self {
            Self::Csv => ExportFormat::Csv,
            Self::Ndjson => ExportFormat::Ndjson,
        }
    }
}

impl ExportArguments {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match &self.command {
            ExportCommand::Statement(statement) => block_on(statement.run())?,
            ExportCommand::Ledger(ledger) => block_on(ledger.run())?,
        }
    }
}

impl Statement {
    async fn run(&self) -> Result<(), CliError> {
        let filter = StatementFilter {
            currency: self.currency,
            from_time: self.times.from_time.clone(),
            to_time: self.times.to_time.clone(),
        };
        let client = self.target.connection.client()?;
        let export = client.export_statement(&self.id, &filter, self.target.format.format()).await?;
        let bar = endless_bar("lines");
        self.target.write(export, &bar, |piece| bar.inc(lines(piece))).await
    }
}

impl Ledger {
    async fn run(&self) -> Result<(), CliError> {
        let client = self.target.connection.client()?;
        let export = client.export_ledger(LogIndex(self.from_index), self.target.format.format()).await?;
        let bar = counting_bar("entries");
        bar.set_length(export.index().map_or(0, |index| (index.0 + 1).saturating_sub(self.from_index)));
        let reached = |piece: &[u8]| {
            if let Some(index) = last_index(piece) {
                bar.set_position((index + 1).saturating_sub(self.from_index));
            }
        };
        self.target.write(export, &bar, reached).await
    }
}

impl Target {
    async fn write(&self, mut export: Export, bar: &ProgressBar, progress: impl Fn(&[u8])) -> Result<(), CliError> {
        let Some(path) = &self.output else {
            let end = copy(&mut export, &mut io::stdout().lock(), progress).await;
            bar.finish_and_clear();
            return match end {
                Err(CliError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                end => end.map(|_| ()),
            };
        };
        let part = part_of(path);
        let failed = |source| CliError::Io { what: format!("writing {}", path.display()), source };
        let mut file = File::create(&part).map_err(failed)?;
        let end = copy(&mut export, &mut file, progress).await;
        bar.finish_and_clear();
        match end {
            Ok(bytes) => {
                file.sync_all().and_then(|()| std::fs::rename(&part, path)).map_err(failed)?;
                self.print_result(path, bytes)
            }
            Err(CliError::Client(error @ ClientError::Incomplete { .. })) => {
                let detail = format!("INCOMPLETE: {error}; what came is in {}", part.display());
                Err(CliError::Failed(detail))
            }
            Err(error) => Err(error),
        }
    }

    fn print_result(&self, path: &Path, bytes: u64) -> Result<(), CliError> {
        if self.connection.json {
            let result = serde_json::json!({ "output": path, "bytes": bytes, "complete": true });
            return print_line(&super::connection::to_json(&result));
        }
        print_line(&format!("{}: {bytes} bytes, complete", path.display()))
    }
}

fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn copy(export: &mut Export, out: &mut impl Write, progress: impl Fn(&[u8])) -> Result<u64, CliError> {
    let failed = |source| CliError::Io { what: "writing the export".to_owned(), source };
    let mut bytes = 0;
    while let Some(piece) = export.chunk().await? {
        out.write_all(&piece).map_err(failed)?;
        bytes += u64::try_from(piece.len()).expect("a usize fits into 64 bits");
        progress(&piece);
    }
    out.flush().map_err(failed)?;
    Ok(bytes)
}

fn lines(piece: &[u8]) -> u64 {
    piece.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

/// The index at the beginning of the last complete line of a piece, if there is one.
fn last_index(piece: &[u8]) -> Option<u64> {
    let before_last = piece.iter().rposition(|byte| *byte == b'\n').map_or(piece, |end| &piece[..end]);
    let line = before_last.rsplit(|byte| *byte == b'\n').next()?;
    let line = line.strip_prefix(b"{\"index\":").unwrap_or(line);
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&line[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_follows_the_index_of_the_last_line() {
        assert_eq!(last_index(b"index,kind\n1,payment\n22,payment\n3"), Some(22));
        assert_eq!(last_index(b"{\"index\":7,\"kind\":\"fence\"}\n"), Some(7));
        assert_eq!(last_index(b"complete,22,22\n"), None);
        assert_eq!(last_index(b""), None);
    }
}
