//! The world of one run: virtual time, the event queue, and the nodes, driven as the runtime drives them: one `step`
//! for each input, `take_effects` after one or a few, and effects executed in their order.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use quorapay_core::engine::{Effect, Input, LookupId, LookupRequest};
use quorapay_core::replication::{self, Event, NodeId, ReplicaConfig, Request, Response, StoreId};

use super::clients::{ClientEvent, Clients};
use super::coordination::ZooKeeperCall;
use super::disk::Disk;
use super::disk_faults::{MARK_EVERY, SCRUB_EVERY};
use super::faults::Fault;
use super::forwarding::ForwardEvent;
use super::invariants::Oracle;
use super::knobs::{Knobs, MILLI};
use super::network::{Links, ReadJob, Requester};
use super::node::{Node, Process};
use super::random::Random;
use super::trace::Trace;
use super::zookeeper::ZooKeeper;

/// A scheduled event.
#[derive(Debug)]
pub(crate) enum WorldEvent {
    Tick {
        node: usize,
        life: u64,
    },
    Poll {
        node: usize,
        life: u64,
    },
    Input {
        node: usize,
        life: u64,
        input: Input,
    },
    Persisted {
        node: usize,
        life: u64,
    },
    /// The supervisor starts a process that has ended, unless another one has been started since.
    Restart {
        node: usize,
        starts: u64,
    },
    /// A process ends because of its disk.
    Exit {
        node: usize,
        life: u64,
    },
    Condemn {
        node: usize,
        life: u64,
    },
    /// A quarantined process asks whether it may begin again.
    Repair {
        node: usize,
        life: u64,
    },
    Scrub {
        node: usize,
        life: u64,
    },
    Mark {
        node: usize,
        life: u64,
    },
    Request {
        requester: Requester,
        to: usize,
        request: Request,
    },
    Response {
        requester: Requester,
        from: usize,
        /// The process that responds.
        life: u64,
        response: Response,
    },
    RequestTimeout {
        requester: Requester,
        to: usize,
    },
    ReadLog {
        node: usize,
        life: u64,
        job: ReadJob,
    },
    Lookup {
        node: usize,
        life: u64,
        id: LookupId,
        request: LookupRequest,
    },
    Project {
        node: usize,
        life: u64,
    },
    CoordinationTick,
    ZooKeeperCall {
        node: usize,
        life: u64,
        call: ZooKeeperCall,
    },
    Client(ClientEvent),
    Forward(ForwardEvent),
    Fault(Fault),
}

struct Scheduled {
    at: u64,
    sequence: u64,
    event: WorldEvent,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// One run.
pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) knobs: Knobs,
    pub(crate) random: Random,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Links,
    pub(crate) zookeeper: ZooKeeper,
    pub(crate) zookeeper_reachable: Vec<bool>,
    pub(crate) clients: Clients,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) healed: bool,
    /// Messages that arrive only after everything has healed.
    pub(crate) held_back: Vec<WorldEvent>,
    /// Kinds of faults that this run has met.
    pub(crate) met: BTreeSet<&'static str>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    sequence: u64,
    lives: u64,
    stores: u64,
}

impl World {
    /// A cluster of new nodes, all started, with its clients and faults scheduled.
    pub(crate) fn new(knobs: Knobs, written_trace: bool) -> Self {
        let nodes = knobs.nodes;
        let mut world = Self {
            now: 0,
            random: Random::new(knobs.seed),
            nodes: Vec::new(),
            links: Links::all_connected(nodes + 1),
            zookeeper: ZooKeeper::new(),
            zookeeper_reachable: vec![true; nodes + 1],
            clients: Clients::new(&knobs),
            oracle: Oracle::new(nodes),
            trace: Trace::new(written_trace),
            healed: false,
            held_back: Vec::new(),
            met: BTreeSet::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            lives: 0,
            stores: 0,
            knobs,
        };
        for number in 1..=nodes {
            let disk = world.new_disk(number - 1);
            let id = NodeId::parse(&format!("node{number}")).expect("a valid id");
            let clock_ahead_ms = world.random.between(0, 2 * world.knobs.clock_skew_ms);
            world.nodes.push(Node::new(id, disk, clock_ahead_ms));
        }
        world.install_first_programs();
        (0..nodes).for_each(|node| world.start(node));
        world.coordination_tick();
        world.start_clients();
        world.start_faults();
        world
    }

    /// A new ledger file.
    pub(crate) fn new_disk(&mut self, node: usize) -> Disk {
        self.stores += 1;
        let store_id = StoreId(u128::from(self.stores) + (u128::from(self.random.next()) << 64));
        self.oracle.store_made(node, store_id);
        Disk::empty(store_id)
    }

    pub(crate) fn schedule(&mut self, delay: u64, event: WorldEvent) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled { at: self.now + delay, sequence: self.sequence, event }));
    }

    /// The number of a node's running process.
    pub(crate) fn life(&self, node: usize) -> Option<u64> {
        self.nodes[node].process.as_ref().map(|process| process.life)
    }

    pub(crate) fn number_of(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).unwrap_or_else(|| panic!("{id} is not a node of this run"))
    }

    /// The nodes of the cluster, without a second process with the id of one of them.
    pub(crate) fn members(&self) -> &[Node] {
        &self.nodes[..self.knobs.nodes]
    }

    /// Starts a process on what the node's disk holds.
    pub(crate) fn start(&mut self, number: usize) {
        self.lives += 1;
        let life = self.lives;
        self.nodes[number].starts += 1;
        let peers = self.nodes.iter().map(|node| (node.id.clone(), format!("http://{}", node.id))).collect();
        let node = &self.nodes[number];
        let (timing, limits) = (self.knobs.timing, self.knobs.limits);
        let config = ReplicaConfig { node_id: node.id.clone(), peers, newest_rules: node.newest_rules, timing, limits };
        let Some(start) = self.open_ledger(number) else { return };
        let newest = self.nodes[number].newest_rules;
        if let Some(rules) = start.unknown_rules(newest) {
            return self.refuse_to_start(number, rules);
        }
        self.oracle.program_started(&self.nodes[number]);
        let durable = start.commit_index();
        let engine = start.into_engine(config);
        let process = Process::new(life, engine, self.now);
        self.trace.note(self.now, number, "start", [life, process.applied.0]);
        self.oracle.restarted(self.now, number, durable, process.applied, &self.nodes);
        let node = &mut self.nodes[number];
        node.host_down = false;
        node.process = Some(process);
        self.schedule(0, WorldEvent::Tick { node: number, life });
        self.project_after(50 * MILLI, number);
        self.schedule(SCRUB_EVERY, WorldEvent::Scrub { node: number, life });
        self.schedule(MARK_EVERY, WorldEvent::Mark { node: number, life });
    }

    /// Processes all events that are due until `end`.
    pub(crate) fn run_until(&mut self, end: u64) {
        while let Some(Reverse(next)) = self.queue.peek() {
            if next.at > end {
                break;
            }
            self.process_next();
        }
        self.now = end;
    }

    fn process_next(&mut self) {
        let Some(Reverse(next)) = self.queue.pop() else { return };
        self.now = next.at;
        match next.event {
            WorldEvent::Request { requester, to, request } => {
                self.trace.note(self.now, to, "request", [requester.id.0, requester.life]);
                self.trace.show("request", &request);
                self.deliver_request(requester, to, request);
            }
            WorldEvent::Response { requester, from, life, response } => {
                self.trace.note(self.now, requester.node, "response", [requester.id.0, requester.life]);
                self.trace.show("response", &response);
                self.deliver_response(requester, from, life, response);
            }
            WorldEvent::RequestTimeout { requester, to } => self.time_out(requester, to),
            WorldEvent::CoordinationTick => self.coordination_tick(),
            WorldEvent::Client(event) => self.client_event(event),
            WorldEvent::Forward(event) => self.forward_event(event),
            WorldEvent::Fault(fault) => self.inject(fault),
            WorldEvent::Restart { node, starts } if self.nodes[node].starts == starts => self.restart(node),
            WorldEvent::Restart { .. } => {}
            of_a_process => self.process_inside(of_a_process),
        }
        self.oracle.look_at_repairs(&self.nodes[..self.knobs.nodes]);
    }

    /// Processes an event of one process, if that process still runs.
    fn process_inside(&mut self, event: WorldEvent) {
        let (node, life) = match &event {
            WorldEvent::Tick { node, life }
            | WorldEvent::Poll { node, life }
            | WorldEvent::Input { node, life, .. }
            | WorldEvent::Persisted { node, life }
            | WorldEvent::Exit { node, life }
            | WorldEvent::Condemn { node, life }
            | WorldEvent::Repair { node, life }
            | WorldEvent::Scrub { node, life }
            | WorldEvent::Mark { node, life }
            | WorldEvent::ReadLog { node, life, .. }
            | WorldEvent::Lookup { node, life, .. }
            | WorldEvent::Project { node, life }
            | WorldEvent::ZooKeeperCall { node, life, .. } => (*node, *life),
            other => unreachable!("{other:?} does not belong to one process"),
        };
        if self.life(node) != Some(life) {
            return;
        }
        match event {
            WorldEvent::Tick { .. } => self.tick(node, life),
            WorldEvent::Poll { .. } => self.take_effects(node),
            WorldEvent::Input { input, .. } => {
                self.trace.note(self.now, node, "input", [life, 0]);
                self.trace.show("input", &input);
                self.feed(node, input);
            }
            WorldEvent::Persisted { .. } => self.finish_write(node),
            WorldEvent::ReadLog { job, .. } => self.finish_read(node, job),
            WorldEvent::Lookup { id, request, .. } => {
                // Sometimes the views cannot be read.
                let readable = !self.random.chance(20);
                let result = readable.then(|| self.nodes[node].disk.look_up(&request));
                self.feed(node, Input::LookupDone { id, result });
            }
            WorldEvent::Project { .. } => self.project(node),
            WorldEvent::ZooKeeperCall { call, .. } => self.run_call(node, call),
            WorldEvent::Exit { .. } => self.exit(node),
            WorldEvent::Condemn { .. } => self.nodes[node].disk.condemned = true,
            WorldEvent::Repair { .. } => self.repair(node, life),
            WorldEvent::Scrub { .. } => self.scrub(node, life),
            WorldEvent::Mark { .. } => self.mark(node, life),
            _ => {}
        }
    }

    fn tick(&mut self, node: usize, life: u64) {
        let paused = self.nodes[node].process.as_ref().is_some_and(|process| process.paused);
        if !paused {
            self.notice_reach(node);
            self.notice_new_leader(node);
            self.feed(node, Input::Replication(Event::Tick));
            self.propose_held(node);
            self.oracle.ticked(self.now, node, &self.nodes, &self.knobs);
        }
        self.schedule(self.knobs.tick, WorldEvent::Tick { node, life });
    }

    /// Feeds the proposals that waited for the views, as far as there is room.
    fn propose_held(&mut self, node: usize) {
        while let Some(process) = &mut self.nodes[node].process
            && !process.engine.holds_proposals()
            && let Some(proposal) = process.held.pop_front()
        {
            self.feed(node, proposal);
        }
    }

    /// Feeds an input to a core and executes its effects, now or a little later together with other inputs.
    pub(crate) fn feed(&mut self, number: usize, input: Input) {
        let lazy = self.random.chance(self.knobs.lazy_poll);
        let node = &mut self.nodes[number];
        let now = node.now(self.now);
        let Some(process) = &mut node.process else { return };
        if process.paused {
            process.inbox.push_back(input);
            return;
        }
        if matches!(input, Input::Propose { .. }) && process.engine.holds_proposals() {
            process.held.push_back(input);
            return;
        }
        process.engine.step(now, input);
        if !lazy {
            return self.take_effects(number);
        }
        let life = process.life;
        if !std::mem::replace(&mut process.poll_due, true) {
            let delay = self.random.below(MILLI);
            self.schedule(delay, WorldEvent::Poll { node: number, life });
        }
    }

    fn take_effects(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        let now = node.now(self.now);
        let Some(process) = &mut node.process else { return };
        process.poll_due = false;
        if process.paused {
            return;
        }
        let mut effects = Vec::new();
        process.engine.take_effects(now, &mut effects);
        for effect in effects {
            self.trace.show("effect", &effect);
            self.execute(number, effect);
        }
        self.send_outcomes(number);
        self.oracle.effects_taken(&self.nodes[number], &self.knobs);
        self.check_applied(number);
        self.answer_reads(number);
        self.check_quarantine(number);
    }

    fn check_applied(&mut self, number: usize) {
        let Some(process) = &mut self.nodes[number].process else { return };
        let (before, applied) = (process.applied, process.engine.applied_index());
        if before == applied {
            return;
        }
        process.applied = applied;
        self.trace.note(self.now, number, "applied", [before.0, applied.0]);
        self.oracle.applied(self.now, number, before, applied, &self.nodes);
        if let Some(process) = &self.nodes[number].process {
            self.oracle.compare_bank(number, &process.engine);
        }
        self.hurry_projector(number);
    }

    fn execute(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::Replication(effect) => self.execute_replication(node, effect),
            Effect::Lookup { id, request } => {
                let delay = self.random.between(50, 2 * MILLI);
                if let Some(life) = self.life(node) {
                    self.schedule(delay, WorldEvent::Lookup { node, life, id, request });
                }
            }
            Effect::Answer { caller, outcome } => self.caller_answered(node, caller, &outcome),
        }
    }

    fn execute_replication(&mut self, node: usize, effect: replication::Effect) {
        use replication::Effect;
        self.trace.note_effect(&effect);
        match effect {
            Effect::Persist(write) => self.begin_write(node, write),
            Effect::Send { id, to, request } => self.send_request(node, id, &to, request),
            Effect::Respond { rpc, response } => self.send_response(node, rpc, response),
            Effect::RespondEntries { rpc, from_index: from, to_index: to } => {
                self.read_later(node, ReadJob::Respond { rpc, from, to });
            }
            Effect::Load { peer, from_index: from, to_index: to } => {
                self.read_later(node, ReadJob::Load { peer, from, to });
            }
            Effect::Coordinate(command) => self.coordinate(node, command),
            Effect::ReadReady { read, index } => self.read_ready(node, read, index),
            Effect::ReadRefused(read) => self.read_refused(read),
            Effect::Halt(reason) => self.oracle.halted(&self.nodes[node], &reason),
            Effect::Outdated { rules, .. } => self.end_outdated(node, rules),
        }
    }

    fn begin_write(&mut self, node: usize, write: replication::Persist) {
        let (low, high) = self.knobs.persist;
        let stall = if self.random.chance(self.knobs.persist_stalls) { 300 * MILLI } else { 0 };
        let done = self.now + self.random.between(low, high) + stall;
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.writer_failed {
            return;
        }
        let done = done.max(process.last_write_done);
        process.last_write_done = done;
        process.writes.push_back(write);
        let life = process.life;
        self.schedule(done - now, WorldEvent::Persisted { node, life });
    }

    fn finish_write(&mut self, node: usize) {
        if self.nodes[node].disk_hangs {
            return;
        }
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(write) = process.writes.pop_front() else { return };
        if self.write_fails(node, &write) {
            return;
        }
        self.trace.note(self.now, node, "persisted", [write.id.0, write.commit_index.0]);
        self.make_durable(node, &write);
        self.feed(node, Input::Replication(Event::Persisted(write.id)));
    }

    /// Writes to the disk and syncs it, whether or not the process learns of it.
    pub(crate) fn make_durable(&mut self, node: usize, write: &replication::Persist) {
        if let Some(before) = self.nodes[node].disk.write_synced(write) {
            self.oracle.durable(node, before, &self.nodes);
        }
    }
}
