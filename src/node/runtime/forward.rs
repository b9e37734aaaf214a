//! Forwards client writes from a follower to the leader, over one hop and in batches: the writes that arrive while
//! earlier batches are in flight form the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout_at;

use crate::transport::{PeerClient, PeerError, WriteOutcome};
use quorapay_core::domain::Proposal;
use quorapay_core::replication::NodeId;

/// Most writes in one batch.
const MAX_BATCH_WRITES: usize = 512;
/// Bytes of the writes in one batch. A single write may be larger: it travels alone.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Most batches in flight to one peer.
const MAX_IN_FLIGHT: usize = 8;
/// Most writes that wait for a batch.
const FORWARD_QUEUE: usize = 16_384;

/// A write to be forwarded.
struct Forwarded {
    proposal: Proposal,
    deadline: Instant,
    reply: oneshot::Sender<WriteOutcome>,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(super) struct Forwarder {
    queues: Arc<BTreeMap<NodeId, mpsc::Sender<Forwarded>>>,
}

impl Forwarder {
    /// Starts one task per peer; they end when the last clone is dropped.
    pub(super) fn start(peers: &PeerClient, others: impl Iterator<Item = NodeId>) -> Self {
        let start_one = |node: NodeId| {
            let (queue, waiting) = mpsc::channel(FORWARD_QUEUE);
            tokio::spawn(forward_to(peers.clone(), node.clone(), waiting));
            (node, queue)
        };
        Self { queues: Arc::new(others.map(start_one).collect()) }
    }

    /// Forwards a write to another node and waits for its outcome, at most until the deadline.
    pub(super) async fn forward(&self, to: &NodeId, proposal: Proposal, deadline: Instant) -> WriteOutcome {
        let Some(queue) = self.queues.get(to) else { return WriteOutcome::NotLeading };
        let (reply, answer) = oneshot::channel();
        match queue.try_send(Forwarded { proposal, deadline, reply }) {
            // The write's own deadline: its batch may have a later one.
            Ok(()) => match timeout_at(deadline.into(), answer).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => WriteOutcome::Unknown,
            },
            Err(mpsc::error::TrySendError::Full(_)) => WriteOutcome::Overloaded,
            Err(mpsc::error::TrySendError::Closed(_)) => WriteOutcome::NotLeading,
        }
    }
}

async fn forward_to(peers: PeerClient, node: NodeId, mut waiting: mpsc::Receiver<Forwarded>) {
    let permits = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
    // A write that did not fit the batch before.
    let mut left_over = None;
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
        let first = match left_over.take() {
            Some(write) => write,
            None => match waiting.recv().await {
                Some(write) => write,
                None => return,
            },
        };
        let mut batch = gather(first, &mut waiting, &mut left_over);
        batch.retain(|write| !write.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        let (peers, node) = (peers.clone(), node.clone());
        tokio::spawn(async move {
            send_batch(&peers, &node, batch).await;
            drop(permit);
        });
    }
}

/// A batch of as many of the waiting writes as fit.
fn gather(
    first: Forwarded,
    waiting: &mut mpsc::Receiver<Forwarded>,
    left_over: &mut Option<Forwarded>,
) -> Vec<Forwarded> {
    let mut bytes = first.proposal.request.encoded_len();
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH_WRITES
        && let Ok(write) = waiting.try_recv()
    {
        bytes += write.proposal.request.encoded_len();
        if bytes > BATCH_BYTES {
            *left_over = Some(write);
            break;
        }
        batch.push(write);
    }
    batch
}

async fn send_batch(peers: &PeerClient, node: &NodeId, batch: Vec<Forwarded>) {
    let latest = batch.iter().map(|write| write.deadline).max().unwrap_or_else(Instant::now);
    let within = latest.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let (proposals, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|write| (write.proposal, write.reply)).unzip();
    let outcomes = match peers.propose(node, &proposals, within).await {
        Ok(outcomes) if outcomes.len() == replies.len() => outcomes,
        Err(PeerError::Unreachable(_) | PeerError::Refused { .. } | PeerError::Unknown(_)) => {
            vec![WriteOutcome::NotLeading; replies.len()]
        }
        Ok(_) | Err(PeerError::NoAnswer(_) | PeerError::Wire(_)) => {
            vec![WriteOutcome::Unknown; replies.len()]
        }
    };
    for (reply, outcome) in replies.into_iter().zip(outcomes) {
        // A caller that has given up has already reported an unknown outcome.
        let _ = reply.send(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::domain::IdempotencyKey;
    use quorapay_core::replication::sample::{batch, item, payment};

    fn write(bytes: usize) -> Forwarded {
        let request = match bytes {
            0 => payment("external:card", "a", 1, None, None),
            _ => {
                let mut item = item("external:card", "a", 1, None);
                item.request.metadata = Some("x".repeat(bytes).into());
                batch(false, vec![item])
            }
        };
        let key = IdempotencyKey::parse("k").expect("printable");
        let (reply, _) = oneshot::channel();
        Forwarded { proposal: Proposal { key, request }, deadline: Instant::now(), reply }
    }

    #[test]
    fn a_large_write_waits_for_a_batch_of_its_own() {
        let (queue, mut waiting) = mpsc::channel(16);
        for bytes in [0, BATCH_BYTES + 1, 0] {
            queue.try_send(write(bytes)).expect("there is room");
        }
        let mut left_over = None;
        assert_eq!(gather(write(0), &mut waiting, &mut left_over).len(), 2);
        let large = left_over.take().expect("the large one did not fit");
        assert_eq!(gather(large, &mut waiting, &mut left_over).len(), 1);
        assert_eq!(
            gather(left_over.take().expect("nothing else fits its batch"), &mut waiting, &mut left_over).len(),
            1
        );
        assert!(left_over.is_none());
    }
}
