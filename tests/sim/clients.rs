//! The clients: each has one write or read in flight, retries with the same key at other nodes, and at the end of a run
//! resolves outcomes that are still unknown. The oracle checks every answer when it is given.

use std::collections::BTreeMap;

use quorapay_core::domain::LogIndex;
use quorapay_core::domain::{
    AccountId, ApiKeyId, IdempotencyKey, OperationRequest, PaymentId, PaymentOutcome, Proposal,
};
use quorapay_core::engine::{CallerId, Input, ProposalOutcome};
use quorapay_core::replication::ReadId;

use super::api_keys::ApiKeys;
use super::forwarding::BatchId;
use super::knobs::{Knobs, MILLI, SECOND};
use super::service::{Asked, Kind, Served};
use super::workload::{Known, a_full_capture, a_request, an_account};
use super::world::{World, WorldEvent};

/// How often a client captures a hold that is about to expire, in thousandths.
const LAST_MOMENT_CAPTURES: u64 = 50;

/// Unknown outcomes that each client resolves after everything has healed.
const MAX_SETTLED_AT_END: usize = 3;

/// One intended write of a client: a request with its key.
pub(crate) struct Intent {
    pub(crate) proposal: Proposal,
    /// The API key with which it asks.
    pub(crate) principal: Option<ApiKeyId>,
    /// Whether some other intent used the key too.
    pub(crate) shared_key: bool,
    /// Whether an attempt ended without an answer on whether it was appended.
    pub(crate) unknown: bool,
    pub(crate) settled: bool,
}

/// One attempt to propose an intent at one node.
struct Attempt {
    client: usize,
    intent: usize,
    node: usize,
}

/// A proposal at a core: of a client of its node, or of another node that forwards it.
struct Caller {
    attempt: u64,
    forwarded_by: Option<BatchId>,
    answered: bool,
}

struct Read {
    client: usize,
    account: AccountId,
    floor: LogIndex,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Thinking,
    Proposing { attempt: u64, intent: usize },
    Reading { read: u64, node: usize },
    Done,
}

struct Client {
    activity: Activity,
    unknown: Vec<usize>,
    /// Nodes at which a final read is still to succeed.
    last_reads: Vec<usize>,
    /// The only node that it uses, if so; it alternates between writes and reads there, and repeats both until they are
    /// answered.
    keeps_to: Option<usize>,
    reads_next: bool,
    asked: Option<Asked>,
}

impl Client {
    /// A client that does nothing yet.
    const fn new() -> Self {
        Self {
            activity: Activity::Done,
            unknown: Vec::new(),
            last_reads: Vec::new(),
            keeps_to: None,
            reads_next: false,
            asked: None,
        }
    }
}

/// What a client learns about its attempt or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Settled,
    /// Nothing was appended.
    NotApplied,
    /// It may have been appended.
    Unknown,
    /// The caller may not do this; nothing was appended.
    Denied,
}

/// An event of one client.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    Next {
        client: usize,
    },
    Retry {
        client: usize,
        intent: usize,
    },
    RepeatRead {
        client: usize,
        node: usize,
    },
    ProposalArrives {
        attempt: u64,
        node: usize,
        proposal: Proposal,
    },
    ReadArrives {
        read: u64,
        node: usize,
    },
    /// The end of an attempt or a read, by its number.
    Reply {
        client: usize,
        number: u64,
        reply: Reply,
    },
}

/// All clients of a run with everything that they requested.
pub(crate) struct Clients {
    clients: Vec<Client>,
    pub(crate) intents: Vec<Intent>,
    attempts: BTreeMap<u64, Attempt>,
    callers: BTreeMap<CallerId, Caller>,
    reads: BTreeMap<u64, Read>,
    last_number: u64,
    last_answering: usize,
    served: Vec<Served>,
    /// The newest attempt that each node has decided.
    decided_by: Vec<u64>,
    known: Known,
    api_keys: ApiKeys,
    /// How many attempts were denied.
    denied: usize,
    settling: bool,
}

impl Clients {
    pub(crate) fn new(knobs: &Knobs) -> Self {
        Self {
            clients: (0..knobs.clients).map(|_| Client::new()).collect(),
            intents: Vec::new(),
            attempts: BTreeMap::new(),
            callers: BTreeMap::new(),
            served: vec![Served::default(); knobs.nodes],
            reads: BTreeMap::new(),
            last_number: 0,
            last_answering: 0,
            decided_by: vec![0; knobs.nodes],
            known: Known::default(),
            api_keys: ApiKeys::new(knobs.seed, knobs.api_keys),
            denied: 0,
            settling: false,
        }
    }

    const fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Which client is not done yet, for a report.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let waiting = self.clients.iter().position(|client| client.activity != Activity::Done)?;
        let activity = match self.clients[waiting].activity {
            Activity::Thinking | Activity::Done => "has more to do".to_owned(),
            Activity::Proposing { intent, .. } => format!("waits for {:?}", self.intents[intent].proposal.key),
            Activity::Reading { node, .. } => format!("reads at node{}", node + 1),
        };
        Some(format!("client {waiting} {activity}"))
    }

    /// How many attempts were denied.
    pub(crate) const fn denied(&self) -> usize {
        self.denied
    }

    /// The API key with which an attempt asks.
    pub(crate) fn principal_of(&self, attempt: u64) -> Option<ApiKeyId> {
        self.intents[self.attempts[&attempt].intent].principal
    }

    /// The number of writes with a final answer.
    pub(crate) fn settled(&self) -> usize {
        self.intents.iter().filter(|intent| intent.settled).count()
    }

    /// The newest attempt or read.
    pub(crate) const fn newest(&self) -> u64 {
        self.last_number
    }

    /// A proposal is about to be given to a core.
    pub(crate) fn new_caller(&mut self, attempt: u64, forwarded_by: Option<BatchId>) -> CallerId {
        let caller = CallerId(self.next_number());
        self.callers.insert(caller, Caller { attempt, forwarded_by, answered: false });
        caller
    }

    /// When clients were last answered through a node.
    pub(crate) fn served(&self, node: usize) -> Served {
        self.served[node]
    }

    /// Since when a client has been asking a node without an answer; the one that has waited longest.
    pub(crate) fn asking_since(&self, node: usize, kind: Kind) -> Option<u64> {
        let asked = self.clients.iter().filter_map(|client| client.asked);
        asked.filter_map(|asked| asked.since(node, kind)).min()
    }

    /// The newest attempt whose own entry a node has seen committed.
    pub(crate) fn newest_decided_by(&self, node: usize) -> u64 {
        self.decided_by[node]
    }
}

/// Removes a batch's own key from its items: the API refuses such a batch.
fn without_key(mut request: OperationRequest, key: &IdempotencyKey) -> OperationRequest {
    if let OperationRequest::Batch(batch) = &mut request {
        let same = batch.items.iter_mut().filter(|item| item.key.as_ref() == Some(key));
        same.for_each(|item| item.key = None);
    }
    request
}

impl World {
    pub(crate) fn start_clients(&mut self) {
        for client in 0..self.knobs.clients {
            self.think(client);
        }
    }

    fn think(&mut self, client: usize) {
        let state = &mut self.clients.clients[client];
        (state.activity, state.asked) = (Activity::Thinking, None);
        let delay = self.random.between(self.knobs.think / 10, self.knobs.think * 2);
        self.schedule(delay, WorldEvent::Client(ClientEvent::Next { client }));
    }

    /// From now on the clients start nothing new: they resolve unknown outcomes, and read once at each node.
    pub(crate) fn clients_settle(&mut self) {
        self.clients.settling = true;
        let nodes = self.knobs.nodes;
        for client in &mut self.clients.clients {
            let keep = client.unknown.len().saturating_sub(MAX_SETTLED_AT_END);
            client.unknown.drain(..keep);
            client.last_reads = (0..nodes).collect();
            client.keeps_to = None;
        }
    }

    /// From now on the clients take turns at these nodes: each of them has at least one, which keeps to it.
    pub(crate) fn clients_work_at(&mut self, nodes: &[usize]) {
        self.clients.settling = false;
        let clients = self.clients.clients.len().max(nodes.len());
        self.clients.clients.resize_with(clients, Client::new);
        for (client, node) in (0..clients).zip(nodes.iter().cycle()) {
            self.clients.clients[client].keeps_to = Some(*node);
            if self.clients.clients[client].activity == Activity::Done {
                self.think(client);
            }
        }
    }

    pub(crate) fn client_event(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Next { client } => self.next_action(client),
            ClientEvent::Retry { client, intent } => self.propose(client, intent),
            ClientEvent::RepeatRead { client, node } => self.read(client, node),
            ClientEvent::ProposalArrives { attempt, node, proposal } => self.proposal_arrives(attempt, node, proposal),
            ClientEvent::ReadArrives { read, node } => self.read_arrives(read, node),
            ClientEvent::Reply { client, number, reply } => self.on_reply(client, number, reply),
        }
    }

    fn next_action(&mut self, client: usize) {
        if !self.clients.settling {
            let state = &mut self.clients.clients[client];
            state.reads_next = !state.reads_next;
            if let (Some(node), true) = (state.keeps_to, state.reads_next) {
                return self.read(client, node);
            }
            if state.keeps_to.is_none() && self.random.chance(self.knobs.reads) {
                let node = self.random.index(self.knobs.nodes);
                return self.read(client, node);
            }
            if self.random.chance(LAST_MOMENT_CAPTURES) && self.capture_at_the_last_moment(client) {
                return;
            }
            let request =
                a_request(&mut self.random, self.knobs.accounts, &self.clients.known, self.clients.intents.len());
            let intent = self.new_intent(request);
            return self.propose(client, intent);
        }
        let state = &mut self.clients.clients[client];
        if let Some(intent) = state.unknown.pop() {
            self.propose(client, intent);
        } else if let Some(node) = state.last_reads.last().copied() {
            self.read(client, node);
        } else {
            state.activity = Activity::Done;
        }
    }

    /// Captures a hold right before or right after it expires.
    fn capture_at_the_last_moment(&mut self, client: usize) -> bool {
        let Some((ends, payment)) = self.clients.known.take_ending(self.now + 5 * MILLI, self.now + SECOND / 5) else {
            return false;
        };
        let intent = self.new_intent(a_full_capture(payment));
        self.clients.clients[client].activity = Activity::Thinking;
        let delay = ends - self.now + self.random.below(25 * MILLI) - 5 * MILLI;
        self.schedule(delay, WorldEvent::Client(ClientEvent::Retry { client, intent }));
        true
    }

    fn new_intent(&mut self, request: OperationRequest) -> usize {
        let number = self.clients.intents.len();
        let (principal, change) = self.clients.api_keys.choose();
        let request = change.unwrap_or(request);
        let reused = number > 0 && self.random.chance(self.knobs.key_reuse);
        let proposal = if reused {
            let original = self.random.index(number);
            let original = &mut self.clients.intents[original];
            original.shared_key = true;
            let key = original.proposal.key.clone();
            let same = self.random.chance(500);
            let request = if same { original.proposal.request.clone() } else { without_key(request, &key) };
            Proposal { key, request }
        } else {
            Proposal { key: IdempotencyKey::parse(&format!("key{number}")).expect("a valid key"), request }
        };
        self.mark_shared_keys(&proposal.request);
        self.clients.known.keys.push((proposal.key.clone(), proposal.request.clone()));
        self.oracle.key_first_used(&proposal.key);
        let intent = Intent { proposal, principal, shared_key: reused, unknown: false, settled: false };
        self.clients.intents.push(intent);
        number
    }

    /// A batch with the keys of other intents may use those keys before they do.
    fn mark_shared_keys(&mut self, request: &OperationRequest) {
        let OperationRequest::Batch(batch) = request else { return };
        for key in batch.items.iter().filter_map(|item| item.key.as_ref()) {
            let sharers = self.clients.intents.iter_mut().filter(|intent| intent.proposal.key == *key);
            sharers.for_each(|intent| intent.shared_key = true);
        }
    }

    fn propose(&mut self, client: usize, intent: usize) {
        let attempt = self.clients.next_number();
        self.clients.clients[client].activity = Activity::Proposing { attempt, intent };
        let keep_node = self.random.chance(700);
        let node = if let Some(node) = self.clients.clients[client].keeps_to {
            node
        } else if keep_node {
            self.clients.last_answering
        } else {
            self.random.index(self.knobs.nodes)
        };
        self.asks(client, node, Kind::Write);
        self.clients.attempts.insert(attempt, Attempt { client, intent, node });
        let proposal = self.clients.intents[intent].proposal.clone();
        let arrives = self.random.between(50, 500);
        self.schedule(arrives, WorldEvent::Client(ClientEvent::ProposalArrives { attempt, node, proposal }));
        let timeout = self.knobs.client_timeout;
        self.send_reply(timeout, client, attempt, Reply::Unknown);
    }

    /// A client sends a first or repeated attempt.
    fn asks(&mut self, client: usize, node: usize, kind: Kind) {
        let asked = &mut self.clients.clients[client].asked;
        *asked = Some(Asked::again(*asked, node, kind, self.now));
    }

    fn send_reply(&mut self, delay: u64, client: usize, number: u64, reply: Reply) {
        self.schedule(delay, WorldEvent::Client(ClientEvent::Reply { client, number, reply }));
    }

    fn proposal_arrives(&mut self, attempt: u64, node: usize, proposal: Proposal) {
        self.trace.note(self.now, node, "propose", [attempt, 0]);
        self.trace.show("propose", &proposal);
        if self.nodes[node].process.is_none() {
            return self.attempt_replied(attempt, Reply::NotApplied);
        }
        let Some(proposal) = self.forward(node, attempt, proposal) else { return };
        let caller = self.clients.new_caller(attempt, None);
        let principal = self.clients.principal_of(attempt);
        self.feed(node, Input::Propose { caller, principal, proposal });
    }

    /// A core answers a caller: the oracle checks the answer, and the client gets it.
    pub(crate) fn caller_answered(&mut self, node: usize, caller: CallerId, outcome: &ProposalOutcome) {
        self.trace.note(self.now, node, "answer", [caller.0, 0]);
        let proposed = self.clients.callers.get_mut(&caller).expect("only callers are answered");
        assert!(!std::mem::replace(&mut proposed.answered, true), "{caller:?} was answered twice");
        let (attempt, forwarded_by) = (proposed.attempt, proposed.forwarded_by);
        let number = self.clients.attempts[&attempt].intent;
        self.oracle.answered(&self.clients.intents[number], outcome, &self.nodes);
        if let ProposalOutcome::Decided(entry) = outcome {
            let operation = entry.operation().expect("what is decided is an operation");
            for payment in operation.payments() {
                // Only some refused payments: a change of them is refused anyway.
                if payment.outcome.rejection().is_none() || entry.index.0.is_multiple_of(8) {
                    self.clients.known.remember(PaymentId::derive(entry.stamp(), payment.item));
                }
                if let PaymentOutcome::Authorized { expires_at_ms, .. } = payment.outcome {
                    let ends = self.now + (expires_at_ms - entry.timestamp.0) * MILLI;
                    self.clients.known.remember_hold(ends, PaymentId::derive(entry.stamp(), payment.item));
                }
            }
            if let Some(newest) = self.clients.decided_by.get_mut(node) {
                *newest = attempt.max(*newest);
            }
        }
        let reply = match outcome {
            ProposalOutcome::Decided(_) | ProposalOutcome::Repeated { .. } => {
                self.clients.last_answering = node.min(self.knobs.nodes - 1);
                Reply::Settled
            }
            ProposalOutcome::NotLeading | ProposalOutcome::Overloaded => Reply::NotApplied,
            ProposalOutcome::Denied(_) => {
                self.clients.denied += 1;
                Reply::Denied
            }
            ProposalOutcome::Unknown => Reply::Unknown,
        };
        match forwarded_by {
            Some(batch) => self.forwarded_answered(node, batch, attempt, outcome, reply),
            None => self.attempt_replied(attempt, reply),
        }
    }

    /// The node that has a client's write answers it.
    pub(crate) fn attempt_replied(&mut self, attempt: u64, reply: Reply) {
        let client = self.clients.attempts[&attempt].client;
        let delay = self.random.between(50, 500);
        self.send_reply(delay, client, attempt, reply);
    }

    fn on_reply(&mut self, client: usize, number: u64, reply: Reply) {
        match self.clients.clients[client].activity {
            Activity::Proposing { attempt, intent } if attempt == number => {
                if matches!(reply, Reply::Settled | Reply::Denied) {
                    let node = self.clients.attempts[&attempt].node;
                    self.clients.served[node].write = self.now;
                }
                self.attempt_ended(client, intent, reply);
            }
            Activity::Reading { read, node } if read == number => self.read_ended(client, node, reply),
            _ => {}
        }
    }

    fn attempt_ended(&mut self, client: usize, number: usize, reply: Reply) {
        let intent = &mut self.clients.intents[number];
        intent.unknown |= reply == Reply::Unknown;
        intent.settled |= reply == Reply::Settled;
        let unknown = intent.unknown;
        if matches!(reply, Reply::Settled | Reply::Denied) {
            return self.think(client);
        }
        self.clients.last_answering = self.random.index(self.knobs.nodes);
        if self.clients.settling || self.random.chance(self.knobs.retries) {
            return self.repeat_soon(client, ClientEvent::Retry { client, intent: number });
        }
        if unknown {
            self.clients.clients[client].unknown.push(number);
        }
        self.think(client);
    }

    fn repeat_soon(&mut self, client: usize, again: ClientEvent) {
        self.clients.clients[client].activity = Activity::Thinking;
        let delay = self.random.between(2 * MILLI, 40 * MILLI);
        self.schedule(delay, WorldEvent::Client(again));
    }

    fn read(&mut self, client: usize, node: usize) {
        let read = self.clients.next_number();
        let account = an_account(&mut self.random, self.knobs.accounts);
        let floor = self.oracle.answered_up_to();
        self.clients.reads.insert(read, Read { client, account, floor });
        self.clients.clients[client].activity = Activity::Reading { read, node };
        self.asks(client, node, Kind::Read);
        let arrives = self.random.between(50, 500);
        self.schedule(arrives, WorldEvent::Client(ClientEvent::ReadArrives { read, node }));
        let timeout = self.knobs.client_timeout;
        self.send_reply(timeout, client, read, Reply::NotApplied);
    }

    fn read_arrives(&mut self, read: u64, node: usize) {
        self.trace.note(self.now, node, "read", [read, 0]);
        self.feed(node, Input::Read(ReadId(read)));
    }

    /// A core has a read index; the read is answered once it is applied.
    pub(crate) fn read_ready(&mut self, node: usize, read: ReadId, index: LogIndex) {
        let floor = self.clients.reads.get(&read.0).expect("only requested reads get an index").floor;
        self.oracle.read_index_given(read, index, floor);
        if let Some(process) = &mut self.nodes[node].process {
            process.reads.push((read, index));
        }
    }

    pub(crate) fn read_refused(&mut self, read: ReadId) {
        if let Some(requested) = self.clients.reads.get(&read.0) {
            let client = requested.client;
            self.send_reply(100, client, read.0, Reply::NotApplied);
        }
    }

    /// Answers the reads whose index this node has applied.
    pub(crate) fn answer_reads(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.reads.is_empty() {
            return;
        }
        let applied = process.applied;
        let (ready, waiting) = process.reads.drain(..).partition(|(_, index)| *index <= applied);
        process.reads = waiting;
        let ready: Vec<(ReadId, LogIndex)> = ready;
        for (read, _) in ready {
            let Some(requested) = self.clients.reads.remove(&read.0) else { continue };
            let Some(process) = &self.nodes[node].process else { return };
            let shown = process.engine.account(&requested.account);
            self.oracle.read_answered(&requested.account, shown.as_ref(), applied);
            self.send_reply(100, requested.client, read.0, Reply::Settled);
        }
    }

    fn read_ended(&mut self, client: usize, node: usize, reply: Reply) {
        if reply == Reply::Settled {
            self.clients.served[node].read = self.now;
            self.clients.clients[client].last_reads.retain(|left| *left != node);
        } else if !self.clients.settling
            && let Some(node) = self.clients.clients[client].keeps_to
        {
            return self.repeat_soon(client, ClientEvent::RepeatRead { client, node });
        }
        self.think(client);
    }
}
