//! Forwards client writes from a follower to the leader, over one hop and in batches: the writes that arrive while
//! earlier batches are in flight form the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::transport::{ForwardedWrite, PeerClient, PeerError, WriteOutcome};
use quorapay_core::replication::NodeId;

/// Most writes in one batch.
const MAX_BATCH_WRITES: usize = 512;
/// Bytes of the writes in one batch. A single write may be larger: it travels alone.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Most batches to one peer of which no outcome is known. The next writes gather meanwhile.
const MAX_IN_FLIGHT: usize = 8;
/// Most writes to one peer whose outcomes are not known. Beyond that the queue fills.
const MAX_WRITES_IN_FLIGHT: usize = 16_384;
/// Most writes that wait for a batch.
const FORWARD_QUEUE: usize = 16_384;

/// A write to be forwarded.
struct Forwarded {
    write: ForwardedWrite,
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
    pub(super) async fn forward(&self, to: &NodeId, write: ForwardedWrite, deadline: Instant) -> WriteOutcome {
        let Some(queue) = self.queues.get(to) else { return WriteOutcome::NotLeading };
        let (reply, answer) = oneshot::channel();
        match queue.try_send(Forwarded { write, deadline, reply }) {
            // The write's own deadline: its batch may have a later one.
            Ok(()) => match timeout_at(deadline, answer).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) | Err(_) => WriteOutcome::Unknown,
            },
            Err(mpsc::error::TrySendError::Full(_)) => WriteOutcome::Overloaded,
            Err(mpsc::error::TrySendError::Closed(_)) => WriteOutcome::NotLeading,
        }
    }
}

async fn forward_to(peers: PeerClient, node: NodeId, mut waiting: mpsc::Receiver<Forwarded>) {
    let (batches, writes) = (Arc::new(Semaphore::new(MAX_IN_FLIGHT)), Arc::new(Semaphore::new(MAX_WRITES_IN_FLIGHT)));
    // A write that did not fit the batch before.
    let mut left_over = None;
    loop {
        let no_outcome = Arc::clone(&batches).acquire_owned().await.expect("the semaphore is never closed");
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
        let count = u32::try_from(batch.len()).expect("a batch is bounded");
        let in_flight = Arc::clone(&writes).acquire_many_owned(count).await.expect("the semaphore is never closed");
        let (peers, node) = (peers.clone(), node.clone());
        tokio::spawn(async move {
            send_batch(&peers, &node, batch, no_outcome).await;
            drop(in_flight);
        });
    }
}

/// A batch of as many of the waiting writes as fit.
fn gather(
    first: Forwarded,
    waiting: &mut mpsc::Receiver<Forwarded>,
    left_over: &mut Option<Forwarded>,
) -> Vec<Forwarded> {
    let mut bytes = first.write.proposal.request.encoded_len();
    let mut batch = vec![first];
    while batch.len() < MAX_BATCH_WRITES
        && let Ok(next) = waiting.try_recv()
    {
        bytes += next.write.proposal.request.encoded_len();
        if bytes > BATCH_BYTES {
            *left_over = Some(next);
            break;
        }
        batch.push(next);
    }
    batch
}

/// Sends a batch and passes each outcome on when it comes. `no_outcome` is released with the first: one write that
/// waits for the leader's disk holds up no other batch. A batch that nobody waits for any more, because another node leads
/// or every deadline is over, is given up: its connection may be dead.
async fn send_batch(peers: &PeerClient, node: &NodeId, batch: Vec<Forwarded>, no_outcome: OwnedSemaphorePermit) {
    let latest = batch.iter().map(|write| write.deadline).max().unwrap_or_else(Instant::now);
    let within = latest.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let (writes, replies): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|forwarded| (forwarded.write, Some(forwarded.reply))).unzip();
    let mut replies = Replies(replies);
    let sent = tokio::select! {
        biased;
        sent = peers.propose(node, &writes, within) => sent,
        () = replies.abandoned() => return,
    };
    drop(writes);
    let rest = match sent {
        Ok(mut outcomes) => {
            let mut no_outcome = Some(no_outcome);
            while let Ok(Some(known)) = outcomes.next().await {
                drop(no_outcome.take());
                known.into_iter().for_each(|(position, outcome)| replies.send(position, outcome));
            }
            WriteOutcome::Unknown
        }
        Err(PeerError::Unreachable(_) | PeerError::Refused { .. } | PeerError::Unknown(_)) => WriteOutcome::NotLeading,
        Err(PeerError::NoAnswer(_) | PeerError::Wire(_)) => WriteOutcome::Unknown,
    };
    (0..replies.0.len()).for_each(|position| replies.send(position, rest.clone()));
}

/// The callers of a batch that have no outcome yet.
struct Replies(Vec<Option<oneshot::Sender<WriteOutcome>>>);

impl Replies {
    /// Waits until all callers have given up.
    async fn abandoned(&mut self) {
        for reply in self.0.iter_mut().flatten() {
            reply.closed().await;
        }
    }

    fn send(&mut self, position: usize, outcome: WriteOutcome) {
        if let Some(reply) = self.0.get_mut(position).and_then(Option::take) {
            // A caller that has given up has already reported an unknown outcome.
            let _ = reply.send(outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::{self, FuturesUnordered};
    use futures_util::{FutureExt, Stream, StreamExt};

    use super::*;
    use crate::request_id::RequestId;
    use crate::traces::Noted;
    use crate::transport::{HttpNetwork, Outcomes, PeerIdentity, PeerServer, PeerService, Stopped, peer_router};
    use quorapay_core::domain::{IdempotencyKey, LogIndex, Proposal};
    use quorapay_core::replication::sample::{batch, item, node, payment};
    use quorapay_core::replication::{Request, Response};

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
        Forwarded { write: named(Proposal { key, request }), deadline: Instant::now(), reply }
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

    /// A leader that knows each outcome at once, but for the writes under the key `slow`.
    #[derive(Clone)]
    struct LeaderWithSlowDisk {
        disk: Arc<Semaphore>,
    }

    impl PeerService for LeaderWithSlowDisk {
        async fn rpc(&self, _: NodeId, _: Request) -> Result<Response, Stopped> {
            Err(Stopped)
        }

        fn propose(
            &self,
            _: NodeId,
            writes: Vec<ForwardedWrite>,
            _: Instant,
        ) -> Result<impl Stream<Item = Outcomes> + Send + use<> + 'static, Stopped> {
            let is_slow = |at: &usize| writes[*at].proposal.key.as_str() == "slow";
            let (slow, fast): (Vec<usize>, Vec<usize>) = (0..writes.len()).partition(is_slow);
            let disk = Arc::clone(&self.disk);
            let known = |positions: Vec<usize>, outcome: WriteOutcome| -> Outcomes {
                positions.into_iter().map(|position| (position, outcome.clone())).collect()
            };
            let first = stream::once(std::future::ready(known(fast, WriteOutcome::KeyReused)));
            Ok(first.chain(stream::once(async move {
                disk.acquire().await.expect("never closed").forget();
                known(slow, WriteOutcome::Fenced)
            })))
        }

        async fn transfer(&self, _: Option<NodeId>) -> Result<bool, Stopped> {
            Err(Stopped)
        }

        async fn timeline(&self, _: Vec<LogIndex>) -> Result<Vec<Vec<Noted>>, Stopped> {
            Err(Stopped)
        }

        async fn status(&self) -> Result<Vec<u8>, Stopped> {
            Err(Stopped)
        }
    }

    /// A forwarder to a leader at this address.
    fn forwarder_at(listener: &tokio::net::TcpListener) -> (Arc<PeerIdentity>, Forwarder) {
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let identity = Arc::new(PeerIdentity {
            cluster_id: "test".to_owned(),
            node_id: node("node2"),
            peers: [(node("node1"), url.clone()), (node("node2"), url)].into(),
            secret: None,
        });
        let client = PeerClient::new(Arc::clone(&identity), Arc::new(HttpNetwork::only_sending()));
        (identity, Forwarder::start(&client, std::iter::once(node("node1"))))
    }

    fn named(proposal: Proposal) -> ForwardedWrite {
        ForwardedWrite { principal: None, proposal, request_id: RequestId::Made(7) }
    }

    fn proposal(key: &str) -> ForwardedWrite {
        let key = IdempotencyKey::parse(key).expect("printable");
        named(Proposal { key, request: payment("external:card", "a", 1, None, None) })
    }

    #[tokio::test]
    async fn batches_that_nobody_waits_for_any_more_hold_up_no_other() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (_, forwarder) = forwarder_at(&listener);
        let (deadline, leader) = (Instant::now() + Duration::from_secs(60), node("node1"));
        // A leader that takes connections and answers nothing, as one behind a broken network seems to.
        let (mut waiting, mut silent) = (Vec::new(), Vec::new());
        for _ in 0..MAX_IN_FLIGHT {
            let mut write = Box::pin(forwarder.forward(&leader, proposal("lost"), deadline));
            tokio::select! {
                biased;
                outcome = &mut write => panic!("{outcome:?} without an answer"),
                connection = listener.accept() => silent.push(connection.expect("accepted")),
            }
            waiting.push(write);
        }
        drop(waiting);
        let next = forwarder.forward(&leader, proposal("next"), deadline);
        tokio::select! {
            biased;
            outcome = next => panic!("{outcome:?} without an answer"),
            sent = timeout_at(Instant::now() + Duration::from_secs(10), listener.accept()) => {
                assert!(sent.is_ok(), "the next batch is sent");
            }
        }
    }

    /// A forwarder to a leader on a port of this machine.
    async fn forwarder_to(leader: LeaderWithSlowDisk) -> Forwarder {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (identity, forwarder) = forwarder_at(&listener);
        let (_, stopping) = crate::published::publish(false);
        let router = peer_router(PeerServer { identity, service: leader, stopping });
        tokio::spawn(async move { axum::serve(listener, router).await });
        forwarder
    }

    #[tokio::test]
    async fn a_write_that_waits_for_the_leaders_disk_delays_no_other() {
        let disk = Arc::new(Semaphore::new(0));
        let forwarder = forwarder_to(LeaderWithSlowDisk { disk: Arc::clone(&disk) }).await;
        let deadline = Instant::now() + Duration::from_secs(30);
        let leader = node("node1");
        let send = |key: &str| forwarder.forward(&leader, proposal(key), deadline);
        // In one batch with a fast one, and in more batches than may be in flight without an outcome.
        let mut slow = FuturesUnordered::new();
        for _ in 0..2 * MAX_IN_FLIGHT {
            let together = send("slow");
            tokio::pin!(together);
            let fast = send("fast");
            tokio::select! {
                biased;
                outcome = &mut together => panic!("{outcome:?} without the disk"),
                outcome = fast => assert_eq!(outcome, WriteOutcome::KeyReused),
            }
            slow.push(send("slow"));
        }
        assert!(slow.next().now_or_never().is_none(), "the disk is slow");
        assert_eq!(send("fast").await, WriteOutcome::KeyReused, "no other batch is held up");
        disk.add_permits(10 * MAX_IN_FLIGHT);
        while let Some(outcome) = slow.next().await {
            assert_eq!(outcome, WriteOutcome::Fenced);
        }
    }
}
