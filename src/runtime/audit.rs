//! Goes through a node's whole ledger: the chain of hashes entry by entry, the bank replayed from nothing, double entry,
//! and the views against all of it. Also rebuilds the views.
//!
//! An audit changes nothing and needs no running node; beside one, it looks at what is committed. It knows the files of
//! a data directory and nothing of the event loop.

use std::path::Path;

use serde::Serialize;

use crate::domain::{AccountId, Bank, KeyDigest, Operation, PaymentOutcome};
use crate::ledger::{DirectoryLock, InspectedLedger, LedgerError, Watermark, inspect};
use crate::replication::{Entry, LogIndex, Position, Timestamp};
use crate::views::{self, ViewsError, ViewsReader};

/// Entries read and checked at a time.
const CHUNK_ENTRIES: usize = 4_096;

/// Entries projected at a time when views are rebuilt: the bigger, the cheaper each; some 30 MiB of memory.
const REBUILD_ENTRIES: usize = 65_536;

/// Findings reported by number; one is enough to distrust a ledger.
const MAX_FINDINGS: usize = 100;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A row is not what any program of this kind writes. The rest of the ledger was not looked at.
    #[error("the ledger cannot be read after entry {after}: {reason}")]
    Unreadable {
        /// The last entry that could be read.
        after: LogIndex,
        /// What is wrong.
        reason: String,
    },
    /// There is a hole in the log. The rest of the ledger was not looked at.
    #[error("entry {index} is missing")]
    Missing {
        /// The first entry that is missing.
        index: LogIndex,
    },
    /// An entry is not the one that was hashed. The rest of the ledger was not looked at.
    #[error("the chain of hashes breaks at entry {index}")]
    ChainBroken {
        /// The entry.
        index: LogIndex,
    },
    /// Timestamps go back.
    #[error("entry {index} is older than the one before it")]
    TimeWentBack {
        /// The younger entry.
        index: LogIndex,
    },
    /// The bank gets another result than the one written down. The rest of the ledger was not replayed.
    #[error("entry {index}: {reason}")]
    Diverged {
        /// The entry.
        index: LogIndex,
        /// What differs.
        reason: String,
    },
    /// Money came from nowhere or went there.
    #[error("all accounts together hold {total} minor units of {currency}, and not zero")]
    Unbalanced {
        /// The currency.
        currency: String,
        /// What they hold.
        total: i128,
    },
    /// The log is shorter than it once was.
    #[error("the ledger ends at {last}, below {mark}, up to where it was committed and durable")]
    EndsTooEarly {
        /// The end of the log.
        last: LogIndex,
        /// Commit index or watermark.
        mark: LogIndex,
    },
    /// The views cannot be read.
    #[error("the views cannot be read: {reason}")]
    ViewsUnreadable {
        /// Why.
        reason: String,
    },
    /// The views are not of this ledger's history.
    #[error("the views are of another history than this ledger at entry {index}")]
    ViewsOfAnotherHistory {
        /// Up to where they claim to go.
        index: LogIndex,
    },
    /// The views' accounts and balances are not those of the replayed bank.
    #[error("the balances in the views are not those of the ledger at entry {index}, first at account {account}")]
    ViewsBalances {
        /// Of which entry they should be.
        index: LogIndex,
        /// The first account that differs.
        account: String,
    },
    /// A key or a posting of this entry is not in the views.
    #[error("the views lack a key or a posting of entry {index}")]
    ViewsLack {
        /// The entry.
        index: LogIndex,
    },
    /// The views hold keys or postings that the ledger does not.
    #[error("the views hold {found} keys and postings at entry {index}, the ledger {expected}")]
    ViewsCount {
        /// Of which entry they are.
        index: LogIndex,
        /// How many the views hold.
        found: u64,
        /// How many the ledger holds.
        expected: u64,
    },
}

/// What an audit saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The last entry that was looked at and found to be in the chain.
    pub verified: Position,
    /// Accounts in the replayed bank.
    pub accounts: u64,
    /// Payments, rejected ones included.
    pub payments: u64,
    /// Up to where the views go; `None` if there are none.
    pub projected: Option<LogIndex>,
    /// What is wrong, at most the first hundred; empty for a ledger to be trusted.
    pub findings: Vec<Finding>,
}

/// Why the audit or the rebuilding could not be done.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The ledger cannot be opened or read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The views cannot be opened or written.
    #[error(transparent)]
    Views(#[from] ViewsError),
    /// Views are only built from a ledger that verifies.
    #[error("the views were not rebuilt: {0}")]
    Unverified(Finding),
}

/// What of the views is compared, and as of when.
struct ViewsClaim {
    reader: ViewsReader,
    bank: (Position, Bank),
    /// Keys and postings, together.
    count: (Position, u64),
}

/// The state of an audit between two entries.
struct Audit {
    report: AuditReport,
    bank: Bank,
    last_timestamp: Timestamp,
    /// Keys and postings so far.
    counted: u64,
    views: Option<ViewsClaim>,
    /// Whether going on makes sense.
    broken: bool,
}

/// Verifies the ledger and the views in `data_dir`. `progress` is told how many entries of how many are done.
///
/// Beside a running node, entries above the commit index are left out: they may be taken back while one looks.
///
/// # Errors
/// [`AuditError`] if there is no ledger or the disk fails. What is wrong with a ledger is no error but a finding.
pub async fn verify(data_dir: &Path, mut progress: impl FnMut(u64, u64)) -> Result<AuditReport, AuditError> {
    let ledger = inspect(data_dir).await?;
    // Held to the end: a node that starts meanwhile would move under the audit.
    let lock = match DirectoryLock::take(data_dir) {
        Ok(lock) => Some(lock),
        Err(LedgerError::Locked(_)) => None,
        Err(other) => return Err(other.into()),
    };
    let mut audit = Audit::begun();
    audit.open_views(data_dir).await?;
    audit.check_end(data_dir, &ledger)?;
    let projected = audit.report.projected.unwrap_or_default();
    // Only committed entries are projected, so the views may know of more of them than the ledger's lower bound.
    let committed = ledger.commit_index.max(projected).min(ledger.last_index);
    let upto = if lock.is_some() { ledger.last_index } else { committed };
    while audit.report.verified.index < upto && !audit.broken {
        audit.check_chunk(&ledger, upto).await?;
        progress(audit.report.verified.index.0, upto.0);
    }
    audit.finish();
    ledger.reader.close().await;
    if let Some(claim) = audit.views {
        claim.reader.close().await;
    }
    Ok(audit.report)
}

impl Audit {
    fn begun() -> Self {
        Self {
            report: AuditReport::default(),
            bank: Bank::default(),
            last_timestamp: Timestamp::default(),
            counted: 0,
            views: None,
            broken: false,
        }
    }

    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(finding);
        }
    }

    fn stop_at(&mut self, finding: Finding) {
        self.find(finding);
        self.broken = true;
    }

    async fn open_views(&mut self, data_dir: &Path) -> Result<(), AuditError> {
        let Some(reader) = views::open_read_only(data_dir) else { return Ok(()) };
        let read = async {
            let (count_at, keys, postings) = reader.counts().await?;
            Ok(ViewsClaim { bank: reader.load_bank().await?, count: (count_at, keys + postings), reader })
        };
        match read.await {
            Ok(claim) => {
                self.report.projected = Some(claim.bank.0.index);
                self.compare_views_at(Position::default(), &claim);
                self.views = Some(claim);
                Ok(())
            }
            Err(ViewsError::Damaged(reason)) => {
                self.find(Finding::ViewsUnreadable { reason });
                Ok(())
            }
            Err(other) => Err(other.into()),
        }
    }

    fn check_end(&mut self, data_dir: &Path, ledger: &InspectedLedger) -> Result<(), AuditError> {
        let last = ledger.last_index;
        let watermark = Watermark::in_directory(data_dir).read()?.unwrap_or_default();
        let mark = ledger.commit_index.max(watermark.index);
        if mark > last {
            self.find(Finding::EndsTooEarly { last, mark });
        }
        if let Some(index) = self.report.projected.filter(|projected| *projected > last) {
            self.find(Finding::ViewsOfAnotherHistory { index });
        }
        Ok(())
    }

    async fn check_chunk(&mut self, ledger: &InspectedLedger, upto: LogIndex) -> Result<(), AuditError> {
        let next = self.report.verified.index.next();
        let entries = match ledger.reader.entries(next, upto, CHUNK_ENTRIES).await {
            Ok(entries) => entries,
            Err(LedgerError::Damaged(reason)) => {
                self.stop_at(Finding::Unreadable { after: next.previous(), reason });
                return Ok(());
            }
            Err(other) => return Err(other.into()),
        };
        if entries.is_empty() {
            self.stop_at(Finding::Missing { index: next });
        }
        let mut keys = Vec::new();
        let mut postings = Vec::new();
        for entry in &entries {
            if !self.check_entry(entry) {
                break;
            }
            self.gather(entry, &mut keys, &mut postings);
            if let Some(claim) = self.views.take() {
                self.compare_views_at(entry.position(), &claim);
                self.views = Some(claim);
            }
        }
        self.look_up(&keys, &postings).await
    }

    /// Whether the entry is what the ones before it lead to.
    fn check_entry(&mut self, entry: &Entry) -> bool {
        let expected = self.report.verified.index.next();
        if entry.index != expected {
            self.stop_at(Finding::Missing { index: expected });
            return false;
        }
        if !entry.follows(&self.report.verified) {
            self.stop_at(Finding::ChainBroken { index: entry.index });
            return false;
        }
        if let Some(operation) = entry.operation()
            && let Err(divergence) = self.bank.apply(operation)
        {
            self.stop_at(Finding::Diverged { index: entry.index, reason: divergence.to_string() });
            return false;
        }
        if entry.timestamp < self.last_timestamp {
            self.find(Finding::TimeWentBack { index: entry.index });
        }
        self.last_timestamp = entry.timestamp;
        self.report.verified = entry.position();
        true
    }

    /// Notes what the views must hold of an entry.
    fn gather(
        &mut self,
        entry: &Entry,
        keys: &mut Vec<(KeyDigest, LogIndex)>,
        postings: &mut Vec<(AccountId, LogIndex)>,
    ) {
        let Some(operation) = entry.operation() else { return };
        self.counted += 1;
        let projected = self.report.projected.is_some_and(|projected| entry.index <= projected);
        if projected {
            keys.push((operation.key().digest(), entry.index));
        }
        let Operation::Payment(payment) = operation else { return };
        self.report.payments += 1;
        if let PaymentOutcome::Succeeded { .. } = payment.outcome {
            self.counted += 2;
            if projected {
                postings.push((payment.request.from.clone(), entry.index));
                postings.push((payment.request.to.clone(), entry.index));
            }
        }
    }

    async fn look_up(
        &mut self,
        keys: &[(KeyDigest, LogIndex)],
        postings: &[(AccountId, LogIndex)],
    ) -> Result<(), AuditError> {
        let Some(claim) = &self.views else { return Ok(()) };
        let mut lacking = match claim.reader.missing(keys, postings).await {
            Ok(lacking) => lacking,
            Err(ViewsError::Damaged(reason)) => {
                self.find(Finding::ViewsUnreadable { reason });
                self.views = None;
                return Ok(());
            }
            Err(other) => return Err(other.into()),
        };
        lacking.sort_unstable();
        lacking.dedup();
        lacking.into_iter().for_each(|index| self.find(Finding::ViewsLack { index }));
        Ok(())
    }

    /// Compares what the views claim to be as of just this position.
    fn compare_views_at(&mut self, here: Position, claim: &ViewsClaim) {
        let (index, (count_at, found)) = (here.index, claim.count);
        if index == count_at.index && found != self.counted {
            self.find(Finding::ViewsCount { index, found, expected: self.counted });
        }
        let (bank_at, bank) = &claim.bank;
        if index != bank_at.index {
            return;
        }
        if *bank_at != here {
            self.find(Finding::ViewsOfAnotherHistory { index });
        } else if let Some(account) = first_difference(bank, &self.bank) {
            self.find(Finding::ViewsBalances { index, account: account.to_string() });
        }
    }

    fn finish(&mut self) {
        self.report.accounts = self.bank.len() as u64;
        for (currency, total) in self.bank.totals() {
            if total != 0 {
                self.find(Finding::Unbalanced { currency: currency.to_string(), total });
            }
        }
    }
}

fn first_difference<'bank>(one: &'bank Bank, other: &'bank Bank) -> Option<&'bank AccountId> {
    if one == other {
        return None;
    }
    let ids = one.accounts_after(None).chain(other.accounts_after(None)).map(|(id, _)| id);
    ids.filter(|id| one.account(id) != other.account(id)).min()
}

/// Rebuilds the views in `data_dir` from the committed part of the ledger, verifying the chain on the way. The node must
/// be stopped. `progress` is told how many entries of how many are done. Returns up to where the views go now.
///
/// # Errors
/// [`AuditError::Ledger`] with [`LedgerError::Locked`] beside a running node; [`AuditError::Unverified`] if the ledger
/// does not verify; otherwise if the disk fails.
pub async fn rebuild_views(data_dir: &Path, mut progress: impl FnMut(u64, u64)) -> Result<Position, AuditError> {
    let _lock = DirectoryLock::take(data_dir)?;
    let ledger = inspect(data_dir).await?;
    let mut opened = views::open(data_dir, &ledger.cluster_id, ledger.store_id).await?;
    opened.writer.reset().await?;
    let upto = ledger.commit_index;
    while opened.writer.projected().index < upto {
        let before = opened.writer.projected();
        let entries = ledger.reader.entries(before.index.next(), upto, REBUILD_ENTRIES).await?;
        if entries.is_empty() {
            return Err(AuditError::Unverified(Finding::Missing { index: before.index.next() }));
        }
        let mut end = before;
        for entry in &entries {
            if !entry.follows(&end) {
                return Err(AuditError::Unverified(Finding::ChainBroken { index: entry.index }));
            }
            end = entry.position();
        }
        opened.writer.project(&entries).await?;
        progress(end.index.0, upto.0);
    }
    let projected = opened.writer.projected();
    ledger.reader.close().await;
    opened.reader.close().await;
    opened.writer.close().await?;
    Ok(projected)
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
