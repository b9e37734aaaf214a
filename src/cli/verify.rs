//! `quorapay verify` and `quorapay rebuild-views`: commands on a data directory without a running node, and on backups.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;

use super::CliError;
use super::connection::{block_on, print_line, to_json};
use super::exit;
use super::progress::counting_bar;
use super::restore::backup_files;
use quorapay_lab::backup::Series;
use quorapay_node::backup::{self, BackupChain};
use quorapay_node::verify::{self, AuditReport};

const VERIFY_EXAMPLES: &str = "\
Examples:
  quorapay verify /data
  quorapay verify quorapay-dev/node1 --json
  quorapay verify monday.qpb tuesday.qpb      # backups that join
  quorapay verify /backups                    # the newest of `quorapay backup --keep`

Works beside a running node too, up to what is committed. The exit code is 1 if anything is wrong.";

/// Check a ledger or a backup of it: hash chain, double entry, views
#[derive(Debug, Args)]
#[command(after_help = format!("{VERIFY_EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Verify {
    /// The node's data directory; or a full backup and the incremental ones after it, or a directory of backups
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let bar = counting_bar("entries checked");
        let mut progress = |done, total| show(&bar, done, total);
        let (report, what) = match self.paths.as_slice() {
            [data_dir] if is_data_dir(data_dir) => {
                let report = block_on(verify::verify(data_dir, &mut progress))?.map_err(failed)?;
                let views = report.projected.map_or("no views".to_owned(), |index| format!("views up to {index}"));
                (report, views)
            }
            paths => {
                let mut chain = BackupChain::open(&backup_files(paths)?).map_err(failed)?;
                let what = format!("a backup of cluster {:?} until {}", chain.cluster_id(), chain.end().shown_time());
                (block_on(backup::verify(&mut chain, &mut progress))?.map_err(failed)?, what)
            }
        };
        bar.finish_and_clear();
        print_line(&if self.json { to_json(&report) } else { describe(&report, &what) })?;
        match report.findings.len() {
            0 => Ok(()),
            found => Err(CliError::Failed(format!("{found} finding(s) in {}", self.paths[0].display()))),
        }
    }
}

/// Whether a path is not that of backups. A directory without a ledger is named as such by the audit.
fn is_data_dir(path: &Path) -> bool {
    path.is_dir() && (path.join("ledger.db").exists() || Series::newest_files(path).is_ok_and(|files| files.is_empty()))
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

fn describe(report: &AuditReport, what: &str) -> String {
    let mut lines = vec![format!(
        "{} entries, last hash {}; {} accounts, {} payments; {what}",
        report.verified.index, report.verified.hash, report.accounts, report.payments
    )];
    lines.extend(report.findings.iter().map(|finding| format!("WRONG: {finding}")));
    if report.findings.is_empty() {
        let views = if report.projected.is_some() { ", the views agree with the ledger" } else { "" };
        lines.push(format!("the chain is whole, every currency sums to zero{views}"));
    }
    lines.join("\n")
}

/// Make the views anew from the ledger
#[derive(Debug, Args)]
#[command(after_help = format!("Examples:\n  quorapay rebuild-views /data\n\nThe node must be stopped.\n\n{}", exit::HELP))]
pub(super) struct RebuildViews {
    /// The node's data directory
    data_dir: PathBuf,
}

impl RebuildViews {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let bar = counting_bar("entries projected");
        let projected = block_on(verify::rebuild_views(&self.data_dir, &mut |done, total| show(&bar, done, total)))?;
        bar.finish_and_clear();
        let projected = projected.map_err(|error| CliError::Failed(error.to_string()))?;
        print_line(&format!("the views are rebuilt up to index {}", projected.index))
    }
}

pub(super) fn show(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}
