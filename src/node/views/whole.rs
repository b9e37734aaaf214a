//! Reads the views as a whole, to load a node from them and to audit them.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::check::check_segments;
use super::error::{ViewsError, damaged};
use super::reader::{ViewsReader, amount, find_orders, from_sql, parsed, read_item, read_projected};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountId, AccountState, AccountStatus, Balance, Balances, Bank, Currency, HoldEnd, OrderId, OrderState, Overdraft,
    PaymentId, PaymentState, PaymentStatus,
};
use quorapay_core::replication::Position;

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
    /// The sum of the numbers of keys, postings, payments of orders, entries in lists of decisions, and decided payments.
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

    /// Everything in the views as of one position, except keys and postings, which are looked up one by one; but all
    /// blocks of all segments are read and checked.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn contents(&self) -> Result<ViewsContents, ViewsError> {
        let mut snapshot = self.readers.begin().await?;
        let position = read_projected(&mut snapshot).await?;
        let bank = read_bank(&mut snapshot).await?;
        let changed = read_changed(&mut snapshot).await?;
        let counted = check_segments(&mut snapshot, position.index).await?;
        let payments: i64 = sqlx::query_scalar("SELECT payments FROM meta").fetch_one(&mut *snapshot).await?;
        snapshot.rollback().await?;
        let lookups = counted.lookups + from_sql(payments)?;
        let orders = counted.orders()?;
        Ok(ViewsContents { position, bank, changed, orders, lookups })
    }
}

async fn read_bank(snapshot: &mut Transaction<'_, Sqlite>) -> Result<Bank, ViewsError> {
    let mut bank = Bank::default();
    read_accounts(snapshot, &mut bank).await?;
    read_holds(snapshot, &mut bank).await?;
    Ok(bank)
}

async fn read_accounts(snapshot: &mut Transaction<'_, Sqlite>, bank: &mut Bank) -> Result<(), ViewsError> {
    let sql = "SELECT id, overdraft, status, currency, posted, held FROM accounts LEFT JOIN balances ON account = id \
               ORDER BY id, currency";
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
    let wanted: Vec<_> = wanted.into_iter().collect();
    let orders: BTreeMap<_, _> = find_orders(&mut *snapshot, &wanted).await?.into_iter().collect();
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
