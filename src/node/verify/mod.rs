//! Goes through a node's whole ledger: the chain of hashes entry by entry, the bank replayed from nothing, double entry,
//! and the views against all of it. Also rebuilds the views.
//!
//! An audit changes nothing and needs no running node; beside one, it looks at what is committed. It knows the files of
//! a data directory and nothing of the event loop.

mod finding;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::ledger::{DirectoryLock, InspectedLedger, LedgerError, LedgerReader, Watermark, inspect};
use crate::views::{self, Lookups, ViewsContents, ViewsError, ViewsReader};
use quorapay_core::domain::{
    AccountId, Bank, MinorUnits, Operation, OrderDigest, OrderId, OrderState, PaymentId, PaymentOutcome,
    PaymentRequest, PaymentStatus, Rejection,
};
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::replication::{Entry, Position};

use crate::query::state_after;

pub use finding::Finding;

/// Entries read and checked at a time.
const CHUNK_ENTRIES: usize = 4_096;

/// Entries projected at a time when views are rebuilt: the bigger, the cheaper each; some 30 MiB of memory.
const REBUILD_ENTRIES: usize = 65_536;

/// Findings reported by number; one is enough to distrust a ledger.
const MAX_FINDINGS: usize = 100;

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

/// The views as they were when the audit began.
struct ViewsClaim {
    reader: ViewsReader,
    contents: ViewsContents,
}

/// The state of an audit between two entries.
struct Audit {
    report: AuditReport,
    /// Forgets nothing, so that what each operation says of the time before it can be compared.
    bank: Bank,
    last_timestamp: Timestamp,
    /// Keys, postings and payments of orders so far, and payments decided.
    counted: u64,
    /// Latest changes of payments so far, as the views should say them.
    changed: BTreeMap<(LogIndex, u16), (LogIndex, PaymentStatus)>,
    /// Orders for which anything was charged so far.
    orders: BTreeSet<OrderDigest>,
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
            changed: BTreeMap::new(),
            orders: BTreeSet::new(),
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
        match reader.contents().await {
            Ok(contents) => {
                self.report.projected = Some(contents.position.index);
                let claim = ViewsClaim { reader, contents };
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
        let mut expected = Lookups::default();
        for entry in &entries {
            if let Err(finding) = self.recall_truth(&ledger.reader, entry).await? {
                self.stop_at(finding);
                break;
            }
            if !self.check_entry(entry) {
                break;
            }
            self.gather(entry, &mut expected);
            if let Some(claim) = self.views.take() {
                self.compare_views_at(entry.position(), &claim);
                self.views = Some(claim);
            }
        }
        self.look_up(&expected).await
    }

    /// Brings into the bank what it does not keep by itself and the entry is to be compared with: a payment that never
    /// changed before. A batch's repeated payment must have its original where it says.
    async fn recall_truth(&mut self, ledger: &LedgerReader, entry: &Entry) -> Result<Result<(), Finding>, AuditError> {
        let diverged = |reason: String| Ok(Err(Finding::Diverged { index: entry.index, reason }));
        match entry.operation() {
            Some(Operation::PaymentChange(change)) if self.bank.payment(change.payment).is_none() => {
                let decided_at = change.payment.index();
                let decided = if decided_at < entry.index { read_entry(ledger, decided_at).await? } else { None };
                match decided.and_then(|decided| state_after(&decided, change.payment)) {
                    Some(truth) => self.bank.recall_payment(change.payment, truth),
                    None if change.before.is_some() => {
                        return diverged(format!("there is no payment {}", change.payment));
                    }
                    None => {}
                }
            }
            Some(Operation::Batch(batch)) => {
                for item in &batch.items {
                    let (PaymentOutcome::Repeated { index }, Some((key, fingerprint))) = (item.outcome, &item.key)
                    else {
                        continue;
                    };
                    let original = read_entry(ledger, index).await?;
                    let held = original.and_then(|original| original.operation()?.fingerprint_under(key));
                    if index >= entry.index || held != Some(*fingerprint) {
                        return diverged(format!("entry {index} does not hold the payment under {key:?}"));
                    }
                }
            }
            Some(_) | None => {}
        }
        Ok(Ok(()))
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
        if let Some(operation) = entry.operation() {
            let orders = check_orders(&self.bank, operation);
            let applied = orders.and_then(|()| {
                self.bank.apply(entry.stamp(), operation).map(drop).map_err(|divergence| divergence.to_string())
            });
            if let Err(reason) = applied {
                self.stop_at(Finding::Diverged { index: entry.index, reason });
                return false;
            }
        }
        if entry.timestamp < self.last_timestamp {
            self.find(Finding::TimeWentBack { index: entry.index });
        }
        self.last_timestamp = entry.timestamp;
        self.report.verified = entry.position();
        true
    }

    /// Notes what the views must hold of an entry.
    fn gather(&mut self, entry: &Entry, expected: &mut Lookups) {
        let Some(operation) = entry.operation() else { return };
        let mut found = Lookups::default();
        found.keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
        let moved: BTreeSet<&AccountId> =
            operation.postings(entry.stamp()).flat_map(|posting| [posting.from, posting.to]).collect();
        found.postings.extend(moved.into_iter().map(|id| (id.clone(), entry.index)));
        for payment in operation.payments() {
            self.report.payments += 1;
            self.counted += u64::from(payment.is_decided());
            let Some(order) = &payment.request.order else { continue };
            let digest = order.id.digest();
            match payment.outcome {
                PaymentOutcome::Repeated { .. } => continue,
                PaymentOutcome::Rejected(_) => {}
                PaymentOutcome::Succeeded { .. } | PaymentOutcome::Authorized { .. } => {
                    self.orders.insert(digest);
                }
            }
            found.order_payments.push((digest, entry.index, payment.item));
        }
        self.counted += (found.keys.len() + found.postings.len() + found.order_payments.len()) as u64;
        let changed = match operation {
            Operation::PaymentChange(change) if operation.rejection().is_none() => Some(change.payment),
            Operation::Expiry(expiry) => Some(expiry.payment),
            _ => None,
        };
        if let Some((id, state)) = changed.and_then(|id| Some((id, self.bank.payment(id)?))) {
            let change = (state.last_change, state.status());
            self.changed.insert((id.index(), id.item()), change);
        }
        if self.report.projected.is_some_and(|projected| entry.index <= projected) {
            expected.keys.append(&mut found.keys);
            expected.postings.append(&mut found.postings);
            expected.order_payments.append(&mut found.order_payments);
        }
    }

    async fn look_up(&mut self, expected: &Lookups) -> Result<(), AuditError> {
        let Some(claim) = &self.views else { return Ok(()) };
        let mut lacking = match claim.reader.missing(expected).await {
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
        let (index, contents) = (here.index, &claim.contents);
        if index != contents.position.index {
            return;
        }
        if contents.position != here {
            self.find(Finding::ViewsOfAnotherHistory { index });
            return;
        }
        if contents.lookups != self.counted {
            self.find(Finding::ViewsCount { index, found: contents.lookups, expected: self.counted });
        }
        if let Some(account) = first_difference(&contents.bank, &self.bank) {
            self.find(Finding::ViewsBalances { index, account: account.to_string() });
        }
        if let Some(payment) = first_other_hold(&contents.bank, &self.bank) {
            self.find(Finding::ViewsHold { index, payment: payment.to_string() });
        }
        if let Some((payment, item)) = self.first_other_change(contents) {
            self.find(Finding::ViewsChange { index, payment, item });
        }
        if let Some(order) = self.first_other_order(contents) {
            self.find(Finding::ViewsOrder { index, order });
        }
    }

    fn first_other_change(&self, contents: &ViewsContents) -> Option<(LogIndex, u16)> {
        let claimed: BTreeMap<_, _> =
            contents.changed.iter().map(|(index, item, last, status)| ((*index, *item), (*last, *status))).collect();
        let places = claimed.keys().chain(self.changed.keys());
        places.filter(|place| claimed.get(place) != self.changed.get(place)).min().copied()
    }

    fn first_other_order(&self, contents: &ViewsContents) -> Option<String> {
        let differs = |(id, state): &&(OrderId, OrderState)| self.bank.order(id) != Some(*state);
        let different = contents.orders.iter().find(differs).map(|(id, _)| id.to_string());
        let (found, expected) = (contents.orders.len(), self.orders.len());
        different.or_else(|| (found != expected).then(|| format!("{found} where there are {expected}")))
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

/// What each payment says of its order as it was before it, against the bank, which knows of every order. The bank itself
/// takes an order that it does not know as it is told.
fn check_orders(bank: &Bank, operation: &Operation) -> Result<(), String> {
    let payments: Vec<(&PaymentRequest, Option<OrderState>, PaymentOutcome)> = match operation {
        Operation::Payment(payment) => vec![(&payment.request, payment.order_before, payment.outcome)],
        Operation::Batch(batch) => {
            batch.items.iter().map(|item| (&item.request, item.order_before, item.outcome)).collect()
        }
        Operation::Account(_) | Operation::PaymentChange(_) | Operation::Expiry(_) | Operation::KeyFence(_) => {
            Vec::new()
        }
    };
    let mut here: BTreeMap<&OrderId, OrderState> = BTreeMap::new();
    for (request, said, outcome) in payments {
        let Some(order) = &request.order else { continue };
        let known = here.get(&order.id).copied().or_else(|| bank.order(&order.id));
        if known != said {
            return Err(format!("order {} was written as {said:?}, it was {known:?}", order.id));
        }
        // A payment of an aborted batch counted until the batch was taken back.
        let charged = matches!(
            outcome,
            PaymentOutcome::Succeeded { .. }
                | PaymentOutcome::Authorized { .. }
                | PaymentOutcome::Rejected(Rejection::BatchAborted)
        );
        if charged {
            let used = known.map_or(MinorUnits::ZERO, |state| state.used).checked_add(request.amount);
            let used = used.ok_or_else(|| format!("order {} is charged more than can be counted", order.id))?;
            here.insert(&order.id, OrderState { currency: request.currency, total: order.total, used });
        }
    }
    Ok(())
}

/// An entry below the one that is being checked, which was in the chain when it was checked itself.
async fn read_entry(ledger: &LedgerReader, index: LogIndex) -> Result<Option<Arc<Entry>>, AuditError> {
    match ledger.entry(index).await {
        Ok(entry) => Ok(entry),
        Err(LedgerError::Damaged(_)) => Ok(None),
        Err(other) => Err(other.into()),
    }
}

fn first_difference<'bank>(one: &'bank Bank, other: &'bank Bank) -> Option<&'bank AccountId> {
    let ids = one.accounts_after(None).chain(other.accounts_after(None)).map(|(id, _)| id);
    ids.filter(|id| one.account(id) != other.account(id)).min()
}

fn first_other_hold(one: &Bank, other: &Bank) -> Option<PaymentId> {
    let ids = one.open_holds().chain(other.open_holds()).map(|(id, _)| id);
    ids.filter(|id| one.payment(*id) != other.payment(*id)).min()
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
mod tests;
