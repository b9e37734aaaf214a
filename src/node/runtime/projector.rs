//! Projects the ledger into the views, at low priority: after each chunk it rests for a multiple of the time that the
//! chunk took, so that payments go first. When it is far behind, its chunks grow, which makes each entry cheaper.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::blocking::Blocking;
use crate::ledger::LedgerReader;
use crate::published::Watched;
use crate::views::ViewsWriter;
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::Input;

use super::message::{Message, send_input};
use super::progress::NodeProgress;

/// Most entries in one chunk while the projector keeps up. A chunk's pages reach the disk together and delay the
/// ledger's syncs if both are on one disk, so chunks are small.
const CHUNK_ENTRIES: u64 = 16_384;
/// Most entries in one chunk when it is far behind: larger chunks touch fewer index pages per entry.
const LARGE_CHUNK_ENTRIES: u64 = 65_536;
/// While the projector keeps up, it rests so many times as long as it worked: 5% of one core.
const REST_FACTOR: u32 = 19;
/// How many entries it may be behind before it rests only as long as it worked: memory holds the keys of those entries.
const MAX_RELAXED_LAG: u64 = 1_000_000;
/// Steps of merging after each chunk, if there is so much to merge: about twice what the chunks cause.
const MERGE_STEPS: usize = 6;
/// The longest rest, after a chunk or a failure.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// The shortest rest, so that single payments now and then are projected together.
const SHORTEST_REST: Duration = Duration::from_millis(200);

/// Runs until the node stops. After a failure it retries later; until then the node answers from memory and ledger.
pub(super) async fn project(
    mut views: ViewsWriter,
    ledger: LedgerReader,
    progress: Watched<NodeProgress>,
    events: mpsc::Sender<Message>,
    blocking: Blocking,
) {
    loop {
        let projected = views.projected().index;
        let applied = match progress.wait_for(|progress| progress.applied_index > projected).await {
            Ok(progress) => progress.applied_index,
            Err(_) => break,
        };
        let began = Instant::now();
        let lag = applied.0 - projected.0;
        let chunk = if lag > MAX_RELAXED_LAG { LARGE_CHUNK_ENTRIES } else { CHUNK_ENTRIES };
        let to = LogIndex(applied.0.min(projected.0 + chunk));
        let rest = match blocking.write(project_chunk(&mut views, projected, to, &ledger)).await {
            Ok(()) => {
                let reached = views.projected().index;
                send_input(&events, Input::Projected { index: reached, filters: views.filters() }).await;
                // Entries so large that a chunk holds only a few of them are a backlog too.
                let behind = lag > MAX_RELAXED_LAG || reached < to;
                rest_after(began.elapsed(), behind)
            }
            Err(error) => {
                tracing::error!(%error, "the views could not be brought up to date; trying again");
                LONGEST_REST
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(rest) => {}
            () = events.closed() => break,
        }
    }
    if let Err(error) = blocking.settle(views.close()).await {
        tracing::warn!(%error, "the views were not closed cleanly");
    }
}

fn rest_after(worked: Duration, behind: bool) -> Duration {
    if behind { worked } else { (worked * REST_FACTOR).clamp(SHORTEST_REST, LONGEST_REST) }
}

async fn project_chunk(
    views: &mut ViewsWriter,
    after: LogIndex,
    to: LogIndex,
    ledger: &LedgerReader,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let count = usize::try_from(to.0 - after.0).unwrap_or(usize::MAX);
    let (_, entries) = ledger.chain(after, to, count).await?;
    views.project(&entries).await?;
    for _ in 0..MERGE_STEPS {
        match views.merge_step().await {
            Ok(true) => {}
            Ok(false) => break,
            // What is projected is projected: unmerged segments only make reads slower.
            Err(error) => {
                tracing::error!(%error, "segments of the views could not be merged; trying again after the next chunk");
                break;
            }
        }
    }
    Ok(())
}
