//! `quorapay backup`: the ledger as files, once or on a schedule.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use indicatif::ProgressBar;
use serde_json::json;

use super::CliError;
use super::connection::{Connection, block_on, print_line, to_json};
use super::duration::parse_duration;
use super::exit::{self, ExitCode};
use super::progress::counting_bar;
use super::verify::show;
use quorapay_client::Client;
use quorapay_core::domain::LogIndex;
use quorapay_lab::backup::{Backup as Taken, Series, TakeError, take, write_to};
use quorapay_node::backup::part_of;

const EXAMPLES: &str = "\
Examples:
  quorapay backup --to monday.qpb
  quorapay backup --to tuesday.qpb --from monday.qpb       # what came after it
  quorapay backup --to - | ssh vault 'cat > monday.qpb'
  quorapay backup --to /backups --keep 24 --every 1h       # a full one, then what came after it, for ever

Everything that is committed when the backup begins is in it, from whichever node answers; payments go on meanwhile. The
chain of hashes is verified while it is written. While it is written, FILE is called FILE.part: a FILE that is there is
whole. The same command continues what was interrupted, except on stdout.

With --keep, FILE is a directory: the newest backups are kept with all that they need, and after so many a full one
begins anew. `quorapay restore` and `quorapay verify` read the files.";

/// How soon a scheduled backup that failed is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Back the ledger up, whole or what came after an earlier backup
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Backup {
    /// The file to write; `-` is stdout; a directory with --keep
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// An earlier backup: only what came after it is written
    #[arg(long, value_name = "FILE", conflicts_with = "keep")]
    from: Option<PathBuf>,
    /// Keep so many backups in a directory
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    keep: Option<u32>,
    /// Take backups for ever, one in each interval
    #[arg(long, value_name = "DURATION", value_parser = parse_interval, requires = "keep")]
    every: Option<Duration>,
    #[command(flatten)]
    connection: Connection,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        interval if interval < Duration::from_secs(1) => Err("an interval has at least one second".to_owned()),
        interval => Ok(interval),
    }
}

impl Backup {
    pub(super) fn run(&self) -> Result<(), CliError> {
        match (self.keep, self.every) {
            (Some(keep), None) => block_on(self.add(&self.series(keep)?))?,
            (Some(keep), Some(every)) => block_on(self.repeat(&self.series(keep)?, every))?,
            (None, _) if self.to.as_os_str() == "-" => block_on(self.write_to_stdout())?,
            (None, _) => block_on(self.write_file())?,
        }
    }

    fn series(&self, keep: u32) -> Result<Series, CliError> {
        Series::open(&self.to, keep).map_err(failed)
    }

    async fn write_file(&self) -> Result<(), CliError> {
        let client = self.connection.client()?;
        let bar = counting_bar("entries");
        let taken = take(&client, &self.to, self.from.as_deref(), &mut |done, upto| step(&bar, done, upto)).await;
        bar.finish_and_clear();
        match taken {
            Ok(taken) => self.print(&self.to, &taken, &[]),
            Err(error) => Err(stopped(&self.to, error)),
        }
    }

    async fn write_to_stdout(&self) -> Result<(), CliError> {
        if self.connection.json || io::stdout().is_terminal() {
            return Err(CliError::Usage("a backup on stdout goes to a pipe or a file, without --json".to_owned()));
        }
        let client = self.connection.client()?;
        let bar = counting_bar("entries");
        let out = io::BufWriter::new(io::stdout().lock());
        let taken = write_to(&client, out, self.from.as_deref(), &mut |done, upto| step(&bar, done, upto)).await;
        bar.finish_and_clear();
        let taken = taken.map_err(failed)?;
        eprintln!("{}", describe(Path::new("stdout"), &taken));
        Ok(())
    }

    async fn add(&self, series: &Series) -> Result<(), CliError> {
        self.add_with(series, &self.connection.client()?).await
    }

    async fn add_with(&self, series: &Series, client: &Client) -> Result<(), CliError> {
        let bar = counting_bar("entries");
        let added = series.add(client, &mut |done, upto| step(&bar, done, upto)).await;
        bar.finish_and_clear();
        let added = added.map_err(failed)?;
        self.print(&added.path, &added.backup, &added.removed)
    }

    /// Takes a backup in each interval. A failure is reported, and tried again soon: whoever runs this restarts nothing.
    async fn repeat(&self, series: &Series, every: Duration) -> Result<(), CliError> {
        let client = self.connection.client()?;
        loop {
            let newest = series.newest().map_err(failed)?;
            let age = newest.map(|newest| SystemTime::now().duration_since(newest).unwrap_or_default());
            if let Some(age) = age {
                tokio::time::sleep(every.saturating_sub(age)).await;
            }
            if let Err(error) = self.add_with(series, &client).await {
                eprintln!("quorapay: no backup was taken: {error}");
                tokio::time::sleep(every.min(RETRY)).await;
            }
        }
    }

    fn print(&self, path: &Path, taken: &Taken, removed: &[PathBuf]) -> Result<(), CliError> {
        if self.connection.json {
            return print_line(&to_json(&json!({ "file": path, "backup": taken, "removed": removed })));
        }
        let removed = removed.iter().map(|path| format!("\nremoved {}", path.display())).collect::<String>();
        print_line(&format!("{}{removed}", describe(path, taken)))
    }
}

fn step(bar: &ProgressBar, done: LogIndex, upto: LogIndex) {
    show(bar, done.0, upto.0);
}

fn describe(path: &Path, taken: &Taken) -> String {
    let Taken { cluster_id, after, end, bytes, continued } = taken;
    let first = after.position.index.next();
    let what = match (after.position.index, end.position.index) {
        (after, end) if after == end => format!("nothing new after entry {after}"),
        (LogIndex(0), end) => format!("entries 1 to {end}, all there were"),
        (_, end) => format!("entries {first} to {end}"),
    };
    let continued = if *continued { ", continued" } else { "" };
    format!(
        "{}: cluster {cluster_id:?}, {what}, until {}; {bytes} bytes{continued}; the chain is whole, its last hash is {}",
        path.display(),
        end.shown_time(),
        end.position.hash
    )
}

fn failed(error: TakeError) -> CliError {
    match error {
        TakeError::Client(error) => CliError::Client(error),
        other => CliError::Failed(other.to_string()),
    }
}

/// A backup to a file that stopped; what came is there to be continued, unless nothing had come.
fn stopped(path: &Path, error: TakeError) -> CliError {
    let error = failed(error);
    match error.exit_code() {
        code @ (ExitCode::Failed | ExitCode::Unreachable) if part_of(path).exists() => {
            let part = part_of(path);
            CliError::Stopped { detail: format!("{error}; what came is in {}", part.display()), code }
        }
        _ => error,
    }
}
