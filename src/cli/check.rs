//! `quorapay check`: checks histories of clients against ledgers.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use super::connection::{print_line, to_json};
use super::exit;
use quorapay_lab::check::{self, Subjects, Verdict};

const EXAMPLES: &str = "\
Examples:
  quorapay check target/chaos/history.jsonl target/chaos/node*/ledger.db
  quorapay check history.jsonl node1 node2 node3 --complete --json
  quorapay check quorapay-dev/node1 quorapay-dev/node2 quorapay-dev/node3    # the ledgers alone

Nothing is changed, and nodes may be running. Give the ledgers of a majority: an entry counts as committed if a majority
of those given holds it. Real-time order is judged within each history, because each has a clock of its own.
The exit code is 5 if a promise was broken, and 1 if a file could not be read.";

/// Check histories of clients against ledgers: nothing lost, doubled, reordered, stale or wrong
///
/// Says which operation broke which promise (file, line, process, key), and ends with a verdict and counts.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(super) struct Check {
    /// Histories, and ledgers: a directory or a .db file is a node's ledger, anything else a history
    #[arg(required = true, value_name = "HISTORY|LEDGER")]
    paths: Vec<PathBuf>,
    /// Every ledger must hold everything that was acknowledged, and not only a majority of them
    #[arg(long)]
    complete: bool,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(&self) -> Result<(), CliError> {
        // Several threads, because the ledgers are verified in parallel.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|source| CliError::Io { what: "starting the check".to_owned(), source })?;
        let report = runtime.block_on(check::check(&self.subjects()));
        let report = report.map_err(|error| CliError::Failed(error.to_string()))?;
        print_line(&if self.json { to_json(&report) } else { report.to_string() })?;
        match report.verdict {
            Verdict::Kept => Ok(()),
            Verdict::Broken => Err(CliError::PromiseBroken(report.total_broken())),
        }
    }

    fn subjects(&self) -> Subjects {
        let is_ledger = |path: &PathBuf| path.is_dir() || path.extension().is_some_and(|extension| extension == "db");
        let (ledgers, histories) = self.paths.iter().cloned().partition(is_ledger);
        Subjects { histories, ledgers, all_complete: self.complete }
    }
}
