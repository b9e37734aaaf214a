//! Stores what a chunk changes in the tables of accounts, balances, holds and changed payments, in the order of their
//! keys.

use std::collections::BTreeMap;

use sqlx::Arguments;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};

use super::chunk::{AccountDelta, Chunk, HoldDelta};
use super::error::ViewsError;
use super::reader::to_sql;
use super::rows::{NEVER_FAILS, Rows};
use quorapay_core::domain::{AccountId, AccountStatus, MinorUnits, OrderId, PaymentId, PaymentState};

/// Places of ended holds in one statement.
const PLACES_PER_STATEMENT: usize = 4_096;

pub(super) async fn store_tables(connection: &mut SqliteConnection, chunk: &Chunk) -> Result<(), ViewsError> {
    store_accounts(connection, &chunk.accounts).await?;
    store_balances(connection, &chunk.accounts).await?;
    store_payments(connection, chunk).await
}

/// Stores the accounts that the views do not have yet, and changes others.
async fn store_accounts(
    connection: &mut SqliteConnection,
    accounts: &BTreeMap<AccountId, AccountDelta>,
) -> Result<(), ViewsError> {
    let mut new = Rows::new("INSERT INTO accounts (id, overdraft, status)", 3, "ON CONFLICT (id) DO NOTHING");
    for (id, account) in accounts {
        let row = new.next();
        row.add(id.as_str()).expect(NEVER_FAILS);
        row.add(account.overdraft.unwrap_or(account.initial_overdraft).to_string()).expect(NEVER_FAILS);
        row.add(account.status.unwrap_or_default().as_str()).expect(NEVER_FAILS);
    }
    new.store(connection).await?;
    // Changes of accounts are rare, so each is a statement of its own.
    for (id, account) in accounts.iter().filter(|(_, one)| one.overdraft.is_some() || one.status.is_some()) {
        let sql = "UPDATE accounts SET overdraft = COALESCE(?, overdraft), status = COALESCE(?, status) WHERE id = ?";
        sqlx::query(sql)
            .bind(account.overdraft.map(|overdraft| overdraft.to_string()))
            .bind(account.status.map(AccountStatus::as_str))
            .bind(id.as_str())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn store_balances(
    connection: &mut SqliteConnection,
    accounts: &BTreeMap<AccountId, AccountDelta>,
) -> Result<(), ViewsError> {
    let mut posted = Rows::new(
        "INSERT INTO balances (account, currency, posted, held)",
        4,
        "ON CONFLICT (account, currency) DO UPDATE SET posted = excluded.posted, held = held + excluded.held",
    );
    // An authorization or an expiry does not say how much is posted.
    let mut held = Rows::new(
        "INSERT INTO balances (account, currency, posted, held)",
        4,
        "ON CONFLICT (account, currency) DO UPDATE SET held = held + excluded.held",
    );
    for (id, account) in accounts {
        for (currency, balance) in &account.balances {
            let row = if balance.posted.is_some() { posted.next() } else { held.next() };
            row.add(id.as_str()).expect(NEVER_FAILS);
            row.add(currency.code()).expect(NEVER_FAILS);
            row.add(balance.posted.unwrap_or(MinorUnits::ZERO).get()).expect(NEVER_FAILS);
            row.add(balance.held).expect(NEVER_FAILS);
        }
    }
    posted.store(connection).await?;
    held.store(connection).await
}

/// Stores the latest changes of payments, and their holds.
async fn store_payments(connection: &mut SqliteConnection, chunk: &Chunk) -> Result<(), ViewsError> {
    let mut changed = Rows::new("REPLACE INTO changed_payments (log_index, item, last_change, status)", 4, "");
    let mut holds = Rows::new(
        "REPLACE INTO holds (log_index, item, payment_id, from_account, to_account, currency, amount, held, captured, \
         refunded, expires_at_ms, order_id, changes, last_change)",
        14,
        "",
    );
    let mut ended = Vec::new();
    for (id, payment) in &chunk.payments {
        if let Some((index, status)) = payment.last {
            let row = changed.next();
            row.add(to_sql(id.index().0)?).expect(NEVER_FAILS);
            row.add(i64::from(id.item())).expect(NEVER_FAILS);
            row.add(to_sql(index.0)?).expect(NEVER_FAILS);
            row.add(status.as_str()).expect(NEVER_FAILS);
        }
        match &payment.hold {
            HoldDelta::Open(state) => bind_hold(holds.next(), *id, state)?,
            HoldDelta::Ended => ended.push((id.index(), id.item())),
            HoldDelta::Unchanged => {}
        }
    }
    changed.store(connection).await?;
    holds.store(connection).await?;
    for ended in ended.chunks(PLACES_PER_STATEMENT) {
        let ended = serde_json::to_string(ended).expect("indexes and items are numbers");
        let sql = "DELETE FROM holds WHERE (log_index, item) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";
        sqlx::query(sql).bind(ended).execute(&mut *connection).await?;
    }
    Ok(())
}

fn bind_hold(row: &mut SqliteArguments, id: PaymentId, state: &PaymentState) -> Result<(), ViewsError> {
    row.add(to_sql(id.index().0)?).expect(NEVER_FAILS);
    row.add(i64::from(id.item())).expect(NEVER_FAILS);
    row.add(id.to_string()).expect(NEVER_FAILS);
    row.add(state.from.as_str()).expect(NEVER_FAILS);
    row.add(state.to.as_str()).expect(NEVER_FAILS);
    row.add(state.currency.code()).expect(NEVER_FAILS);
    for amount in [state.amount, state.held, state.captured, state.refunded] {
        row.add(amount.get()).expect(NEVER_FAILS);
    }
    row.add(state.expires_at_ms.map(to_sql).transpose()?).expect(NEVER_FAILS);
    row.add(state.order.as_ref().map(OrderId::as_str)).expect(NEVER_FAILS);
    row.add(i64::from(state.changes)).expect(NEVER_FAILS);
    row.add(to_sql(state.last_change.0)?).expect(NEVER_FAILS);
    Ok(())
}
