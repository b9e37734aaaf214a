//! Merges segments, in bounded steps. The progress of a merge is stored with its blocks, so that a process that was
//! killed goes on where it was.

use sqlx::sqlite::SqliteConnection;

use super::error::ViewsError;
use super::kind::Kind;
use super::pairs::{Pairs, merge};
use super::reader::to_sql;
use super::segment::{Catalog, Progress, Segment, SegmentState};
use super::store::{Packed, delete_some, read_window, store_segment};

/// Takes the next step. Returns the catalog after it; `None` if there is nothing to do.
pub(super) async fn step(connection: &mut SqliteConnection, before: &Catalog) -> Result<Option<Catalog>, ViewsError> {
    let mut catalog = before.clone();
    let gone = catalog.in_state(SegmentState::Gone).next().map(|segment| segment.id);
    if let Some(gone) = gone {
        if delete_some(connection, gone, catalog.limits.deleted_blocks).await? {
            catalog.remove(gone);
        }
        return Ok(Some(catalog));
    }
    if let Some((from, to)) = catalog.due_merge() {
        catalog.insert(Segment {
            id: catalog.next_id(),
            from,
            to,
            state: SegmentState::Growing,
            keys: 0,
            bytes: 0,
            progress: Progress::default(),
            key_filters: Vec::new(),
            order_filters: Vec::new(),
        });
    }
    let Some(mut growing) = catalog.smallest_growing().cloned() else { return Ok(None) };
    let inputs: Vec<Segment> = catalog.inputs_of(&growing).into_iter().cloned().collect();
    let bits = catalog.filter_bits(inputs.iter().map(|input| input.keys).sum());
    let (mut read, limits) = (0, catalog.limits);
    while let Some(kind) = Kind::SORTED.get(growing.progress.kind).filter(|_| read < limits.step_blocks) {
        read += grow(connection, *kind, &inputs, &mut growing, (limits.window_blocks, bits)).await?;
    }
    let (id, stretch) = (growing.id, (growing.from, growing.to));
    if growing.progress.kind == Kind::COUNT {
        growing.state = SegmentState::Whole;
        let sql = "UPDATE segments SET state = ? WHERE state = ? AND from_index >= ? AND to_index <= ?";
        sqlx::query(sql)
            .bind(SegmentState::Gone.as_str())
            .bind(SegmentState::Whole.as_str())
            .bind(to_sql(stretch.0.0)?)
            .bind(to_sql(stretch.1.0)?)
            .execute(&mut *connection)
            .await?;
        for input in &inputs {
            let input = catalog.get_mut(input.id).expect("it is an input");
            input.state = SegmentState::Gone;
            (input.key_filters, input.order_filters) = (Vec::new(), Vec::new());
        }
    }
    store_segment(connection, &growing).await?;
    *catalog.get_mut(id).expect("it is there") = growing;
    catalog.forget_merged_filters(id);
    Ok(Some(catalog))
}

/// Merges the next pairs of one kind into a growing segment: those of so many blocks, behind filters with fingerprints of
/// so many bits. Returns how many blocks it took.
async fn grow(
    connection: &mut SqliteConnection,
    kind: Kind,
    inputs: &[Segment],
    growing: &mut Segment,
    (window_blocks, bits): (u64, u32),
) -> Result<u64, ViewsError> {
    let all_bytes = inputs.iter().map(|input| input.bytes).sum::<u64>().max(1);
    let (mut runs, mut bound, mut blocks) = (Vec::with_capacity(inputs.len()), None::<Vec<u8>>, 0);
    for input in inputs {
        // Two at least: the first one may be merged already.
        let limit = 2 + window_blocks * input.bytes / all_bytes;
        let limit = usize::try_from(limit).expect("few");
        let (pairs, at_end) = read_window(connection, input.id, kind, &growing.progress.up_to, limit).await?;
        blocks += if at_end { (pairs.size() as u64).div_ceil(4_096) } else { limit as u64 };
        if let Some(last) = pairs.last_key().filter(|_| !at_end)
            && bound.as_deref().is_none_or(|bound| last < bound)
        {
            bound = Some(last.to_vec());
        }
        runs.push(pairs);
    }
    let after = growing.progress.up_to.clone();
    let upto = bound.clone();
    let packed = blocking(move || pack_window(kind, &runs, &after, upto.as_deref(), bits)).await?;
    packed.store(connection, growing).await?;
    growing.progress = match bound {
        Some(bound) => Progress { up_to: bound, ..growing.progress },
        None => Progress { kind: growing.progress.kind + 1, up_to: Vec::new() },
    };
    Ok(blocks)
}

fn pack_window(kind: Kind, runs: &[Pairs], after: &[u8], upto: Option<&[u8]>, bits: u32) -> Result<Packed, ViewsError> {
    let after = Some(after).filter(|after| !after.is_empty());
    Packed::new(kind, &merge(kind, runs, after, upto)?, bits)
}

/// Work that takes milliseconds: the event loop may run on this thread.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic, and nobody aborts it")
}
