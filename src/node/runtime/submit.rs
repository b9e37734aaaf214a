//! Submits writes: to this node's event loop if it leads, over one hop to the leader if not, and again if leadership
//! changes meanwhile. The idempotency key makes every repetition safe.

use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::log_limit::Admitted;
use crate::request_id::RequestId;
use crate::transport::{CommittedWrite, ForwardedWrite, Outcomes, WriteOutcome};
use quorapay_core::domain::{ApiKeyId, Denial, Fingerprint, IdempotencyKey, Operation, OperationRequest, Proposal};
use quorapay_core::engine::ProposalOutcome;
use quorapay_core::replication::{Entry, NodeId};

use super::handle::NodeHandle;
use super::message::{Message, ProposedWrite};

/// Bytes of entries in the answer to a forwarded batch; the last entry may exceed them.
const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// Why a write has no committed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The key was used before for another request. Nothing moved.
    #[error("the idempotency key was used before for another request")]
    KeyReused,
    /// The key was fenced. Nothing moved, and nothing can move under it.
    #[error("the idempotency key was fenced")]
    Fenced,
    /// The node's queue is full. Nothing moved.
    #[error("the node's queue is full")]
    Overloaded,
    /// No leader took the write within the deadline. Nothing moved.
    #[error("no leader within the deadline")]
    NoLeader,
    /// The write was sent to a leader and its outcome is unknown at the deadline.
    #[error("the outcome was not learnt within the deadline")]
    Unknown,
    /// The caller's API key does not allow it. This request changed nothing.
    #[error("{0}")]
    Denied(Denial),
}

/// A write in the loop's queue; `None` if the queue was full.
type Pending = Option<oneshot::Receiver<ProposalOutcome>>;

/// What is needed to interpret the engine's answer.
#[derive(Clone, Copy)]
struct Asked<'a> {
    key: &'a IdempotencyKey,
    is_fence: bool,
}

fn is_fence(proposal: &Proposal) -> bool {
    matches!(proposal.request, OperationRequest::KeyFence)
}

impl NodeHandle {
    /// Submits a write to the leader, over one hop if need be, and waits until its entry is committed. Retries within
    /// the deadline when leadership changes. The logs of both nodes name it by its request's id.
    ///
    /// # Errors
    /// [`SubmitError`] says whether nothing moved or the outcome is unknown.
    pub async fn submit(
        &self,
        principal: Option<ApiKeyId>,
        proposal: &Proposal,
        request_id: &RequestId,
        deadline: Instant,
    ) -> Result<CommittedWrite, SubmitError> {
        let mut may_be_appended = false;
        while let Some(leader) = self.leader_by(deadline).await {
            let outcome = if leader == self.shared.node_id {
                self.propose_here(principal, proposal, deadline).await
            } else {
                self.shared.metrics.forwarded();
                let write = ForwardedWrite { principal, proposal: proposal.clone(), request_id: request_id.clone() };
                self.propose_there(&leader, write, deadline).await
            };
            match outcome {
                WriteOutcome::Committed(committed) => return Ok(committed),
                WriteOutcome::KeyReused => return Err(SubmitError::KeyReused),
                WriteOutcome::Fenced => return Err(SubmitError::Fenced),
                WriteOutcome::Denied(denial) if !may_be_appended => return Err(SubmitError::Denied(denial)),
                // What an earlier attempt did is not told to a caller who may not ask any more.
                WriteOutcome::Denied(_) => break,
                WriteOutcome::Overloaded if !may_be_appended => return Err(SubmitError::Overloaded),
                WriteOutcome::Overloaded | WriteOutcome::NotLeading => {}
                WriteOutcome::Unknown => may_be_appended = true,
            }
            tracing::debug!(%request_id, %leader, may_be_appended, "a write has no outcome yet and is sent again");
            if self.await_other_leader(Some(&leader), deadline).await.is_err() {
                break;
            }
        }
        Err(if may_be_appended { SubmitError::Unknown } else { SubmitError::NoLeader })
    }

    async fn leader_by(&self, deadline: Instant) -> Option<NodeId> {
        let progress = &self.shared.progress;
        // Nearly always: without the cost of a wait.
        if let Some(leader) = &progress.borrow().leader {
            return Some(leader.clone());
        }
        let led = timeout_at(deadline, progress.wait_for(|progress| progress.leader.is_some())).await;
        led.ok()?.ok()?.leader
    }

    async fn propose_here(&self, principal: Option<ApiKeyId>, proposal: &Proposal, deadline: Instant) -> WriteOutcome {
        let pending = self.enqueue(principal, proposal.clone());
        let known = self.await_known(pending, Asked { key: &proposal.key, is_fence: is_fence(proposal) });
        timeout_at(deadline, known).await.unwrap_or(WriteOutcome::Unknown)
    }

    /// Puts a proposal into the loop's queue, or into this thread's gate to it.
    fn enqueue(&self, principal: Option<ApiKeyId>, proposal: Proposal) -> Pending {
        let (reply, answer) = oneshot::channel();
        let write = ProposedWrite { principal, proposal, reply };
        let taken = match &self.gate {
            None => self.shared.engine.send(Message::Propose(write)).is_ok(),
            Some(gate) => gate.ask(write),
        };
        taken.then_some(answer)
    }

    /// Waits for the engine's answer, which may never come.
    async fn await_known(&self, pending: Pending, asked: Asked<'_>) -> WriteOutcome {
        let Some(answer) = pending else { return WriteOutcome::Overloaded };
        match answer.await {
            Ok(answer) => self.outcome_of(answer, asked).await,
            Err(_) => WriteOutcome::Unknown,
        }
    }

    async fn outcome_of(&self, answer: ProposalOutcome, asked: Asked<'_>) -> WriteOutcome {
        match answer {
            ProposalOutcome::Decided(entry) => WriteOutcome::Committed(self.committed(entry, false)),
            ProposalOutcome::Repeated { index, entry, fingerprint } => {
                let entry = match entry {
                    Some(entry) => Some(entry),
                    None => self.shared.ledger.entry(index).await.ok().flatten(),
                };
                let Some(entry) = entry else { return WriteOutcome::Unknown };
                self.outcome_of_repetition(entry, fingerprint, asked)
            }
            ProposalOutcome::Denied(denial) => WriteOutcome::Denied(denial),
            ProposalOutcome::NotLeading => WriteOutcome::NotLeading,
            ProposalOutcome::Overloaded => WriteOutcome::Overloaded,
            ProposalOutcome::Unknown => WriteOutcome::Unknown,
        }
    }

    /// The outcome of a request whose key an entry already holds: the same request gets the same answer, a fence gets
    /// the entry that came first, and any other request is rejected.
    fn outcome_of_repetition(
        &self,
        entry: Arc<Entry>,
        fingerprint: Fingerprint,
        Asked { key, is_fence }: Asked<'_>,
    ) -> WriteOutcome {
        let Some(operation) = entry.operation() else { return WriteOutcome::Unknown };
        match operation.fingerprint_under(key) {
            None => WriteOutcome::Unknown,
            Some(held) if held == fingerprint || is_fence => WriteOutcome::Committed(self.committed(entry, true)),
            Some(_) if matches!(operation, Operation::KeyFence(_)) => WriteOutcome::Fenced,
            Some(_) => WriteOutcome::KeyReused,
        }
    }

    fn committed(&self, entry: Arc<Entry>, replayed: bool) -> CommittedWrite {
        let (epoch, error_ms) = {
            let progress = self.shared.progress.borrow();
            (progress.epoch, progress.time_error_ms)
        };
        // What is known of the clocks now says nothing of a stamp that was given long ago.
        let time_error_ms = error_ms.filter(|_| !replayed);
        CommittedWrite { entry, replayed, leader: self.shared.node_id.clone(), epoch, time_error_ms }
    }

    async fn propose_there(&self, leader: &NodeId, write: ForwardedWrite, deadline: Instant) -> WriteOutcome {
        tokio::select! {
            biased;
            outcome = self.shared.forwarder.forward(leader, write, deadline) => outcome,
            // A leader that hangs keeps its connections and never answers; its successor knows what became of the
            // write.
            () = self.is_replaced(leader) => WriteOutcome::Unknown,
        }
    }

    /// Waits until a node other than `leader` leads.
    async fn is_replaced(&self, leader: &NodeId) {
        let progress = &self.shared.progress;
        let replaced = progress.wait_for(|progress| progress.leader.as_ref().is_some_and(|now| now != leader));
        if replaced.await.is_err() {
            // The node is stopping; its callers have their deadlines.
            std::future::pending::<()>().await;
        }
    }

    /// Takes a batch that another node forwards. All go into the loop's queue at once, so that they are one batch there
    /// too; none is forwarded again. Outcomes that are known at the same time come together, which is nearly always all
    /// of them: those that need the disk follow. What is not known at the deadline is left out.
    pub(super) fn take_forwarded(
        &self,
        from: NodeId,
        writes: Vec<ForwardedWrite>,
        deadline: Instant,
    ) -> impl Stream<Item = Outcomes> + Send + use<> + 'static {
        let (count, from) = (writes.len(), Arc::new(from));
        let wait_for = |(position, write): (usize, ForwardedWrite)| {
            let ForwardedWrite { principal, proposal, request_id } = write;
            let (key, is_fence) = (proposal.key.clone(), is_fence(&proposal));
            let pending = self.enqueue(principal, proposal);
            let taken = Taken { node: self.clone(), from: Arc::clone(&from), request_id, answered: false };
            async move {
                let outcome = taken.node.await_known(pending, Asked { key: &key, is_fence }).await;
                taken.answer(&outcome);
                (position, outcome)
            }
        };
        let waiting: FuturesUnordered<_> = writes.into_iter().enumerate().map(wait_for).collect();
        let mut bytes = 0;
        let bounded = move |outcomes: Outcomes| -> Outcomes {
            let bound = |(position, outcome)| (position, within_answer(outcome, &mut bytes));
            outcomes.into_iter().map(bound).collect()
        };
        waiting.ready_chunks(count.max(1)).map(bounded).take_until(sleep_until(deadline))
    }
}

/// A forwarded write that was taken. Logs what becomes of it, also if nobody waits for it any more.
struct Taken {
    node: NodeHandle,
    from: Arc<NodeId>,
    request_id: RequestId,
    answered: bool,
}

impl Taken {
    fn answer(mut self, outcome: &WriteOutcome) {
        self.answered = true;
        let (from, request_id) = (&self.from, &self.request_id);
        match outcome {
            WriteOutcome::Committed(CommittedWrite { entry, .. }) => {
                tracing::debug!(%request_id, %from, index = %entry.index, "a forwarded write is committed");
            }
            WriteOutcome::KeyReused | WriteOutcome::Fenced | WriteOutcome::Denied(_) => {
                tracing::debug!(%request_id, %from, ?outcome, "a forwarded write is refused");
            }
            WriteOutcome::Overloaded | WriteOutcome::NotLeading | WriteOutcome::Unknown => self.warn(outcome),
        }
    }

    fn warn(&self, outcome: &WriteOutcome) {
        if let Some(Admitted { left_out }) = self.node.shared.log_limit.admit() {
            let (from, request_id) = (&self.from, &self.request_id);
            tracing::warn!(%request_id, %from, ?outcome, left_out, "a forwarded write was not decided here");
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.answered {
            self.warn(&WriteOutcome::Unknown);
        }
    }
}

/// The outcome, as far as there is room for its entry. Many repeated requests may each be answered with the same huge
/// batch; those without room are answered when they are sent again.
fn within_answer(outcome: WriteOutcome, bytes: &mut usize) -> WriteOutcome {
    match outcome {
        WriteOutcome::Committed(committed) if *bytes > ANSWER_BYTES => {
            tracing::debug!(index = %committed.entry.index, "an outcome did not fit the answer; the sender will repeat its request");
            WriteOutcome::Unknown
        }
        WriteOutcome::Committed(committed) => {
            *bytes += committed.entry.encoded_len();
            WriteOutcome::Committed(committed)
        }
        other => other,
    }
}
