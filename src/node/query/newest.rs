//! The entries that a page is made of, newest first: above the projected index the ledger is scanned, below it the
//! views say which entries to read. The work for one page is bounded.

use std::collections::BTreeSet;

use super::error::{ReadError, unreadable};
use super::pages::Cursor;
use crate::ledger::{EntryPage, LedgerReader, ScanFilter};
use crate::views::ViewsReader;
use quorapay_core::domain::{AccountId, LogIndex, OrderId, PaymentStatus, Timestamp};

/// Most ledger entries that one page scans.
const MAX_SCANNED: u64 = 100_000;

/// Most entries among which one page looks for changed payments. The views skip those that never changed.
const MAX_CHANGED_SCANNED: u64 = 1_000_000;

/// How entries are found.
pub(super) enum Source {
    /// By scanning the ledger.
    Scan,
    /// By the entries that the views list for an account.
    Account(AccountId),
    /// By the payments that the views list for an order.
    Order(OrderId),
    /// By the payments that the views list under a status.
    Changed(PaymentStatus),
    /// By the entries that the views list for the status with which payments were decided.
    Decided(PaymentStatus),
}

/// Finds entries from the newest to the oldest.
pub(super) struct NewestFirst<'query> {
    pub(super) ledger: &'query LedgerReader,
    pub(super) views: &'query ViewsReader,
    /// As [`super::EngineMemory::projected_index`].
    pub(super) projected: LogIndex,
}

impl NewestFirst<'_> {
    /// The cursor before which a page begins, and the oldest entry that may be on it. Timestamps never decrease along
    /// the ledger, so a stretch of time is a stretch of indexes.
    pub(super) async fn range(
        &self,
        at: LogIndex,
        before: Option<Cursor>,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<(Cursor, LogIndex), ReadError> {
        let end = Cursor::at(at.next());
        let mut before = before.map_or(end, |before| before.min(end));
        if let Some(to) = to {
            before = before.min(Cursor::at(self.ledger.first_at_or_after(to, at).await.map_err(unreadable)?));
        }
        let at_least = match from {
            Some(from) => self.ledger.first_at_or_after(from, at).await.map_err(unreadable)?,
            None => LogIndex(1),
        };
        Ok((before, at_least))
    }

    /// At most `limit` entries that may hold what is wanted, newest first. Fewer if the bound on the work comes first.
    pub(super) async fn find(
        &self,
        source: &Source,
        scan: ScanFilter,
        at: LogIndex,
        limit: usize,
    ) -> Result<EntryPage, ReadError> {
        if scan.at_least >= scan.below {
            return Ok(EntryPage::default());
        }
        match source {
            Source::Scan => self.scan(&scan, limit).await,
            Source::Changed(status) => self.find_changed(*status, &scan, at, limit).await,
            Source::Account(_) | Source::Order(_) | Source::Decided(_) => {
                self.scan_then_look_up(source, &scan, limit).await
            }
        }
    }

    async fn scan(&self, scan: &ScanFilter, limit: usize) -> Result<EntryPage, ReadError> {
        self.ledger.scan_newest(scan, limit, MAX_SCANNED).await.map_err(unreadable)
    }

    /// Scans what the views do not have yet, then reads the entries that they name.
    async fn scan_then_look_up(
        &self,
        source: &Source,
        scan: &ScanFilter,
        limit: usize,
    ) -> Result<EntryPage, ReadError> {
        let above_views = self.projected.next();
        let mut found = EntryPage::default();
        if scan.below > above_views {
            let young = ScanFilter { at_least: scan.at_least.max(above_views), ..scan.clone() };
            found = self.scan(&young, limit).await?;
            if found.next_below.is_some() {
                return Ok(found);
            }
        }
        let below = scan.below.min(above_views);
        if found.entries.len() >= limit {
            return Ok(EntryPage { next_below: (below > scan.at_least).then_some(below), ..found });
        }
        let old = self.look_up(source, scan, below, limit - found.entries.len()).await?;
        found.entries.extend(old.entries);
        Ok(EntryPage { next_below: old.next_below, ..found })
    }

    async fn look_up(
        &self,
        source: &Source,
        scan: &ScanFilter,
        below: LogIndex,
        limit: usize,
    ) -> Result<EntryPage, ReadError> {
        let indexes: Vec<LogIndex> = match source {
            Source::Account(account) => self.views.account_entries(account, below, limit).await.map_err(unreadable)?,
            Source::Order(order) => {
                let payments = self.views.order_payments(order, (below, 0), limit).await.map_err(unreadable)?;
                payments.into_iter().map(|(index, _)| index).collect()
            }
            Source::Decided(status) => self.views.decided_as(*status, below, limit).await.map_err(unreadable)?,
            Source::Scan | Source::Changed(_) => Vec::new(),
        };
        let next_below = indexes.last().copied().filter(|_| indexes.len() == limit);
        self.read(indexes, scan.at_least, next_below).await
    }

    /// Entries with payments that have changed to a status according to the views, or have changed between the index of
    /// the views and `at`. The views may be behind `at` or ahead of it: what they have of the changes after `at` may hide
    /// a payment that had the status then.
    async fn find_changed(
        &self,
        status: PaymentStatus,
        scan: &ScanFilter,
        at: LogIndex,
        limit: usize,
    ) -> Result<EntryPage, ReadError> {
        let floor = LogIndex(scan.below.0.saturating_sub(MAX_CHANGED_SCANNED)).max(scan.at_least);
        let known = self.views.changed_to(status, floor, (scan.below, 0), limit).await.map_err(unreadable)?;
        let (viewed, known) = known;
        let reached = known.last().map(|(index, _)| *index).filter(|_| known.len() == limit).unwrap_or(floor);
        let young = self.ledger.changed_payments(viewed.min(at), viewed.max(at)).await.map_err(unreadable)?;
        let young = young.into_iter().map(|id| id.index());
        let indexes: BTreeSet<LogIndex> = known.into_iter().map(|(index, _)| index).chain(young).collect();
        let indexes = indexes.range(reached..scan.below).rev().copied().collect();
        self.read(indexes, scan.at_least, (reached > scan.at_least).then_some(reached)).await
    }

    /// Reads the entries at these indexes, newest first, as far as they are not too old and not too large together.
    async fn read(
        &self,
        mut indexes: Vec<LogIndex>,
        at_least: LogIndex,
        mut next_below: Option<LogIndex>,
    ) -> Result<EntryPage, ReadError> {
        let found = indexes.len();
        indexes.dedup();
        indexes.retain(|index| *index >= at_least);
        let entries = self.ledger.entries_of(&indexes).await.map_err(unreadable)?;
        let last = entries.last().map(|last| last.index);
        if let Some(last) = last.filter(|last| indexes.last() != Some(last)) {
            next_below = Some(last);
        } else if found > 0 && indexes.is_empty() {
            next_below = None;
        }
        Ok(EntryPage { entries, next_below: next_below.filter(|below| *below > at_least) })
    }
}
