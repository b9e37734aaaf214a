//! Brings the views up to date with what is applied: from memory, and from the ledger what memory does not hold.
//!
//! It works on while nothing else is to be done. While payments go on it rests between two chunks for a multiple of the
//! time that a chunk took, so that payments go first; the nearer the views' lag comes to its bound the shorter is the
//! rest, and from half of the bound on there is none. At the bound the engine takes in nothing more.
//!
//! If the views are damaged it makes them anew and projects the ledger again from its beginning. Meanwhile nothing is read
//! from them: what they lack must not pass for what does not exist. What memory knows is complete all the time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::blocking::Blocking;
use crate::ledger::{LedgerError, LedgerReader};
use crate::published::Watched;
use crate::views::{self, OpenViews, ViewsError, ViewsReader, ViewsWriter};
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{Input, ViewsLag};
use quorapay_core::replication::{Limits, StoreId};

use super::backlog::{Backlog, ChunkSize};
use super::message::{Message, send_input};
use super::metrics::{Metrics, Verified};
use super::progress::NodeProgress;
use super::status::ViewsRebuilding;

/// Most of one chunk. Its pages reach the disk together and delay the ledger's syncs if both are on one disk, so chunks
/// are small.
const CHUNK: ChunkSize = ChunkSize { entries: 16_384, keys: 16_384, bytes: 8 << 20 };
/// The same for a read of the ledger, whose entries' keys are not known beforehand.
const CHUNK_BYTES: usize = 8 << 20;
/// Steps of merging after each chunk, if there is so much to merge: about twice what the chunks cause.
const MERGE_STEPS: usize = 6;
/// While payments go on it rests so many times as long as it worked: 5% of one core.
const REST_FACTOR: u32 = 19;
/// While it makes the views anew it rests only as long as it worked: until then this node is of little use.
const REBUILD_REST_FACTOR: u32 = 1;
/// The longest rest, after a chunk or a failure.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// The shortest rest while payments go on, so that single payments now and then are projected together.
const SHORTEST_REST: Duration = Duration::from_millis(200);
/// A node whose views can be neither written nor made anew for this long lets another one lead.
const UNFIT_AFTER: Duration = Duration::from_secs(5);
/// How often the log says how far views are that are made anew.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What the views are made from, and where.
#[derive(Clone, Debug)]
pub(super) struct ViewsPlace {
    pub(super) data_dir: PathBuf,
    pub(super) cluster_id: String,
    pub(super) store_id: StoreId,
}

/// See the module.
pub(super) struct Projector {
    /// `None` while the views are made anew and none could be opened.
    pub(super) writer: Option<ViewsWriter>,
    pub(super) reader: ViewsReader,
    pub(super) place: ViewsPlace,
    pub(super) ledger: LedgerReader,
    pub(super) backlog: Backlog,
    pub(super) progress: Watched<NodeProgress>,
    pub(super) limits: Limits,
    pub(super) events: mpsc::Sender<Message>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) blocking: Blocking,
}

/// What the task remembers.
struct Course {
    /// What the engine relies on the views for: they may be read from here on, not before.
    told: LogIndex,
    failing_since: Option<Instant>,
    reported: Option<Instant>,
}

/// Why a chunk was not projected.
#[derive(Debug, thiserror::Error)]
enum ProjectError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Views(#[from] ViewsError),
}

impl Projector {
    /// Runs until the node stops. After a failure it retries later; until then the node answers from memory and ledger.
    pub(super) async fn run(mut self) {
        let told = self.projected();
        let mut course = Course { told, failing_since: None, reported: None };
        let gate = self.reader.gate().clone();
        while let Some(applied) = self.due(&mut course).await {
            let began = Instant::now();
            let (rest, failed) = match self.advance(applied, &mut course).await {
                Ok(()) => (self.rest(began.elapsed(), applied), false),
                Err(ProjectError::Views(ViewsError::Damaged(reason))) => {
                    self.condemn(&reason, &course).await;
                    (Duration::ZERO, false)
                }
                Err(error) => {
                    self.on_failure(&error, &mut course).await;
                    (LONGEST_REST, true)
                }
            };
            let (progress, limits) = (self.progress.clone(), self.limits);
            let hurry = progress.wait_for(|progress| is_half_full(progress.views_lag, &limits));
            tokio::select! {
                biased;
                () = self.events.closed() => break,
                () = tokio::time::sleep(rest) => {}
                _ = hurry, if !failed && !rest.is_zero() => {}
                reason = gate.damaged() => self.condemn(&reason, &course).await,
            }
        }
        let Some(writer) = self.writer.take() else { return };
        if let Err(error) = self.blocking.settle(writer.close()).await {
            tracing::warn!(%error, "the views were not closed cleanly");
        }
    }

    /// The last index in the views.
    fn projected(&self) -> LogIndex {
        self.writer.as_ref().map_or(LogIndex(0), |writer| writer.projected().index)
    }

    /// Waits until the views lack something. Returns what is applied by then; `None` when the node stops.
    async fn due(&mut self, course: &mut Course) -> Option<LogIndex> {
        let gate = self.reader.gate().clone();
        loop {
            let projected = self.projected();
            let wanted = |progress: &NodeProgress| progress.applied_index > projected;
            tokio::select! {
                biased;
                reason = gate.damaged() => self.condemn(&reason, course).await,
                progress = self.progress.wait_for(wanted) => return progress.ok().map(|progress| progress.applied_index),
            }
        }
    }

    /// Projects a chunk, and makes views anew first if they are damaged.
    async fn advance(&mut self, applied: LogIndex, course: &mut Course) -> Result<(), ProjectError> {
        if self.writer.is_none() {
            let OpenViews { writer, .. } = self.begin_anew().await?;
            self.writer = Some(writer);
        }
        let blocking = self.blocking.clone();
        let reached = blocking.write(self.project_chunk(applied)).await?;
        self.backlog.forget_up_to(reached);
        if course.failing_since.take().is_some() && !self.reader.gate().is_closed() {
            self.tell(true, None).await;
        }
        if self.reader.gate().is_closed() {
            self.follow_rebuilding(reached, course).await;
        }
        if let Some(writer) = self.writer.as_ref().filter(|_| !self.reader.gate().is_closed()) {
            course.told = reached;
            send_input(&self.events, Input::Projected { index: reached, filters: writer.filters() }).await;
        }
        Ok(())
    }

    async fn project_chunk(&mut self, applied: LogIndex) -> Result<LogIndex, ProjectError> {
        let Self { writer, ledger, backlog, .. } = self;
        let writer = writer.as_mut().expect("it was opened before");
        let after = writer.projected().index;
        let mut entries = backlog.chunk(after, CHUNK);
        if entries.is_empty() {
            let to = backlog.first().map_or(applied, |first| first.previous().min(applied));
            entries = ledger.chain_within(after, to, CHUNK.entries, CHUNK_BYTES).await?.1;
        }
        writer.project(&entries).await?;
        for _ in 0..MERGE_STEPS {
            match writer.merge_step().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error @ ViewsError::Damaged(_)) => return Err(error.into()),
                // What is projected is projected: unmerged segments only make reads slower.
                Err(error) => {
                    tracing::error!(%error, "segments of the views could not be merged; trying again after the next chunk");
                    break;
                }
            }
        }
        Ok(writer.projected().index)
    }

    /// How long to rest after a chunk.
    fn rest(&self, worked: Duration, applied: LogIndex) -> Duration {
        let progress = self.progress.borrow();
        let goes_on = progress.applied_index > applied;
        let behind = self.projected() < progress.applied_index;
        if self.reader.gate().is_closed() {
            return if goes_on { (worked * REBUILD_REST_FACTOR).min(LONGEST_REST) } else { Duration::ZERO };
        }
        if is_half_full(progress.views_lag, &self.limits) || (behind && !goes_on) {
            return Duration::ZERO;
        }
        (worked * REST_FACTOR).clamp(SHORTEST_REST, LONGEST_REST)
    }

    /// The views are damaged: from now on nothing is read from them, and the next chunk is the first of new ones.
    async fn condemn(&mut self, reason: &str, course: &Course) {
        tracing::error!(%reason, "the views are damaged: they are made anew from the ledger while this node goes on");
        self.reader.gate().close();
        self.metrics.verification_failed(Verified::Views);
        self.metrics.views_rebuilt();
        self.tell(false, Some(ViewsRebuilding { projected_index: LogIndex(0), until_index: course.told })).await;
        // Before its file is removed: closing it later would remove the log of the new one, which has the same name.
        if let Some(writer) = self.writer.take()
            && let Err(error) = self.blocking.settle(writer.close()).await
        {
            tracing::debug!(%error, "the damaged views were not closed cleanly");
        }
    }

    async fn begin_anew(&self) -> Result<OpenViews, ViewsError> {
        let ViewsPlace { data_dir, cluster_id, store_id } = &self.place;
        let recreate = async {
            self.reader.reconnect().await?;
            let opened = views::recreate(data_dir, cluster_id, *store_id).await?;
            // A read that was about to begin may have opened the old file once more.
            self.reader.reconnect().await?;
            Ok(opened)
        };
        self.blocking.settle(recreate).await
    }

    /// The views hold everything up to `reached` again. They are read again once they hold what they held.
    async fn follow_rebuilding(&self, reached: LogIndex, course: &mut Course) {
        let until_index = course.told;
        if reached >= until_index {
            tracing::info!(projected = %reached, "the views are complete again");
            self.reader.gate().open();
            course.reported = None;
            return self.tell(true, None).await;
        }
        let now = Instant::now();
        if course.reported.is_none_or(|reported| now.duration_since(reported) >= REPORT_EVERY) {
            course.reported = Some(now);
            tracing::info!(projected = %reached, until = %until_index, "the views are being made anew");
        }
        self.tell(false, Some(ViewsRebuilding { projected_index: reached, until_index })).await;
    }

    async fn on_failure(&self, error: &ProjectError, course: &mut Course) {
        tracing::error!(%error, "the views could not be brought up to date; trying again");
        let now = Instant::now();
        let since = *course.failing_since.get_or_insert(now);
        if now.duration_since(since) >= UNFIT_AFTER && !self.reader.gate().is_closed() {
            self.tell(false, None).await;
        }
    }

    async fn tell(&self, fit: bool, rebuilding: Option<ViewsRebuilding>) {
        // The loop is gone only when the node stops.
        let _ = self.events.send(Message::Views { fit, rebuilding }).await;
    }
}

/// Whether the views' lag is half of what it may be.
fn is_half_full(lag: ViewsLag, limits: &Limits) -> bool {
    2 * lag.keys >= limits.unprojected_keys || 2 * lag.bytes >= limits.unprojected_bytes
}

#[cfg(test)]
#[path = "projector_tests.rs"]
mod tests;
