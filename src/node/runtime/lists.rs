//! Pages of payments and of statements, newest first, with bounded work for each.
//!
//! A page begins with entries: from the end of the ledger as far as the views do not go, and from there on from where the
//! views say. What stands in them is then looked at one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::ledger::{ScanFilter, ScanFor};
use quorapay_core::domain::{
    AccountId, DecidedPayment, MinorUnits, OrderId, PaymentId, PaymentOutcome, PaymentState, PaymentStatus,
};
use quorapay_core::domain::{LogIndex, Timestamp};
use quorapay_core::replication::Entry;

use super::handle::{NodeHandle, ReadError};
use super::reads::{Cursor, Page, PaymentFilter, PaymentRecord, StatementFilter, StatementLine, unreadable};

/// Most ledger entries that the work for one page looks through.
const MAX_SCANNED: u64 = 100_000;

/// Most entries among which the work for one page looks for changed payments. The views skip those that never changed.
const MAX_CHANGED_SCANNED: u64 = 1_000_000;

/// Most payments whose state is looked up for one page.
const MAX_CANDIDATES: usize = 2_000;

/// How entries are found.
enum Source {
    /// By looking through the ledger.
    Scan,
    /// By what the views know of an account.
    Account(AccountId),
    /// By what the views know of an order.
    Order(OrderId),
    /// By what the views know of payments that changed.
    Changed(PaymentStatus),
}

/// Entries, newest first.
struct Found {
    entries: Vec<Arc<Entry>>,
    /// Where to go on, downwards; `None` at the end.
    next_below: Option<LogIndex>,
}

/// A payment that may belong on the page.
struct Candidate {
    cursor: Cursor,
    id: PaymentId,
    entry: Arc<Entry>,
    decided: PaymentState,
}

impl NodeHandle {
    /// Payments as of `at` that meet the filter and stand before `before`, newest first; without one, from the newest on.
    /// Go on while `next_before` is there, also after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read, [`ReadError::Overloaded`] if the loop's queue is
    /// full.
    pub async fn list_payments(
        &self,
        filter: &PaymentFilter,
        at: LogIndex,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<PaymentRecord>, ReadError> {
        let limit = limit.max(1);
        let (before, at_least) = self.range(at, before, (filter.from_time, filter.to_time)).await?;
        let scan = ScanFilter {
            below: before.below(),
            at_least,
            wanted: filter.status.map_or(ScanFor::Payments, decided_as),
            currency: filter.currency,
            account: filter.account.clone(),
            order: filter.order.clone(),
        };
        let found = self.newest(&source_for(filter), scan, at, limit).await?;
        // Without a status to meet, every candidate belongs on the page.
        let most = if filter.status.is_some() { MAX_CANDIDATES } else { limit };
        let matching = found.entries.iter().flat_map(|entry| candidates(entry, filter));
        let mut candidates: Vec<Candidate> =
            matching.filter(|candidate| candidate.cursor < before).take(most + 1).collect();
        let mut next_before = found.next_below.map(Cursor::at);
        if candidates.len() > most {
            candidates.truncate(most);
            next_before = candidates.last().map(|last| last.cursor);
        }
        let decided = candidates.iter().map(|candidate| (candidate.id, candidate.decided.clone())).collect();
        let states = self.current_states(decided, at).await?;
        let mut page = Vec::new();
        for (Candidate { cursor, entry, .. }, state) in candidates.into_iter().zip(states) {
            if filter.status.is_some_and(|wanted| wanted != state.status()) {
                continue;
            }
            if page.len() == limit {
                next_before =
                    page.last().map(|last: &PaymentRecord| Cursor { index: last.entry.index, item: last.item });
                break;
            }
            page.push(PaymentRecord { entry, item: cursor.item, state, history: Vec::new() });
        }
        Ok(Page { found: page, next_before })
    }

    /// What moved an account's money up to `at`, before `before`, newest first; without one, from the newest on. Go on
    /// while `next_before` is there, also after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn statement(
        &self,
        account: &AccountId,
        filter: StatementFilter,
        at: LogIndex,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<StatementLine>, ReadError> {
        let limit = limit.max(1);
        let (before, at_least) = self.range(at, before, (filter.from_time, filter.to_time)).await?;
        let scan = ScanFilter {
            below: before.below(),
            at_least,
            wanted: ScanFor::Postings,
            currency: filter.currency,
            account: Some(account.clone()),
            order: None,
        };
        let found = self.newest(&Source::Account(account.clone()), scan, at, limit).await?;
        let lines = found.entries.iter().flat_map(|entry| lines(entry, account));
        let wanted = |line: &StatementLine| {
            line.cursor < before && filter.currency.is_none_or(|currency| currency == line.currency)
        };
        let mut lines: Vec<StatementLine> = lines.filter(wanted).take(limit + 1).collect();
        let mut next_before = found.next_below.map(Cursor::at);
        if lines.len() > limit {
            lines.truncate(limit);
            next_before = lines.last().map(|last| last.cursor);
        }
        Ok(Page { found: lines, next_before })
    }

    /// The place before which a page begins, and the oldest entry that may be on it. Timestamps never decrease along the
    /// ledger, so a stretch of time is a stretch of indexes.
    async fn range(
        &self,
        at: LogIndex,
        before: Option<Cursor>,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<(Cursor, LogIndex), ReadError> {
        let ledger = &self.shared.ledger;
        let end = Cursor::at(at.next());
        let mut before = before.map_or(end, |before| before.min(end));
        if let Some(to) = to {
            before = before.min(Cursor::at(ledger.first_at_or_after(to, at).await.map_err(unreadable)?));
        }
        let at_least = match from {
            Some(from) => ledger.first_at_or_after(from, at).await.map_err(unreadable)?,
            None => LogIndex(1),
        };
        Ok((before, at_least))
    }

    /// At most `most` entries that may hold what is wanted, newest first. With too little work done for that many, there
    /// are fewer.
    async fn newest(&self, source: &Source, scan: ScanFilter, at: LogIndex, most: usize) -> Result<Found, ReadError> {
        if scan.at_least >= scan.below {
            return Ok(Found { entries: Vec::new(), next_below: None });
        }
        let projected = self.status().projected_index;
        match source {
            Source::Scan => self.scan(&scan, most).await,
            Source::Changed(status) => self.newest_changed(*status, &scan, projected, at, most).await,
            Source::Account(_) | Source::Order(_) => {
                let mut found = Found { entries: Vec::new(), next_below: None };
                if scan.below > projected.next() {
                    let young = ScanFilter { at_least: scan.at_least.max(projected.next()), ..scan.clone() };
                    found = self.scan(&young, most).await?;
                    if found.next_below.is_some() {
                        return Ok(found);
                    }
                }
                let below = scan.below.min(projected.next());
                if found.entries.len() >= most {
                    return Ok(Found { next_below: (below > scan.at_least).then_some(below), ..found });
                }
                let old = self.newest_projected(source, &scan, below, most - found.entries.len()).await?;
                found.entries.extend(old.entries);
                Ok(Found { next_below: old.next_below, ..found })
            }
        }
    }

    async fn scan(&self, scan: &ScanFilter, most: usize) -> Result<Found, ReadError> {
        let found = self.shared.ledger.scan_newest(scan, most, MAX_SCANNED).await.map_err(unreadable)?;
        Ok(Found { entries: found.entries, next_below: found.next_below })
    }

    async fn newest_projected(
        &self,
        source: &Source,
        scan: &ScanFilter,
        below: LogIndex,
        most: usize,
    ) -> Result<Found, ReadError> {
        let views = &self.shared.views;
        let indexes: Vec<LogIndex> = match source {
            Source::Account(account) => views.account_entries(account, below, most).await.map_err(unreadable)?,
            Source::Order(order) => {
                let places = views.order_payments(order, (below, 0), most).await.map_err(unreadable)?;
                places.into_iter().map(|(index, _)| index).collect()
            }
            Source::Scan | Source::Changed(_) => Vec::new(),
        };
        let next_below = indexes.last().copied().filter(|_| indexes.len() == most);
        self.fetch(indexes, scan.at_least, next_below).await
    }

    /// Entries with payments that changed to a status, as far as the views know, or that changed since.
    async fn newest_changed(
        &self,
        status: PaymentStatus,
        scan: &ScanFilter,
        projected: LogIndex,
        at: LogIndex,
        most: usize,
    ) -> Result<Found, ReadError> {
        let floor = LogIndex(scan.below.0.saturating_sub(MAX_CHANGED_SCANNED)).max(scan.at_least);
        let known = self.shared.views.changed_to(status, floor, (scan.below, 0), most).await.map_err(unreadable)?;
        let reached = known.last().map(|(index, _)| *index).filter(|_| known.len() == most).unwrap_or(floor);
        let young = self.shared.ledger.changed_payments(projected, at).await.map_err(unreadable)?;
        let young = young.into_iter().map(|id| id.index());
        let indexes: BTreeSet<LogIndex> = known.into_iter().map(|(index, _)| index).chain(young).collect();
        let indexes = indexes.range(reached..scan.below).rev().copied().collect();
        self.fetch(indexes, scan.at_least, (reached > scan.at_least).then_some(reached)).await
    }

    /// The entries at these indexes, newest first, as far as they are not too old and not too heavy.
    async fn fetch(
        &self,
        mut indexes: Vec<LogIndex>,
        at_least: LogIndex,
        mut next_below: Option<LogIndex>,
    ) -> Result<Found, ReadError> {
        let found = indexes.len();
        indexes.dedup();
        indexes.retain(|index| *index >= at_least);
        let entries = self.shared.ledger.entries_of(&indexes).await.map_err(unreadable)?;
        let last = entries.last().map(|last| last.index);
        if let Some(last) = last.filter(|last| indexes.last() != Some(last)) {
            next_below = Some(last);
        } else if found > 0 && indexes.is_empty() {
            next_below = None;
        }
        Ok(Found { entries, next_below: next_below.filter(|below| *below > at_least) })
    }
}

impl Cursor {
    /// The first place of an entry.
    const fn at(index: LogIndex) -> Self {
        Self { index, item: 0 }
    }

    /// Where to look for what stands before this place: below this index.
    const fn below(self) -> LogIndex {
        if self.item == 0 { self.index } else { self.index.next() }
    }
}

/// Where payments are looked for that meet a filter.
fn source_for(filter: &PaymentFilter) -> Source {
    match (&filter.order, filter.status, &filter.account) {
        (Some(order), _, _) => Source::Order(order.clone()),
        (None, Some(status), _) if is_of_changed(status) => Source::Changed(status),
        // The views know which entries moved an account's money, not which payments were refused or are held.
        (None, Some(PaymentStatus::Succeeded), Some(account)) => Source::Account(account.clone()),
        (None, _, _) => Source::Scan,
    }
}

/// Whether only a payment that changed after it was decided can stand so.
const fn is_of_changed(status: PaymentStatus) -> bool {
    match status {
        PaymentStatus::Succeeded | PaymentStatus::Authorized | PaymentStatus::Rejected => false,
        PaymentStatus::PartiallyCaptured
        | PaymentStatus::Captured
        | PaymentStatus::Voided
        | PaymentStatus::Expired
        | PaymentStatus::PartiallyRefunded
        | PaymentStatus::Refunded => true,
    }
}

/// How payments were decided that may stand so now.
const fn decided_as(status: PaymentStatus) -> ScanFor {
    match status {
        PaymentStatus::Succeeded => ScanFor::Captured,
        PaymentStatus::Rejected => ScanFor::Rejected,
        PaymentStatus::Authorized
        | PaymentStatus::PartiallyCaptured
        | PaymentStatus::Captured
        | PaymentStatus::Voided
        | PaymentStatus::Expired => ScanFor::Authorized,
        PaymentStatus::PartiallyRefunded | PaymentStatus::Refunded => ScanFor::Payments,
    }
}

/// The payments of an entry that meet a filter but for their status now, the last one first.
fn candidates(entry: &Arc<Entry>, filter: &PaymentFilter) -> Vec<Candidate> {
    let Some(operation) = entry.operation() else { return Vec::new() };
    let candidate = |payment: DecidedPayment<'_>| {
        let request = payment.request;
        let order = request.order.as_ref().map(|order| &order.id);
        let meets = filter.account.as_ref().is_none_or(|id| request.from == *id || request.to == *id)
            && filter.currency.is_none_or(|currency| request.currency == currency)
            && filter.order.as_ref().is_none_or(|wanted| order == Some(wanted))
            && filter.status.is_none_or(|status| may_become(payment.outcome, status));
        let decided = PaymentState::decided(request, payment.outcome).filter(|_| meets)?;
        let cursor = Cursor { index: entry.index, item: payment.item };
        let id = PaymentId::derive(entry.stamp(), payment.item);
        Some(Candidate { cursor, id, entry: Arc::clone(entry), decided })
    };
    let mut candidates: Vec<Candidate> = operation.payments().filter_map(candidate).collect();
    candidates.reverse();
    candidates
}

/// Whether a payment that was decided so may come to stand so.
const fn may_become(outcome: PaymentOutcome, status: PaymentStatus) -> bool {
    match decided_as(status) {
        ScanFor::Captured => matches!(outcome, PaymentOutcome::Succeeded { .. }),
        ScanFor::Authorized => matches!(outcome, PaymentOutcome::Authorized { .. }),
        ScanFor::Rejected => matches!(outcome, PaymentOutcome::Rejected(_)),
        ScanFor::Payments | ScanFor::Postings => true,
    }
}

/// What an entry moved of an account's money, the last movement first.
fn lines(entry: &Arc<Entry>, account: &AccountId) -> Vec<StatementLine> {
    let Some(operation) = entry.operation() else { return Vec::new() };
    let mut lines = Vec::new();
    for posting in operation.postings(entry.stamp()) {
        // A capture or a refund stands in an entry of its own, whatever the number of its payment is.
        let item = if posting.payment.index() == entry.index { posting.payment.item() } else { 0 };
        let (amount, balance, counterparty) = if posting.from == account {
            (MinorUnits::new(-posting.amount.get()), posting.from_balance, posting.to)
        } else if posting.to == account {
            (posting.amount, posting.to_balance, posting.from)
        } else {
            continue;
        };
        lines.push(StatementLine {
            cursor: Cursor { index: entry.index, item },
            timestamp: entry.timestamp,
            payment: posting.payment,
            kind: posting.kind,
            amount,
            currency: posting.currency,
            balance,
            counterparty: counterparty.clone(),
        });
    }
    lines.reverse();
    lines
}
