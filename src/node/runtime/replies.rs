//! The replies that the event loop owes: who waits for which answer of the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{CallerId, ProposalOutcome};
use quorapay_core::replication::{ReadId, Response, RpcId};

use super::gate::{Gate, Reply};

/// Replies by the id that the engine knows them by. A reply whose receiver has given up is dropped when it is sent.
#[derive(Default)]
pub(super) struct PendingReplies {
    last_id: u64,
    callers: BTreeMap<CallerId, Caller>,
    gates: Vec<Outgoing>,
    reads: BTreeMap<ReadId, oneshot::Sender<Option<LogIndex>>>,
    rpcs: BTreeMap<RpcId, oneshot::Sender<Response>>,
    applied: BTreeMap<LogIndex, Vec<oneshot::Sender<()>>>,
}

struct Caller {
    reply: Reply,
    since: Instant,
    /// Where the reply belongs to, if not to this thread.
    gate: Option<GateNumber>,
}

/// A gate's place in [`PendingReplies`].
pub(super) type GateNumber = usize;

/// A gate with the outcomes for its thread that are known since the last delivery.
struct Outgoing {
    gate: Arc<Gate>,
    outcomes: Vec<(Reply, ProposalOutcome)>,
}

impl PendingReplies {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The number of a gate. There are as many as threads that serve clients.
    pub(super) fn number_of(&mut self, gate: &Arc<Gate>) -> GateNumber {
        let known = self.gates.iter().position(|outgoing| Arc::ptr_eq(&outgoing.gate, gate));
        known.unwrap_or_else(|| {
            self.gates.push(Outgoing { gate: Arc::clone(gate), outcomes: Vec::new() });
            self.gates.len() - 1
        })
    }

    pub(super) fn add_caller(&mut self, reply: Reply, since: Instant, gate: Option<GateNumber>) -> CallerId {
        let caller = CallerId(self.next_id());
        self.callers.insert(caller, Caller { reply, since, gate });
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

    /// Answers a caller: at once, or with the next delivery to its thread. Returns how long it waited if it was still
    /// there.
    pub(super) fn answer_caller(
        &mut self,
        caller: CallerId,
        outcome: ProposalOutcome,
        now: Instant,
    ) -> Option<Duration> {
        let Caller { reply, since, gate } = self.callers.remove(&caller)?;
        match gate {
            None => {
                let _ = reply.send(outcome);
            }
            Some(number) => self.gates[number].outcomes.push((reply, outcome)),
        }
        Some(now - since)
    }

    /// Delivers to the other threads what was answered since the last time.
    pub(super) fn deliver(&mut self) {
        for Outgoing { gate, outcomes } in self.gates.iter_mut().filter(|outgoing| !outgoing.outcomes.is_empty()) {
            gate.deliver(outcomes);
        }
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
        self.callers.retain(|_, caller| !caller.reply.is_closed());
        self.reads.retain(|_, reply| !reply.is_closed());
        self.applied.retain(|_, replies| {
            replies.retain(|reply| !reply.is_closed());
            !replies.is_empty()
        });
    }
}
