//! What the processes of a load share: the nodes, the counters, and what is remembered of earlier operations.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::exchange::{Ended, Exchange, Node};
use super::plan::{LoadPlan, LoadProgress};
use crate::history::{Ask, Event, Late, Micros, OperationId};
use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{Capture, IdempotencyKey, OperationRequest, PaymentId, Proposal};

/// Writes and payment ids remembered for repeats and reads: enough to reach back over a fault.
const REMEMBERED: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) nodes: Vec<Node>,
    pub(super) plan: LoadPlan,
    /// Begins every key, so that no run meets the keys of an earlier one.
    pub(super) run: String,
    pub(super) exchange: Exchange,
    /// Turns true when the schedule is over.
    pub(super) over: watch::Receiver<bool>,
    counters: Counters,
    /// The next operation number of each process, and of the final reads.
    operations: Vec<AtomicU64>,
    /// Highest index that any answer told of.
    told_index: AtomicU64,
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

/// What is remembered of earlier operations.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Writes that a node said are decided.
    decided: VecDeque<Proposal>,
    /// Ids of payments.
    payments: VecDeque<PaymentId>,
    /// Ids of those that were to be set aside: what captures and voids are mostly for.
    holds: VecDeque<PaymentId>,
    /// Keys whose outcome nobody was told.
    open: BTreeSet<IdempotencyKey>,
}

impl Shared {
    pub(super) fn new(
        nodes: Vec<Node>,
        plan: LoadPlan,
        run: String,
        exchange: Exchange,
        over: watch::Receiver<bool>,
    ) -> Self {
        let operations = (0..=plan.processes).map(|_| AtomicU64::new(0)).collect();
        let (counters, memory) = (Counters::default(), Mutex::default());
        Self { nodes, plan, run, exchange, over, counters, operations, told_index: AtomicU64::new(0), memory }
    }

    /// Makes one attempt in the name of a process and counts it.
    pub(super) async fn attempt(&self, process: u32, node: usize, intended: Micros, ask: &Ask) -> Ended {
        let operation = self.number_of(process).fetch_add(1, Ordering::Relaxed);
        self.counters.sent.fetch_add(1, Ordering::Relaxed);
        let ended = self.exchange.attempt(OperationId { process, operation }, &self.nodes[node], intended, ask).await;
        let counter = match (&ended, ask) {
            (Ended::Ok(_), Ask::Read(_)) => &self.counters.read,
            (Ended::Ok(_), Ask::Write(_)) | (Ended::Rejected(_), _) => &self.counters.committed,
            (Ended::Refused { .. }, _) => &self.counters.refused,
            (Ended::Unknown, _) => &self.counters.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Ended::Ok(told) | Ended::Rejected(told) = &ended {
            let index = told.index.unwrap_or_default();
            self.told_index.fetch_max(index.0, Ordering::Relaxed);
        }
        ended
    }

    fn number_of(&self, process: u32) -> &AtomicU64 {
        &self.operations[usize::try_from(process).expect("a u32 fits")]
    }

    /// Notes that a turn of the schedule found no room.
    pub(super) fn late(&self, process: u32, intended: Micros) {
        self.counters.late.fetch_add(1, Ordering::Relaxed);
        let recorder = self.exchange.recorder();
        recorder.record(&Event::Late(Late { process, intended, at: recorder.now() }));
    }

    /// Whether the schedule is over.
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Highest index that any answer told of.
    pub(super) fn told_index(&self) -> LogIndex {
        LogIndex(self.told_index.load(Ordering::Relaxed))
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
    /// A write was decided, for or against it.
    pub(super) fn decided(&mut self, proposal: &Proposal, payment: Option<PaymentId>) {
        self.open.remove(&proposal.key);
        remember(&mut self.decided, proposal.clone());
        let Some(id) = payment else { return };
        remember(&mut self.payments, id);
        if matches!(&proposal.request, OperationRequest::Payment(request) if request.capture != Capture::Automatic) {
            remember(&mut self.holds, id);
        }
    }

    /// Nobody was told what became of a key.
    pub(super) fn left_open(&mut self, key: &IdempotencyKey) {
        self.open.insert(key.clone());
    }

    /// What became of a key is known.
    pub(super) fn settled(&mut self, key: &IdempotencyKey) {
        self.open.remove(key);
    }

    /// Keys that are open.
    pub(super) const fn open(&self) -> &BTreeSet<IdempotencyKey> {
        &self.open
    }

    /// Writes that were decided, oldest first.
    pub(super) const fn decided_writes(&self) -> &VecDeque<Proposal> {
        &self.decided
    }

    /// Ids of payments that were to be set aside, oldest first.
    pub(super) const fn hold_ids(&self) -> &VecDeque<PaymentId> {
        &self.holds
    }

    /// Ids of payments, oldest first.
    pub(super) const fn payment_ids(&self) -> &VecDeque<PaymentId> {
        &self.payments
    }
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == REMEMBERED {
        list.pop_front();
    }
    list.push_back(item);
}
