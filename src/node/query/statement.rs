//! Pages of an account's statement, newest first.

use super::error::ReadError;
use super::newest::Source;
use super::pages::{Cursor, Page};
use super::queries::{EngineMemory, Queries};
use crate::ledger::{ScanFilter, ScanFor};
use quorapay_core::domain::{AccountId, Currency, LogIndex, MinorUnits, PaymentId, PostingKind, Timestamp};
use quorapay_core::replication::Entry;

/// Which lines a statement shows: all that meet every condition given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatementFilter {
    /// The currency.
    pub currency: Option<Currency>,
    /// Appended at this time or later.
    pub from_time: Option<Timestamp>,
    /// Appended before this time.
    pub to_time: Option<Timestamp>,
}

/// Money that an account paid or received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// The line's position in the statement.
    pub cursor: Cursor,
    /// The time at which its entry was appended.
    pub timestamp: Timestamp,
    /// The payment that it belongs to.
    pub payment: PaymentId,
    /// Why the money moved.
    pub kind: PostingKind,
    /// Negative if the account paid.
    pub amount: MinorUnits,
    /// The currency of the amount and of the balance.
    pub currency: Currency,
    /// The account's posted balance in this currency right after.
    pub balance: MinorUnits,
    /// The other account.
    pub counterparty: AccountId,
}

impl<M: EngineMemory> Queries<M> {
    /// What moved an account's money up to `at`, before `before`, newest first; without one, from the newest on.
    /// Continue while there is a `next_before`, even after an empty page.
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
        let newest_first = self.newest_first();
        let (before, at_least) = newest_first.range(at, before, (filter.from_time, filter.to_time)).await?;
        let scan = ScanFilter {
            below: before.below(),
            at_least,
            wanted: ScanFor::Postings,
            currency: filter.currency,
            account: Some(account.clone()),
            order: None,
        };
        let wanted = |line: &StatementLine| {
            line.cursor < before && filter.currency.is_none_or(|currency| currency == line.currency)
        };
        let worth = |entry: &Entry| lines(entry, account).iter().filter(|line| wanted(line)).count().max(1);
        let source = Source::Account(account.clone());
        let found = newest_first.find(&source, scan, at, limit, &worth).await?;
        let lines = found.entries.iter().flat_map(|entry| lines(entry, account));
        let mut lines: Vec<StatementLine> = lines.filter(wanted).take(limit + 1).collect();
        let mut next_before = found.next_below.map(Cursor::at);
        if lines.len() > limit {
            lines.truncate(limit);
            next_before = lines.last().map(|last| last.cursor);
        }
        Ok(Page { found: lines, next_before })
    }
}

/// What an entry moved of an account's money, the last movement first.
fn lines(entry: &Entry, account: &AccountId) -> Vec<StatementLine> {
    let Some(operation) = entry.operation() else { return Vec::new() };
    let mut lines = Vec::new();
    for posting in operation.postings(entry.stamp()) {
        // A capture or a refund has an entry of its own, whatever the number of its payment is.
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
