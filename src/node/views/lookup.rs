//! Looks pairs up in all segments that are read. A statement sees one consistent set of them.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::block::unpack;
use super::error::{ViewsError, damaged};
use super::kind::{Kind, read_key, read_piece};
use super::pairs::Pairs;
use super::reader::{from_sql, to_json};
use quorapay_core::domain::LogIndex;

/// Digests that one statement looks up: in each segment it reads a block for each of them.
const DIGESTS_PER_STATEMENT: usize = 64;
/// Keys of which one statement reads the block in the one segment that must have it.
const EXPECTED_PER_STATEMENT: usize = 1_024;
/// Blocks that one statement reads on the way to older ones.
const BLOCKS_PER_STATEMENT: i64 = 2;

/// The values of those of the keys that a segment has. What several segments have of a key is joined.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    kind: Kind,
    digests: &[[u8; 16]],
) -> Result<BTreeMap<[u8; 16], Vec<u8>>, ViewsError> {
    let mut found: BTreeMap<[u8; 16], Vec<u8>> = BTreeMap::new();
    let sql = "SELECT wanted.key, (SELECT data FROM blocks WHERE segment = segments.segment AND kind = ?2 \
               AND first_key <= unhex(wanted.value) ORDER BY first_key DESC LIMIT 1) \
               FROM segments CROSS JOIN json_each(?1) AS wanted WHERE state = 'whole'";
    let mut digests = digests.to_vec();
    digests.sort_unstable();
    digests.dedup();
    for digests in digests.chunks(DIGESTS_PER_STATEMENT) {
        let wanted = to_json(&digests.iter().map(hex::encode).collect::<Vec<_>>());
        let mut rows = sqlx::query(sql).bind(wanted).bind(kind.number()).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let Some(data) = row.try_get::<Option<&[u8]>, _>(1)? else { continue };
            let digest = usize::try_from(row.try_get::<i64, _>(0)?).ok().and_then(|at| digests.get(at));
            let digest = digest.ok_or_else(|| damaged("an answer fits no question"))?;
            let block = unpacked(data)?;
            let Some(value) = block.find(digest) else { continue };
            match found.get_mut(digest) {
                Some(other) => {
                    kind.join(digest, other, digest, value)?;
                }
                None => {
                    found.insert(*digest, value.to_vec());
                }
            }
        }
    }
    Ok(found)
}

/// Calls `take` with the pairs whose keys begin with `prefix` and are below `bound`, from the last one of the youngest
/// segment to the first one of the oldest, while it returns true.
pub(super) async fn newest_first(
    snapshot: &mut SqliteConnection,
    kind: Kind,
    prefix: &[u8],
    bound: &[u8],
    mut take: impl FnMut(&[u8], &[u8]) -> Result<bool, ViewsError>,
) -> Result<(), ViewsError> {
    let sql = "SELECT segment FROM segments WHERE state = 'whole' ORDER BY from_index DESC";
    let segments: Vec<i64> = sqlx::query_scalar(sql).fetch_all(&mut *snapshot).await?;
    let sql = "SELECT first_key, data FROM blocks WHERE segment = ? AND kind = ? AND first_key < ? \
               ORDER BY first_key DESC LIMIT ?";
    for segment in segments {
        let mut bound = bound.to_vec();
        loop {
            let rows = sqlx::query_as(sql).bind(segment).bind(kind.number()).bind(bound.clone());
            let blocks: Vec<(Vec<u8>, Vec<u8>)> = rows.bind(BLOCKS_PER_STATEMENT).fetch_all(&mut *snapshot).await?;
            for (first_key, data) in &blocks {
                let block = unpacked(data)?;
                let wanted = |(key, _): &(&[u8], &[u8])| *key < bound.as_slice() && key.starts_with(prefix);
                for (key, value) in block.iter().rev().filter(wanted) {
                    if !take(key, value)? {
                        return Ok(());
                    }
                }
                bound.clone_from(first_key);
            }
            if blocks.is_empty() || bound.as_slice() < prefix {
                break;
            }
        }
    }
    Ok(())
}

/// The entries of which the segment that holds them lacks a key.
pub(super) async fn missing(
    connection: &mut SqliteConnection,
    kind: Kind,
    expected: &[(Vec<u8>, LogIndex)],
) -> Result<Vec<LogIndex>, ViewsError> {
    let mut missing = Vec::new();
    let sql = "SELECT wanted.key, (SELECT data FROM blocks WHERE segment = segments.segment AND kind = ?2 \
               AND first_key <= unhex(wanted.value ->> 0) ORDER BY first_key DESC LIMIT 1) \
               FROM json_each(?1) AS wanted CROSS JOIN segments \
               ON state = 'whole' AND wanted.value ->> 1 BETWEEN from_index AND to_index";
    for expected in expected.chunks(EXPECTED_PER_STATEMENT) {
        let wanted: Vec<_> = expected.iter().map(|(key, index)| (hex::encode(key), index.0)).collect();
        let mut found = vec![false; expected.len()];
        let mut rows = sqlx::query(sql).bind(to_json(&wanted)).bind(kind.number()).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let at = usize::try_from(from_sql(row.try_get(0)?)?).unwrap_or(usize::MAX);
            let (Some(data), Some((key, index))) = (row.try_get::<Option<&[u8]>, _>(1)?, expected.get(at)) else {
                continue;
            };
            found[at] = holds(kind, &unpacked(data)?, key, *index)?;
        }
        missing.extend(expected.iter().zip(found).filter(|(_, found)| !found).map(|((_, index), _)| *index));
    }
    Ok(missing)
}

fn holds(kind: Kind, block: &Pairs, key: &[u8], index: LogIndex) -> Result<bool, ViewsError> {
    match kind {
        Kind::Keys => Ok(block.find(key).map(read_key).transpose()? == Some(index)),
        Kind::Postings | Kind::Decided => {
            // The last piece that begins at the index or before it has it, if it is of the same list.
            let piece = block.up_to(key).checked_sub(1).and_then(|at| block.get(at));
            let Some((first, value)) = piece else { return Ok(false) };
            let one_list = first.len() == key.len() && first[..key.len() - 8] == key[..key.len() - 8];
            Ok(one_list && read_piece(first, value)?.contains(&index))
        }
        _ => Ok(block.find(key).is_some()),
    }
}

pub(super) fn unpacked(data: &[u8]) -> Result<Pairs, ViewsError> {
    let mut pairs = Pairs::default();
    unpack(data, &mut pairs)?;
    Ok(pairs)
}
