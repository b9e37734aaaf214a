//! Reads from the views, beside their writer.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Row, Sqlite, Transaction};

use super::error::{ViewsError, damaged};
use crate::domain::{
    AccountId, AccountState, AccountStatus, Balance, Balances, Bank, Currency, HoldEnd, KeyDigest, MinorUnits,
    OrderDigest, OrderId, OrderState, Overdraft, PaymentId, PaymentState, PaymentStatus,
};
use crate::replication::{Epoch, Hash, LogIndex, Position};

/// Digests fetched by one statement. One row holds them all: a row each would cost ten times as much.
const DIGESTS_PER_PAGE: i64 = 4_096;

/// Orders looked up by one statement.
const ORDERS_PER_LOOKUP: usize = 4_096;

/// A handle on the read connections; clones share them.
#[derive(Clone, Debug)]
pub struct ViewsReader {
    pool: SqlitePool,
}

/// What the views say as of one position.
#[derive(Clone, Debug)]
pub struct ViewsContents {
    /// Up to where they go.
    pub position: Position,
    /// Accounts and open holds.
    pub bank: Bank,
    /// Payments that changed, by entry and number: the entry that changed them last, and their status since. Sorted.
    pub changed: Vec<(LogIndex, u16, LogIndex, PaymentStatus)>,
    /// Orders for which anything was charged, in no particular order.
    pub orders: Vec<(OrderId, OrderState)>,
    /// How many keys, postings and payments of orders they hold and how many payments they counted, together.
    pub lookups: u64,
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

/// A number as SQLite holds it.
pub(super) fn to_sql(number: u64) -> Result<i64, ViewsError> {
    i64::try_from(number).map_err(|_| damaged(format!("{number} is too large a number to be stored")))
}

fn from_sql(number: i64) -> Result<u64, ViewsError> {
    u64::try_from(number).map_err(|_| damaged(format!("a negative number, {number}")))
}

/// Up to where the ledger is projected.
pub(super) async fn read_projected(connection: &mut SqliteConnection) -> Result<Position, ViewsError> {
    let sql = "SELECT projected_index, projected_epoch, projected_hash FROM meta";
    let row: Option<(i64, i64, Vec<u8>)> = sqlx::query_as(sql).fetch_optional(connection).await?;
    let (index, epoch, hash) = row.ok_or_else(|| damaged("they do not say up to where they go"))?;
    let hash = hash.try_into().map_err(|_| damaged("their hash is cut"))?;
    Ok(Position { index: LogIndex(from_sql(index)?), epoch: Epoch(from_sql(epoch)?), hash: Hash(hash) })
}

impl ViewsReader {
    pub(super) const fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }

    /// Up to where the ledger is projected.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`], like every read.
    pub async fn projected(&self) -> Result<Position, ViewsError> {
        read_projected(&mut *self.pool.acquire().await?).await
    }

    /// Up to where the ledger is projected, and how many payments were decided up to there, refused ones too.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn payment_count(&self) -> Result<(LogIndex, u64), ViewsError> {
        let row: Option<(i64, i64)> =
            sqlx::query_as("SELECT projected_index, payments FROM meta").fetch_optional(&self.pool).await?;
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
            .fetch_optional(&self.pool)
            .await?;
        index.map(|index| from_sql(index).map(LogIndex)).transpose()
    }

    /// Those of the given keys that are projected, with the entries that hold them, in no particular order.
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
        let wanted = to_json(&digests.iter().map(|digest| hex(&digest.0)).collect::<Vec<_>>());
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(wanted).fetch_all(&self.pool).await?;
        rows.into_iter().map(|(at, index)| Ok((asked(&digests, at)?, LogIndex(from_sql(index)?)))).collect()
    }

    /// The latest changes of those of the given payments that changed, in no particular order.
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
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql).bind(wanted).fetch_all(&self.pool).await?;
        rows.into_iter().map(|(at, index)| Ok((asked(&payments, at)?, LogIndex(from_sql(index)?)))).collect()
    }

    /// How far those of the given orders are paid for which anything was, in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn orders(
        &self,
        orders: impl IntoIterator<Item = &OrderId>,
    ) -> Result<Vec<(OrderId, OrderState)>, ViewsError> {
        let digests: Vec<_> = orders.into_iter().map(|id| hex(&id.digest().0)).collect();
        find_orders(&mut *self.pool.acquire().await?, &digests).await
    }

    /// The places, as entry and number, of changed payments that stand at `status`, newest first, from `floor` on and
    /// before the place `before`, at most `limit`.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn changed_to(
        &self,
        status: PaymentStatus,
        floor: LogIndex,
        before: (LogIndex, u16),
        limit: usize,
    ) -> Result<Vec<(LogIndex, u16)>, ViewsError> {
        let sql = "SELECT log_index, item FROM changed_payments WHERE log_index >= ? AND (log_index, item) < (?, ?) \
                   AND status = ? ORDER BY log_index DESC, item DESC LIMIT ?";
        let rows: Vec<(i64, i64)> = sqlx::query_as(sql)
            .bind(to_sql(floor.0)?)
            .bind(i64::try_from(before.0.0).unwrap_or(i64::MAX))
            .bind(i64::from(before.1))
            .bind(status.as_str())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(read_place).collect()
    }

    /// The places, as entry and number, of payments that name an order, newest first, before the place `before`, at most
    /// `limit`.
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
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(read_place).collect()
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
            .fetch_all(&self.pool)
            .await?;
        indexes.into_iter().map(|index| from_sql(index).map(LogIndex)).collect()
    }

    /// All accounts with their balances, all open holds with the orders that they pay for, and the position of which they
    /// are.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn load_bank(&self) -> Result<(Position, Bank), ViewsError> {
        let mut snapshot = self.pool.begin().await?;
        let position = read_projected(&mut snapshot).await?;
        let bank = read_bank(&mut snapshot).await?;
        snapshot.rollback().await?;
        Ok((position, bank))
    }

    /// Everything that the views say as of one position, but for keys and postings, which are looked up one by one.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn contents(&self) -> Result<ViewsContents, ViewsError> {
        let mut snapshot = self.pool.begin().await?;
        let position = read_projected(&mut snapshot).await?;
        let bank = read_bank(&mut snapshot).await?;
        let changed = read_changed(&mut snapshot).await?;
        let orders = read_orders(&mut snapshot).await?;
        let sql = "SELECT (SELECT COUNT(*) FROM keys), (SELECT COUNT(*) FROM account_entries), \
                   (SELECT COUNT(*) FROM order_payments), payments FROM meta";
        let (keys, postings, order_payments, payments): (i64, i64, i64, i64) =
            sqlx::query_as(sql).fetch_one(&mut *snapshot).await?;
        snapshot.rollback().await?;
        let lookups = from_sql(keys)? + from_sql(postings)? + from_sql(order_payments)? + from_sql(payments)?;
        Ok(ViewsContents { position, bank, changed, orders, lookups })
    }

    /// Hands over every projected key's digest, in their order and in bounded memory, and says of which position.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`]; some digests may have been handed over then.
    pub async fn each_digest(&self, mut take: impl FnMut(KeyDigest)) -> Result<Position, ViewsError> {
        let sql = "SELECT group_concat(hex(digest), '') FROM \
                   (SELECT digest FROM keys WHERE digest > ? ORDER BY digest LIMIT ?)";
        self.each_of(sql, |digest| take(KeyDigest(digest))).await
    }

    /// Hands over the digest of every order for which anything was ever charged, like [`Self::each_digest`].
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`]; some digests may have been handed over then.
    pub async fn each_order(&self, mut take: impl FnMut(OrderDigest)) -> Result<Position, ViewsError> {
        let sql = "SELECT group_concat(hex(digest), '') FROM \
                   (SELECT digest FROM orders WHERE digest > ? ORDER BY digest LIMIT ?)";
        self.each_of(sql, |digest| take(OrderDigest(digest))).await
    }

    async fn each_of(&self, sql: &'static str, mut take: impl FnMut([u8; 16])) -> Result<Position, ViewsError> {
        let mut snapshot = self.pool.begin().await?;
        let position = read_projected(&mut snapshot).await?;
        let mut after: Vec<u8> = Vec::new();
        loop {
            let page = digest_page(&mut snapshot, sql, &after).await?;
            page.iter().copied().for_each(&mut take);
            match page.last() {
                Some(last) => after = last.to_vec(),
                None => break,
            }
        }
        snapshot.rollback().await?;
        Ok(position)
    }

    /// The entries of which the views do not hold a key, a posting or an order's payment as given, in no particular
    /// order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn missing(&self, expected: &Lookups) -> Result<Vec<LogIndex>, ViewsError> {
        let keys: Vec<_> = expected.keys.iter().map(|(digest, index)| (hex(&digest.0), index.0)).collect();
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
        let payments = expected.order_payments.iter().map(|(digest, index, item)| (hex(&digest.0), index.0, *item));
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
        let indexes: Vec<i64> = sqlx::query_scalar(sql).bind(wanted).fetch_all(&self.pool).await?;
        indexes.into_iter().map(|index| from_sql(index).map(LogIndex)).collect()
    }

    /// Closes the read connections, once those that are in use have come back.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn read_bank(snapshot: &mut Transaction<'_, Sqlite>) -> Result<Bank, ViewsError> {
    let mut bank = Bank::default();
    read_accounts(snapshot, &mut bank).await?;
    read_holds(snapshot, &mut bank).await?;
    Ok(bank)
}

async fn read_accounts(snapshot: &mut Transaction<'_, Sqlite>, bank: &mut Bank) -> Result<(), ViewsError> {
    let sql = "SELECT id, overdraft, status, currency, posted, held FROM accounts LEFT JOIN balances USING (account) \
               ORDER BY account, currency";
    let mut rows = sqlx::query(sql).fetch(&mut **snapshot);
    let mut current: Option<(AccountId, AccountState)> = None;
    while let Some(row) = rows.try_next().await? {
        let id: &str = row.try_get(0)?;
        if current.as_ref().is_none_or(|(current, _)| current.as_str() != id) {
            let begun = (parsed(id, AccountId::parse)?, empty_account(&row)?);
            if let Some((id, state)) = current.replace(begun) {
                bank.restore_account(id, state);
            }
        }
        let (_, state) = current.as_mut().expect("a row belongs to an account");
        if let Some(currency) = row.try_get::<Option<&str>, _>(3)? {
            let balance = Balance { posted: amount(&row, 4)?, held: amount(&row, 5)? };
            state.balances.set(parsed(currency, Currency::parse)?, balance);
        }
    }
    if let Some((id, state)) = current {
        bank.restore_account(id, state);
    }
    Ok(())
}

fn empty_account(row: &SqliteRow) -> Result<AccountState, ViewsError> {
    let overdraft = parsed(row.try_get(1)?, Overdraft::parse)?;
    let status: &str = row.try_get(2)?;
    let status = AccountStatus::parse(status).ok_or_else(|| damaged(format!("{status:?} is no status")))?;
    Ok(AccountState { overdraft, status, balances: Balances::default() })
}

async fn read_holds(snapshot: &mut Transaction<'_, Sqlite>, bank: &mut Bank) -> Result<(), ViewsError> {
    let sql = "SELECT payment_id, from_account, to_account, currency, amount, held, captured, refunded, expires_at_ms, \
               order_id, changes, last_change FROM holds";
    let mut holds = Vec::new();
    {
        let mut rows = sqlx::query(sql).fetch(&mut **snapshot);
        while let Some(row) = rows.try_next().await? {
            holds.push((parsed(row.try_get(0)?, PaymentId::parse)?, read_hold(&row)?));
        }
    }
    let wanted: BTreeSet<_> = holds.iter().filter_map(|(_, state)| Some(state.order.as_ref()?.digest())).collect();
    let mut orders = BTreeMap::new();
    for digests in wanted.into_iter().map(|digest| hex(&digest.0)).collect::<Vec<_>>().chunks(ORDERS_PER_LOOKUP) {
        orders.extend(find_orders(&mut *snapshot, digests).await?);
    }
    for (id, state) in holds {
        let order = state.order.as_ref().map(|order| {
            orders.get(order).copied().ok_or_else(|| damaged(format!("order {order} of a hold is missing")))
        });
        let order = order.transpose()?;
        bank.restore_hold(id, state, order);
    }
    Ok(())
}

/// Orders by their digests in hexadecimal digits.
async fn find_orders(
    connection: &mut SqliteConnection,
    digests: &[String],
) -> Result<Vec<(OrderId, OrderState)>, ViewsError> {
    let sql = "SELECT orders.id, currency, total, used FROM json_each(?) AS wanted \
               CROSS JOIN orders ON digest = unhex(wanted.value)";
    let rows = sqlx::query(sql).bind(to_json(&digests)).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((parsed(row.try_get(0)?, OrderId::parse)?, read_order(row, 1)?))).collect()
}

fn read_hold(row: &SqliteRow) -> Result<PaymentState, ViewsError> {
    let order: Option<&str> = row.try_get(9)?;
    Ok(PaymentState {
        from: parsed(row.try_get(1)?, AccountId::parse)?,
        to: parsed(row.try_get(2)?, AccountId::parse)?,
        currency: parsed(row.try_get(3)?, Currency::parse)?,
        amount: amount(row, 4)?,
        held: amount(row, 5)?,
        captured: amount(row, 6)?,
        refunded: amount(row, 7)?,
        expires_at_ms: Some(from_sql(row.try_get(8)?)?),
        end: HoldEnd::None,
        order: order.map(|order| parsed(order, OrderId::parse)).transpose()?,
        changes: u32::try_from(row.try_get::<i64, _>(10)?).map_err(|_| damaged("a number of changes is none"))?,
        last_change: from_sql(row.try_get(11)?)?,
    })
}

/// Reads an order from currency, total and used, which stand from column `at` on.
fn read_order(row: &SqliteRow, at: usize) -> Result<OrderState, ViewsError> {
    let currency = parsed(row.try_get(at)?, Currency::parse)?;
    Ok(OrderState { currency, total: amount(row, at + 1)?, used: amount(row, at + 2)? })
}

async fn read_changed(
    snapshot: &mut Transaction<'_, Sqlite>,
) -> Result<Vec<(LogIndex, u16, LogIndex, PaymentStatus)>, ViewsError> {
    let sql = "SELECT log_index, item, last_change, status FROM changed_payments ORDER BY log_index, item";
    let mut rows = sqlx::query(sql).fetch(&mut **snapshot);
    let mut changed = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let (index, item) = read_place((row.try_get(0)?, row.try_get(1)?))?;
        let status: &str = row.try_get(3)?;
        let status = PaymentStatus::parse(status).ok_or_else(|| damaged(format!("{status:?} is no status")))?;
        changed.push((index, item, LogIndex(from_sql(row.try_get(2)?)?), status));
    }
    Ok(changed)
}

async fn read_orders(snapshot: &mut Transaction<'_, Sqlite>) -> Result<Vec<(OrderId, OrderState)>, ViewsError> {
    let mut rows = sqlx::query("SELECT id, currency, total, used, digest FROM orders").fetch(&mut **snapshot);
    let mut orders = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let id = parsed(row.try_get(0)?, OrderId::parse)?;
        if row.try_get::<&[u8], _>(4)? != id.digest().0 {
            return Err(damaged(format!("the digest of order {id} is not its own")));
        }
        orders.push((id, read_order(&row, 1)?));
    }
    Ok(orders)
}

fn amount(row: &SqliteRow, at: usize) -> Result<MinorUnits, ViewsError> {
    Ok(MinorUnits::new(row.try_get(at)?))
}

fn read_place((index, item): (i64, i64)) -> Result<(LogIndex, u16), ViewsError> {
    let item = u16::try_from(item).map_err(|_| damaged(format!("no entry holds a payment {item}")))?;
    Ok((LogIndex(from_sql(index)?), item))
}

/// What was asked for at this place of the question.
fn asked<T: Copy>(wanted: &[T], at: i64) -> Result<T, ViewsError> {
    let found = usize::try_from(at).ok().and_then(|at| wanted.get(at));
    found.copied().ok_or_else(|| damaged("an answer fits no question"))
}

fn to_json(wanted: &impl serde::Serialize) -> String {
    serde_json::to_string(wanted).expect("texts and numbers are JSON")
}

fn hex(digest: &[u8; 16]) -> String {
    format!("{:032X}", u128::from_be_bytes(*digest))
}

fn parsed<T, E: std::fmt::Display>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, ViewsError> {
    parse(text).map_err(|error| damaged(format!("{text:?}: {error}")))
}

async fn digest_page(
    snapshot: &mut Transaction<'_, Sqlite>,
    sql: &'static str,
    after: &[u8],
) -> Result<Vec<[u8; 16]>, ViewsError> {
    let text: Option<String> =
        sqlx::query_scalar(sql).bind(after.to_vec()).bind(DIGESTS_PER_PAGE).fetch_one(&mut **snapshot).await?;
    let digits = text.unwrap_or_default().into_bytes();
    digits.chunks(32).map(parse_digest).collect::<Option<_>>().ok_or_else(|| damaged("a digest is cut"))
}

fn parse_digest(digits: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() == 32)?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}
