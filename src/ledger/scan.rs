//! Lists payments, newest first, with bounded work per page.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

use super::error::LedgerError;
use super::reader::LedgerReader;
use super::row::{COLUMNS, read_entry, to_sql};
use crate::domain::{AccountId, Currency};
use crate::replication::{Entry, LogIndex};

/// Payments by what was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentStatus {
    /// The money moved.
    Succeeded,
    /// Nothing moved.
    Rejected,
}

/// Which payments are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScanFilter {
    /// Only entries before this one.
    pub below: LogIndex,
    /// Only this entry and later ones.
    pub at_least: LogIndex,
    /// Only payments that came out like this.
    pub status: Option<PaymentStatus>,
    /// Only payments in this currency.
    pub currency: Option<Currency>,
    /// Only payments from or to this account.
    pub account: Option<AccountId>,
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Payments, newest first. A page may be short, even empty, before the end: the work per page is bounded.
    pub entries: Vec<Arc<Entry>>,
    /// The `below` of the next page; `None` at the end.
    pub next_below: Option<LogIndex>,
}

impl LedgerReader {
    /// Looks through at most `max_scanned` entries for at most `limit` payments that the filter lets through.
    ///
    /// # Errors
    /// [`LedgerError::Damaged`] or [`LedgerError::Read`].
    pub async fn scan_newest(&self, filter: &ScanFilter, limit: usize, max_scanned: u64) -> Result<Scan, LedgerError> {
        let first = filter.at_least.max(LogIndex(1));
        let floor = LogIndex(filter.below.0.saturating_sub(max_scanned)).max(first);
        let kinds = match filter.status {
            None => "'payment', 'payment_rejected'",
            Some(PaymentStatus::Succeeded) => "'payment'",
            Some(PaymentStatus::Rejected) => "'payment_rejected'",
        };
        // `+kind` keeps the planner on the rowid: there is no index by kind that could help.
        let sql = format!(
            "SELECT {COLUMNS} FROM entries WHERE log_index >= ?1 AND log_index < ?2 AND +kind IN ({kinds}) \
             AND (?3 IS NULL OR currency = ?3) AND (?4 IS NULL OR from_account = ?4 OR to_account = ?4) \
             ORDER BY log_index DESC LIMIT ?5"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(to_sql(floor.0)?)
            .bind(to_sql(filter.below.0)?)
            .bind(filter.currency.as_ref().map(Currency::code))
            .bind(filter.account.as_ref().map(AccountId::as_str))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await
            .map_err(LedgerError::from_read)?;
        let entries = rows.iter().map(read_entry).collect::<Result<Vec<_>, _>>()?;
        // A full page ends at its last entry, a short one where the looking ended.
        let reached = entries.last().filter(|_| entries.len() == limit).map_or(floor, |entry| entry.index);
        Ok(Scan { next_below: (reached > first).then_some(reached), entries })
    }
}
