//! The checker: compares the histories of clients with the ledgers.
//!
//! The ledgers are read first: their chains, whether they agree, and the longest committed history, which is replayed
//! against a model that shares no code with the bank. Then every history is read once, and each operation is compared
//! with the entries that it must or must not have created:
//!
//! ```text
//! ledgers   intact chains, equal histories, no acknowledged entry missing   ledgers
//! entries   the expected decisions, no key twice                            truth, model, fact
//! answers   equal to the entry that they name, identical under one key      writes, reads, answers
//! real time nothing is older than what was answered before it               order
//! ```
//!
//! Further files: `judge` reads the histories and checks the keys, `describe` puts entries into sentences, `report` is the
//! result, `error` says why a check could not be made.
//!
//! Each file is read once. A small record per entry, key and answer is kept in memory; no step is quadratic. The checker
//! knows requests, histories and ledger files, and does not know nodes, HTTP or the bank.

mod answers;
mod describe;
mod error;
mod fact;
mod judge;
mod ledgers;
mod model;
mod order;
mod reads;
mod report;
#[cfg(test)]
mod tests;
mod truth;
mod writes;

use std::path::PathBuf;

pub use error::CheckError;
pub use report::{Breach, Counts, LedgerSummary, Location, Report, Verdict, Violation};

/// The files to check.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Histories. Real-time order is checked within each, because each has its own clock.
    pub histories: Vec<PathBuf>,
    /// Data directories of nodes, or their `ledger.db` files.
    pub ledgers: Vec<PathBuf>,
    /// Whether every ledger must have everything that was acknowledged, and not only a majority of the ledgers. That holds
    /// once a cluster has recovered.
    pub all_complete: bool,
}

/// Checks histories against ledgers. Reads the files only; a ledger may be in use by a running node.
///
/// # Errors
/// [`CheckError`] if a file cannot be read or there is no ledger. Failures of the cluster are violations in the report.
pub async fn check(subjects: &Subjects) -> Result<Report, CheckError> {
    let mut report = Report::default();
    let truth = ledgers::read(&subjects.ledgers, &mut report).await?;
    truth.finish(&mut report);
    let acknowledged = judge::judge(&subjects.histories, &truth, &mut report)?;
    ledgers::check_complete(&truth, acknowledged, subjects.all_complete, &mut report);
    report.conclude();
    Ok(report)
}
