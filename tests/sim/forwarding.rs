//! Writes that a node forwards to the leader, in batches over the simulated links, and their outcomes on the way back.
//!
//! A node answers its client once: with the leader's outcome, with a refusal if the leader was not reached, or with
//! "unknown" if no outcome came in time, or another node leads meanwhile. A connection delivers a batch once; here a
//! second copy may arrive nevertheless, as if the batch had been sent again over a new connection. What refuses one copy
//! says nothing about the other, so that is unknown too.

use std::collections::{BTreeMap, BTreeSet};

use quorapay_core::domain::Proposal;
use quorapay_core::engine::{Input, ProposalOutcome};
use quorapay_core::planted::{Bug, planted};
use quorapay_core::replication::NodeId;

use super::clients::Reply;
use super::knobs::MILLI;
use super::world::{World, WorldEvent};

/// How long a node may gather writes before it forwards them.
const GATHERS_FOR: u64 = MILLI / 2;
/// A paused process continues with its batches when it runs again. This is how often that is checked.
const PAUSED_CHECK: u64 = 20 * MILLI;

/// A batch of forwarded writes: which process sent it, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId {
    node: usize,
    life: u64,
    number: u64,
}

/// A batch whose outcomes are not all known.
struct Batch {
    to: NodeId,
    attempts: BTreeSet<u64>,
    /// Whether a second copy was sent.
    doubled: bool,
}

/// What a process forwards, and what it has decided for others.
#[derive(Default)]
pub(crate) struct Forwarding {
    /// Attempts with their writes, for the next batch.
    waiting: Vec<(u64, Proposal)>,
    in_flight: BTreeMap<u64, Batch>,
    last_batch: u64,
    /// Outcomes of other nodes' writes that became known together.
    outcomes: BTreeMap<BatchId, Vec<(u64, Reply)>>,
}

/// An event of a forwarded batch.
#[derive(Debug)]
pub(crate) enum ForwardEvent {
    /// The writes that have gathered are sent.
    Send {
        node: usize,
        life: u64,
    },
    /// A batch reaches the node that led.
    Arrives {
        batch: BatchId,
        to: usize,
        writes: Vec<(u64, Proposal)>,
    },
    /// Some of a batch's outcomes come back.
    Outcomes {
        batch: BatchId,
        from: usize,
        outcomes: Vec<(u64, Reply)>,
    },
    TimedOut {
        batch: BatchId,
    },
}

impl World {
    pub(crate) fn forward_event(&mut self, event: ForwardEvent) {
        match event {
            ForwardEvent::Send { node, life } => self.send_gathered(node, life),
            ForwardEvent::Arrives { batch, to, writes } => self.batch_arrives(batch, to, writes),
            ForwardEvent::Outcomes { batch, from, outcomes } => self.outcomes_arrive(batch, from, outcomes),
            ForwardEvent::TimedOut { batch } => self.give_batch_up(batch),
        }
    }

    /// The leader that a running process would forward a write to.
    fn leader_elsewhere(&self, node: usize) -> Option<NodeId> {
        let host = &self.nodes[node];
        let process = host.process.as_ref().filter(|process| !process.paused)?;
        process.engine.replica().leader(host.now(self.now)).filter(|leader| **leader != host.id).cloned()
    }

    /// Takes a client's write for the next batch to the leader. Gives it back if this node leads or knows no leader.
    pub(crate) fn forward(&mut self, node: usize, attempt: u64, proposal: Proposal) -> Option<Proposal> {
        if self.leader_elsewhere(node).is_none() {
            return Some(proposal);
        }
        let Some(process) = &mut self.nodes[node].process else { return Some(proposal) };
        process.forwarding.waiting.push((attempt, proposal));
        let (life, is_first) = (process.life, process.forwarding.waiting.len() == 1);
        if is_first {
            let delay = self.random.below(GATHERS_FOR);
            self.schedule(delay, WorldEvent::Forward(ForwardEvent::Send { node, life }));
        }
        None
    }

    fn send_gathered(&mut self, node: usize, life: u64) {
        let Some(process) = self.nodes[node].process.as_mut().filter(|process| process.life == life) else { return };
        if process.paused {
            return self.schedule(PAUSED_CHECK, WorldEvent::Forward(ForwardEvent::Send { node, life }));
        }
        let writes = std::mem::take(&mut process.forwarding.waiting);
        match self.leader_elsewhere(node) {
            Some(leader) => self.send_batch(node, leader, writes),
            None => writes.iter().for_each(|(attempt, _)| self.attempt_replied(*attempt, Reply::NotApplied)),
        }
    }

    fn send_batch(&mut self, node: usize, leader: NodeId, writes: Vec<(u64, Proposal)>) {
        let to = self.receiver_for(&leader);
        let refused = self.nodes[to].process.is_none() && self.links.carries(node, to) && !self.nodes[to].host_down;
        if refused || !self.links.opens_in_this_direction(node, to) {
            return writes.iter().for_each(|(attempt, _)| self.attempt_replied(*attempt, Reply::NotApplied));
        }
        let doubled = self.random.chance(self.knobs.duplication);
        let Some(process) = &mut self.nodes[node].process else { return };
        let forwarding = &mut process.forwarding;
        forwarding.last_batch += 1;
        let batch = BatchId { node, life: process.life, number: forwarding.last_batch };
        let attempts = writes.iter().map(|(attempt, _)| *attempt).collect();
        forwarding.in_flight.insert(batch.number, Batch { to: leader, attempts, doubled });
        self.schedule(self.knobs.request_timeout, WorldEvent::Forward(ForwardEvent::TimedOut { batch }));
        if !self.links.carries(node, to) || self.random.chance(self.knobs.loss) {
            self.met.insert("forwarded batch lost");
            return;
        }
        if doubled {
            self.met.insert("forwarded batch doubled");
            let writes = writes.clone();
            self.deliver(WorldEvent::Forward(ForwardEvent::Arrives { batch, to, writes }), 0);
        }
        self.deliver(WorldEvent::Forward(ForwardEvent::Arrives { batch, to, writes }), 0);
    }

    fn batch_arrives(&mut self, batch: BatchId, to: usize, writes: Vec<(u64, Proposal)>) {
        if !self.links.carries(batch.node, to) || self.nodes[to].process.is_none() {
            return;
        }
        self.trace.note(self.now, to, "forwarded", [batch.number, batch.life]);
        for (attempt, proposal) in writes {
            let caller = self.clients.new_caller(attempt, Some(batch));
            self.trace.show("forwarded", &proposal);
            let principal = self.clients.principal_of(attempt);
            self.feed(to, Input::Propose { caller, principal, proposal });
        }
    }

    /// The leader knows the outcome of another node's write.
    pub(crate) fn forwarded_answered(
        &mut self,
        node: usize,
        batch: BatchId,
        attempt: u64,
        outcome: &ProposalOutcome,
        reply: Reply,
    ) {
        if matches!(outcome, ProposalOutcome::Unknown) {
            self.met.insert("deposed with forwarded writes");
        }
        if let Some(process) = &mut self.nodes[node].process {
            process.forwarding.outcomes.entry(batch).or_default().push((attempt, reply));
        }
    }

    /// Sends the outcomes that became known together.
    pub(crate) fn send_outcomes(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        for (batch, outcomes) in std::mem::take(&mut process.forwarding.outcomes) {
            if !self.links.carries(node, batch.node) || self.random.chance(self.knobs.loss) {
                self.met.insert("forwarded outcome lost");
                continue;
            }
            self.deliver(WorldEvent::Forward(ForwardEvent::Outcomes { batch, from: node, outcomes }), 0);
        }
    }

    fn outcomes_arrive(&mut self, batch: BatchId, from: usize, outcomes: Vec<(u64, Reply)>) {
        if !self.links.carries(from, batch.node) {
            return;
        }
        self.trace.note(self.now, batch.node, "outcomes", [batch.number, batch.life]);
        let sender = self.nodes[batch.node].process.as_mut().filter(|process| process.life == batch.life);
        let Some(process) = sender else { return };
        if process.paused {
            let again = ForwardEvent::Outcomes { batch, from, outcomes };
            return self.schedule(PAUSED_CHECK, WorldEvent::Forward(again));
        }
        let Some(sent) = process.forwarding.in_flight.get_mut(&batch.number) else { return };
        let doubled = sent.doubled;
        let awaited: Vec<_> = outcomes.into_iter().filter(|(attempt, _)| sent.attempts.remove(attempt)).collect();
        if sent.attempts.is_empty() {
            process.forwarding.in_flight.remove(&batch.number);
        }
        for (attempt, reply) in awaited {
            let believed = if doubled && reply == Reply::NotApplied { Reply::Unknown } else { reply };
            self.attempt_replied(attempt, believed);
        }
    }

    /// No more outcomes of a batch are waited for.
    fn give_batch_up(&mut self, batch: BatchId) {
        let process = self.nodes[batch.node].process.as_mut().filter(|process| process.life == batch.life);
        let Some(sent) = process.and_then(|process| process.forwarding.in_flight.remove(&batch.number)) else { return };
        let reply = if planted(Bug::LostAnswerMeansNotApplied) { Reply::NotApplied } else { Reply::Unknown };
        sent.attempts.into_iter().for_each(|attempt| self.attempt_replied(attempt, reply));
    }

    /// Gives up the batches whose receiver has been replaced as the leader: a leader that hangs never answers.
    pub(crate) fn notice_new_leader(&mut self, node: usize) {
        let host = &self.nodes[node];
        let Some(process) = &host.process else { return };
        if process.forwarding.in_flight.is_empty() {
            return;
        }
        let Some(leader) = process.engine.replica().leader(host.now(self.now)) else { return };
        let outdated = process.forwarding.in_flight.iter().filter(|(_, batch)| batch.to != *leader);
        let outdated: Vec<_> =
            outdated.map(|(number, _)| BatchId { node, life: process.life, number: *number }).collect();
        outdated.into_iter().for_each(|batch| self.give_batch_up(batch));
    }
}
