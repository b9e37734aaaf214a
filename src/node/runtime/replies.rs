//! The replies that the event loop owes: who waits for which answer of the engine.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{CallerId, ProposalOutcome};
use quorapay_core::replication::{ReadId, Response, RpcId};

/// Replies by the id that the engine knows them by. A reply whose receiver has given up is dropped when it is sent.
#[derive(Default)]
pub(super) struct PendingReplies {
    last_id: u64,
    callers: BTreeMap<CallerId, (oneshot::Sender<ProposalOutcome>, Instant)>,
    reads: BTreeMap<ReadId, oneshot::Sender<Option<LogIndex>>>,
    rpcs: BTreeMap<RpcId, oneshot::Sender<Response>>,
    applied: BTreeMap<LogIndex, Vec<oneshot::Sender<()>>>,
}

impl PendingReplies {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn add_caller(&mut self, reply: oneshot::Sender<ProposalOutcome>) -> CallerId {
        let caller = CallerId(self.next_id());
        self.callers.insert(caller, (reply, Instant::now()));
        caller
    }

    pub(super) fn add_read(&mut self, reply: oneshot::Sender<Option<LogIndex>>) -> ReadId {
        let read = ReadId(self.next_id());
        self.reads.insert(read, reply);
        read
    }

    pub(super) fn add_rpc(&mut self, reply: oneshot::Sender<Response>) -> RpcId {
        let rpc = RpcId(self.next_id());
        self.rpcs.insert(rpc, reply);
        rpc
    }

    pub(super) fn add_applied(&mut self, index: LogIndex, reply: oneshot::Sender<()>) {
        self.applied.entry(index).or_default().push(reply);
    }

    /// Answers a caller. Returns how long it waited if it was still there.
    pub(super) fn answer_caller(&mut self, caller: CallerId, outcome: ProposalOutcome) -> Option<Duration> {
        let (reply, since) = self.callers.remove(&caller)?;
        let _ = reply.send(outcome);
        Some(since.elapsed())
    }

    /// Answers a read with the index as of which it may be answered, or with `None` if there is none.
    pub(super) fn answer_read(&mut self, read: ReadId, index: Option<LogIndex>) {
        if let Some(reply) = self.reads.remove(&read) {
            let _ = reply.send(index);
        }
    }

    pub(super) fn answer_rpc(&mut self, rpc: RpcId, response: Response) {
        if let Some(reply) = self.take_rpc(rpc) {
            let _ = reply.send(response);
        }
    }

    /// Gives up the reply to a peer's request to a task that will answer it.
    pub(super) fn take_rpc(&mut self, rpc: RpcId) -> Option<oneshot::Sender<Response>> {
        self.rpcs.remove(&rpc)
    }

    /// Answers everybody who waits for an index up to this one.
    pub(super) fn answer_applied(&mut self, applied: LogIndex) {
        while let Some(first) = self.applied.first_entry()
            && *first.key() <= applied
        {
            for reply in first.remove() {
                let _ = reply.send(());
            }
        }
    }

    /// Drops the replies whose receivers have given up.
    pub(super) fn forget_closed(&mut self) {
        self.callers.retain(|_, (reply, _)| !reply.is_closed());
        self.reads.retain(|_, reply| !reply.is_closed());
        self.applied.retain(|_, replies| {
            replies.retain(|reply| !reply.is_closed());
            !replies.is_empty()
        });
    }
}
