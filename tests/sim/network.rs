//! The network between the nodes: links cut in one direction or both, and messages lost, late or duplicated. For each
//! request the sender gets either a response or a timeout, once.

use std::sync::Arc;

use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::engine::Input;
use quorapay_core::replication::{
    Append, Entry, EntryBatch, Event, NodeId, Outgoing, Request, RequestId, Response, RpcId, UnchainedEntry,
};

use super::invariants::counted_copies;
use super::knobs::{MILLI, SECOND};
use super::world::{World, WorldEvent};

/// Which links are cut.
pub(crate) struct Links {
    cut: Vec<Vec<bool>>,
    /// Which nodes cannot open connections to which: their requests fail, their responses travel.
    closed: Vec<Vec<bool>>,
}

impl Links {
    pub(crate) fn all_connected(nodes: usize) -> Self {
        Self { cut: vec![vec![false; nodes]; nodes], closed: vec![vec![false; nodes]; nodes] }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    /// From now on no connection can be opened in this direction.
    pub(crate) fn close(&mut self, from: usize, to: usize) {
        self.closed[from][to] = true;
    }

    /// Whether a node can open connections to another one.
    pub(crate) fn opens(&self, from: usize, to: usize) -> bool {
        !self.closed[from][to] && self.carries(from, to) && self.carries(to, from)
    }

    /// Whether a connection can be opened in this direction, as far as the receiver is concerned.
    pub(crate) fn opens_in_this_direction(&self, from: usize, to: usize) -> bool {
        !self.closed[from][to]
    }

    pub(crate) fn mend(&mut self) {
        self.cut.iter_mut().chain(&mut self.closed).flatten().for_each(|cut| *cut = false);
    }

    pub(crate) fn carries(&self, from: usize, to: usize) -> bool {
        !self.cut[from][to]
    }
}

/// Who waits for a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requester {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) id: RequestId,
}

/// Entries that a node must read from its ledger, and for whom.
#[derive(Debug)]
pub(crate) enum ReadJob {
    Respond { rpc: RpcId, from: LogIndex, to: LogIndex },
    Load { peer: NodeId, from: LogIndex, to: LogIndex },
}

fn unchained(entries: &[Arc<Entry>]) -> Vec<UnchainedEntry> {
    entries.iter().map(|entry| entry.unchained()).collect()
}

fn on_the_wire(outgoing: Outgoing) -> Request {
    match outgoing {
        Outgoing::Plain(request) => request,
        Outgoing::Append { head, entries } => {
            let empty = head.log.expect("an append with entries names the position before them");
            let log = Some(EntryBatch { previous: empty.previous, entries: unchained(&entries) });
            Request::Append(Append { log, ..head })
        }
    }
}

/// The epoch of a request; zero for requests without one.
const fn epoch_of(request: &Request) -> Epoch {
    match request {
        Request::Append(append) => append.epoch,
        Request::Fence { epoch, .. } | Request::Fetch { epoch, .. } | Request::Transfer { epoch, .. } => *epoch,
        Request::PreVote | Request::Clock | Request::ReadIndex => Epoch(0),
    }
}

/// How many entries a request brings.
const fn entries_in(request: &Request) -> usize {
    match request {
        Request::Append(Append { log: Some(batch), .. }) => batch.entries.len(),
        _ => 0,
    }
}

impl World {
    fn message_delay(&mut self) -> u64 {
        let (low, high) = self.knobs.delay;
        let delay = self.random.between(low, high);
        if self.random.chance(self.knobs.stragglers) {
            delay + self.random.below(self.knobs.straggler_delay)
        } else {
            delay
        }
    }

    /// Schedules a message's arrival with an additional delay, or holds it back until the end of the run.
    pub(crate) fn deliver(&mut self, message: WorldEvent, additional: u64) {
        if self.random.chance(self.knobs.held_back) {
            self.held_back.push(message);
            self.met.insert("message kept back");
        } else {
            let delay = self.message_delay() + additional;
            self.schedule(delay, message);
        }
    }

    /// Delivers the messages that were held back, in any order, as if they had been delayed by minutes. The real length
    /// of the delay does not matter: everything else has changed since.
    pub(crate) fn release_held_back(&mut self) {
        for message in std::mem::take(&mut self.held_back) {
            let delay = self.random.below(SECOND);
            self.schedule(delay, message);
        }
    }

    /// A core sends a request.
    pub(crate) fn send_request(&mut self, node: usize, id: RequestId, to: &NodeId, outgoing: Outgoing) {
        let request = on_the_wire(outgoing);
        if let Request::Append(append) = &request {
            self.oracle.append_sent(self.now, node, append, &self.nodes);
        }
        let to = self.receiver_for(to);
        let entries = entries_in(&request);
        if entries > 0 {
            self.oracle.batch_sent(&self.nodes[node], self.number_of(&self.nodes[to].id), entries, &self.knobs);
        }
        assert_ne!(self.nodes[node].id, self.nodes[to].id, "a node asked itself: {request:?}");
        let Some(life) = self.life(node) else { return };
        let requester = Requester { node, life, id };
        let fresh = self.nodes[node].process.as_mut().is_some_and(|process| process.open_requests.insert(id));
        assert!(fresh, "request numbers are used once: {id:?}");
        let refused = self.nodes[to].process.is_none() && self.links.carries(node, to) && !self.nodes[to].host_down;
        if refused || self.links.closed[node][to] {
            let delay = self.random.between(100, 500);
            return self.schedule(delay, WorldEvent::RequestTimeout { requester, to });
        }
        self.schedule(self.knobs.request_timeout, WorldEvent::RequestTimeout { requester, to });
        if !self.links.carries(node, to) || self.random.chance(self.knobs.loss) {
            return;
        }
        let additional = if entries > 0 { self.knobs.append_delay } else { 0 };
        if self.random.chance(self.knobs.duplication) {
            self.deliver(WorldEvent::Request { requester, to, request: request.clone() }, additional);
        }
        self.deliver(WorldEvent::Request { requester, to, request }, additional);
    }

    /// A request arrives.
    pub(crate) fn deliver_request(&mut self, requester: Requester, to: usize, request: Request) {
        if !self.links.carries(requester.node, to) {
            return;
        }
        let from = self.nodes[requester.node].id.clone();
        let Some(process) = &mut self.nodes[to].process else { return };
        process.last_rpc += 1;
        let rpc = RpcId(process.last_rpc);
        process.requesters.insert(rpc, (requester, epoch_of(&request)));
        self.feed(to, Input::Replication(Event::Request { rpc, from, request }));
    }

    /// A core sends a response.
    pub(crate) fn send_response(&mut self, node: usize, rpc: RpcId, response: Response) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let (life, requester) = (process.life, process.requesters.remove(&rpc));
        let (requester, epoch) =
            requester.unwrap_or_else(|| panic!("{rpc:?} was answered twice or unasked: {response:?}"));
        self.oracle.responding(&self.nodes[node].disk, epoch, &response);
        if !self.links.carries(node, requester.node) || self.random.chance(self.knobs.loss) {
            return;
        }
        self.deliver(WorldEvent::Response { requester, from: node, life, response }, 0);
    }

    /// A response arrives. It is ignored if the request has already had a response or timed out.
    pub(crate) fn deliver_response(&mut self, requester: Requester, from: usize, life: u64, response: Response) {
        if self.links.carries(from, requester.node) && self.close_request(requester) {
            self.oracle.response_arrives(requester.life, self.number_of(&self.nodes[from].id), &response);
            // Others do not say for which store they are given.
            let names_store = matches!(response, Response::Appended { .. } | Response::Mismatch { .. });
            let sender = self.nodes[from].id.clone();
            let leader = self.nodes[requester.node].process.as_ref();
            let awaited = leader.is_some_and(|process| process.engine.replica().awaits_response(&sender, requester.id));
            let event = Event::Response { id: requester.id, from: sender, response };
            self.feed(requester.node, Input::Replication(event));
            // Two processes with one node's id answer for different stores.
            if names_store && awaited && self.life(from) == Some(life) && self.nodes.len() == self.knobs.nodes {
                counted_copies::check(&self.nodes[requester.node], &self.nodes[from], self.now);
            }
        }
    }

    /// A request times out.
    pub(crate) fn time_out(&mut self, requester: Requester, to: usize) {
        if self.close_request(requester) {
            let to = self.nodes[to].id.clone();
            self.feed(requester.node, Input::Replication(Event::Unanswered { id: requester.id, to }));
        }
    }

    /// The requests that wait for a response now.
    pub(crate) fn open_requests(&self) -> Vec<Requester> {
        let processes = self.nodes.iter().enumerate().filter_map(|(node, known)| Some((node, known.process.as_ref()?)));
        processes
            .flat_map(|(node, process)| {
                process.open_requests.iter().map(move |id| Requester { node, life: process.life, id: *id })
            })
            .collect()
    }

    /// Whether a request still waits for its response.
    pub(crate) fn is_open(&self, requester: Requester) -> bool {
        let process = self.nodes[requester.node].process.as_ref().filter(|process| process.life == requester.life);
        process.is_some_and(|process| process.open_requests.contains(&requester.id))
    }

    fn close_request(&mut self, requester: Requester) -> bool {
        let process = self.nodes[requester.node].process.as_mut().filter(|process| process.life == requester.life);
        process.is_some_and(|process| process.open_requests.remove(&requester.id))
    }

    /// A process notices to which peers it can open connections.
    pub(crate) fn notice_reach(&mut self, node: usize) {
        for peer in (0..self.knobs.nodes).filter(|peer| *peer != node) {
            let reachable = self.links.opens(node, peer) && self.nodes[peer].process.is_some();
            let Some(process) = &mut self.nodes[node].process else { return };
            let noticed = if reachable { process.unreachable.remove(&peer) } else { process.unreachable.insert(peer) };
            if noticed {
                let peer = self.nodes[peer].id.clone();
                self.feed(node, Input::Replication(Event::PeerReachable { peer, reachable }));
            }
        }
    }

    /// Peers notice that their connections to a dead process break and new ones are refused.
    pub(crate) fn notice_death(&mut self, dead: usize) {
        for node in 0..self.nodes.len() {
            let noticed = self.links.carries(node, dead) && self.links.carries(dead, node);
            if node != dead && noticed && !self.random.chance(self.knobs.crash_unnoticed) {
                self.report_death(node, dead);
            }
        }
    }

    /// Reports to one node that another one's process is gone, rightly or wrongly.
    pub(crate) fn report_death(&mut self, node: usize, dead: usize) {
        let Some(life) = self.life(node) else { return };
        let input = Input::Replication(Event::PeerGone(self.nodes[dead].id.clone()));
        let delay = self.random.between(300, 3 * MILLI);
        self.schedule(delay, WorldEvent::Input { node, life, input });
    }

    /// A core needs entries from its ledger. Reading takes time, in which the ledger may change.
    pub(crate) fn read_later(&mut self, node: usize, job: ReadJob) {
        let Some(life) = self.life(node) else { return };
        let delay = self.random.between(50, MILLI);
        self.schedule(delay, WorldEvent::ReadLog { node, life, job });
    }

    /// The entries were read.
    pub(crate) fn finish_read(&mut self, node: usize, job: ReadJob) {
        let max_entries = self.knobs.limits.batch_entries;
        let (from, to) = match job {
            ReadJob::Load { from, to, .. } | ReadJob::Respond { from, to, .. } => (from, to),
        };
        // For a follower one more entry is read: it gives the position before the batch.
        let limit = if matches!(job, ReadJob::Load { .. }) { max_entries + 1 } else { max_entries };
        let unreadable = self.random.chance(self.knobs.read_errors);
        let disk = &self.nodes[node].disk;
        // A new leader may have truncated the log meanwhile. That is not damage.
        let gone = from.previous() > disk.last_index();
        let read = match disk.read_chain(from.previous(), to, limit) {
            _ if gone || unreadable => None,
            Ok(read) => Some(read),
            Err(damaged) => {
                self.find_damage(node, damaged);
                None
            }
        };
        match job {
            ReadJob::Load { peer, .. } => {
                let entries = read.map_or_else(Vec::new, |(_, entries)| entries);
                if !entries.is_empty() {
                    self.oracle.batch_read(&self.nodes[node], self.number_of(&peer), entries.len(), &self.knobs);
                }
                self.feed(node, Input::Replication(Event::Loaded { peer, entries }));
            }
            ReadJob::Respond { rpc, .. } => {
                let response = read.map_or(Response::Unable, |(previous, entries)| {
                    let last_hash = entries.last().map_or(previous.hash, |entry| entry.hash);
                    Response::Entries { previous, last_hash, entries: unchained(&entries) }
                });
                self.send_response(node, rpc, response);
            }
        }
    }
}
