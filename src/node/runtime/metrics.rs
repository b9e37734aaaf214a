//! The runtime's metrics.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::elections::ElectionReason;

/// The runtime's metrics. Updating them costs a few atomic additions per batch.
#[derive(Debug)]
pub struct Metrics {
    commit_seconds: Histogram,
    batch_entries: Histogram,
    waiting_callers: Gauge<i64>,
    queued_requests: Gauge<i64>,
    forwarded: Counter<u64, AtomicU64>,
    ledger_wal_bytes: Gauge<i64>,
    quarantines: Counter<u64, AtomicU64>,
    writes_held_seconds: Counter<f64, AtomicU64>,
    views_rebuilds: Counter<u64, AtomicU64>,
    ledger_write_seconds: Histogram,
    elections_won: Family<Label, Counter<u64, AtomicU64>>,
    verification_failures: Family<Label, Counter<u64, AtomicU64>>,
}

/// A label with its value.
type Label = [(&'static str, &'static str); 1];

/// What is verified by hashes and checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// The chain of the ledger's entries.
    Ledger,
    /// The blocks of the views.
    Views,
}

impl Verified {
    const ALL: [Self; 2] = [Self::Ledger, Self::Views];

    const fn label(self) -> Label {
        let value = match self {
            Self::Ledger => "ledger",
            Self::Views => "views",
        };
        [("of", value)]
    }
}

const fn reason_label(reason: ElectionReason) -> Label {
    [("reason", reason.as_str())]
}

impl Default for Metrics {
    fn default() -> Self {
        let (elections_won, verification_failures) = (Family::default(), Family::default());
        // A counter that appears with its first event has no increase over it.
        for reason in ElectionReason::ALL {
            drop(elections_won.get_or_create(&reason_label(reason)));
        }
        for verified in Verified::ALL {
            drop(verification_failures.get_or_create(&verified.label()));
        }
        Self {
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            batch_entries: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            waiting_callers: Gauge::default(),
            queued_requests: Gauge::default(),
            forwarded: Counter::default(),
            ledger_wal_bytes: Gauge::default(),
            quarantines: Counter::default(),
            writes_held_seconds: Counter::default(),
            views_rebuilds: Counter::default(),
            ledger_write_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            elections_won,
            verification_failures,
        }
    }
}

impl Metrics {
    /// Adds the runtime's metrics to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let seconds = "Time from a proposal's arrival at the leader to its commit";
        registry.register("commit_latency_seconds", seconds, self.commit_seconds.clone());
        registry.register("batch_entries", "Entries in one write to the ledger", self.batch_entries.clone());
        registry.register("waiting_callers", "Callers that wait for a commit", self.waiting_callers.clone());
        registry.register("queued_requests", "Requests that wait for the event loop", self.queued_requests.clone());
        registry.register("forwarded_writes", "Writes handed to another node", self.forwarded.clone());
        let wal =
            "Size of the ledger's write-ahead log, which grows while some program reads an old state of the ledger";
        registry.register("ledger_wal_bytes", wal, self.ledger_wal_bytes.clone());
        let quarantines = "How often this node found its ledger damaged since its data directory was made";
        registry.register("quarantines", quarantines, self.quarantines.clone());
        let held = "How long writes have waited because the views were as far behind as they may be";
        registry.register_with_unit("views_writes_held", held, Unit::Seconds, self.writes_held_seconds.clone());
        let rebuilds = "How often this process found its views damaged and made them anew";
        registry.register("views_rebuilds", rebuilds, self.views_rebuilds.clone());
        let write = "Time of a durable write to the ledger: one transaction and its sync";
        registry.register("ledger_write_seconds", write, self.ledger_write_seconds.clone());
        let elections = "Elections that this node has won since it started, by what made them necessary";
        registry.register("elections_won", elections, self.elections_won.clone());
        let failures = "How often hashes or checksums of this node's files did not match since it started";
        registry.register("verification_failures", failures, self.verification_failures.clone());
    }

    pub(super) fn commit_latency(&self, latency: Duration) {
        self.commit_seconds.observe(latency.as_secs_f64());
    }

    pub(super) fn persisting(&self, entries: usize) {
        self.batch_entries.observe(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
    }

    pub(super) fn queues(&self, waiting_callers: usize, queued_requests: usize) {
        self.waiting_callers.set(i64::try_from(waiting_callers).unwrap_or(i64::MAX));
        self.queued_requests.set(i64::try_from(queued_requests).unwrap_or(i64::MAX));
    }

    pub(super) fn ledger_wal(&self, bytes: u64) {
        self.ledger_wal_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts quarantines; at the start those of earlier processes.
    pub(super) fn quarantined(&self, times: u64) {
        self.quarantines.inc_by(times);
    }

    /// Writes were held for so long.
    pub(super) fn writes_held(&self, time: Duration) {
        self.writes_held_seconds.inc_by(time.as_secs_f64());
    }

    pub(super) fn views_rebuilt(&self) {
        self.views_rebuilds.inc();
    }

    /// A write to the ledger is durable after this time.
    pub(super) fn ledger_written(&self, took: Duration) {
        self.ledger_write_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn election_won(&self, reason: ElectionReason) {
        self.elections_won.get_or_create(&reason_label(reason)).inc();
    }

    /// What was read is not what was written.
    pub(super) fn verification_failed(&self, of: Verified) {
        self.verification_failures.get_or_create(&of.label()).inc();
    }

    pub(super) fn forwarded(&self) {
        self.forwarded.inc();
    }
}
