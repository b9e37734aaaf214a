//! What the history reads: single entries, stretches of the ledger, lists of payments and statements.
//!
//! Nothing here waits for an index. Callers first take a [`super::ReadPoint`] and ask for nothing above its applied
//! index; everything up to there is in this node's files or memory.

use std::sync::Arc;

use crate::domain::{AccountId, Currency, Operation};
use crate::ledger::{self, ScanFilter};
use crate::replication::{Entry, LogIndex, Timestamp};

use super::handle::{NodeHandle, ReadError};

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentStatus {
    /// The money moved.
    Succeeded,
    /// The bank refused it.
    Rejected,
}

/// Which payments a list shows: all that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Pays or receives.
    pub account: Option<AccountId>,
    /// Stands so.
    pub status: Option<PaymentStatus>,
    /// Is in this currency.
    pub currency: Option<Currency>,
    /// Was appended at this time or later.
    pub from_time: Option<Timestamp>,
    /// Was appended before this time.
    pub to_time: Option<Timestamp>,
}

/// One page of a list, newest first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The entries, at most as many as asked for. May be fewer, or none, before the end of the list: the work for one
    /// page is bounded.
    pub entries: Vec<Arc<Entry>>,
    /// Where the next page begins; `None` at the end of the list.
    pub next_below: Option<LogIndex>,
}

/// Most ledger entries that the work for one page looks through.
const MAX_SCANNED: u64 = 100_000;

impl NodeHandle {
    /// The entry at an index, if this node's ledger holds it.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entry(&self, index: LogIndex) -> Result<Option<Arc<Entry>>, ReadError> {
        self.shared.ledger.entry(index).await.map_err(unreadable)
    }

    /// Consecutive entries in the order of their indexes, from `from` up to and including `to`, at most `limit`. Empty
    /// if `from` is above `to`.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger cannot be read.
    pub async fn entries(&self, from: LogIndex, to: LogIndex, limit: usize) -> Result<Vec<Arc<Entry>>, ReadError> {
        self.shared.ledger.entries(from, to, limit).await.map_err(unreadable)
    }

    /// Payments that meet the filter at indexes below `below`, newest first. Go on while `next_below` is there, also
    /// after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn list_payments(
        &self,
        filter: &PaymentFilter,
        below: LogIndex,
        limit: usize,
    ) -> Result<Page, ReadError> {
        let ledger = &self.shared.ledger;
        let newest = below.previous();
        let mut scan = ScanFilter {
            below,
            at_least: LogIndex(1),
            status: filter.status.map(|status| match status {
                PaymentStatus::Succeeded => ledger::PaymentStatus::Succeeded,
                PaymentStatus::Rejected => ledger::PaymentStatus::Rejected,
            }),
            currency: filter.currency,
            account: filter.account.clone(),
        };
        // Timestamps never decrease along the ledger, so a stretch of time is a stretch of indexes.
        if let Some(to) = filter.to_time {
            scan.below = scan.below.min(ledger.first_at_or_after(to, newest).await.map_err(unreadable)?);
        }
        if let Some(from) = filter.from_time {
            scan.at_least = ledger.first_at_or_after(from, newest).await.map_err(unreadable)?;
        }
        match &filter.account {
            // The views know which payments moved an account's money, not which were refused.
            Some(account) if filter.status == Some(PaymentStatus::Succeeded) => {
                self.account_page(account, scan.clone(), limit).await
            }
            Some(_) | None => self.scan_page(&scan, limit).await,
        }
    }

    /// Payments that moved money of an account (refused ones move none) at indexes below `below`, newest first. Go on
    /// while `next_below` is there, also after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read.
    pub async fn statement(&self, account: &AccountId, below: LogIndex, limit: usize) -> Result<Page, ReadError> {
        let scan = ScanFilter {
            below,
            at_least: LogIndex(1),
            status: Some(ledger::PaymentStatus::Succeeded),
            currency: None,
            account: Some(account.clone()),
        };
        self.account_page(account, scan, limit).await
    }

    async fn scan_page(&self, scan: &ScanFilter, limit: usize) -> Result<Page, ReadError> {
        let found = self.shared.ledger.scan_newest(scan, limit, MAX_SCANNED).await.map_err(unreadable)?;
        Ok(Page { entries: found.entries, next_below: found.next_below })
    }

    /// What is younger than the views is looked for in the ledger; from there on the views know where to look.
    async fn account_page(&self, account: &AccountId, scan: ScanFilter, limit: usize) -> Result<Page, ReadError> {
        let projected = self.status().projected_index;
        let mut page = Page::default();
        if scan.below > projected.next() {
            let young = ScanFilter { at_least: scan.at_least.max(projected.next()), ..scan.clone() };
            page = self.scan_page(&young, limit).await?;
            if page.next_below.is_some() {
                return Ok(page);
            }
        }
        let wanted = limit - page.entries.len();
        let below = scan.below.min(projected.next());
        let indexes = self.shared.views.account_entries(account, below, wanted).await.map_err(unreadable)?;
        let in_range: Vec<LogIndex> = indexes.iter().copied().filter(|index| *index >= scan.at_least).collect();
        let found = self.shared.ledger.entries_of(&in_range).await.map_err(unreadable)?;
        let in_currency = |entry: &Arc<Entry>| match entry.operation() {
            Some(Operation::Payment(payment)) => scan.currency.is_none_or(|wanted| wanted == payment.request.currency),
            Some(Operation::Account(_)) | None => false,
        };
        let more = wanted > 0 && indexes.len() == wanted && in_range.len() == indexes.len();
        page.next_below = if wanted == 0 { Some(below) } else { indexes.last().copied().filter(|_| more) };
        page.entries.extend(found.into_iter().filter(in_currency));
        Ok(page)
    }
}

fn unreadable(error: impl std::fmt::Display) -> ReadError {
    tracing::error!(%error, "this node could not read its files");
    ReadError::Storage
}
