//! Writes the views: projects entries into them, one chunk per transaction, and merges their segments.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use super::chunk::Chunk;
use super::error::{ViewsError, damaged};
use super::kind::{Kind, pairs_of};
use super::merge::{self, blocking};
use super::pairs::{self, Pairs};
use super::reader::{read_projected, to_sql};
use super::segment::{Catalog, Progress, Segment, SegmentState};
use super::store::{Packed, delete, read_catalog, read_whole, store_segment};
use super::tables::store_tables;
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::ViewsFilters;
use quorapay_core::replication::{Entry, Position};

/// Writes the views.
pub struct ViewsWriter {
    options: SqliteConnectOptions,
    /// `None` after a failure: the connection cannot be trusted then, and the next call opens another.
    connection: Option<SqliteConnection>,
    projected: Position,
    segments: Catalog,
}

impl ViewsWriter {
    pub(super) const fn new(
        options: SqliteConnectOptions,
        connection: SqliteConnection,
        projected: Position,
        segments: Catalog,
    ) -> Self {
        Self { options, connection: Some(connection), projected, segments }
    }

    /// The projected position, as of the last successful call.
    #[must_use]
    pub const fn projected(&self) -> Position {
        self.projected
    }

    /// Filters over everything up to the projected position.
    #[must_use]
    pub fn filters(&self) -> Arc<ViewsFilters> {
        Arc::new(self.segments.filters())
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
        if !entries.is_empty() {
            // A chunk may hold a million payments of batches.
            let entries = entries.to_vec();
            let (chunk, pairs) = blocking(move || {
                let chunk = Chunk::of(&entries);
                let pairs = pairs_of(&chunk);
                (chunk, pairs)
            })
            .await;
            self.segments = self.store(&mut connection, &chunk, pairs, end).await?;
            self.projected = end;
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// Merges segments for some milliseconds, if any are to be merged. Returns whether there is more to do.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] or [`ViewsError::Sql`]. Nothing is lost, as after [`Self::project`].
    pub async fn merge_step(&mut self) -> Result<bool, ViewsError> {
        let mut connection = self.connected().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await?;
        let merged = merge::step(&mut connection, &self.segments).await?;
        sqlx::query("COMMIT").execute(&mut connection).await?;
        self.connection = Some(connection);
        let more = merged.is_some();
        self.segments = merged.unwrap_or_else(|| std::mem::take(&mut self.segments));
        Ok(more)
    }

    /// Empties the views, because they do not belong to the ledger's history.
    ///
    /// # Errors
    /// [`ViewsError::Sql`] if SQLite fails.
    pub async fn reset(&mut self) -> Result<(), ViewsError> {
        let mut connection = self.connected().await?;
        sqlx::raw_sql(
            "BEGIN IMMEDIATE; DELETE FROM segments; DELETE FROM blocks; DELETE FROM accounts; DELETE FROM balances; \
             DELETE FROM changed_payments; DELETE FROM holds; \
             UPDATE meta SET projected_index = 0, projected_epoch = 0, projected_hash = zeroblob(32), payments = 0; COMMIT",
        )
        .execute(&mut connection)
        .await?;
        self.projected = Position::default();
        self.segments = self.segments.emptied();
        self.connection = Some(connection);
        Ok(())
    }

    /// The connection, for tests that look at the files or spoil them.
    #[cfg(test)]
    pub(super) const fn connection(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("open")
    }

    /// Limits the work that is done at a time.
    #[cfg(test)]
    pub(super) const fn limit(&mut self, limits: super::segment::WorkLimits) {
        self.segments.limits = limits;
    }

    /// The segments.
    #[cfg(test)]
    pub(super) const fn segments(&self) -> &Catalog {
        &self.segments
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
        (self.projected, self.segments) = read_state(&mut connection).await?;
        Ok(connection)
    }

    /// Stores a chunk in one transaction. Returns the segments after it.
    async fn store(
        &self,
        connection: &mut SqliteConnection,
        chunk: &Chunk,
        pairs: [Pairs; Kind::COUNT],
        end: Position,
    ) -> Result<Catalog, ViewsError> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
        let segments = self.store_segment(connection, pairs, end.index).await?;
        store_tables(connection, chunk).await?;
        let sql = "UPDATE meta SET projected_index = ?, projected_epoch = ?, projected_hash = ?, \
                   payments = payments + ?; COMMIT";
        sqlx::query(sql)
            .bind(to_sql(end.index.0)?)
            .bind(to_sql(end.epoch.0)?)
            .bind(end.hash.0.to_vec())
            .bind(to_sql(chunk.decided)?)
            .execute(connection)
            .await?;
        Ok(segments)
    }

    /// Stores the pairs as a segment, together with those of the youngest segments if these are small.
    async fn store_segment(
        &self,
        connection: &mut SqliteConnection,
        pairs: [Pairs; Kind::COUNT],
        end: LogIndex,
    ) -> Result<Catalog, ViewsError> {
        let mut segments = self.segments.clone();
        let absorbed = segments.absorbed_by(pairs.iter().map(|pairs| pairs.size() as u64).sum());
        let mut from = self.projected.index.next();
        let mut runs = Vec::with_capacity(absorbed.len() + 1);
        let id = segments.next_id();
        for young in absorbed {
            runs.push(read_whole(connection, young).await?);
            delete(connection, young).await?;
            from = segments.get(young).map_or(from, |young| young.from.min(from));
            segments.remove(young);
        }
        runs.push(pairs);
        let mut segment = Segment {
            id,
            from,
            to: end,
            state: SegmentState::Whole,
            keys: 0,
            bytes: 0,
            progress: Progress::default(),
            key_filters: Vec::new(),
            order_filters: Vec::new(),
        };
        let keys: usize = runs.iter().map(|run| run[Kind::Keys.at()].len()).sum();
        let bits = segments.filter_bits(keys as u64);
        for packed in blocking(move || pack_runs(runs, bits)).await? {
            packed.store(connection, &mut segment).await?;
        }
        store_segment(connection, &segment).await?;
        segments.insert(segment);
        Ok(segments)
    }
}

/// Merges whole runs, the oldest first.
fn pack_runs(runs: Vec<[Pairs; Kind::COUNT]>, bits: u32) -> Result<Vec<Packed>, ViewsError> {
    let mut by_kind = <[Vec<Pairs>; Kind::COUNT]>::default();
    for run in runs {
        by_kind.iter_mut().zip(run).for_each(|(list, pairs)| list.push(pairs));
    }
    let pack = |(kind, runs): (Kind, Vec<Pairs>)| match <[Pairs; 1]>::try_from(runs) {
        Ok([only]) => Packed::new(kind, &only, bits),
        Err(runs) => Packed::new(kind, &pairs::merge(kind, &runs, None, None)?, bits),
    };
    Kind::SORTED.into_iter().zip(by_kind).map(pack).collect()
}

/// The projected position, and the segments that end there.
pub(super) async fn read_state(connection: &mut SqliteConnection) -> Result<(Position, Catalog), ViewsError> {
    let projected = read_projected(connection).await?;
    let segments = read_catalog(connection).await?;
    if segments.end() != projected.index {
        return Err(damaged(format!("they end at entry {} and not at {}", segments.end(), projected.index)));
    }
    Ok((projected, segments))
}
