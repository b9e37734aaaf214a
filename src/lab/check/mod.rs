//! The checker: holds what clients were told against what the ledgers say.
//!
//! The ledgers are read first: their chains, whether they agree, and the longest committed history, which is replayed
//! against a model of the checker's own that shares no code with the bank. Then every history is read once, and each
//! operation is judged by the entries that it must or must not have led to:
//!
//! ```text
//! ledgers   → chains whole, equal, nothing acknowledged missing     (ledgers)
//! entries   → decided as the accounts demand, no key twice          (truth, model)
//! answers   → the entry they name, the same under one key           (writes, reads)
//! real time → nothing is older than what was answered before it     (order)
//! ```
//!
//! One pass over each file. Kept in memory are a small record per entry, per key and per answer; nothing is quadratic.
//! The checker knows the words of requests, histories and ledger files, and nothing of nodes, of HTTP or of the bank.

mod answers;
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
mod words;
mod writes;

use std::path::PathBuf;

pub use error::CheckError;
pub use report::{Breach, Counts, LedgerSummary, Place, Report, Verdict, Violation};

/// What is to be checked.
#[derive(Clone, Debug, Default)]
pub struct Subjects {
    /// Histories. Real-time order is judged within each, because each has a clock of its own.
    pub histories: Vec<PathBuf>,
    /// Data directories of nodes, or their `ledger.db` files.
    pub ledgers: Vec<PathBuf>,
    /// Whether every ledger must hold everything that was acknowledged, and not only a majority of those given: so it
    /// is once a cluster was whole again for a while.
    pub all_complete: bool,
}

/// Checks histories against ledgers. Reads the files only; a ledger may be in use by a running node.
///
/// # Errors
/// [`CheckError`] if a file cannot be read or there is no ledger to check against. What is wrong with a cluster is no
/// error but a violation in the report.
pub async fn check(subjects: &Subjects) -> Result<Report, CheckError> {
    let mut report = Report::default();
    let truth = ledgers::read(&subjects.ledgers, &mut report).await?;
    truth.finish(&mut report);
    let acked = judge::judge(&subjects.histories, &truth, &mut report)?;
    ledgers::check_complete(&truth, acked, subjects.all_complete, &mut report);
    report.conclude();
    Ok(report)
}
