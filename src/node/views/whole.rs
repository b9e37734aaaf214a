//! Reads the views as a whole, to load a node from them and to audit them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::error::{ViewsError, damaged};
use super::reader::{ViewsReader, amount, find_orders, from_sql, parsed, read_item, read_order, read_projected};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountId, AccountState, AccountStatus, Balance, Balances, Bank, Currency, HoldEnd, KeyDigest, OrderDigest,
    OrderId, OrderState, Overdraft, PaymentId, PaymentState, PaymentStatus,
};
use quorapay_core::replication::Position;

/// Digests fetched by one statement. One row holds them all: a row each would cost ten times as much.
const DIGESTS_PER_PAGE: i64 = 4_096;

/// Orders looked up by one statement.
const ORDERS_PER_LOOKUP: usize = 4_096;

/// The contents of the views as of one position.
#[derive(Clone, Debug)]
pub struct ViewsContents {
    /// The projected position.
    pub position: Position,
    /// Accounts and open holds.
    pub bank: Bank,
    /// Payments that changed, by entry and number: the entry that changed them last, and their status since. Sorted.
    pub changed: Vec<(LogIndex, u16, LogIndex, PaymentStatus)>,
    /// Orders for which anything was ever charged, in no particular order.
    pub orders: Vec<(OrderId, OrderState)>,
    /// The sum of the numbers of keys, postings, payments of orders and decided payments.
    pub lookups: u64,
}

impl ViewsReader {
    /// All accounts with their balances, all open holds with the orders that they pay, and the position as of which
    /// they are.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn load_bank(&self) -> Result<(Position, Bank), ViewsError> {
        let mut snapshot = self.readers.begin().await?;
        let position = read_projected(&mut snapshot).await?;
        let bank = read_bank(&mut snapshot).await?;
        snapshot.rollback().await?;
        Ok((position, bank))
    }

    /// Everything in the views as of one position, except keys and postings, which are looked up one by one.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn contents(&self) -> Result<ViewsContents, ViewsError> {
        let mut snapshot = self.readers.begin().await?;
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

    /// Calls `take` with the digest of every projected key, in their order and in bounded memory. Returns the position.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`]; `take` may have been called with some digests then.
    pub async fn each_digest(&self, mut take: impl FnMut(KeyDigest)) -> Result<Position, ViewsError> {
        let sql = "SELECT group_concat(hex(digest), '') FROM \
                   (SELECT digest FROM keys WHERE digest > ? ORDER BY digest LIMIT ?)";
        self.each_of(sql, |digest| take(KeyDigest(digest))).await
    }

    /// Like [`Self::each_digest`], with every order for which anything was ever charged.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`]; `take` may have been called with some digests then.
    pub async fn each_order(&self, mut take: impl FnMut(OrderDigest)) -> Result<Position, ViewsError> {
        let sql = "SELECT group_concat(hex(digest), '') FROM \
                   (SELECT digest FROM orders WHERE digest > ? ORDER BY digest LIMIT ?)";
        self.each_of(sql, |digest| take(OrderDigest(digest))).await
    }

    async fn each_of(&self, sql: &'static str, mut take: impl FnMut([u8; 16])) -> Result<Position, ViewsError> {
        let mut snapshot = self.readers.begin().await?;
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
    for digests in wanted.into_iter().map(|digest| hex::encode(digest.0)).collect::<Vec<_>>().chunks(ORDERS_PER_LOOKUP)
    {
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
        last_change: LogIndex(from_sql(row.try_get(11)?)?),
    })
}

async fn read_changed(
    snapshot: &mut Transaction<'_, Sqlite>,
) -> Result<Vec<(LogIndex, u16, LogIndex, PaymentStatus)>, ViewsError> {
    let sql = "SELECT log_index, item, last_change, status FROM changed_payments ORDER BY log_index, item";
    let mut rows = sqlx::query(sql).fetch(&mut **snapshot);
    let mut changed = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let (index, item) = read_item((row.try_get(0)?, row.try_get(1)?))?;
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
    let mut digest = [0; 16];
    hex::decode_to_slice(digits, &mut digest).ok().map(|()| digest)
}
