//! Writes the views: projects entries into them, one chunk per transaction.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection};

use super::chunk::{AccountDelta, Chunk, HoldDelta};
use super::error::ViewsError;
use super::reader::{read_projected, to_sql};
use quorapay_core::domain::{AccountId, AccountStatus, MinorUnits, OrderId, PaymentId, PaymentState};
use quorapay_core::replication::{Entry, Position};

/// Rows per statement: a hop to SQLite's thread costs as much as storing about ten rows.
const ROWS_PER_STATEMENT: usize = 64;

/// Account ids looked up by one statement.
const IDS_PER_LOOKUP: usize = 4_096;

const NEVER_FAILS: &str = "numbers, texts and bytes always bind";

/// Writes the views.
pub struct ViewsWriter {
    options: SqliteConnectOptions,
    /// `None` after a failure: the connection cannot be trusted then, and the next call opens another.
    connection: Option<SqliteConnection>,
    projected: Position,
    /// Number of the next account.
    next_account: i64,
}

/// The rows for one table, with the SQL around their `VALUES`.
struct Rows {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    arguments: Vec<SqliteArguments>,
    in_last: usize,
}

impl Rows {
    const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, arguments: Vec::new(), in_last: 0 }
    }

    /// The arguments to which the next row is to be added.
    fn next(&mut self) -> &mut SqliteArguments {
        if self.in_last == ROWS_PER_STATEMENT || self.arguments.is_empty() {
            let mut arguments = SqliteArguments::default();
            arguments.reserve(ROWS_PER_STATEMENT * self.columns, 0);
            self.arguments.push(arguments);
            self.in_last = 0;
        }
        self.in_last += 1;
        self.arguments.last_mut().expect("one was just pushed")
    }

    async fn store(self, connection: &mut SqliteConnection) -> Result<(), ViewsError> {
        let row = format!("({})", vec!["?"; self.columns].join(", "));
        for arguments in self.arguments {
            let values = vec![row.as_str(); arguments.len() / self.columns].join(", ");
            let text = format!("{} VALUES {values} {}", self.head, self.tail);
            sqlx::query_with(AssertSqlSafe(text), arguments).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

impl ViewsWriter {
    pub(super) async fn new(
        options: SqliteConnectOptions,
        mut connection: SqliteConnection,
        projected: Position,
    ) -> Result<Self, ViewsError> {
        let next_account = next_account(&mut connection).await?;
        Ok(Self { options, connection: Some(connection), projected, next_account })
    }

    /// The projected position, as of the last successful call.
    #[must_use]
    pub const fn projected(&self) -> Position {
        self.projected
    }

    /// Projects a chunk of consecutive, committed entries, the first right after the projected index. Larger chunks
    /// are cheaper per entry.
    ///
    /// # Errors
    /// [`ViewsError::NotConsecutive`] if the chunk does not fit: nothing is written then. After any other error
    /// nothing is lost: the next call opens a new connection and reads the projected position from it.
    pub async fn project(&mut self, entries: &[Arc<Entry>]) -> Result<(), ViewsError> {
        let mut connection = self.connected().await?;
        let mut end = self.projected;
        for entry in entries {
            if entry.index != end.index.next() {
                self.connection = Some(connection);
                return Err(ViewsError::NotConsecutive { expected: end.index.next(), found: entry.index });
            }
            end = entry.position();
        }
        // A chunk may hold a million payments of batches, and the event loop may run on this thread.
        let entries = entries.to_vec();
        let aggregated = tokio::task::spawn_blocking(move || Chunk::of(&entries)).await;
        let chunk = aggregated.expect("aggregating never panics, and nobody aborts it");
        self.next_account = self.store(&mut connection, &chunk, end).await?;
        self.projected = end;
        self.connection = Some(connection);
        Ok(())
    }

    /// Empties the views, because they do not belong to the ledger's history.
    ///
    /// # Errors
    /// [`ViewsError::Sql`] if SQLite fails.
    pub async fn reset(&mut self) -> Result<(), ViewsError> {
        let mut connection = self.connected().await?;
        sqlx::raw_sql(
            "BEGIN IMMEDIATE; DELETE FROM keys; DELETE FROM accounts; DELETE FROM balances; \
             DELETE FROM account_entries; DELETE FROM changed_payments; DELETE FROM holds; DELETE FROM orders; \
             DELETE FROM order_payments; \
             UPDATE meta SET projected_index = 0, projected_epoch = 0, projected_hash = zeroblob(32), payments = 0; COMMIT",
        )
        .execute(&mut connection)
        .await?;
        self.projected = Position::default();
        self.next_account = 1;
        self.connection = Some(connection);
        Ok(())
    }

    /// Makes SQLite report a full disk once the file has this many pages.
    #[cfg(test)]
    pub(super) async fn limit_pages(&mut self, pages: u32) {
        let sql = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        let connection = self.connection.as_mut().expect("open");
        sqlx::query(sql).execute(connection).await.expect("the pragma is understood");
    }

    /// Closes the file.
    ///
    /// # Errors
    /// [`ViewsError::Sql`] if SQLite fails.
    pub async fn close(mut self) -> Result<(), ViewsError> {
        match self.connection.take() {
            Some(connection) => Ok(connection.close().await?),
            None => Ok(()),
        }
    }

    /// Takes the connection for one call. It is put back when the call succeeds, and closed by being dropped otherwise.
    async fn connected(&mut self) -> Result<SqliteConnection, ViewsError> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut connection = self.options.connect().await?;
        self.projected = read_projected(&mut connection).await?;
        self.next_account = next_account(&mut connection).await?;
        Ok(connection)
    }

    async fn store(&self, connection: &mut SqliteConnection, chunk: &Chunk, end: Position) -> Result<i64, ViewsError> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        store_keys(connection, chunk).await?;
        let next_account = self.store_accounts(connection, chunk).await?;
        store_payments(connection, chunk).await?;
        store_orders(connection, chunk).await?;
        let sql = "UPDATE meta SET projected_index = ?, projected_epoch = ?, projected_hash = ?, \
                   payments = payments + ?; COMMIT";
        sqlx::query(sql)
            .bind(to_sql(end.index.0)?)
            .bind(to_sql(end.epoch.0)?)
            .bind(end.hash.0.to_vec())
            .bind(to_sql(chunk.decided)?)
            .execute(connection)
            .await?;
        Ok(next_account)
    }

    /// Stores accounts, balances and postings in the order of the accounts' numbers; returns the next free number.
    async fn store_accounts(&self, connection: &mut SqliteConnection, chunk: &Chunk) -> Result<i64, ViewsError> {
        let known = known_accounts(connection, chunk).await?;
        let mut next_account = self.next_account;
        let mut new = Rows::new("INSERT INTO accounts (account, id, overdraft, status)", 4, "");
        let mut numbered = Vec::with_capacity(chunk.accounts.len());
        for (id, account) in &chunk.accounts {
            let number = known.get(id.as_str()).copied().unwrap_or(next_account);
            if number == next_account {
                let row = new.next();
                row.add(number).expect(NEVER_FAILS);
                row.add(id.as_str()).expect(NEVER_FAILS);
                row.add(account.overdraft.unwrap_or(account.initial_overdraft).to_string()).expect(NEVER_FAILS);
                row.add(account.status.unwrap_or_default().as_str()).expect(NEVER_FAILS);
                next_account += 1;
            } else if account.overdraft.is_some() || account.status.is_some() {
                change_account(connection, number, account).await?;
            }
            numbered.push((number, account));
        }
        new.store(connection).await?;
        numbered.sort_unstable_by_key(|(number, _)| *number);
        store_balances(connection, &numbered).await?;
        let mut entries = Rows::new("INSERT INTO account_entries (account, log_index)", 2, "");
        for (number, account) in numbered {
            for index in &account.entries {
                let row = entries.next();
                row.add(number).expect(NEVER_FAILS);
                row.add(to_sql(index.0)?).expect(NEVER_FAILS);
            }
        }
        entries.store(connection).await?;
        Ok(next_account)
    }
}

/// Changes of accounts are rare, so each is a statement of its own.
async fn change_account(
    connection: &mut SqliteConnection,
    number: i64,
    account: &AccountDelta,
) -> Result<(), ViewsError> {
    let sql = "UPDATE accounts SET overdraft = COALESCE(?, overdraft), status = COALESCE(?, status) WHERE account = ?";
    sqlx::query(sql)
        .bind(account.overdraft.map(|overdraft| overdraft.to_string()))
        .bind(account.status.map(AccountStatus::as_str))
        .bind(number)
        .execute(connection)
        .await?;
    Ok(())
}

async fn store_balances(
    connection: &mut SqliteConnection,
    accounts: &[(i64, &AccountDelta)],
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
    for (number, account) in accounts {
        for (currency, balance) in &account.balances {
            let row = if balance.posted.is_some() { posted.next() } else { held.next() };
            row.add(*number).expect(NEVER_FAILS);
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
    for ended in ended.chunks(IDS_PER_LOOKUP) {
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

async fn store_orders(connection: &mut SqliteConnection, chunk: &Chunk) -> Result<(), ViewsError> {
    let mut orders = Rows::new(
        "INSERT INTO orders (digest, id, currency, total, used)",
        5,
        "ON CONFLICT (digest) DO UPDATE SET used = used + excluded.used",
    );
    for (digest, order) in &chunk.orders {
        let row = orders.next();
        row.add(digest.0.to_vec()).expect(NEVER_FAILS);
        row.add(order.id.as_str()).expect(NEVER_FAILS);
        row.add(order.currency.code()).expect(NEVER_FAILS);
        // An order of which an amount was only released is already in the views.
        row.add(order.total.unwrap_or(MinorUnits::ZERO).get()).expect(NEVER_FAILS);
        row.add(order.used).expect(NEVER_FAILS);
    }
    orders.store(connection).await?;
    let mut payments = Rows::new("INSERT INTO order_payments (digest, log_index, item)", 3, "");
    for (digest, index, item) in &chunk.order_payments {
        let row = payments.next();
        row.add(digest.0.to_vec()).expect(NEVER_FAILS);
        row.add(to_sql(index.0)?).expect(NEVER_FAILS);
        row.add(i64::from(*item)).expect(NEVER_FAILS);
    }
    payments.store(connection).await
}

async fn store_keys(connection: &mut SqliteConnection, chunk: &Chunk) -> Result<(), ViewsError> {
    let mut keys = Rows::new("INSERT INTO keys (digest, log_index)", 2, "");
    for (digest, index) in &chunk.keys {
        let row = keys.next();
        row.add(digest.0.to_vec()).expect(NEVER_FAILS);
        row.add(to_sql(index.0)?).expect(NEVER_FAILS);
    }
    keys.store(connection).await
}

/// The numbers of those of the chunk's accounts that already have one.
async fn known_accounts(connection: &mut SqliteConnection, chunk: &Chunk) -> Result<HashMap<String, i64>, ViewsError> {
    let ids: Vec<&str> = chunk.accounts.keys().map(AccountId::as_str).collect();
    let mut known = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(IDS_PER_LOOKUP) {
        let wanted = serde_json::to_string(ids).expect("ids are texts");
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT accounts.id, account FROM json_each(?) AS wanted CROSS JOIN accounts ON accounts.id = wanted.value",
        )
        .bind(wanted)
        .fetch_all(&mut *connection)
        .await?;
        known.extend(rows);
    }
    Ok(known)
}

async fn next_account(connection: &mut SqliteConnection) -> Result<i64, ViewsError> {
    let sql = "SELECT COALESCE(MAX(account), 0) + 1 FROM accounts";
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}
