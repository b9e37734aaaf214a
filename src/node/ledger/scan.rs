//! Lists entries with payments or postings, newest first, with bounded work per page.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::error::LedgerError;
use super::reader::{EntryBuffer, LedgerReader};
use super::row::{LIGHT_COLUMNS, to_sql};
use quorapay_core::domain::{
    AccountId, Currency, LogIndex, Operation, OrderId, Payment, PaymentChangeKind, PaymentOutcome, PaymentState,
};
use quorapay_core::replication::Entry;

/// Bytes of the entries of one page: a few large batches. A single entry may be larger.
const SCAN_BYTES: usize = 8 << 20;

/// What an entry must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScanFor {
    /// Payments, whatever their outcome.
    #[default]
    Payments,
    /// Payments that were captured at once.
    Captured,
    /// Payments that were authorized.
    Authorized,
    /// Payments that were rejected.
    Rejected,
    /// Postings.
    Postings,
}

impl ScanFor {
    /// Whether a payment with this outcome is wanted.
    const fn is_payment(self, outcome: PaymentOutcome) -> bool {
        match self {
            Self::Payments => true,
            Self::Captured | Self::Postings => matches!(outcome, PaymentOutcome::Succeeded { .. }),
            Self::Authorized => matches!(outcome, PaymentOutcome::Authorized { .. }),
            Self::Rejected => matches!(outcome, PaymentOutcome::Rejected(_)),
        }
    }

    const fn kinds(self) -> &'static str {
        match self {
            Self::Payments => "'payment', 'authorization', 'payment_rejected', 'batch'",
            Self::Captured => "'payment', 'batch'",
            Self::Authorized => "'authorization', 'batch'",
            Self::Rejected => "'payment_rejected', 'batch'",
            Self::Postings => "'payment', 'capture', 'refund', 'batch'",
        }
    }
}

/// Which entries are wanted. A batch always passes, whatever it holds: the caller checks its payments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFilter {
    /// Only entries before this one.
    pub below: LogIndex,
    /// Only this entry and later ones.
    pub at_least: LogIndex,
    /// Only entries that hold this.
    pub wanted: ScanFor,
    /// Only in this currency.
    pub currency: Option<Currency>,
    /// Only from or to this account.
    pub account: Option<AccountId>,
    /// Only payments for this order.
    pub order: Option<OrderId>,
}

impl ScanFilter {
    /// Whether an entry passes, wherever it stands: the same as the statement of a scan asks.
    #[must_use]
    pub fn passes(&self, entry: &Entry) -> bool {
        match entry.operation() {
            Some(Operation::Batch(_)) => true,
            Some(Operation::Payment(Payment { request, outcome, .. })) => {
                let order = request.order.as_ref().map(|order| &order.id);
                self.wanted.is_payment(*outcome) && self.fits(&request.from, &request.to, request.currency, order)
            }
            Some(operation @ Operation::PaymentChange(change)) => {
                let moves = !matches!(change.change, PaymentChangeKind::Void) && operation.rejection().is_none();
                let before = change.before.as_deref();
                let fits = |state: &PaymentState| self.fits(&state.from, &state.to, state.currency, None);
                self.wanted == ScanFor::Postings && moves && before.is_some_and(fits)
            }
            Some(Operation::Account(_) | Operation::Expiry(_) | Operation::KeyFence(_) | Operation::ApiKey(_))
            | None => false,
        }
    }

    fn fits(&self, from: &AccountId, to: &AccountId, currency: Currency, order: Option<&OrderId>) -> bool {
        self.currency.is_none_or(|wanted| wanted == currency)
            && self.account.as_ref().is_none_or(|wanted| wanted == from || wanted == to)
            && self.order.as_ref().is_none_or(|wanted| Some(wanted) == order)
    }
}

/// Entries of one page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPage {
    /// Entries, newest first. A page may be short, even empty, before the end: the work per page is bounded.
    pub entries: Vec<Arc<Entry>>,
    /// The `below` of the next page; `None` at the end.
    pub next_below: Option<LogIndex>,
}

impl LedgerReader {
    /// Scans at most `max_scanned` entries for those that pass the filter, until they are worth `wanted` together; fewer
    /// if they are large. Each must be worth at least one.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn scan_newest(
        &self,
        filter: &ScanFilter,
        wanted: usize,
        max_scanned: u64,
        worth: impl Fn(&Entry) -> usize,
    ) -> Result<EntryPage, LedgerError> {
        let first = filter.at_least.max(LogIndex(1));
        let floor = LogIndex(filter.below.0.saturating_sub(max_scanned)).max(first);
        let mut buffer = EntryBuffer::within(wanted, SCAN_BYTES);
        let mut below = filter.below;
        while !buffer.is_full()
            && let Some(batch) = self.collect_downwards(filter, floor, below, &mut buffer, &worth).await?
            && let Some(entry) = self.entry(batch).await?
        {
            let worth = worth(&entry);
            buffer.push(entry, worth);
            below = batch;
        }
        // A full page ends at its last entry, a short one where the scan ended.
        let full = buffer.is_full();
        let reached = buffer.entries.last().filter(|_| full).map_or(floor, |entry| entry.index);
        Ok(EntryPage { next_below: (reached > first).then_some(reached), entries: buffer.entries })
    }

    /// Collects entries down to the next large batch and returns the index of that; `None` as [`EntryBuffer::take`].
    async fn collect_downwards(
        &self,
        filter: &ScanFilter,
        floor: LogIndex,
        below: LogIndex,
        buffer: &mut EntryBuffer,
        worth: impl Fn(&Entry) -> usize,
    ) -> Result<Option<LogIndex>, LedgerError> {
        let kinds = filter.wanted.kinds();
        // `+kind` keeps the planner on the rowid: there is no index by kind that could help.
        let sql = format!(
            "SELECT {LIGHT_COLUMNS} FROM entries WHERE log_index >= ?1 AND log_index < ?2 AND +kind IN ({kinds}) \
             AND (kind = 'batch' OR ((?3 IS NULL OR currency = ?3) AND (?4 IS NULL OR from_account = ?4 \
             OR to_account = ?4) AND (?5 IS NULL OR detail ->> '$.order.id' = ?5))) ORDER BY log_index DESC LIMIT ?6"
        );
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(to_sql(floor.0)?)
            .bind(to_sql(below.0)?)
            .bind(filter.currency.as_ref().map(Currency::code))
            .bind(filter.account.as_ref().map(AccountId::as_str))
            .bind(filter.order.as_ref().map(OrderId::as_str))
            .bind(buffer.room());
        buffer.take(query.fetch(&self.readers), worth).await
    }
}
