//! What the processes of a load share: nodes, counters, and a memory of earlier operations.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::exchange::{AttemptOutcome, Exchange, TargetNode};
use super::plan::{LoadPlan, LoadProgress};
use crate::history::{Event, Micros, NotSent, OperationId, Request};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{Capture, IdempotencyKey, OperationRequest, PaymentId, Proposal};

/// Maximum number of remembered writes and payment ids: enough to reach back over a fault.
const MAX_REMEMBERED: usize = 4_096;

/// The shared state of a load.
pub(super) struct LoadState {
    pub(super) nodes: Vec<TargetNode>,
    pub(super) plan: LoadPlan,
    pub(super) exchange: Exchange,
    /// Becomes true when the schedule ends.
    pub(super) stopping: watch::Receiver<bool>,
    counters: Counters,
    /// The next operation number of each process, and of the final reads.
    operations: Vec<AtomicU64>,
    /// The highest index that any answer named.
    highest_index: AtomicU64,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    committed: AtomicU64,
    read: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    late: AtomicU64,
}

/// Earlier operations that later ones refer to.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Writes that were decided.
    decided: VecDeque<Proposal>,
    /// Ids of payments.
    payments: VecDeque<PaymentId>,
    /// Ids of payments with manual capture, the targets of most captures and voids.
    holds: VecDeque<PaymentId>,
    /// Keys whose outcome is unknown.
    open: BTreeSet<IdempotencyKey>,
}

impl LoadState {
    pub(super) fn new(
        nodes: Vec<TargetNode>,
        plan: LoadPlan,
        exchange: Exchange,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let operations = (0..=plan.processes).map(|_| AtomicU64::new(0)).collect();
        let (counters, memory) = (Counters::default(), Mutex::default());
        Self { nodes, plan, exchange, stopping, counters, operations, highest_index: AtomicU64::new(0), memory }
    }

    /// Makes one attempt for a process and counts it.
    pub(super) async fn attempt(
        &self,
        process: u32,
        node: usize,
        intended: Micros,
        request: &Request,
    ) -> AttemptOutcome {
        let operation = self.next_operation_of(process).fetch_add(1, Ordering::Relaxed);
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        let ended =
            self.exchange.attempt(OperationId { process, operation }, &self.nodes[node], intended, request).await;
        let counter = match (&ended, request) {
            (AttemptOutcome::Ok(_), Request::Read(_)) => &self.counters.read,
            (AttemptOutcome::Ok(_), Request::Write(_)) | (AttemptOutcome::Rejected(_), _) => &self.counters.committed,
            (AttemptOutcome::Refused { .. }, _) => &self.counters.refused,
            (AttemptOutcome::Unknown, _) => &self.counters.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let AttemptOutcome::Ok(response) | AttemptOutcome::Rejected(response) = &ended {
            let index = response.index.unwrap_or_default();
            self.highest_index.fetch_max(index.0, Ordering::Relaxed);
        }
        ended
    }

    fn next_operation_of(&self, process: u32) -> &AtomicU64 {
        &self.operations[usize::try_from(process).expect("a u32 fits")]
    }

    /// Records that a request was not sent because too many were in flight.
    pub(super) fn count_not_sent(&self, process: u32, intended: Micros) {
        self.counters.late.fetch_add(1, Ordering::Relaxed);
        let recorder = self.exchange.recorder();
        recorder.record(&Event::NotSent(NotSent { process, intended, at: recorder.now() }));
    }

    /// Whether the schedule has ended.
    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The highest index that any answer named.
    pub(super) fn highest_index(&self) -> LogIndex {
        LogIndex(self.highest_index.load(Ordering::Relaxed))
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> LoadProgress {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { sent, committed, read, refused, unknown, late } = &self.counters;
        LoadProgress {
            sent: of(sent),
            committed: of(committed),
            read: of(read),
            refused: of(refused),
            unknown: of(unknown),
            late: of(late),
        }
    }
}

impl Memory {
    /// Remembers a write that was applied or rejected.
    pub(super) fn decided(&mut self, proposal: &Proposal, payment: Option<PaymentId>) {
        self.open.remove(&proposal.key);
        remember(&mut self.decided, proposal.clone());
        let Some(id) = payment else { return };
        remember(&mut self.payments, id);
        if matches!(&proposal.request, OperationRequest::Payment(request) if request.capture != Capture::Automatic) {
            remember(&mut self.holds, id);
        }
    }

    /// Remembers a key whose outcome is unknown.
    pub(super) fn outcome_unknown(&mut self, key: &IdempotencyKey) {
        self.open.insert(key.clone());
    }

    /// Forgets a key whose outcome is known now.
    pub(super) fn settled(&mut self, key: &IdempotencyKey) {
        self.open.remove(key);
    }

    /// Keys whose outcome is unknown.
    pub(super) const fn open(&self) -> &BTreeSet<IdempotencyKey> {
        &self.open
    }

    /// Decided writes, oldest first.
    pub(super) const fn decided_writes(&self) -> &VecDeque<Proposal> {
        &self.decided
    }

    /// Ids of payments with manual capture, oldest first.
    pub(super) const fn hold_ids(&self) -> &VecDeque<PaymentId> {
        &self.holds
    }

    /// Ids of payments, oldest first.
    pub(super) const fn payment_ids(&self) -> &VecDeque<PaymentId> {
        &self.payments
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == MAX_REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}
