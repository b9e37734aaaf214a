//! Reads from the views, beside their writer.

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Row, Sqlite, Transaction};

use super::error::{ViewsError, damaged};
use crate::domain::{AccountId, AccountState, Balances, Bank, Currency, KeyDigest, MinorUnits, Overdraft};
use crate::replication::{Epoch, Hash, LogIndex, Position};

/// Digests fetched by one statement. One row holds them all: a row each would cost ten times as much.
const DIGESTS_PER_PAGE: i64 = 4_096;

/// A handle on the read connections; clones share them.
#[derive(Clone, Debug)]
pub struct ViewsReader {
    pool: SqlitePool,
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

    /// The payments that moved an account's money, newest first, before `below`, at most `limit`.
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

    /// All accounts with their balances, and the position of which they are.
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

    /// Hands over every projected key's digest, in their order and in bounded memory, and says of which position.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`]; some digests may have been handed over then.
    pub async fn each_digest(&self, mut take: impl FnMut(KeyDigest)) -> Result<Position, ViewsError> {
        let mut snapshot = self.pool.begin().await?;
        let position = read_projected(&mut snapshot).await?;
        let mut after: Vec<u8> = Vec::new();
        loop {
            let page = digest_page(&mut snapshot, &after).await?;
            page.iter().copied().map(KeyDigest).for_each(&mut take);
            match page.last() {
                Some(last) => after = last.to_vec(),
                None => break,
            }
        }
        snapshot.rollback().await?;
        Ok(position)
    }

    /// How many keys and how many postings are projected, and of which position.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn counts(&self) -> Result<(Position, u64, u64), ViewsError> {
        let mut snapshot = self.pool.begin().await?;
        let position = read_projected(&mut snapshot).await?;
        let sql = "SELECT (SELECT COUNT(*) FROM keys), (SELECT COUNT(*) FROM account_entries)";
        let (keys, postings): (i64, i64) = sqlx::query_as(sql).fetch_one(&mut *snapshot).await?;
        snapshot.rollback().await?;
        Ok((position, from_sql(keys)?, from_sql(postings)?))
    }

    /// Which of the given keys and postings the views do not hold as given, in no particular order.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`].
    pub async fn missing(
        &self,
        keys: &[(KeyDigest, LogIndex)],
        postings: &[(AccountId, LogIndex)],
    ) -> Result<Vec<LogIndex>, ViewsError> {
        let hex = |digest: &KeyDigest| digest.0.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        let keys: Vec<_> = keys.iter().map(|(digest, index)| (hex(digest), index.0)).collect();
        let mut missing = self
            .unmatched(
                "SELECT value ->> 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (SELECT 1 FROM keys \
                 WHERE digest = unhex(wanted.value ->> 0) AND log_index = wanted.value ->> 1)",
                serde_json::to_string(&keys).expect("texts and numbers"),
            )
            .await?;
        let postings: Vec<_> = postings.iter().map(|(account, index)| (account.as_str(), index.0)).collect();
        missing.extend(
            self.unmatched(
                "SELECT value ->> 1 FROM json_each(?) AS wanted WHERE NOT EXISTS (SELECT 1 FROM account_entries \
                 WHERE account = (SELECT account FROM accounts WHERE id = wanted.value ->> 0) \
                 AND log_index = wanted.value ->> 1)",
                serde_json::to_string(&postings).expect("texts and numbers"),
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
    let sql = "SELECT id, overdraft, currency, posted FROM accounts LEFT JOIN balances USING (account) \
               ORDER BY account, currency";
    let mut rows = sqlx::query(sql).fetch(&mut **snapshot);
    let mut bank = Bank::default();
    let mut current: Option<(AccountId, AccountState)> = None;
    while let Some(row) = rows.try_next().await? {
        let id: &str = row.try_get(0)?;
        if current.as_ref().is_none_or(|(current, _)| current.as_str() != id) {
            let begun = (parsed(id, AccountId::parse)?, empty_account(&row)?);
            if let Some((id, state)) = current.replace(begun) {
                bank.restore(id, state);
            }
        }
        let (_, state) = current.as_mut().expect("a row belongs to an account");
        if let Some(currency) = row.try_get::<Option<&str>, _>(2)? {
            state.balances.set(parsed(currency, Currency::parse)?, MinorUnits::new(row.try_get(3)?));
        }
    }
    if let Some((id, state)) = current {
        bank.restore(id, state);
    }
    Ok(bank)
}

fn empty_account(row: &SqliteRow) -> Result<AccountState, ViewsError> {
    let overdraft = parsed(row.try_get(1)?, Overdraft::parse)?;
    Ok(AccountState { overdraft, balances: Balances::default() })
}

fn parsed<T, E: std::fmt::Display>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, ViewsError> {
    parse(text).map_err(|error| damaged(format!("{text:?}: {error}")))
}

async fn digest_page(snapshot: &mut Transaction<'_, Sqlite>, after: &[u8]) -> Result<Vec<[u8; 16]>, ViewsError> {
    let sql = "SELECT group_concat(hex(digest), '') FROM \
               (SELECT digest FROM keys WHERE digest > ? ORDER BY digest LIMIT ?)";
    let text: Option<String> =
        sqlx::query_scalar(sql).bind(after.to_vec()).bind(DIGESTS_PER_PAGE).fetch_one(&mut **snapshot).await?;
    let digits = text.unwrap_or_default().into_bytes();
    digits.chunks(32).map(parse_digest).collect::<Option<_>>().ok_or_else(|| damaged("a key's digest is cut"))
}

fn parse_digest(digits: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.len() == 32)?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}
