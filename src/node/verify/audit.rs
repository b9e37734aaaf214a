//! The audit itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;

use super::finding::Finding;
use super::orders::check_orders;
use super::report::{AuditError, AuditReport};
use super::source::EntrySource;
use crate::ledger::{DirectoryLock, InspectedLedger, LedgerError, Watermark, inspect};
use crate::query::state_after;
use crate::views::{self, Lookups, ViewsContents, ViewsError, ViewsReader};
use quorapay_core::domain::{
    AccountId, Bank, LogIndex, Operation, OrderDigest, OrderId, OrderState, PaymentId, PaymentOutcome, PaymentStatus,
    Timestamp,
};
use quorapay_core::replication::{Entry, Position};

/// Entries read and checked at a time.
const CHUNK_ENTRIES: usize = 4_096;

/// Most findings in a report; one is enough to distrust a ledger.
const MAX_FINDINGS: usize = 100;

/// The views as they were when the audit began.
struct ViewsSnapshot {
    reader: ViewsReader,
    contents: ViewsContents,
}

/// The state of an audit between two entries.
struct Audit {
    report: AuditReport,
    /// Forgets nothing, so that the state that each operation names as the one before it can be compared.
    bank: Bank,
    last_timestamp: Timestamp,
    /// The number of keys, postings, payments of orders, entries in lists of decisions and decided payments so far, together.
    counted: u64,
    /// The latest changes of payments so far, as the views should have them.
    changed: BTreeMap<(LogIndex, u16), (LogIndex, PaymentStatus)>,
    /// Orders for which anything was charged so far.
    orders: BTreeSet<OrderDigest>,
    views: Option<ViewsSnapshot>,
    /// Whether the rest of the ledger cannot be checked.
    broken: bool,
}

/// Verifies the ledger and the views in `data_dir`. `progress` is called with the number of entries done and their
/// total.
///
/// If the node runs, entries above the commit index are left out: they may be truncated during the audit.
///
/// # Errors
/// [`AuditError`] if there is no ledger or the disk fails. Damage of a ledger is a finding and not an error.
pub fn verify<'a>(
    data_dir: &'a Path,
    progress: &'a mut dyn FnMut(u64, u64),
) -> LocalBoxFuture<'a, Result<AuditReport, AuditError>> {
    Box::pin(audit(data_dir, progress))
}

async fn audit(data_dir: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<AuditReport, AuditError> {
    // A node that runs writes its ledger before its watermark and its views. Read in the opposite order, neither is ahead of
    // the ledger.
    let mut audit = Audit::new();
    audit.open_views(data_dir).await?;
    let watermark = Watermark::in_directory(data_dir).read()?.unwrap_or_default();
    let mut ledger = inspect(data_dir).await?;
    // Held to the end, so that no node starts and changes the files during the audit.
    let lock = match DirectoryLock::take(data_dir) {
        Ok(lock) => Some(lock),
        Err(LedgerError::Locked(_)) => None,
        Err(other) => return Err(other.into()),
    };
    audit.check_end(watermark.index, &ledger);
    let projected = audit.report.projected.unwrap_or_default();
    // Only committed entries are projected, so the projected index may be above the ledger's commit index, a lower
    // bound.
    let committed = ledger.commit_index.max(projected).min(ledger.last_index);
    let upto = if lock.is_some() { ledger.last_index } else { committed };
    audit.check_all(&mut ledger.reader, upto, progress).await?;
    ledger.reader.close().await;
    if let Some(snapshot) = audit.views {
        snapshot.reader.close().await;
    }
    Ok(audit.report)
}

/// Verifies entries that are kept elsewhere than in a ledger: the chain, the bank and double entry up to `upto`.
/// `progress` is called with the number of entries done and their total.
///
/// # Errors
/// [`AuditError`] if the disk fails. Damage is a finding and not an error.
pub async fn verify_entries(
    source: &mut impl EntrySource,
    upto: LogIndex,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<AuditReport, AuditError> {
    let mut audit = Audit::new();
    audit.check_all(source, upto, progress).await?;
    Ok(audit.report)
}

impl Audit {
    fn new() -> Self {
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
                let snapshot = ViewsSnapshot { reader, contents };
                self.compare_views_at(Position::default(), &snapshot);
                self.views = Some(snapshot);
                Ok(())
            }
            Err(ViewsError::Damaged(reason)) => {
                self.find(Finding::ViewsUnreadable { reason });
                Ok(())
            }
            Err(other) => Err(other.into()),
        }
    }

    fn check_end(&mut self, watermark: LogIndex, ledger: &InspectedLedger) {
        let last = ledger.last_index;
        let mark = ledger.commit_index.max(watermark);
        if mark > last {
            self.find(Finding::EndsTooEarly { last, mark });
        }
        if let Some(index) = self.report.projected.filter(|projected| *projected > last) {
            self.find(Finding::ViewsOfAnotherHistory { index });
        }
    }

    async fn check_all(
        &mut self,
        source: &mut impl EntrySource,
        upto: LogIndex,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), AuditError> {
        while self.report.verified.index < upto && !self.broken {
            self.check_chunk(source, upto).await?;
            progress(self.report.verified.index.0, upto.0);
        }
        self.finish();
        Ok(())
    }

    async fn check_chunk(&mut self, source: &mut impl EntrySource, upto: LogIndex) -> Result<(), AuditError> {
        let next = self.report.verified.index.next();
        let entries = match source.entries(next, upto, CHUNK_ENTRIES).await {
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
            if let Err(finding) = self.recall_truth(source, entry).await? {
                self.stop_at(finding);
                break;
            }
            if !self.check_entry(entry) {
                break;
            }
            self.collect(entry, &mut expected);
            if let Some(snapshot) = self.views.take() {
                self.compare_views_at(entry.position(), &snapshot);
                self.views = Some(snapshot);
            }
        }
        self.look_up(&expected).await
    }

    /// Restores in the bank what it does not keep and the entry is compared with: a payment that has not changed
    /// before. Also checks that the original of a batch's repeated payment is where the batch says.
    async fn recall_truth(
        &mut self,
        source: &mut impl EntrySource,
        entry: &Entry,
    ) -> Result<Result<(), Finding>, AuditError> {
        let diverged = |reason: String| Ok(Err(Finding::Diverged { index: entry.index, reason }));
        match entry.operation() {
            Some(Operation::PaymentChange(change)) if self.bank.payment(change.payment).is_none() => {
                let decided_at = change.payment.index();
                let decided = if decided_at < entry.index { read_entry(source, decided_at).await? } else { None };
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
                    let original = read_entry(source, index).await?;
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

    /// Whether the entry follows from those before it.
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
        let orders = entry.operation().map_or(Ok(()), |operation| check_orders(&self.bank, operation));
        let applied =
            orders.and_then(|()| entry.apply_to(&mut self.bank).map(drop).map_err(|divergence| divergence.to_string()));
        if let Err(reason) = applied {
            self.stop_at(Finding::Diverged { index: entry.index, reason });
            return false;
        }
        if entry.timestamp < self.last_timestamp {
            self.find(Finding::TimeWentBack { index: entry.index });
        }
        self.last_timestamp = entry.timestamp;
        self.report.verified = entry.position();
        true
    }

    /// Collects what the views must hold of an entry.
    fn collect(&mut self, entry: &Entry, expected: &mut Lookups) {
        let Some(operation) = entry.operation() else { return };
        let mut found = Lookups::default();
        found.keys.extend(operation.keys().map(|key| (key.digest(), entry.index)));
        let moved: BTreeSet<&AccountId> =
            operation.postings(entry.stamp()).flat_map(|posting| [posting.from, posting.to]).collect();
        found.postings.extend(moved.into_iter().map(|id| (id.clone(), entry.index)));
        for payment in operation.payments() {
            self.report.payments += 1;
            self.counted += u64::from(payment.is_decided());
            let listed = match payment.outcome {
                PaymentOutcome::Rejected(_) => Some(PaymentStatus::Rejected),
                PaymentOutcome::Authorized { .. } => Some(PaymentStatus::Authorized),
                PaymentOutcome::Succeeded { .. } | PaymentOutcome::Repeated { .. } => None,
            };
            if let Some(listed) = listed.map(|status| (status, entry.index)).filter(|one| !found.decided.contains(one))
            {
                found.decided.push(listed);
            }
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
        self.counted +=
            (found.keys.len() + found.postings.len() + found.order_payments.len() + found.decided.len()) as u64;
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
            expected.decided.append(&mut found.decided);
        }
    }

    async fn look_up(&mut self, expected: &Lookups) -> Result<(), AuditError> {
        let Some(snapshot) = &self.views else { return Ok(()) };
        let mut lacking = match snapshot.reader.missing(expected).await {
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

    /// Compares the views with the audit if they are as of this position.
    fn compare_views_at(&mut self, here: Position, snapshot: &ViewsSnapshot) {
        let (index, contents) = (here.index, &snapshot.contents);
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
        let stored: BTreeMap<_, _> =
            contents.changed.iter().map(|(index, item, last, status)| ((*index, *item), (*last, *status))).collect();
        let places = stored.keys().chain(self.changed.keys());
        places.filter(|place| stored.get(place) != self.changed.get(place)).min().copied()
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

/// An earlier entry, which was found to be in the chain when it was checked.
async fn read_entry(source: &mut impl EntrySource, index: LogIndex) -> Result<Option<Arc<Entry>>, AuditError> {
    match source.entry(index).await {
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
