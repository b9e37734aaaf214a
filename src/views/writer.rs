//! The projector's hand: brings the views up to a later index, a chunk per transaction.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Connection};

use super::chunk::Chunk;
use super::error::ViewsError;
use super::reader::{read_projected, to_sql};
use crate::domain::AccountId;
use crate::replication::{Entry, Position};

/// Rows per statement: a hop to SQLite's thread costs as much as storing some ten rows.
const ROWS_PER_STATEMENT: usize = 64;

/// Account ids looked up by one statement.
const IDS_PER_LOOKUP: usize = 4_096;

const NEVER_FAILS: &str = "numbers, texts and bytes always bind";

/// Writes the views.
pub struct ViewsWriter {
    options: SqliteConnectOptions,
    /// `None` after a failure: what the connection says is not to be trusted then, and the next call opens another.
    connection: Option<SqliteConnection>,
    projected: Position,
    /// Number of the next account.
    next_account: i64,
}

/// The rows for one table, flat, with what surrounds their `VALUES`.
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

    /// Up to where the ledger is projected, as far as the last successful call knows.
    #[must_use]
    pub const fn projected(&self) -> Position {
        self.projected
    }

    /// Projects a chunk of consecutive, committed entries, the first right after the projected index. Bigger chunks
    /// are cheaper per entry.
    ///
    /// # Errors
    /// [`ViewsError::NotConsecutive`] if the chunk does not fit: nothing is written then. After any other error
    /// nothing is lost: the next call begins with a new connection and what is really there.
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
        let chunk = Chunk::of(entries);
        self.next_account = self.store(&mut connection, &chunk, end).await?;
        self.projected = end;
        self.connection = Some(connection);
        Ok(())
    }

    /// Empties the views: they are not of the history that the ledger holds.
    ///
    /// # Errors
    /// [`ViewsError::Sql`] if SQLite fails.
    pub async fn reset(&mut self) -> Result<(), ViewsError> {
        let mut connection = self.connected().await?;
        sqlx::raw_sql(
            "BEGIN IMMEDIATE; DELETE FROM keys; DELETE FROM accounts; DELETE FROM balances; \
             DELETE FROM account_entries; \
             UPDATE meta SET projected_index = 0, projected_epoch = 0, projected_hash = zeroblob(32); COMMIT",
        )
        .execute(&mut connection)
        .await?;
        self.projected = Position::default();
        self.next_account = 1;
        self.connection = Some(connection);
        Ok(())
    }

    /// Makes SQLite say that the disk is full once the file has this many pages.
    #[cfg(test)]
    pub(super) async fn limit_pages(&mut self, pages: u32) {
        let sql = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
        let connection = self.connection.as_mut().expect("open");
        sqlx::query(sql).execute(connection).await.expect("the pragma is understood");
    }

    /// Closes the file in order.
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
        sqlx::query("UPDATE meta SET projected_index = ?, projected_epoch = ?, projected_hash = ?; COMMIT")
            .bind(to_sql(end.index.0)?)
            .bind(to_sql(end.epoch.0)?)
            .bind(end.hash.0.to_vec())
            .execute(connection)
            .await?;
        Ok(next_account)
    }

    /// Stores accounts, balances and postings in the order of the accounts' numbers; returns the next free number.
    async fn store_accounts(&self, connection: &mut SqliteConnection, chunk: &Chunk) -> Result<i64, ViewsError> {
        let known = known_accounts(connection, chunk).await?;
        let mut next_account = self.next_account;
        let mut accounts = Rows::new(
            "INSERT INTO accounts (account, id, overdraft)",
            3,
            "ON CONFLICT (account) DO UPDATE SET overdraft = excluded.overdraft",
        );
        let mut numbered = Vec::with_capacity(chunk.accounts.len());
        for (id, touched) in &chunk.accounts {
            let number = known.get(id.as_str()).copied();
            if number.is_none() || touched.overdraft.is_some() {
                let row = accounts.next();
                row.add(number.unwrap_or(next_account)).expect(NEVER_FAILS);
                row.add(id.as_str()).expect(NEVER_FAILS);
                row.add(touched.overdraft.unwrap_or_default().to_string()).expect(NEVER_FAILS);
            }
            numbered.push((number.unwrap_or(next_account), touched));
            next_account += i64::from(number.is_none());
        }
        accounts.store(connection).await?;
        numbered.sort_unstable_by_key(|(number, _)| *number);
        let mut balances = Rows::new(
            "INSERT INTO balances (account, currency, posted)",
            3,
            "ON CONFLICT (account, currency) DO UPDATE SET posted = excluded.posted",
        );
        let mut postings = Rows::new("INSERT INTO account_entries (account, log_index)", 2, "");
        for (number, touched) in numbered {
            for (currency, balance) in &touched.balances {
                let row = balances.next();
                row.add(number).expect(NEVER_FAILS);
                row.add(currency.code()).expect(NEVER_FAILS);
                row.add(balance.get()).expect(NEVER_FAILS);
            }
            for index in &touched.postings {
                let row = postings.next();
                row.add(number).expect(NEVER_FAILS);
                row.add(to_sql(index.0)?).expect(NEVER_FAILS);
            }
        }
        balances.store(connection).await?;
        postings.store(connection).await?;
        Ok(next_account)
    }
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

/// The numbers of those of the chunk's accounts that have one already.
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
