//! Brings the views up to the ledger, lazily on purpose: after each chunk it rests for a multiple of the time that the
//! chunk took, so that it yields to payments, and its chunks grow when it is behind, which makes each entry cheaper.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::ledger::LedgerReader;
use crate::views::ViewsWriter;
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::Input;

use super::message::{Message, send_input};
use super::progress::NodeProgress;

/// Most entries in one chunk. A chunk's pages reach the disk together and keep the ledger's syncs waiting if both are on
/// one disk, so chunks are small while the projector keeps up.
const CHUNK: u64 = 16_384;
/// Most entries in one chunk when it is far behind: the larger, the fewer pages of the indexes are touched per entry.
const LARGE_CHUNK: u64 = 65_536;
/// How many times as long as it worked the projector rests while it keeps up.
const REST_FACTOR: u32 = 19;
/// How far behind it may fall before it rests no longer than it works: memory holds the keys of what is missing.
const MAX_RELAXED_LAG: u64 = 1_000_000;
const LONGEST_REST: Duration = Duration::from_secs(10);
/// New entries gather at least this long, so that a trickle of payments is not projected one by one.
const GATHER: Duration = Duration::from_millis(200);

/// Runs until the node stops. After a failure it tries again later: the views are derived, and until then the node goes on
/// from memory and ledger.
pub(super) async fn project(
    mut views: ViewsWriter,
    ledger: LedgerReader,
    mut progress: watch::Receiver<NodeProgress>,
    events: mpsc::Sender<Message>,
) {
    loop {
        let projected = views.projected().index;
        let applied = match progress.wait_for(|progress| progress.applied_index > projected).await {
            Ok(progress) => progress.applied_index,
            Err(_) => break,
        };
        let began = Instant::now();
        let lag = applied.0 - projected.0;
        let chunk = if lag > MAX_RELAXED_LAG { LARGE_CHUNK } else { CHUNK };
        let to = LogIndex(applied.0.min(projected.0 + chunk));
        let rest = match project_chunk(&mut views, projected, to, &ledger).await {
            Ok(()) => {
                let reached = views.projected().index;
                send_input(&events, Input::Projected(reached)).await;
                // Entries that are so heavy that a chunk holds few of them are a backlog too.
                let behind = lag > MAX_RELAXED_LAG || reached < to;
                rest_after(began.elapsed(), behind)
            }
            Err(error) => {
                tracing::error!(%error, "the views could not be brought up to date; trying again");
                LONGEST_REST
            }
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = events.closed() => break,
        }
    }
    if let Err(error) = views.close().await {
        tracing::warn!(%error, "the views were not closed cleanly");
    }
}

fn rest_after(worked: Duration, behind: bool) -> Duration {
    if behind { worked } else { (worked * REST_FACTOR).clamp(GATHER, LONGEST_REST) }
}

async fn project_chunk(
    views: &mut ViewsWriter,
    after: LogIndex,
    to: LogIndex,
    ledger: &LedgerReader,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let most = usize::try_from(to.0 - after.0).unwrap_or(usize::MAX);
    let (_, entries) = ledger.chain(after, to, most).await?;
    views.project(&entries).await?;
    Ok(())
}
