//! Lookups in the views, concurrent with their writer. `whole.rs` reads them as a whole.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::error::{ViewsError, damaged};
use crate::blocking::Blocking;
use crate::sqlite::Readers;
use quorapay_core::domain::{
    AccountId, Currency, KeyDigest, MinorUnits, OrderDigest, OrderId, OrderState, PaymentId, PaymentStatus,
};
use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::{Hash, Position};

/// A pool of read connections; clones share it.
#[derive(Clone, Debug)]
pub struct ViewsReader {
    pub(super) readers: Readers,
}

/// Rows that are looked up one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Keys with the entries that hold them.
    pub keys: Vec<(KeyDigest, LogIndex)>,
    /// Accounts with the entries that moved their money.
    pub postings: Vec<(AccountId, LogIndex)>,
    /// Orders with the payments that name them.
    pub order_payments: Vec<(OrderDigest, LogIndex, u16)>,
}

/// A number for SQLite.
pub(super) fn to_sql(number: u64) -> Result<i64, ViewsError> {
    i64::try_from(number).map_err(|_| damaged(format!("{number} is too large a number to be stored")))
}

pub(super) fn from_sql(number: i64) -> Result<u64, ViewsError> {
    u64::try_from(number).map_err(|_| damaged(format!("a negative number, {number}")))
}

/// The projected position.
pub(super) async fn read_projected(connection: &mut SqliteConnection) -> Result<Position, ViewsError> {
    let sql = "SELECT projected_index, projected_epoch, projected_hash FROM meta";
    let row: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(sql).fetch_optional(connection).await?;
    let (index, epoch, hash) = row.ok_or_else(|| damaged("they do not say up to where they go"))?;
    let hash = hash.try_into().map_err(|_| damaged("their hash is cut"))?;
    Ok(Position { index: LogIndex(from_sql(index)?), epoch: Epoch(from_sql(epoch)?), hash: Hash(hash) })
}

impl ViewsReader {
    pub(super) const fn new(readers: Readers) -> Self {
        Self { readers }
    }

    /// The same connections, whose reads are awaited like this.
    #[must_use]
    pub fn awaited(mut self, blocking: &Blocking) -> Self {
        self.readers.blocking = blocking.clone();
        self
    }

    /// The projected position.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`], like every read.
    pub async fn projected(&self) -> Result<Position, ViewsError> {
        let read = async { read_projected(&mut *self.readers.acquire().await?).await };
        self.readers.blocking.settle(read).await
    }

    /// The projected index, and how many payments were decided up to there, rejected ones included.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn payment_count(&self) -> Result<(LogIndex, u64), ViewsError> {
        let row: Option<(i64, i64)> =
            sqlx::query_as("SELECT projected_index, payments FROM meta").fetch_optional(&self.readers).await?;
        let (index, payments) = row.ok_or_else(|| damaged("they do not say up to where they go"))?;
        Ok((LogIndex(from_sql(index)?), from_sql(payments)?))
    }

    /// The entry that holds a key, if it is projected.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn key(&self, digest: KeyDigest) -> Result<Option<LogIndex>, ViewsError> {
        let index: Option<i64> = sqlx::query_scalar("SELECT log_index FROM keys WHERE digest = ?")
            .bind(digest.0.to_vec())
            .fetch_optional(&self.readers)
            .await?;
        index.map(|index| from_sql(index).map(LogIndex)).transpose()
    }

    /// Those of the keys that are projected, with the entries that hold them, in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn keys(
        &self,
        digests: impl IntoIterator<Item = KeyDigest>,
    ) -> Result<Vec<(KeyDigest, LogIndex)>, ViewsError> {
        let digests: Vec<KeyDigest> = digests.into_iter().collect();
        let sql = "SELECT wanted.key, log_index FROM json_each(?) AS wanted \
                   CROSS JOIN keys ON digest = unhex(wanted.value)";
        let wanted = to_json(&digests.iter().map(|digest| hex::encode(digest.0)).collect::<Vec<_>>());
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(wanted).fetch_all(&self.readers).await?;
        rows.into_iter().map(|(at, index)| Ok((requested(&digests, at)?, LogIndex(from_sql(index)?)))).collect()
    }

    /// The latest changes of those of the payments that changed, in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn last_changes(
        &self,
        payments: impl IntoIterator<Item = PaymentId>,
    ) -> Result<Vec<(PaymentId, LogIndex)>, ViewsError> {
        let payments: Vec<PaymentId> = payments.into_iter().collect();
        let sql = "SELECT wanted.key, last_change FROM json_each(?) AS wanted CROSS JOIN changed_payments \
                   ON log_index = wanted.value ->> 0 AND item = wanted.value ->> 1";
        let wanted = to_json(&payments.iter().map(|id| (id.index(), id.item())).collect::<Vec<_>>());
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(wanted).fetch_all(&self.readers).await?;
        rows.into_iter().map(|(at, index)| Ok((requested(&payments, at)?, LogIndex(from_sql(index)?)))).collect()
    }

    /// The states of those of the orders for which anything was ever charged, in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn orders(
        &self,
        orders: impl IntoIterator<Item = &OrderId>,
    ) -> Result<Vec<(OrderId, OrderState)>, ViewsError> {
        let digests: Vec<_> = orders.into_iter().map(|id| hex::encode(id.digest().0)).collect();
        let read = async { find_orders(&mut *self.readers.acquire().await?, &digests).await };
        self.readers.blocking.settle(read).await
    }

    /// Entry and item of the changed payments that have this status, newest first, from `floor` on and before `before`,
    /// at most `limit`; and the projected index that they are as of.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn changed_to(
        &self,
        status: PaymentStatus,
        floor: LogIndex,
        before: (LogIndex, u16),
        limit: usize,
    ) -> Result<(LogIndex, Vec<(LogIndex, u16)>), ViewsError> {
        // One statement, so that the list is as of the projected index that comes with it.
        let sql = "SELECT projected_index, found.log_index, found.item FROM meta LEFT JOIN (SELECT log_index, item \
                   FROM changed_payments WHERE log_index >= ? AND (log_index, item) < (?, ?) AND status = ? \
                   ORDER BY log_index DESC, item DESC LIMIT ?) AS found ORDER BY found.log_index DESC, found.item DESC";
        let rows: Vec<(i64, Option<i64>, Option<i64>)> = sqlx::query_as(sql)
            .bind(to_sql(floor.0)?)
            .bind(i64::try_from(before.0.0).unwrap_or(i64::MAX))
            .bind(i64::from(before.1))
            .bind(status.as_str())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        let projected = rows.first().map_or(0, |(projected, _, _)| *projected);
        let found = rows.into_iter().filter_map(|(_, index, item)| Some(read_item((index?, item?))));
        Ok((LogIndex(from_sql(projected)?), found.collect::<Result<_, _>>()?))
    }

    /// Entry and item of the payments that name an order, newest first, before `before`, at most `limit`.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn order_payments(
        &self,
        order: &OrderId,
        before: (LogIndex, u16),
        limit: usize,
    ) -> Result<Vec<(LogIndex, u16)>, ViewsError> {
        let sql = "SELECT log_index, item FROM order_payments WHERE digest = ? AND (log_index, item) < (?, ?) \
                   ORDER BY log_index DESC, item DESC LIMIT ?";
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql)
            .bind(order.digest().0.to_vec())
            .bind(i64::try_from(before.0.0).unwrap_or(i64::MAX))
            .bind(i64::from(before.1))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        rows.into_iter().map(read_item).collect()
    }

    /// The entries that moved an account's money, newest first, before `below`, at most `limit`.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn account_entries(
        &self,
        account: &AccountId,
        below: LogIndex,
        limit: usize,
    ) -> Result<Vec<LogIndex>, ViewsError> {
        let sql = "SELECT log_index FROM account_entries \
                   WHERE account = (SELECT account FROM accounts WHERE id = ?) AND log_index < ? \
                   ORDER BY log_index DESC LIMIT ?";
        let indexes: Vec<i64> = sqlx::query_scalar(sql)
            .bind(account.as_str())
            .bind(i64::try_from(below.0).unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await?;
        indexes.into_iter().map(|index| from_sql(index).map(LogIndex)).collect()
    }

    /// The entries of which the views lack an expected key, posting or order's payment, in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn missing(&self, expected: &Lookups) -> Result<Vec<LogIndex>, ViewsError> {
        let keys: Vec<_> = expected.keys.iter().map(|(digest, index)| (hex::encode(digest.0), index.0)).collect();
        let mut missing = self
            .unmatched(
                "SELECT value ->> 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (SELECT 1 FROM keys \
                 WHERE digest = unhex(wanted.value ->> 0) AND log_index = wanted.value ->> 1)",
                to_json(&keys),
            )
            .await?;
        let postings: Vec<_> = expected.postings.iter().map(|(account, index)| (account.as_str(), index.0)).collect();
        missing.extend(
            self.unmatched(
                "SELECT value ->> 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (SELECT 1 FROM account_entries \
                 WHERE account = (SELECT account FROM accounts WHERE id = wanted.value ->> 0) \
                 AND log_index = wanted.value ->> 1)",
                to_json(&postings),
            )
            .await?,
        );
        let payments =
            expected.order_payments.iter().map(|(digest, index, item)| (hex::encode(digest.0), index.0, *item));
        missing.extend(
            self.unmatched(
                "SELECT value ->> 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (SELECT 1 FROM order_payments \
                 WHERE digest = unhex(wanted.value ->> 0) AND log_index = wanted.value ->> 1 \
                 AND item = wanted.value ->> 2)",
                to_json(&payments.collect::<Vec<_>>()),
            )
            .await?,
        );
        Ok(missing)
    }

    async fn unmatched(&self, sql: &'static str, wanted: String) -> Result<Vec<LogIndex>, ViewsError> {
        let indexes: Vec<i64> = sqlx::query_scalar(sql).bind(wanted).fetch_all(&self.readers).await?;
        indexes.into_iter().map(|index| from_sql(index).map(LogIndex)).collect()
    }

    /// Closes the read connections when those in use are returned.
    pub async fn close(&self) {
        self.readers.close().await;
    }
}

/// Orders by their digests in hexadecimal digits.
pub(super) async fn find_orders(
    connection: &mut SqliteConnection,
    digests: &[String],
) -> Result<Vec<(OrderId, OrderState)>, ViewsError> {
    let sql = "SELECT orders.id, currency, total, used FROM json_each(?) AS wanted \
               CROSS JOIN orders ON digest = unhex(wanted.value)";
    let rows = sqlx::query(sql).bind(to_json(&digests)).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((parsed(row.try_get(0)?, OrderId::parse)?, read_order(row, 1)?))).collect()
}

/// Reads an order from the columns currency, total and used, which begin at `at`.
pub(super) fn read_order(row: &SqliteRow, at: usize) -> Result<OrderState, ViewsError> {
    let currency = parsed(row.try_get(at)?, Currency::parse)?;
    Ok(OrderState { currency, total: amount(row, at + 1)?, used: amount(row, at + 2)? })
}

pub(super) fn amount(row: &SqliteRow, at: usize) -> Result<MinorUnits, ViewsError> {
    Ok(MinorUnits::new(row.try_get(at)?))
}

pub(super) fn read_item((index, item): (i64, i64)) -> Result<(LogIndex, u16), ViewsError> {
    let item = u16::try_from(item).map_err(|_| damaged(format!("no entry holds a payment {item}")))?;
    Ok((LogIndex(from_sql(index)?), item))
}

/// The wanted item that a row answers.
fn requested<T: Copy>(wanted: &[T], at: i64) -> Result<T, ViewsError> {
    let found = usize::try_from(at).ok().and_then(|at| wanted.get(at));
    found.copied().ok_or_else(|| damaged("an answer fits no question"))
}

fn to_json(wanted: &impl serde::Serialize) -> String {
    serde_json::to_string(wanted).expect("texts and numbers are JSON")
}

pub(super) fn parsed<T, E: std::fmt::Display>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, ViewsError> {
    parse(text).map_err(|error| damaged(format!("{text:?}: {error}")))
}
