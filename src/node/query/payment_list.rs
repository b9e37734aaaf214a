//! Pages of payments, newest first.

use std::sync::Arc;

use super::error::ReadError;
use super::newest::Source;
use super::pages::{Cursor, Page};
use super::payments::PaymentRecord;
use super::queries::{EngineMemory, Queries};
use crate::ledger::{ScanFilter, ScanFor};
use quorapay_core::domain::{
    AccountId, Currency, DecidedPayment, LogIndex, Operation, OrderId, PaymentId, PaymentOutcome, PaymentState,
    PaymentStatus, Timestamp,
};
use quorapay_core::replication::Entry;

/// Most payments whose state is looked up for one page.
const MAX_CANDIDATES: usize = 2_000;

/// Which payments a list shows: all that meet every condition given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// The account pays or receives.
    pub account: Option<AccountId>,
    /// The present status.
    pub status: Option<PaymentStatus>,
    /// The currency.
    pub currency: Option<Currency>,
    /// The order that is paid.
    pub order: Option<OrderId>,
    /// Appended at this time or later.
    pub from_time: Option<Timestamp>,
    /// Appended before this time.
    pub to_time: Option<Timestamp>,
}

/// A payment that may belong on the page.
struct Candidate {
    cursor: Cursor,
    id: PaymentId,
    entry: Arc<Entry>,
    decided: PaymentState,
}

impl<M: EngineMemory> Queries<M> {
    /// Payments as of `at` that meet the filter and come before `before`, newest first; without one, from the newest
    /// on. Continue while there is a `next_before`, even after an empty page.
    ///
    /// # Errors
    /// [`ReadError::Storage`] if the ledger or the views cannot be read, [`ReadError::Overloaded`] if the loop's queue
    /// is full.
    pub async fn list_payments(
        &self,
        filter: &PaymentFilter,
        at: LogIndex,
        before: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<PaymentRecord>, ReadError> {
        let limit = limit.max(1);
        let newest_first = self.newest_first();
        let (before, at_least) = newest_first.range(at, before, (filter.from_time, filter.to_time)).await?;
        let scan = ScanFilter {
            below: before.below(),
            at_least,
            wanted: filter.status.map_or(ScanFor::Payments, decided_as),
            currency: filter.currency,
            account: filter.account.clone(),
            order: filter.order.clone(),
        };
        // Any payment of an entry may turn out not to have the status wanted, so a page may need every entry.
        let by_status = filter.status.is_some();
        let worth = |entry: &Entry| if by_status { 1 } else { matching_before(entry, filter, before).max(1) };
        let found = newest_first.find(&source_for(filter), scan, at, limit, &worth).await?;
        // Without a status to meet, every candidate belongs on the page.
        let max_candidates = if filter.status.is_some() { MAX_CANDIDATES } else { limit };
        let matching = found.entries.iter().flat_map(|entry| candidates(entry, filter));
        let mut candidates: Vec<Candidate> =
            matching.filter(|candidate| candidate.cursor < before).take(max_candidates + 1).collect();
        let mut next_before = found.next_below.map(Cursor::at);
        if candidates.len() > max_candidates {
            candidates.truncate(max_candidates);
            next_before = candidates.last().map(|last| last.cursor);
        }
        let page = self.page_of(candidates, filter.status, at, limit).await?;
        Ok(Page { found: page.found, next_before: page.next_before.or(next_before) })
    }

    /// The first candidates whose status now is the one wanted; with a cursor if there is no room for all of them.
    async fn page_of(
        &self,
        candidates: Vec<Candidate>,
        status: Option<PaymentStatus>,
        at: LogIndex,
        limit: usize,
    ) -> Result<Page<PaymentRecord>, ReadError> {
        let decided = candidates.iter().map(|candidate| (candidate.id, candidate.decided.clone())).collect();
        let states = self.states_at(decided, at).await?;
        let mut page = Page { found: Vec::new(), next_before: None };
        let mut last = None;
        for (Candidate { cursor, entry, .. }, state) in candidates.into_iter().zip(states) {
            if status.is_some_and(|wanted| wanted != state.status()) {
                continue;
            }
            if page.found.len() == limit {
                page.next_before = last;
                break;
            }
            last = Some(cursor);
            page.found.push(PaymentRecord { entry, item: cursor.item, state, history: Vec::new() });
        }
        Ok(page)
    }
}

/// Where payments that meet a filter are looked for.
fn source_for(filter: &PaymentFilter) -> Source {
    match (&filter.order, filter.status, &filter.account) {
        (Some(order), _, _) => Source::Order(order.clone()),
        (None, Some(status), _) if is_after_change(status) => Source::Changed(status),
        // The views list the entries that moved an account's money, not the payments that were rejected or are held.
        (None, Some(PaymentStatus::Succeeded), Some(account)) => Source::Account(account.clone()),
        (None, _, _) => Source::Scan,
    }
}

/// Whether only a payment that changed after it was decided can have this status.
const fn is_after_change(status: PaymentStatus) -> bool {
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

/// How payments that have this status now may have been decided.
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

/// The payments of an entry that meet all of a filter except their present status, the last one first. Made one by one:
/// a page needs few of a large batch.
fn candidates(entry: &Arc<Entry>, filter: &PaymentFilter) -> impl Iterator<Item = Candidate> {
    let payments = entry.operation().into_iter().flat_map(Operation::payments);
    let mut payments: Vec<DecidedPayment<'_>> = payments.filter(|payment| meets(payment, filter)).collect();
    payments.reverse();
    payments.into_iter().filter_map(|payment| {
        let decided = PaymentState::decided(payment.request, payment.outcome)?;
        let cursor = Cursor { index: entry.index, item: payment.item };
        let id = PaymentId::derive(entry.stamp(), payment.item);
        Some(Candidate { cursor, id, entry: Arc::clone(entry), decided })
    })
}

/// How many payments of an entry meet a filter, except for their present status, and come before a cursor.
fn matching_before(entry: &Entry, filter: &PaymentFilter, before: Cursor) -> usize {
    let payments = entry.operation().into_iter().flat_map(Operation::payments);
    let meets = |payment: &DecidedPayment<'_>| {
        let cursor = Cursor { index: entry.index, item: payment.item };
        payment.is_decided() && cursor < before && meets(payment, filter)
    };
    payments.filter(meets).count()
}

/// Whether a payment meets a filter, except for its present status.
fn meets(payment: &DecidedPayment<'_>, filter: &PaymentFilter) -> bool {
    let request = payment.request;
    let order = request.order.as_ref().map(|order| &order.id);
    filter.account.as_ref().is_none_or(|id| request.from == *id || request.to == *id)
        && filter.currency.is_none_or(|currency| request.currency == currency)
        && filter.order.as_ref().is_none_or(|wanted| order == Some(wanted))
        && filter.status.is_none_or(|status| may_become(payment.outcome, status))
}

/// Whether a payment with this outcome may come to have this status.
const fn may_become(outcome: PaymentOutcome, status: PaymentStatus) -> bool {
    match decided_as(status) {
        ScanFor::Captured => matches!(outcome, PaymentOutcome::Succeeded { .. }),
        ScanFor::Authorized => matches!(outcome, PaymentOutcome::Authorized { .. }),
        ScanFor::Rejected => matches!(outcome, PaymentOutcome::Rejected(_)),
        ScanFor::Payments | ScanFor::Postings => true,
    }
}

#[cfg(test)]
#[path = "payment_list_tests.rs"]
mod tests;
