//! `quorapay verify` and `quorapay rebuild-views`: commands on a data directory without a running node.

use std::path::PathBuf;

use clap::Args;
use indicatif::ProgressBar;

use super::CliError;
use super::connection::{block_on, print_line, to_json};
use super::exit;
use super::progress::counting_bar;
use quorapay_node::verify::{self, AuditReport};

const VERIFY_EXAMPLES: &str = "\
Examples:
  quorapay verify /data
  quorapay verify quorapay-dev/node1 --json

Works beside a running node too, up to what is committed. The exit code is 1 if anything is wrong.";

/// Check a ledger: hash chain, double entry, views
#[derive(Debug, Args)]
#[command(after_help = format!("{VERIFY_EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Verify {
    /// The node's data directory
    data_dir: PathBuf,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let bar = counting_bar("entries checked");
        let report = block_on(verify::verify(&self.data_dir, &mut |done, total| show(&bar, done, total)))?;
        bar.finish_and_clear();
        let report = report.map_err(|error| CliError::Failed(error.to_string()))?;
        print_line(&if self.json { to_json(&report) } else { describe(&report) })?;
        match report.findings.len() {
            0 => Ok(()),
            found => Err(CliError::Failed(format!("{found} finding(s) in {}", self.data_dir.display()))),
        }
    }
}

fn describe(report: &AuditReport) -> String {
    let views = report.projected.map_or("no views".to_owned(), |index| format!("views up to {index}"));
    let mut lines = vec![format!(
        "{} entries, last hash {}; {} accounts, {} payments; {views}",
        report.verified.index, report.verified.hash, report.accounts, report.payments
    )];
    lines.extend(report.findings.iter().map(|finding| format!("WRONG: {finding}")));
    if report.findings.is_empty() {
        lines.push("the chain is whole, every currency sums to zero, the views agree with the ledger".to_owned());
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
