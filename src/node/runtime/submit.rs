//! How a write finds its way: to this node's loop if it leads, over one hop if another does, again if leadership changes
//! on the way. The idempotency key makes every repetition safe.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::transport::{ForwardedAnswer, ForwardedEntry};
use quorapay_core::domain::{Epoch, Fingerprint, IdempotencyKey, Operation, OperationRequest, Proposal};
use quorapay_core::engine::Answer;
use quorapay_core::replication::{Entry, NodeId};

use super::forward::Forwarding;
use super::handle::NodeHandle;
use super::message::Message;

/// What the entries in the answer to a forwarded batch weigh at most, but for the last one.
const ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// A write that is committed.
#[derive(Clone, Debug)]
pub struct CommittedWrite {
    /// The ledger entry that decided it, refusals included.
    pub entry: Arc<Entry>,
    /// Whether the same request had been decided before under this key.
    pub replayed: bool,
    /// The node that led when it was answered.
    pub leader: NodeId,
    /// The epoch in which it was answered.
    pub epoch: Epoch,
}

/// Why a write has no committed entry to show.
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
    /// No leader was found within the deadline, and the write was handed to none. Nothing moved.
    #[error("no leader within the deadline")]
    NoLeader,
    /// The write was handed to a leader and its outcome was not learnt within the deadline.
    #[error("the outcome was not learnt within the deadline")]
    Unknown,
}

/// What came of one attempt.
enum Attempt {
    Committed(CommittedWrite),
    KeyReused,
    Fenced,
    /// Nothing was appended: no room.
    Overloaded,
    /// Nothing was appended: not the leader, or not reached.
    NotLeading,
    /// It may have been appended.
    Unknown,
}

/// What of a write is needed to tell what its answer means.
struct Asked {
    key: IdempotencyKey,
    is_fence: bool,
}

impl Asked {
    fn of(proposal: &Proposal) -> Self {
        Self { key: proposal.key.clone(), is_fence: proposal.request == OperationRequest::KeyFence }
    }
}

impl NodeHandle {
    /// Brings a write to the leader, over one hop if need be, and waits until its entry is committed. Retries by itself
    /// within the deadline when leadership changes: the key makes that safe.
    ///
    /// # Errors
    /// [`SubmitError`] says whether nothing moved or the outcome is unknown.
    pub async fn submit(&self, proposal: Proposal, deadline: Instant) -> Result<CommittedWrite, SubmitError> {
        let mut handed_over = false;
        while let Some(leader) = self.leader_by(deadline).await {
            let attempt = if leader == self.shared.node_id {
                self.propose_here(proposal.clone(), deadline).await
            } else {
                self.shared.metrics.forwarded();
                self.propose_there(&leader, proposal.clone(), deadline).await
            };
            match attempt {
                Attempt::Committed(committed) => return Ok(committed),
                Attempt::KeyReused => return Err(SubmitError::KeyReused),
                Attempt::Fenced => return Err(SubmitError::Fenced),
                Attempt::Overloaded if !handed_over => return Err(SubmitError::Overloaded),
                Attempt::Overloaded | Attempt::NotLeading => {}
                Attempt::Unknown => handed_over = true,
            }
            if self.await_other_leader(Some(&leader), deadline).await.is_err() {
                break;
            }
        }
        Err(if handed_over { SubmitError::Unknown } else { SubmitError::NoLeader })
    }

    async fn leader_by(&self, deadline: Instant) -> Option<NodeId> {
        let mut progress = self.shared.progress.clone();
        let led = timeout_at(deadline.into(), progress.wait_for(|progress| progress.leader.is_some())).await;
        led.ok()?.ok()?.leader.clone()
    }

    async fn propose_here(&self, proposal: Proposal, deadline: Instant) -> Attempt {
        let (reply, answer) = oneshot::channel();
        let asked = Asked::of(&proposal);
        if self.shared.engine.send(Message::Propose { proposal, reply }).is_err() {
            return Attempt::Overloaded;
        }
        match timeout_at(deadline.into(), answer).await {
            Ok(Ok(answer)) => self.settle(&asked, answer).await,
            Ok(Err(_)) | Err(_) => Attempt::Unknown,
        }
    }

    async fn settle(&self, asked: &Asked, answer: Answer) -> Attempt {
        match answer {
            Answer::Decided(entry) => Attempt::Committed(self.committed(entry, false)),
            Answer::Repeated { index, entry, fingerprint } => {
                let entry = match entry {
                    Some(entry) => Some(entry),
                    None => self.shared.ledger.entry(index).await.ok().flatten(),
                };
                entry.map_or(Attempt::Unknown, |entry| self.settle_repeated(asked, entry, fingerprint))
            }
            Answer::NotLeading => Attempt::NotLeading,
            Answer::Overloaded => Attempt::Overloaded,
            Answer::Lost => Attempt::Unknown,
        }
    }

    /// The key has its entry: the same request gets the same answer, a fence is shown what came before it, and any other
    /// request is refused.
    fn settle_repeated(&self, asked: &Asked, entry: Arc<Entry>, fingerprint: Fingerprint) -> Attempt {
        let Some(operation) = entry.operation() else { return Attempt::Unknown };
        match operation.fingerprint_under(&asked.key) {
            None => Attempt::Unknown,
            Some(held) if held == fingerprint || asked.is_fence => Attempt::Committed(self.committed(entry, true)),
            Some(_) if matches!(operation, Operation::KeyFence(_)) => Attempt::Fenced,
            Some(_) => Attempt::KeyReused,
        }
    }

    fn committed(&self, entry: Arc<Entry>, replayed: bool) -> CommittedWrite {
        let epoch = self.shared.progress.borrow().epoch;
        CommittedWrite { entry, replayed, leader: self.shared.node_id.clone(), epoch }
    }

    async fn propose_there(&self, leader: &NodeId, proposal: Proposal, deadline: Instant) -> Attempt {
        let forwarding = tokio::select! {
            biased;
            forwarding = self.shared.forwarder.forward(leader, proposal, deadline) => forwarding,
            // A leader that hangs keeps its connections and never answers; its successor can tell what became of this.
            () = self.is_replaced(leader) => return Attempt::Unknown,
        };
        match forwarding {
            Forwarding::NotSent => Attempt::NotLeading,
            Forwarding::QueueFull => Attempt::Overloaded,
            Forwarding::Answered(answer) => match answer {
                ForwardedAnswer::Committed { entry, replayed, leader, epoch } => {
                    Attempt::Committed(CommittedWrite { entry: entry.into_entry(), replayed, leader, epoch })
                }
                ForwardedAnswer::KeyReused => Attempt::KeyReused,
                ForwardedAnswer::Fenced => Attempt::Fenced,
                ForwardedAnswer::Overloaded => Attempt::Overloaded,
                ForwardedAnswer::NotLeading => Attempt::NotLeading,
                ForwardedAnswer::Unknown => Attempt::Unknown,
            },
        }
    }

    /// Waits until somebody else than `leader` leads.
    async fn is_replaced(&self, leader: &NodeId) {
        let mut progress = self.shared.progress.clone();
        let replaced = progress.wait_for(|progress| progress.leader.as_ref().is_some_and(|now| now != leader));
        if replaced.await.is_err() {
            // The node is stopping; its callers have their deadlines.
            std::future::pending::<()>().await;
        }
    }

    /// Takes a batch that another node forwards. All go into the loop's queue at once, so that they are one batch there
    /// too; none is forwarded again.
    pub(super) async fn take_forwarded(&self, proposals: Vec<Proposal>, deadline: Instant) -> Vec<ForwardedAnswer> {
        let enter = |proposal| {
            let (reply, answer) = oneshot::channel();
            let asked = Asked::of(&proposal);
            self.shared.engine.send(Message::Propose { proposal, reply }).ok().map(|()| (asked, answer))
        };
        let entered: Vec<_> = proposals.into_iter().map(enter).collect();
        let mut answers = Vec::with_capacity(entered.len());
        let mut bytes = 0;
        for waiting in entered {
            let attempt = match waiting {
                None => Attempt::Overloaded,
                Some((asked, answer)) => match timeout_at(deadline.into(), answer).await {
                    Ok(Ok(answer)) => self.settle(&asked, answer).await,
                    Ok(Err(_)) | Err(_) => Attempt::Unknown,
                },
            };
            // Many repeated requests may each be answered with one and the same huge batch. Those for which there is no
            // room are answered when they are asked again.
            let attempt = match attempt {
                Attempt::Committed(committed) if bytes > ANSWER_BYTES => {
                    tracing::debug!(index = %committed.entry.index, "an answer did not fit and is asked for again");
                    Attempt::Unknown
                }
                Attempt::Committed(committed) => {
                    bytes += committed.entry.encoded_len();
                    Attempt::Committed(committed)
                }
                other => other,
            };
            answers.push(forwarded_answer(attempt));
        }
        answers
    }
}

fn forwarded_answer(attempt: Attempt) -> ForwardedAnswer {
    match attempt {
        Attempt::Committed(CommittedWrite { entry, replayed, leader, epoch }) => {
            ForwardedAnswer::Committed { entry: Box::new(ForwardedEntry::new(&entry)), replayed, leader, epoch }
        }
        Attempt::KeyReused => ForwardedAnswer::KeyReused,
        Attempt::Fenced => ForwardedAnswer::Fenced,
        Attempt::Overloaded => ForwardedAnswer::Overloaded,
        Attempt::NotLeading => ForwardedAnswer::NotLeading,
        Attempt::Unknown => ForwardedAnswer::Unknown,
    }
}
