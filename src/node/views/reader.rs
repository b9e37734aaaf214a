//! Lookups in the views, concurrent with their writer. `whole.rs` reads them as a whole.

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::error::{ViewsError, damaged};
use super::kind::{
    Kind, OrderChange, account_prefix, indexed, order_payment_key, read_key, read_order_payment, read_piece,
    status_prefix,
};
use super::lookup;
use crate::blocking::Blocking;
use crate::sqlite::Readers;
use quorapay_core::domain::{
    AccountId, KeyDigest, MinorUnits, OrderDigest, OrderId, OrderState, PaymentId, PaymentStatus,
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
    /// Entries with payments that were decided with a status.
    pub decided: Vec<(PaymentStatus, LogIndex)>,
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

    /// Runs a read over one of the connections. It fails if the views are made anew meanwhile: what a new file lacks must
    /// not pass for what does not exist. Damage that it finds is reported, so that they are.
    pub(super) async fn read<T: Send>(
        &self,
        read: impl Future<Output = Result<T, ViewsError>> + Send,
    ) -> Result<T, ViewsError> {
        let pass = self.readers.enter()?;
        let result = self.readers.blocking.settle(read).await;
        self.readers.held_open(pass)?;
        result.inspect_err(|error| {
            if let ViewsError::Damaged(reason) = error {
                self.readers.gate.report(reason.clone());
            }
        })
    }

    /// The projected position.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`], like every read.
    pub async fn projected(&self) -> Result<Position, ViewsError> {
        self.read(async { read_projected(&mut *self.readers.acquire().await?).await }).await
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
        Ok(self.keys([digest]).await?.first().map(|(_, index)| *index))
    }

    /// Those of the keys that are projected, with the entries that hold them, in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn keys(
        &self,
        digests: impl IntoIterator<Item = KeyDigest>,
    ) -> Result<Vec<(KeyDigest, LogIndex)>, ViewsError> {
        let digests: Vec<[u8; 16]> = digests.into_iter().map(|digest| digest.0).collect();
        let read = async {
            let found = lookup::find(&mut *self.readers.acquire().await?, Kind::Keys, &digests).await?;
            found.into_iter().map(|(digest, value)| Ok((KeyDigest(digest), read_key(&value)?))).collect()
        };
        self.read(read).await
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
        let digests: Vec<_> = orders.into_iter().map(OrderId::digest).collect();
        self.read(async { find_orders(&mut *self.readers.acquire().await?, &digests).await }).await
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
        let digest = order.digest();
        let bound = order_payment_key(digest, before.0, before.1);
        let mut found = Vec::new();
        self.newest_first(Kind::OrderPayments, &digest.0, bound, |key, _| {
            found.push(read_order_payment(key)?);
            Ok(found.len() < limit)
        })
        .await?;
        Ok(found)
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
        self.listed(Kind::Postings, &account_prefix(account), below, limit).await
    }

    /// The entries with payments that were decided with this status, newest first, before `below`, at most `limit`.
    /// There are lists of those that were rejected or authorized; of other statuses there is nothing.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn decided_as(
        &self,
        status: PaymentStatus,
        below: LogIndex,
        limit: usize,
    ) -> Result<Vec<LogIndex>, ViewsError> {
        match status_prefix(status) {
            Some(prefix) => self.listed(Kind::Decided, &prefix, below, limit).await,
            None => Ok(Vec::new()),
        }
    }

    async fn listed(
        &self,
        kind: Kind,
        prefix: &[u8],
        below: LogIndex,
        limit: usize,
    ) -> Result<Vec<LogIndex>, ViewsError> {
        let mut found = Vec::new();
        self.newest_first(kind, prefix, indexed(prefix, below), |key, value| {
            let entries = read_piece(key, value)?;
            let older = entries.into_iter().rev().filter(|index| *index < below);
            found.extend(older.take(limit - found.len()));
            Ok(found.len() < limit)
        })
        .await?;
        Ok(found)
    }

    /// Calls `take` with the pairs whose keys begin with `prefix` and are below `bound`, the newest first, while it
    /// returns true.
    async fn newest_first(
        &self,
        kind: Kind,
        prefix: &[u8],
        bound: Vec<u8>,
        take: impl FnMut(&[u8], &[u8]) -> Result<bool, ViewsError> + Send,
    ) -> Result<(), ViewsError> {
        let read = async {
            // One snapshot: a merge may end meanwhile.
            let mut snapshot = self.readers.begin().await?;
            lookup::newest_first(&mut snapshot, kind, prefix, &bound, take).await?;
            Ok(snapshot.rollback().await?)
        };
        self.read(read).await
    }

    /// The entries of which the views lack an expected key, posting or order's payment, or that they do not list under
    /// the status with which a payment was decided; in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn missing(&self, expected: &Lookups) -> Result<Vec<LogIndex>, ViewsError> {
        let keys = expected.keys.iter().map(|(digest, index)| (digest.0.to_vec(), *index));
        let postings = expected.postings.iter().map(|(id, index)| (indexed(&account_prefix(id), *index), *index));
        let payments = expected.order_payments.iter();
        let payments = payments.map(|(digest, index, item)| (order_payment_key(*digest, *index, *item), *index));
        let decided = expected.decided.iter();
        let decided = decided.filter_map(|(status, index)| Some((indexed(&status_prefix(*status)?, *index), *index)));
        let wanted = [
            (Kind::Keys, keys.collect::<Vec<_>>()),
            (Kind::Postings, postings.collect()),
            (Kind::OrderPayments, payments.collect()),
            (Kind::Decided, decided.collect()),
        ];
        let mut missing = Vec::new();
        for (kind, wanted) in wanted {
            let read = async { lookup::missing(&mut *self.readers.acquire().await?, kind, &wanted).await };
            missing.extend(self.read(read).await?);
        }
        Ok(missing)
    }

    /// Closes the read connections when those in use are returned.
    pub async fn close(&self) {
        self.readers.close().await;
    }
}

pub(super) async fn find_orders(
    connection: &mut SqliteConnection,
    digests: &[OrderDigest],
) -> Result<Vec<(OrderId, OrderState)>, ViewsError> {
    let digests: Vec<[u8; 16]> = digests.iter().map(|digest| digest.0).collect();
    let changes = lookup::find(connection, Kind::Orders, &digests).await?;
    changes.into_values().map(|changes| OrderChange::from_bytes(&changes)?.whole()).collect()
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

pub(super) fn to_json(wanted: &impl serde::Serialize) -> String {
    serde_json::to_string(wanted).expect("texts and numbers are JSON")
}

pub(super) fn parsed<T, E: std::fmt::Display>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, ViewsError> {
    parse(text).map_err(|error| damaged(format!("{text:?}: {error}")))
}
