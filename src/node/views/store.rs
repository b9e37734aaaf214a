//! Segments and their blocks as rows.

use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Arguments, Row};

use super::block::{Block, checked, pack, unpack, with_checksum};
use super::error::{ViewsError, damaged};
use super::kind::{Kind, digest_of};
use super::pairs::Pairs;
use super::reader::{from_sql, to_sql};
use super::rows::{NEVER_FAILS, Rows};
use super::segment::{Catalog, Progress, Segment, SegmentState};
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{DigestFilter, digest_prefix};

/// The most digests in one part of a filter: what the building of one holds in memory.
const FILTER_DIGESTS: usize = 1 << 17;

/// Pairs of one kind, encoded for a segment.
pub(super) struct Packed {
    kind: Kind,
    blocks: Vec<Block>,
    filters: Vec<Arc<DigestFilter>>,
    filter_blocks: Vec<Block>,
    pairs: usize,
}

impl Packed {
    /// Encodes pairs, and builds filters over them with fingerprints of so many bits.
    ///
    /// # Errors
    /// [`ViewsError::Damaged`] if a digest is none.
    pub(super) fn new(kind: Kind, pairs: &Pairs, bits: u32) -> Result<Self, ViewsError> {
        let (mut filters, mut filter_blocks) = (Vec::new(), Vec::new());
        if kind.filtered_by().is_some() {
            let digests: Vec<[u8; 16]> =
                pairs.iter().map(|(key, _)| Ok(digest_of(key)?.0)).collect::<Result<_, ViewsError>>()?;
            for part in digests.chunks(FILTER_DIGESTS) {
                let prefixes: Vec<u64> = part.iter().map(digest_prefix).collect();
                let Some((filter, first)) = DigestFilter::build(&prefixes, bits).zip(part.first()) else { continue };
                filter_blocks.push(Block { first_key: first.to_vec(), data: with_checksum(&filter.to_bytes()) });
                filters.push(Arc::new(filter));
            }
        }
        Ok(Self { kind, blocks: pack(pairs), filters, filter_blocks, pairs: pairs.len() })
    }

    /// Stores the rows, and adds what was stored to the segment.
    pub(super) async fn store(
        self,
        connection: &mut SqliteConnection,
        segment: &mut Segment,
    ) -> Result<(), ViewsError> {
        let Self { kind, blocks, filters, filter_blocks, pairs } = self;
        if kind == Kind::Keys {
            segment.keys += pairs as u64;
        }
        let stored = blocks.iter().chain(&filter_blocks).map(|block| block.data.len() as u64);
        segment.bytes += stored.sum::<u64>();
        store_blocks(connection, segment.id, kind, blocks).await?;
        if let Some((filter_kind, list)) = kind.filtered_by().zip(segment.filters_of(kind)) {
            list.extend(filters);
            store_blocks(connection, segment.id, filter_kind, filter_blocks).await?;
        }
        Ok(())
    }
}

async fn store_blocks(
    connection: &mut SqliteConnection,
    segment: i64,
    kind: Kind,
    blocks: Vec<Block>,
) -> Result<(), ViewsError> {
    let mut rows = Rows::new("INSERT INTO blocks (segment, kind, first_key, data)", 4, "");
    for Block { first_key, data } in blocks {
        let row = rows.next();
        row.add(segment).expect(NEVER_FAILS);
        row.add(kind.number()).expect(NEVER_FAILS);
        row.add(first_key).expect(NEVER_FAILS);
        row.add(data).expect(NEVER_FAILS);
    }
    rows.store(connection).await
}

/// Stores a segment's own row, new or changed.
pub(super) async fn store_segment(connection: &mut SqliteConnection, segment: &Segment) -> Result<(), ViewsError> {
    let sql = "REPLACE INTO segments (segment, from_index, to_index, state, keys, bytes, merged_kind, merged_up_to) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    sqlx::query(sql)
        .bind(segment.id)
        .bind(to_sql(segment.from.0)?)
        .bind(to_sql(segment.to.0)?)
        .bind(segment.state.as_str())
        .bind(to_sql(segment.keys)?)
        .bind(to_sql(segment.bytes)?)
        .bind(to_sql(segment.progress.kind as u64)?)
        .bind(segment.progress.up_to.clone())
        .execute(connection)
        .await?;
    Ok(())
}

/// Deletes so many of a segment's blocks, and the segment with the last of them. Returns whether that is done.
pub(super) async fn delete_some(
    connection: &mut SqliteConnection,
    segment: i64,
    blocks: u32,
) -> Result<bool, ViewsError> {
    let sql = "SELECT kind, first_key FROM blocks WHERE segment = ? ORDER BY kind, first_key LIMIT 1 OFFSET ?";
    let behind: Option<(i64, Vec<u8>)> =
        sqlx::query_as(sql).bind(segment).bind(blocks).fetch_optional(&mut *connection).await?;
    let Some((kind, first_key)) = behind else {
        delete(connection, segment).await?;
        return Ok(true);
    };
    let sql = "DELETE FROM blocks WHERE segment = ? AND (kind, first_key) < (?, ?)";
    sqlx::query(sql).bind(segment).bind(kind).bind(first_key).execute(connection).await?;
    Ok(false)
}

/// Deletes a segment with all of its blocks, which must be few.
pub(super) async fn delete(connection: &mut SqliteConnection, segment: i64) -> Result<(), ViewsError> {
    sqlx::query("DELETE FROM blocks WHERE segment = ?").bind(segment).execute(&mut *connection).await?;
    sqlx::query("DELETE FROM segments WHERE segment = ?").bind(segment).execute(connection).await?;
    Ok(())
}

/// All pairs of a small segment, by kind.
pub(super) async fn read_whole(
    connection: &mut SqliteConnection,
    segment: i64,
) -> Result<[Pairs; Kind::COUNT], ViewsError> {
    let mut pairs = <[Pairs; Kind::COUNT]>::default();
    for kind in Kind::SORTED {
        let sql = "SELECT data FROM blocks WHERE segment = ? AND kind = ? ORDER BY first_key";
        let blocks: Vec<Vec<u8>> =
            sqlx::query_scalar(sql).bind(segment).bind(kind.number()).fetch_all(&mut *connection).await?;
        blocks.iter().try_for_each(|data| unpack(data, &mut pairs[kind.at()]))?;
    }
    Ok(pairs)
}

/// The pairs of at most `limit` blocks, from the one that `after` is in, and whether there are no more behind them.
pub(super) async fn read_window(
    connection: &mut SqliteConnection,
    segment: i64,
    kind: Kind,
    after: &[u8],
    limit: usize,
) -> Result<(Pairs, bool), ViewsError> {
    let sql = "SELECT data FROM blocks WHERE segment = ?1 AND kind = ?2 AND first_key >= COALESCE((SELECT first_key \
               FROM blocks WHERE segment = ?1 AND kind = ?2 AND first_key <= ?3 ORDER BY first_key DESC LIMIT 1), x'') \
               ORDER BY first_key LIMIT ?4";
    let blocks: Vec<Vec<u8>> = sqlx::query_scalar(sql)
        .bind(segment)
        .bind(kind.number())
        .bind(after.to_vec())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
    let mut pairs = Pairs::default();
    blocks.iter().try_for_each(|data| unpack(data, &mut pairs))?;
    Ok((pairs, blocks.len() < limit))
}

/// Reads all segments with their filters.
pub(super) async fn read_catalog(connection: &mut SqliteConnection) -> Result<Catalog, ViewsError> {
    let sql = "SELECT segment, from_index, to_index, state, keys, bytes, merged_kind, merged_up_to FROM segments";
    let rows = sqlx::query(sql).fetch_all(&mut *connection).await?;
    let mut segments = rows.iter().map(read_segment).collect::<Result<Vec<_>, _>>()?;
    for segment in segments.iter_mut().filter(|segment| segment.state != SegmentState::Gone) {
        segment.key_filters = read_filters(connection, segment.id, Kind::KeyFilters).await?;
        segment.order_filters = read_filters(connection, segment.id, Kind::OrderFilters).await?;
    }
    let catalog = Catalog::new(segments);
    catalog.check()?;
    Ok(catalog)
}

fn read_segment(row: &SqliteRow) -> Result<Segment, ViewsError> {
    let state: &str = row.try_get(3)?;
    Ok(Segment {
        id: row.try_get(0)?,
        from: LogIndex(from_sql(row.try_get(1)?)?),
        to: LogIndex(from_sql(row.try_get(2)?)?),
        state: SegmentState::parse(state).ok_or_else(|| damaged(format!("{state:?} is no state of a segment")))?,
        keys: from_sql(row.try_get(4)?)?,
        bytes: from_sql(row.try_get(5)?)?,
        progress: Progress {
            kind: usize::try_from(row.try_get::<i64, _>(6)?).map_err(|_| damaged("a kind is none"))?,
            up_to: row.try_get(7)?,
        },
        key_filters: Vec::new(),
        order_filters: Vec::new(),
    })
}

async fn read_filters(
    connection: &mut SqliteConnection,
    segment: i64,
    kind: Kind,
) -> Result<Vec<Arc<DigestFilter>>, ViewsError> {
    let sql = "SELECT data FROM blocks WHERE segment = ? AND kind = ? ORDER BY first_key";
    let mut rows = sqlx::query(sql).bind(segment).bind(kind.number()).fetch(connection);
    let mut filters: Vec<Arc<DigestFilter>> = Vec::new();
    while let Some(row) = rows.try_next().await? {
        let filter = DigestFilter::from_bytes(checked(row.try_get(0)?)?).map_err(|error| damaged(error.to_string()))?;
        if filters.last().is_some_and(|last| last.last() > filter.first()) {
            return Err(damaged("the filters of a segment overlap"));
        }
        filters.push(Arc::new(filter));
    }
    Ok(filters)
}
