//! Traces of writes: the task that asks all nodes what they noted of an entry, and sends the traces.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Clock;
use crate::log_limit::{Admitted, LogLimit};
use crate::traces::{Exporter, Noted, RequestTimes, Span, Step, Timeline, TraceContext, TraceSettings, spans_of};
use crate::transport::PeerClient;
use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Entry, NodeId, Outgoing, Request};

use super::handle::NodeHandle;

/// Requests that may wait for the task; further ones are not traced.
const FINISHED_QUEUE: usize = 1_024;
/// Requests whose traces are put together at a time: what the other nodes are asked for at once.
const MAX_BATCH: usize = 256;
/// How long requests gather. Followers that are a little behind note their steps meanwhile.
const GATHER: Duration = Duration::from_millis(250);
/// How long another node may take to say what it noted.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// What a node that takes traces has for them.
pub(super) struct Tracing {
    settings: TraceSettings,
    counted: AtomicU64,
    pub(super) timeline: Arc<Timeline>,
    finished: mpsc::Sender<RequestTimes>,
}

/// What the task needs.
pub(super) struct TraceTask {
    pub(super) me: NodeId,
    pub(super) cluster_id: String,
    pub(super) others: Vec<NodeId>,
    pub(super) peers: PeerClient,
    pub(super) clock: Clock,
}

impl Tracing {
    /// Starts the task, which ends when this is dropped.
    pub(super) fn start(settings: TraceSettings, task: TraceTask) -> Arc<Self> {
        let (finished, waiting) = mpsc::channel(FINISHED_QUEUE);
        let timeline = Arc::new(Timeline::default());
        let exporter = Exporter::new(settings.endpoint.clone(), task.cluster_id.clone());
        tokio::spawn(task.run(Arc::clone(&timeline), exporter, waiting));
        Arc::new(Self { settings, counted: AtomicU64::new(0), timeline, finished })
    }

    /// Notes a step with some entries, if there are any, that began then and ends now.
    pub(super) fn note(&self, step: Step, entries: Option<(LogIndex, LogIndex)>, began: Instant) {
        if let Some(entries) = entries {
            self.timeline.note(step, entries, began);
        }
    }
}

/// The first and the last index of some entries.
pub(super) fn range_of(entries: &[Arc<Entry>]) -> Option<(LogIndex, LogIndex)> {
    Some((entries.first()?.index, entries.last()?.index))
}

/// The entries that a request to a follower carries.
pub(super) fn range_sent(request: &Outgoing) -> Option<(LogIndex, LogIndex)> {
    match request {
        Outgoing::Append { entries, .. } => range_of(entries),
        Outgoing::Plain(_) => None,
    }
}

/// The entries that a request of the leader carries.
pub(super) fn range_received(request: &Request) -> Option<(LogIndex, LogIndex)> {
    let Request::Append(append) = request else { return None };
    let entries = &append.log.as_ref()?.entries;
    Some((entries.first()?.index, entries.last()?.index))
}

impl NodeHandle {
    /// Whether this node takes traces at all.
    #[must_use]
    pub fn takes_traces(&self) -> bool {
        self.shared.tracing.is_some()
    }

    /// Whether a request that was answered is traced.
    #[must_use]
    pub fn takes_trace(&self, context: Option<&TraceContext>, took: Duration) -> bool {
        self.shared.tracing.as_ref().is_some_and(|tracing| tracing.settings.takes(context, took, &tracing.counted))
    }

    /// Sends the trace of a request, later.
    pub fn trace(&self, times: RequestTimes) {
        if let Some(tracing) = &self.shared.tracing {
            // Traces are dropped before anything waits for them.
            let _ = tracing.finished.try_send(times);
        }
    }

    /// What this node noted of these entries.
    pub(super) fn noted(&self, indexes: &[LogIndex]) -> Vec<Vec<Noted>> {
        let Some(tracing) = &self.shared.tracing else { return Vec::new() };
        let unix_ms = self.wall_clock().0;
        indexes.iter().map(|index| tracing.timeline.of(*index, unix_ms)).collect()
    }
}

impl TraceTask {
    async fn run(self, timeline: Arc<Timeline>, exporter: Exporter, mut waiting: mpsc::Receiver<RequestTimes>) {
        let limit = LogLimit::default();
        while let Some(first) = waiting.recv().await {
            tokio::time::sleep(GATHER).await;
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            let spans = self.spans_of(&timeline, &batch).await;
            if let Err(error) = exporter.export(&spans).await
                && let Some(Admitted { left_out }) = limit.admit()
            {
                tracing::warn!(error, traces = batch.len(), left_out, "the collector took no traces");
            }
        }
    }

    async fn spans_of(&self, timeline: &Timeline, batch: &[RequestTimes]) -> Vec<Span> {
        let with_entry = batch.iter().filter_map(|times| Some(times.entry.as_ref()?.1));
        let indexes: Vec<LogIndex> = with_entry.collect();
        let asked = self.others.iter().map(async |node| {
            // What a node that does not answer noted is missing in the trace.
            (node, self.peers.timeline(node, &indexes, ASK_TIMEOUT).await.unwrap_or_default())
        });
        let of_others = join_all(asked).await;
        let unix_ms = self.clock.now().unix_ms;
        let mut position = 0;
        let mut spans = Vec::new();
        for times in batch {
            let mut noted = Vec::new();
            if let Some((_, index)) = &times.entry {
                noted.push((self.me.clone(), timeline.of(*index, unix_ms)));
                let of_others =
                    of_others.iter().filter_map(|(node, all)| Some(((*node).clone(), all.get(position)?.clone())));
                noted.extend(of_others);
                position += 1;
            }
            spans.extend(spans_of(&self.me, times, &noted, || Uuid::new_v4().as_u128(), unix_ms));
        }
        spans
    }
}
