//! The event loop of a node: every event enters the engine here, and every effect leaves from here.
//!
//! The messages that arrive while the loop is busy form the next batch. The engine takes all of them before its effects
//! are taken once, so that they are sent and persisted together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::Clock;
use crate::ledger::LedgerError;
use crate::published::{Publisher, Watched};
use crate::query::Recent;
use crate::request_id::GivenId;
use crate::traces::Step;
use quorapay_core::domain::{LogIndex, Operation};
use quorapay_core::engine::{Effect, Engine, Input, ProposalOutcome};
use quorapay_core::replication::{self, ClockView, Event, NodeId, Now, Outgoing, Request};

use super::api_keys::ApiKeys;
use super::backlog::Backlog;
use super::elections::Elections;
use super::error::NodeError;
use super::executor::Executor;
use super::message::{Message, ProposedWrite};
use super::metrics::Metrics;
use super::progress::NodeProgress;
use super::repair::Quarantines;
use super::replies::PendingReplies;
use super::status::{NodeStatus, StatusBase, describe};

/// How often the engine gets a tick: the resolution of its timeouts.
const TICK: Duration = Duration::from_millis(10);
/// How often the status is published when neither the leader nor the quarantine changes.
const STATUS_EVERY_TICKS: u32 = 10;
/// Most messages in one batch. Bounds how long the loop works before it sends what the first of them caused.
const MAX_BATCH_MESSAGES: usize = 8_192;

/// Where the loop publishes the node's state.
pub(super) struct Publishers {
    pub(super) progress: Publisher<NodeProgress>,
    pub(super) status: Publisher<Arc<NodeStatus>>,
    pub(super) api_keys: Publisher<Arc<ApiKeys>>,
}

/// See the module.
pub(super) struct EventLoop {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    /// From the node's own tasks and its peers; taken first.
    pub(super) events: mpsc::Receiver<Message>,
    /// Reads of clients.
    pub(super) requests: mpsc::Receiver<Message>,
    /// Writes of clients. They stay in their queue while the views are as far behind as they may be.
    pub(super) proposals: mpsc::Receiver<Message>,
    /// Gets what is applied, up to `kept`.
    pub(super) backlog: Backlog,
    pub(super) kept: LogIndex,
    /// The published API keys are as of here.
    pub(super) api_keys_at: LogIndex,
    /// Since when writes are held.
    pub(super) held_since: Option<Instant>,
    pub(super) executor: Executor,
    pub(super) publishers: Publishers,
    pub(super) base: StatusBase,
    pub(super) metrics: Arc<Metrics>,
    pub(super) quarantines: Quarantines,
    pub(super) replies: PendingReplies,
    /// What reads find in memory.
    pub(super) recent: Recent,
    /// What clients named the reads of this turn. They travel with the request that the reads cause in the same turn.
    pub(super) read_names: Vec<GivenId>,
    pub(super) elections: Elections,
    /// The nodes whose clocks were judged false when that was last reported.
    pub(super) falsetickers: BTreeSet<NodeId>,
}

impl EventLoop {
    /// Runs until `stop` becomes true or an invariant breaks.
    ///
    /// # Errors
    /// The reason why this node must stop at once.
    pub(super) async fn run(mut self, stop: Watched<bool>) -> Result<(), NodeError> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks: u32 = 0;
        let (mut batch, mut effects) = (Vec::with_capacity(MAX_BATCH_MESSAGES), Vec::new());
        loop {
            let mut status_due = false;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
                _ = tick.tick() => {
                    self.engine.step(self.clock.now(), Input::Replication(Event::Tick));
                    ticks = ticks.wrapping_add(1);
                    status_due = ticks.is_multiple_of(STATUS_EVERY_TICKS);
                }
                Some(message) = self.events.recv() => batch.push(message),
                Some(message) = self.requests.recv() => batch.push(message),
                Some(message) = self.proposals.recv(), if !self.engine.holds_proposals() => batch.push(message),
            }
            self.fill(&mut batch);
            let (now, turn) = (self.clock.now(), Instant::now());
            let before = self.position();
            for message in batch.drain(..) {
                self.handle(now, turn, message);
            }
            // Before the effects: with them the replica may forget entries.
            self.follow_applied();
            self.follow_api_keys();
            self.keep_applied();
            self.engine.take_effects(now, &mut effects);
            for effect in effects.drain(..) {
                self.execute(turn, effect)?;
            }
            self.note_turn(before, turn);
            self.read_names.clear();
            self.replies.deliver();
            self.publish(now, status_due);
        }
    }

    /// The end of the log and the commit index.
    fn position(&self) -> (LogIndex, LogIndex) {
        let replica = self.engine.replica();
        (replica.last().index, replica.commit_index())
    }

    /// Notes what a turn of the leader decided and committed, for traces.
    fn note_turn(&self, before: (LogIndex, LogIndex), turn: Instant) {
        let Some(tracing) = self.executor.tracing.as_ref().filter(|_| self.engine.replica().is_open()) else { return };
        let after = self.position();
        for (step, before, after) in [(Step::Decide, before.0, after.0), (Step::Commit, before.1, after.1)] {
            tracing.note(step, (before < after).then(|| (before.next(), after)), turn);
        }
    }

    /// Adds the messages that are waiting to the batch.
    fn fill(&mut self, batch: &mut Vec<Message>) {
        let taken = if self.engine.holds_proposals() { 0 } else { MAX_BATCH_MESSAGES };
        let queues = [
            (&mut self.events, MAX_BATCH_MESSAGES),
            (&mut self.proposals, taken),
            (&mut self.requests, MAX_BATCH_MESSAGES),
        ];
        for (queue, most) in queues {
            while batch.len() < most
                && let Ok(message) = queue.try_recv()
            {
                batch.push(message);
            }
        }
    }

    /// Hands what was applied to the projector, before the replica may drop it from its cache.
    fn keep_applied(&mut self) {
        let (from, applied) = (self.kept, self.engine.applied_index());
        if from < applied {
            let replica = self.engine.replica();
            let entries = (from.next().0..=applied.0).map_while(|index| replica.cached_entry(LogIndex(index)).cloned());
            self.backlog.push(entries);
            self.kept = applied;
        }
    }

    /// Counts for how long writes have been held.
    fn count_held(&mut self) {
        let now = self.engine.holds_writes().then(Instant::now);
        let since = std::mem::replace(&mut self.held_since, now);
        if let Some(since) = since {
            self.metrics.writes_held(now.unwrap_or_else(Instant::now).duration_since(since));
        }
    }

    /// Handles a message. `turn` is when this turn of the loop began.
    fn handle(&mut self, now: Now, turn: Instant, message: Message) {
        match message {
            // Whoever gave up while it waited in the queue is told nothing more, so it need not be applied.
            Message::Propose(write) if write.reply.is_closed() => {}
            Message::Propose(ProposedWrite { principal, proposal, reply }) => {
                let caller = self.replies.add_caller(reply, turn, None);
                self.engine.step(now, Input::Propose { caller, principal, proposal });
            }
            Message::Gathered(gate) => {
                let number = self.replies.number_of(&gate);
                let waiting = gate.take().into_iter().filter(|write| !write.reply.is_closed());
                for ProposedWrite { principal, proposal, reply } in waiting {
                    let caller = self.replies.add_caller(reply, turn, Some(number));
                    self.engine.step(now, Input::Propose { caller, principal, proposal });
                }
            }
            Message::Read { reply, names } => {
                self.read_names.extend(names);
                let read = self.replies.add_read(reply);
                self.engine.step(now, Input::Read(read));
            }
            Message::AwaitApplied { index, reply } => self.replies.add_applied(index, reply),
            Message::Query(query) => query(&self.engine, now),
            Message::Rpc { from, request, reply } => {
                if matches!(request, Request::Transfer { .. }) {
                    self.elections.transferred();
                }
                let rpc = self.replies.add_rpc(reply);
                self.engine.step(now, Input::Replication(Event::Request { rpc, from, request }));
            }
            Message::Input(input) => {
                if let Input::Replication(Event::PeerGone(node)) = &input {
                    self.elections.gone(node);
                }
                self.engine.step(now, input);
            }
            Message::ZooKeeper { connected } => self.base.zookeeper_connected = connected,
            Message::Views { fit, rebuilding } => {
                self.base.views_rebuilding = rebuilding;
                self.engine.step(now, Input::Fit(fit));
            }
            Message::Status { reply } => {
                // A receiver that has given up needs no answer.
                let _ = reply.send(Arc::new(describe(&self.engine, &self.base, now)));
            }
        }
    }

    fn execute(&mut self, turn: Instant, effect: Effect) -> Result<(), NodeError> {
        match effect {
            Effect::Answer { caller, outcome } => {
                let decided = matches!(outcome, ProposalOutcome::Decided(_));
                if let Some(latency) = self.replies.answer_caller(caller, outcome, turn).filter(|_| decided) {
                    self.metrics.commit_latency(latency);
                }
            }
            Effect::Lookup { id, request } => self.executor.look_up(id, request),
            Effect::Replication(effect) => self.execute_replication(effect)?,
        }
        Ok(())
    }

    fn execute_replication(&mut self, effect: replication::Effect) -> Result<(), NodeError> {
        use replication::Effect as Protocol;
        match effect {
            Protocol::Persist(write) => {
                self.metrics.persisting(write.entries.len());
                self.executor.persist(write);
            }
            Protocol::Send { id, to, request } => {
                let asks = matches!(request, Outgoing::Plain(Request::ReadIndex));
                let names = if asks { std::mem::take(&mut self.read_names) } else { Vec::new() };
                self.executor.send(id, to, request, names);
            }
            Protocol::Respond { rpc, response } => self.replies.answer_rpc(rpc, response),
            Protocol::RespondEntries { rpc, from_index, to_index } => {
                if let Some(reply) = self.replies.take_rpc(rpc) {
                    self.executor.respond_entries(reply, from_index, to_index);
                }
            }
            Protocol::Load { peer, from_index, to_index } => self.executor.load(peer, from_index, to_index),
            Protocol::Coordinate(command) => self.executor.coordinate(command),
            Protocol::ReadReady { read, index } => self.replies.answer_read(read, Some(index)),
            Protocol::ReadRefused(read) => self.replies.answer_read(read, None),
            Protocol::Halt(reason) => return Err(NodeError::Halted(reason)),
            Protocol::Outdated { index, rules } => return Err(LedgerError::UnknownRules { index, rules }.into()),
        }
        Ok(())
    }

    /// Gives what is applied to the reads. They must find it before the applied index is published.
    fn follow_applied(&self) {
        let replica = self.engine.replica();
        self.recent.follow(self.engine.applied_index(), |index| replica.cached_entry(index).cloned());
    }

    /// Publishes the API keys if what was applied may have changed one. Whoever reads as of the applied index, which is
    /// published after that, judges its caller by them.
    fn follow_api_keys(&mut self) {
        let applied = self.engine.applied_index();
        let from = std::mem::replace(&mut self.api_keys_at, applied);
        let replica = self.engine.replica();
        let changes = |index| {
            let entry = replica.cached_entry(LogIndex(index));
            entry.is_none_or(|entry| matches!(entry.operation(), Some(Operation::ApiKey(_))))
        };
        if (from.next().0..=applied.0).any(changes) {
            self.publishers.api_keys.replace(Arc::new(self.engine.api_keys()));
        }
    }

    /// Publishes the progress, and the status when it is due or something important changed.
    fn publish(&mut self, now: Now, status_due: bool) {
        self.follow_applied();
        self.follow_api_keys();
        let applied_index = self.engine.applied_index();
        self.count_held();
        self.replies.answer_applied(applied_index);
        let replica = self.engine.replica();
        let progress = NodeProgress {
            applied_index,
            epoch: replica.promised_epoch(),
            leader: replica.leader(now).cloned(),
            confirmed_ms: replica.confirmed_ms(),
            views_lag: self.engine.views_lag(),
            time_error_ms: replica.time_error_ms(),
            quarantined: replica.quarantine().is_some(),
        };
        let (mut leader_changed, mut quarantine_begins) = (false, false);
        self.publishers.progress.modify(|published| {
            leader_changed = published.leader != progress.leader;
            quarantine_begins = progress.quarantined && !published.quarantined;
            // `confirmed_ms` and `time_error_ms` change with every heartbeat and must not wake those who watch.
            let changed = leader_changed
                || quarantine_begins
                || published.applied_index != progress.applied_index
                || published.views_lag != progress.views_lag
                || published.epoch != progress.epoch;
            published.clone_from(&progress);
            changed
        });
        let won = self.engine.replica().elections_won();
        if let Some(reason) = self.elections.follow(&self.base.node_id, progress.leader.as_ref(), won) {
            self.metrics.election_won(reason);
            tracing::info!(reason = reason.as_str(), epoch = %progress.epoch, "this node was elected");
        }
        if leader_changed {
            let leader = progress.leader.as_ref().map_or("nobody", NodeId::as_str);
            tracing::info!(leader, epoch = %progress.epoch, "leadership changed");
        }
        if quarantine_begins {
            self.report_quarantine(now);
        }
        if status_due {
            self.report_clocks(now);
        }
        if status_due || leader_changed || quarantine_begins {
            self.replies.forget_closed();
            self.metrics.queues(self.engine.waiting_callers(), self.requests.len() + self.proposals.len());
            self.publishers.status.replace(Arc::new(describe(&self.engine, &self.base, now)));
        }
    }

    /// Says which clocks are judged false now, and which are right again.
    fn report_clocks(&mut self, now: Now) {
        let replica = self.engine.replica();
        let falsetickers = replica.falsetickers();
        if *falsetickers == self.falsetickers {
            return;
        }
        let views = replica.clocks(now);
        for ClockView { node, offset_us, error_us, falseticker, .. } in &views {
            if *falseticker == self.falsetickers.contains(node) {
                continue;
            }
            let (offset_us, error_us) = (offset_us.unwrap_or_default(), error_us.unwrap_or_default());
            if *falseticker {
                tracing::warn!(
                    %node, offset_us, error_us,
                    "the clock of a node is false: its readings do not count, and it does not lead if another node can"
                );
            } else {
                tracing::info!(%node, offset_us, error_us, "the clock of a node is right again");
            }
        }
        self.falsetickers.clone_from(falsetickers);
    }

    /// The ledger is condemned in any case. The node begins again by itself unless it has done so within the last hour.
    fn report_quarantine(&mut self, now: Now) {
        let reason = self.engine.replica().quarantine().unwrap_or_default();
        let begins_again = self.quarantines.begin(now.unix_ms);
        self.metrics.quarantined(1);
        self.base.stays_quarantined = !begins_again;
        if begins_again {
            tracing::error!(reason, "this node's ledger is damaged: it begins again with an empty one, as a learner");
        } else {
            tracing::error!(
                reason,
                "this node's ledger is damaged, less than an hour after it began again: it stays quarantined and neither \
                 votes nor answers; check its disk and memory, then restart it"
            );
        }
        self.executor.condemn(reason, self.quarantines.clone(), begins_again);
    }
}
