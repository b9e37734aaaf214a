//! Compares the ledgers: intact chains, equal histories, no acknowledged entry missing.

use std::path::{Path, PathBuf};

use super::error::CheckError;
use super::report::{Breach, LedgerSummary, Report};
use super::truth::Truth;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, Position};
use quorapay_node::ledger::{InspectedLedger, LedgerError, LedgerReader, inspect};

/// How many entries are read at a time.
const CHUNK_ENTRIES: usize = 4_096;

/// A ledger whose metadata and last position could be read.
struct CheckedLedger {
    name: String,
    ledger: InspectedLedger,
    last: Position,
}

/// How far a ledger's chain is intact.
struct Chain {
    last: Position,
    broken: Option<String>,
}

/// Reads and compares all ledgers. Returns the longest committed history.
pub(super) async fn read(paths: &[PathBuf], report: &mut Report) -> Result<Truth, CheckError> {
    let mut opened = Vec::new();
    for path in paths {
        opened.extend(open(path, report).await?);
    }
    if paths.is_empty() {
        return Err(CheckError::NoLedger);
    }
    // The best log by the rule of recovery comes first: it has everything that was committed.
    opened.sort_by_key(|opened| std::cmp::Reverse((opened.last.epoch, opened.last.index)));
    let mut verifying: Vec<_> = opened.iter().map(verify_in_background).collect();
    let mut damaged = Vec::new();
    for best in 0..opened.len() {
        let upto = compare(&opened[best..], report).await?;
        let mut truth = Truth::default();
        let mut entries_report = Report::default();
        let last = opened[best].ledger.last_index;
        let take = |entry: &Entry| {
            if entry.index <= upto {
                truth.add(entry, &mut entries_report);
            }
        };
        let chain = follow_chain(&opened[best].name, &opened[best].ledger.reader, last, take).await?;
        if let Some(broken) = chain.broken {
            report_damage(&opened[best].name, &chain.last, &broken, report);
            damaged.push(broken);
            verifying.remove(0).abort();
            report.ledgers.clear();
            continue;
        }
        report.absorb(entries_report);
        // The best ledger has been verified above.
        verifying.remove(0).abort();
        for (other, task) in opened[best + 1..].iter().zip(verifying) {
            let chain = task.await.expect("reading a ledger does not panic")?;
            if let Some(broken) = chain.broken {
                report_damage(&other.name, &chain.last, &broken, report);
            }
        }
        for opened in &opened {
            opened.ledger.reader.close().await;
        }
        return Ok(truth);
    }
    Err(CheckError::NoTruth(damaged.join("; ")))
}

async fn open(path: &Path, report: &mut Report) -> Result<Option<CheckedLedger>, CheckError> {
    let directory = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let name = path.display().to_string();
    let read = async {
        let ledger = inspect(directory).await?;
        let last = ledger.reader.position(ledger.last_index).await?.unwrap_or_default();
        Ok(CheckedLedger { name: name.clone(), ledger, last })
    };
    match read.await {
        Ok(opened) => Ok(Some(opened)),
        Err(LedgerError::Damaged(reason)) => {
            report_damage(&name, &Position::default(), &reason, report);
            Ok(None)
        }
        Err(source) => Err(CheckError::Ledger { ledger: name, source }),
    }
}

fn report_damage(ledger: &str, last: &Position, reason: &str, report: &mut Report) {
    let what = format!("{ledger} holds together up to entry {} and no further: {reason}", last.index);
    report.add(Breach::LedgerDamaged, None, Some(last.index.next()), what);
}

/// Verifies a whole ledger in the background, including its uncommitted end.
fn verify_in_background(opened: &CheckedLedger) -> tokio::task::JoinHandle<Result<Chain, CheckError>> {
    let (name, reader, upto) = (opened.name.clone(), opened.ledger.reader.clone(), opened.ledger.last_index);
    tokio::spawn(async move { follow_chain(&name, &reader, upto, |_| {}).await })
}

/// Follows a chain entry by entry as far as it is intact.
async fn follow_chain(
    name: &str,
    reader: &LedgerReader,
    upto: LogIndex,
    mut take: impl FnMut(&Entry),
) -> Result<Chain, CheckError> {
    let mut chain = Chain { last: Position::default(), broken: None };
    while chain.last.index < upto {
        let next = chain.last.index.next();
        let entries = match reader.entries(next, upto, CHUNK_ENTRIES).await {
            Ok(entries) => entries,
            Err(LedgerError::Damaged(reason)) => {
                chain.broken = Some(reason);
                return Ok(chain);
            }
            Err(source) => return Err(CheckError::Ledger { ledger: name.to_owned(), source }),
        };
        if entries.is_empty() {
            chain.broken = Some(format!("entry {next} is missing"));
        }
        for entry in entries {
            if !entry.follows(&chain.last) {
                chain.broken = Some(format!("entry {} is not the one that was hashed", entry.index));
                break;
            }
            take(&entry);
            chain.last = entry.position();
        }
        if chain.broken.is_some() {
            break;
        }
    }
    Ok(chain)
}

/// Compares the first ledger with the others. Returns the index up to which it is committed: the maximum of the ledgers'
/// commit indexes and of what a majority of them has.
async fn compare(ledgers: &[CheckedLedger], report: &mut Report) -> Result<LogIndex, CheckError> {
    let [best, ..] = ledgers else { return Ok(LogIndex::default()) };
    let mut agreements = Vec::new();
    for other in ledgers {
        let agreed = agreement(best, other).await?;
        let committed = other.ledger.commit_index.min(other.ledger.last_index);
        if agreed.index < committed {
            let at = agreed.index.next();
            let what = format!(
                "{} and {} are equal up to entry {} and differ from entry {at} on, and {} knows its entries to be \
                 committed up to {committed}",
                best.name, other.name, agreed.index, other.name
            );
            report.add(Breach::LedgersDiffer, None, Some(at), what);
        }
        agreements.push(agreed.index);
        report.ledgers.push(LedgerSummary {
            ledger: other.name.clone(),
            last_index: other.ledger.last_index,
            commit_index: other.ledger.commit_index,
            agrees_up_to: agreed.index,
            hash: agreed.hash,
        });
    }
    let committed = ledgers.iter().map(|ledger| ledger.ledger.commit_index).max().unwrap_or_default();
    agreements.sort_unstable();
    let majority = agreements[(agreements.len() - 1) / 2];
    Ok(committed.max(majority).min(best.ledger.last_index))
}

/// The last position that two ledgers share. Diverged chains never have equal hashes again, so a binary search finds it.
async fn agreement(one: &CheckedLedger, other: &CheckedLedger) -> Result<Position, CheckError> {
    let mut agreed = Position::default();
    let mut beyond = one.ledger.last_index.min(other.ledger.last_index).next();
    let mut at = beyond.previous();
    while agreed.index.next() < beyond {
        let (here, there) = (position(one, at).await?, position(other, at).await?);
        match here.filter(|here| Some(*here) == there) {
            Some(here) => agreed = here,
            None => beyond = at,
        }
        at = LogIndex(agreed.index.0 + (beyond.0 - agreed.index.0) / 2);
    }
    Ok(agreed)
}

async fn position(opened: &CheckedLedger, at: LogIndex) -> Result<Option<Position>, CheckError> {
    match opened.ledger.reader.position(at).await {
        Ok(position) => Ok(position),
        // Reported when the chain is followed.
        Err(LedgerError::Damaged(_)) => Ok(None),
        Err(source) => Err(CheckError::Ledger { ledger: opened.name.clone(), source }),
    }
}

/// Checks that everything up to `acknowledged` is in a majority of the ledgers, or in all of them.
pub(super) fn check_complete(truth: &Truth, acknowledged: LogIndex, all: bool, report: &mut Report) {
    let acknowledged = acknowledged.min(truth.last());
    let (behind, complete): (Vec<_>, Vec<_>) =
        report.ledgers.iter().cloned().partition(|ledger| ledger.agrees_up_to < acknowledged);
    if behind.is_empty() {
        return;
    }
    let detail: Vec<_> =
        behind.iter().map(|ledger| format!("{} ends at {}", ledger.ledger, ledger.agrees_up_to)).collect();
    let detail = format!("entry {acknowledged} was acknowledged, but {}", detail.join(" and "));
    if all || complete.len() <= behind.len() {
        report.add(Breach::LedgerIncomplete, None, Some(acknowledged), detail);
    } else {
        report.notes.push(detail);
    }
}
