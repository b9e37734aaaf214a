//! The network between the nodes: links that are cut one way or both, messages that are lost, late or doubled, and
//! what a sender learns of it. A sender learns one thing for each request: the answer, or that there is none.

use std::sync::Arc;

use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::engine::Input;
use quorapay_core::replication::{
    Append, Entry, EntryBatch, Event, NodeId, Outgoing, Request, RequestId, Response, RpcId, UnchainedEntry,
};

use super::knobs::{MILLI, SECOND};
use super::world::{Happening, World};

/// Which links are cut.
pub(crate) struct Links {
    cut: Vec<Vec<bool>>,
}

impl Links {
    pub(crate) fn whole(nodes: usize) -> Self {
        Self { cut: vec![vec![false; nodes]; nodes] }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    pub(crate) fn mend(&mut self) {
        self.cut.iter_mut().flatten().for_each(|cut| *cut = false);
    }

    pub(crate) fn carries(&self, from: usize, to: usize) -> bool {
        !self.cut[from][to]
    }
}

/// Who waits for a response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) node: usize,
    pub(crate) life: u64,
    pub(crate) id: RequestId,
}

/// Entries that a node has to read from its ledger, and for whom.
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
            let empty = head.log.expect("an append with entries names the place before them");
            let log = Some(EntryBatch { previous: empty.previous, entries: unchained(&entries) });
            Request::Append(Append { log, ..head })
        }
    }
}

/// The epoch in which something is asked; zero for questions that belong to none.
const fn epoch_of(request: &Request) -> Epoch {
    match request {
        Request::Append(append) => append.epoch,
        Request::Fence { epoch, .. } | Request::Fetch { epoch, .. } | Request::Transfer { epoch, .. } => *epoch,
        Request::PreVote | Request::ReadIndex => Epoch(0),
    }
}

fn brings_entries(request: &Request) -> bool {
    matches!(request, Request::Append(Append { log: Some(batch), .. }) if !batch.entries.is_empty())
}

impl World {
    fn message_delay(&mut self) -> u64 {
        let (low, high) = self.knobs.delay;
        let usual = self.random.between(low, high);
        if self.random.chance(self.knobs.stragglers) {
            usual + self.random.below(self.knobs.straggler_delay)
        } else {
            usual
        }
    }

    /// Takes a message to its receiver, which takes so much longer than usual, or keeps it back for minutes.
    fn carry(&mut self, message: Happening, longer: u64) {
        if self.random.chance(self.knobs.kept_back) {
            self.kept_back.push(message);
            self.met.insert("message kept back");
        } else {
            let delay = self.message_delay() + longer;
            self.schedule(delay, message);
        }
    }

    /// Messages arrive that were sent minutes ago, in any order. How long a run took meanwhile makes no difference to
    /// them: what matters is that everything else has changed.
    pub(crate) fn release_kept_back(&mut self) {
        for message in std::mem::take(&mut self.kept_back) {
            let delay = self.random.below(SECOND);
            self.schedule(delay, message);
        }
    }

    /// A core asks a peer.
    pub(crate) fn send_request(&mut self, node: usize, id: RequestId, to: &NodeId, outgoing: Outgoing) {
        let request = on_the_wire(outgoing);
        if let Request::Append(append) = &request {
            self.oracle.append_sent(self.now, node, append, &self.nodes);
        }
        let to = self.behind(to);
        assert_ne!(self.nodes[node].id, self.nodes[to].id, "a node asked itself: {request:?}");
        let Some(life) = self.life(node) else { return };
        let asker = Asker { node, life, id };
        let fresh = self.nodes[node].process.as_mut().is_some_and(|process| process.open_requests.insert(id));
        assert!(fresh, "request numbers are used once: {id:?}");
        if self.nodes[to].process.is_none() && self.links.carries(node, to) && !self.nodes[to].host_down {
            let delay = self.random.between(100, 500);
            return self.schedule(delay, Happening::Silence { asker, to });
        }
        self.schedule(self.knobs.request_timeout, Happening::Silence { asker, to });
        if !self.links.carries(node, to) || self.random.chance(self.knobs.loss) {
            return;
        }
        let longer = if brings_entries(&request) { self.knobs.thin_links } else { 0 };
        if self.random.chance(self.knobs.duplication) {
            self.carry(Happening::Request { asker, to, request: request.clone() }, longer);
        }
        self.carry(Happening::Request { asker, to, request }, longer);
    }

    /// A request arrives.
    pub(crate) fn deliver_request(&mut self, asker: Asker, to: usize, request: Request) {
        if !self.links.carries(asker.node, to) {
            return;
        }
        let from = self.nodes[asker.node].id.clone();
        let Some(process) = &mut self.nodes[to].process else { return };
        process.last_rpc += 1;
        let rpc = RpcId(process.last_rpc);
        process.askers.insert(rpc, (asker, epoch_of(&request)));
        self.feed(to, Input::Replication(Event::Request { rpc, from, request }));
    }

    /// A core answers a peer.
    pub(crate) fn send_response(&mut self, node: usize, rpc: RpcId, response: Response) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let asker = process.askers.remove(&rpc);
        let (asker, epoch) = asker.unwrap_or_else(|| panic!("{rpc:?} was answered twice or unasked: {response:?}"));
        self.oracle.responding(&self.nodes[node].disk, epoch, &response);
        if !self.links.carries(node, asker.node) || self.random.chance(self.knobs.loss) {
            return;
        }
        self.carry(Happening::Response { asker, from: node, response }, 0);
    }

    /// A response arrives; it counts if nothing was said of the request before.
    pub(crate) fn deliver_response(&mut self, asker: Asker, from: usize, response: Response) {
        if self.links.carries(from, asker.node) && self.close_request(asker) {
            let from = self.nodes[from].id.clone();
            self.feed(asker.node, Input::Replication(Event::Response { id: asker.id, from, response }));
        }
    }

    /// The sender's patience is over.
    pub(crate) fn fall_silent(&mut self, asker: Asker, to: usize) {
        if self.close_request(asker) {
            let to = self.nodes[to].id.clone();
            self.feed(asker.node, Input::Replication(Event::Unanswered { id: asker.id, to }));
        }
    }

    fn close_request(&mut self, asker: Asker) -> bool {
        let process = self.nodes[asker.node].process.as_mut().filter(|process| process.life == asker.life);
        process.is_some_and(|process| process.open_requests.remove(&asker.id))
    }

    /// The peers' connections to a dead process break, and new ones are refused.
    pub(crate) fn notice_death(&mut self, dead: usize) {
        for node in 0..self.nodes.len() {
            let noticed = self.links.carries(node, dead) && self.links.carries(dead, node);
            if node != dead && noticed && !self.random.chance(self.knobs.crash_unnoticed) {
                self.report_death(node, dead);
            }
        }
    }

    /// Tells one node that another one's process is gone, which may be wrong.
    pub(crate) fn report_death(&mut self, node: usize, dead: usize) {
        let Some(life) = self.life(node) else { return };
        let input = Input::Replication(Event::PeerGone(self.nodes[dead].id.clone()));
        let delay = self.random.between(300, 3 * MILLI);
        self.schedule(delay, Happening::Input { node, life, input });
    }

    /// A core wants entries from its ledger; reading takes time, in which the ledger may change.
    pub(crate) fn read_later(&mut self, node: usize, job: ReadJob) {
        let Some(life) = self.life(node) else { return };
        let delay = self.random.between(50, MILLI);
        self.schedule(delay, Happening::ReadLog { node, life, job });
    }

    /// The entries were read.
    pub(crate) fn finish_read(&mut self, node: usize, job: ReadJob) {
        let most = self.knobs.limits.batch_entries;
        let (from, to) = match job {
            ReadJob::Load { from, to, .. } | ReadJob::Respond { from, to, .. } => (from, to),
        };
        // The place before the batch comes along for a follower as one entry more.
        let wanted = if matches!(job, ReadJob::Load { .. }) { most + 1 } else { most };
        let unreadable = self.random.chance(self.knobs.read_errors);
        let disk = &self.nodes[node].disk;
        // A new leader may have truncated meanwhile: that is no damage.
        let gone = from.previous() > disk.last_index();
        let read = match disk.read_chain(from.previous(), to, wanted) {
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
