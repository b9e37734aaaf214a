//! The one event loop of a node: everything that happens goes into the engine here, and everything that the engine wants
//! done leaves from here.
//!
//! What has gathered while the loop was busy is stepped through as one lot and polled once, so that it travels and is
//! persisted as one batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use quorapay_core::domain::LogIndex;
use quorapay_core::engine::{CallerId, Effect, Engine, Input, ProposalOutcome};
use quorapay_core::replication::{self, Event, NodeId, Now, ReadId, Response, RpcId};

use super::executor::Executor;
use super::message::Message;
use super::metrics::Metrics;
use super::progress::NodeProgress;
use super::status::{NodeStatus, StatusBase, describe};

/// How often the engine is told that time passes.
const TICK: Duration = Duration::from_millis(10);
/// How often the full account of the node is renewed when nothing important changes.
const STATUS_EVERY_TICKS: u32 = 10;
/// Most messages that one lot takes from each queue.
const LOT: usize = 4_096;

/// What the loop publishes.
pub(super) struct Publishing {
    pub(super) progress: watch::Sender<NodeProgress>,
    pub(super) status: watch::Sender<Arc<NodeStatus>>,
}

/// See the module.
pub(super) struct EventLoop {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    /// From the node's own tasks and its peers; taken first.
    pub(super) events: mpsc::Receiver<Message>,
    /// From clients.
    pub(super) requests: mpsc::Receiver<Message>,
    pub(super) executor: Executor,
    pub(super) publishing: Publishing,
    pub(super) base: StatusBase,
    pub(super) metrics: Arc<Metrics>,
    pub(super) waiting: Waiting,
}

/// Who waits for what.
#[derive(Default)]
pub(super) struct Waiting {
    last_id: u64,
    callers: HashMap<CallerId, (oneshot::Sender<ProposalOutcome>, Instant)>,
    reads: HashMap<ReadId, oneshot::Sender<Option<LogIndex>>>,
    rpcs: HashMap<RpcId, oneshot::Sender<Response>>,
    applied: BTreeMap<LogIndex, Vec<oneshot::Sender<()>>>,
}

impl Waiting {
    fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

impl EventLoop {
    /// Runs until every sender is gone or an invariant breaks.
    ///
    /// # Errors
    /// The reason why this node must stop at once.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks: u32 = 0;
        let (mut lot, mut effects) = (Vec::with_capacity(LOT), Vec::new());
        loop {
            let mut renew_status = false;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                _ = tick.tick() => {
                    self.engine.step(self.clock.now(), Input::Replication(Event::Tick));
                    ticks = ticks.wrapping_add(1);
                    renew_status = ticks.is_multiple_of(STATUS_EVERY_TICKS);
                }
                Some(message) = self.events.recv() => lot.push(message),
                Some(message) = self.requests.recv() => lot.push(message),
            }
            self.gather(&mut lot);
            let now = self.clock.now();
            for message in lot.drain(..) {
                self.take(now, message);
            }
            self.engine.take_effects(now, &mut effects);
            for effect in effects.drain(..) {
                self.execute(effect)?;
            }
            self.publish(now, renew_status);
        }
    }

    /// Adds to the lot whatever else has come in meanwhile.
    fn gather(&mut self, lot: &mut Vec<Message>) {
        for queue in [&mut self.events, &mut self.requests] {
            while lot.len() < 2 * LOT
                && let Ok(message) = queue.try_recv()
            {
                lot.push(message);
            }
        }
    }

    fn take(&mut self, now: Now, message: Message) {
        match message {
            Message::Propose { proposal, reply } => {
                let caller = CallerId(self.waiting.next_id());
                self.waiting.callers.insert(caller, (reply, Instant::now()));
                self.engine.step(now, Input::Propose { caller, proposal });
            }
            Message::Read { reply } => {
                let read = ReadId(self.waiting.next_id());
                self.waiting.reads.insert(read, reply);
                self.engine.step(now, Input::Read(read));
            }
            Message::AwaitApplied { index, reply } => self.waiting.applied.entry(index).or_default().push(reply),
            Message::Query(look) => look(&self.engine, now),
            Message::Rpc { from, request, reply } => {
                let rpc = RpcId(self.waiting.next_id());
                self.waiting.rpcs.insert(rpc, reply);
                self.engine.step(now, Input::Replication(Event::Request { rpc, from, request }));
            }
            Message::Input(input) => self.engine.step(now, input),
            Message::ZooKeeper { connected } => self.base.zookeeper_connected = connected,
            Message::Status { reply } => {
                // A receiver that has given up needs no answer.
                let _ = reply.send(Arc::new(describe(&self.engine, &self.base, now)));
            }
        }
    }

    fn execute(&mut self, effect: Effect) -> Result<(), String> {
        // An answer whose receiver has given up is dropped, here and below: its deadline has passed.
        match effect {
            Effect::Answer { caller, outcome } => {
                if let Some((reply, since)) = self.waiting.callers.remove(&caller) {
                    if matches!(outcome, ProposalOutcome::Decided(_)) {
                        self.metrics.commit_latency(since.elapsed());
                    }
                    let _ = reply.send(outcome);
                }
            }
            Effect::Lookup { id, request } => self.executor.look_up(id, request),
            Effect::Replication(effect) => self.execute_protocol(effect)?,
        }
        Ok(())
    }

    fn execute_protocol(&mut self, effect: replication::Effect) -> Result<(), String> {
        use replication::Effect as Protocol;
        match effect {
            Protocol::Persist(write) => {
                self.metrics.persisting(write.entries.len());
                self.executor.persist(write);
            }
            Protocol::Send { id, to, request } => self.executor.send(id, to, request),
            Protocol::Respond { rpc, response } => {
                if let Some(reply) = self.waiting.rpcs.remove(&rpc) {
                    let _ = reply.send(response);
                }
            }
            Protocol::RespondEntries { rpc, from_index, to_index } => {
                if let Some(reply) = self.waiting.rpcs.remove(&rpc) {
                    self.executor.respond_entries(reply, from_index, to_index);
                }
            }
            Protocol::Load { peer, from_index, to_index } => self.executor.load(peer, from_index, to_index),
            Protocol::Coordinate(command) => self.executor.coordinate(command),
            Protocol::ReadReady { read, index } => {
                if let Some(reply) = self.waiting.reads.remove(&read) {
                    let _ = reply.send(Some(index));
                }
            }
            Protocol::ReadRefused(read) => {
                if let Some(reply) = self.waiting.reads.remove(&read) {
                    let _ = reply.send(None);
                }
            }
            Protocol::Halt(reason) => return Err(reason),
        }
        Ok(())
    }

    fn publish(&mut self, now: Now, renew_status: bool) {
        let applied = self.engine.applied_index();
        while let Some(first) = self.waiting.applied.first_entry()
            && *first.key() <= applied
        {
            for reply in first.remove() {
                let _ = reply.send(());
            }
        }
        let replica = self.engine.replica();
        let confirmed_ms = replica.confirmed_ms();
        let quarantined = replica.quarantine().is_some();
        let epoch = replica.promised_epoch();
        let leader = replica.leader(now);
        let (mut leadership_changed, mut quarantine_begins) = (false, false);
        self.publishing.progress.send_if_modified(|progress| {
            leadership_changed = progress.leader.as_ref() != leader;
            quarantine_begins = quarantined && !progress.quarantined;
            let news = leadership_changed || quarantine_begins;
            let changed = news || progress.applied_index != applied || progress.epoch != epoch;
            *progress =
                NodeProgress { applied_index: applied, epoch, leader: leader.cloned(), confirmed_ms, quarantined };
            changed
        });
        if leadership_changed {
            tracing::info!(leader = leader.map_or("nobody", NodeId::as_str), %epoch, "leadership changed");
        }
        if quarantine_begins {
            let reason = replica.quarantine().unwrap_or_default();
            tracing::error!(
                reason,
                "this node is quarantined: it neither votes nor answers; restart it to begin again"
            );
            self.executor.condemn(reason);
        }
        if renew_status || leadership_changed || quarantine_begins {
            self.forget_the_departed();
            self.metrics.queues(self.engine.waiting_callers(), self.requests.len());
            self.publishing.status.send_replace(Arc::new(describe(&self.engine, &self.base, now)));
        }
    }

    /// Drops the places of those who no longer wait.
    fn forget_the_departed(&mut self) {
        self.waiting.callers.retain(|_, (reply, _)| !reply.is_closed());
        self.waiting.reads.retain(|_, reply| !reply.is_closed());
        self.waiting.applied.retain(|_, replies| {
            replies.retain(|reply| !reply.is_closed());
            !replies.is_empty()
        });
    }
}
