//! Each node's ZooKeeper client: what it knows, how late it learns it, and how its commands reach the servers.
//! Everything here may be slow, stale or lost; safety must not depend on any of it.

use quorapay_core::domain::Epoch;
use quorapay_core::engine::Input;
use quorapay_core::replication::{CoordinationCommand, CoordinationEvent, Event, QueueRank};

use super::knobs::{MILLI, SECOND};
use super::world::{World, WorldEvent};
use super::zookeeper::SessionId;

/// Interval at which clients ping and servers expire silent sessions.
pub(crate) const COORDINATION_TICK: u64 = 50 * MILLI;

/// A client looks at the queue this often though no watch fired, as the real adapter does.
const LOOK_AGAIN: u64 = 3 * SECOND;

/// One process's ZooKeeper client.
#[derive(Default)]
pub(crate) struct Client {
    session: Option<SessionId>,
    /// Since when the servers are out of contact, if they are.
    silent_since: Option<u64>,
    reported_rank: QueueRank,
    /// When the last notification arrives: notifications keep their order.
    last_notification: u64,
    /// When it lists the queue again though no watch fired.
    look_again_at: u64,
    /// The epoch that its node leads, to be named by the servers.
    leads: Option<Epoch>,
}

/// A call to the servers.
#[derive(Debug)]
pub(crate) enum ZooKeeperCall {
    /// One of the core's commands, and how often it was repeated.
    Command(CoordinationCommand, u64),
    /// The second half of taking an epoch: the compare-and-set.
    TakeEpoch { version: u64, at_least: Epoch },
    /// A watch fired: list the queue again.
    ListQueue,
}

impl World {
    fn in_contact(&self, node: usize) -> bool {
        let running = self.nodes[node].process.as_ref().is_some_and(|process| !process.paused);
        running && self.zookeeper.up && self.zookeeper_reachable[node]
    }

    fn zookeeper_delay(&mut self) -> u64 {
        let (low, high) = self.knobs.zookeeper_delay;
        self.random.between(low, high)
    }

    /// Pings, expiries and new sessions.
    pub(crate) fn coordination_tick(&mut self) {
        for node in 0..self.nodes.len() {
            if self.in_contact(node) {
                self.keep_session(node);
            } else {
                self.lose_contact(node);
            }
        }
        if self.zookeeper.up && self.zookeeper.expire_silent(self.now) {
            self.fire_watches();
        }
        self.schedule(COORDINATION_TICK, WorldEvent::CoordinationTick);
    }

    fn keep_session(&mut self, node: usize) {
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return };
        let client = &mut process.coordination;
        let was_silent = client.silent_since.take().is_some();
        match client.session {
            Some(session) if self.zookeeper.touch(session, now) => {
                if was_silent || now >= client.look_again_at {
                    client.look_again_at = now + LOOK_AGAIN;
                    self.send_call(node, ZooKeeperCall::ListQueue);
                }
            }
            Some(_) => {
                client.session = None;
                self.report_rank(node, QueueRank::Absent);
            }
            None => {
                let rivals = self.rivals_of(node);
                if self.zookeeper.any_session_of(&rivals) {
                    // Another process holds the ephemeral znode for this id.
                    return;
                }
                let timeout = self.session_timeout();
                let session = self.zookeeper.open_session(node, now, timeout);
                if let Some(process) = &mut self.nodes[node].process {
                    process.coordination.session = Some(session);
                }
                self.queue_changed_by(node);
            }
        }
    }

    /// A new session's timeout: as negotiated, longer, or unlimited.
    fn session_timeout(&mut self) -> u64 {
        if self.random.chance(self.knobs.sessions_without_end) {
            self.met.insert("session without end");
            return u64::MAX / 2;
        }
        let late = self.random.chance(self.knobs.late_expiry);
        self.knobs.session_timeout * if late { 4 } else { 1 }
    }

    /// The client reports that it is disconnected after four tenths of the session timeout.
    fn lose_contact(&mut self, node: usize) {
        let (now, timeout) = (self.now, self.knobs.session_timeout * 2 / 5);
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.paused {
            return;
        }
        let since = *process.coordination.silent_since.get_or_insert(now);
        if now >= since + timeout {
            self.report_rank(node, QueueRank::Absent);
        }
    }

    /// The queue has changed: every client lists it again, unless its watch is lost.
    pub(crate) fn fire_watches(&mut self) {
        for node in 0..self.nodes.len() {
            if self.random.chance(self.knobs.missed_watches) {
                self.met.insert("missed watch");
            } else {
                self.send_call(node, ZooKeeperCall::ListQueue);
            }
        }
    }

    /// A client has changed the queue, or tried to: it looks at the result itself, the others have their watches.
    fn queue_changed_by(&mut self, node: usize) {
        self.send_call(node, ZooKeeperCall::ListQueue);
        self.fire_watches();
    }

    fn send_call(&mut self, node: usize, call: ZooKeeperCall) {
        let delay = self.zookeeper_delay();
        self.send_call_after(delay, node, call);
    }

    fn send_call_after(&mut self, delay: u64, node: usize, call: ZooKeeperCall) {
        if let Some(life) = self.life(node) {
            self.schedule(delay, WorldEvent::ZooKeeperCall { node, life, call });
        }
    }

    fn report_rank(&mut self, node: usize, rank: QueueRank) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.coordination.reported_rank == rank {
            return;
        }
        process.coordination.reported_rank = rank;
        self.notify(node, CoordinationEvent::QueueRank(rank));
    }

    fn notify(&mut self, node: usize, event: CoordinationEvent) {
        let arrives = self.now + self.zookeeper_delay();
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return };
        let arrives = arrives.max(process.coordination.last_notification);
        process.coordination.last_notification = arrives;
        let life = process.life;
        let input = Input::Replication(Event::Coordination(event));
        self.schedule(arrives - now, WorldEvent::Input { node, life, input });
    }

    /// A core sends a command to ZooKeeper.
    pub(crate) fn coordinate(&mut self, node: usize, command: CoordinationCommand) {
        self.trace.show("coordinate", &command);
        if let Some(process) = &mut self.nodes[node].process {
            match command {
                CoordinationCommand::PublishLeader { epoch } => process.coordination.leads = Some(epoch),
                CoordinationCommand::GoToBack => process.coordination.leads = None,
                CoordinationCommand::TakeEpoch { .. } | CoordinationCommand::RemovePredecessor { .. } => {}
            }
        }
        self.send_call(node, ZooKeeperCall::Command(command, 0));
    }

    /// A call reaches the servers.
    pub(crate) fn run_call(&mut self, node: usize, call: ZooKeeperCall) {
        let session = self.nodes[node].process.as_ref().and_then(|process| process.coordination.session);
        let Some(session) = session.filter(|_| self.in_contact(node)) else {
            return self.fail_or_queue_call(node, call);
        };
        match call {
            ZooKeeperCall::ListQueue => self.list_queue(node, session),
            ZooKeeperCall::TakeEpoch { version, at_least } => self.take_epoch(node, version, at_least),
            ZooKeeperCall::Command(command, _) => self.run_command(node, session, command),
        }
    }

    fn run_command(&mut self, node: usize, session: SessionId, command: CoordinationCommand) {
        match command {
            CoordinationCommand::TakeEpoch { at_least } => {
                let version = self.zookeeper.epoch_version();
                self.send_call(node, ZooKeeperCall::TakeEpoch { version, at_least });
            }
            CoordinationCommand::GoToBack => {
                self.zookeeper.go_to_back(node, session);
                self.queue_changed_by(node);
            }
            CoordinationCommand::RemovePredecessor { node: suspect, epoch } => {
                let suspect = self.number_of(&suspect);
                if self.zookeeper.remove_predecessor(session, suspect, epoch) {
                    self.fire_watches();
                } else if self.zookeeper.predecessor(session) == Some(suspect) {
                    self.report_not_removed(node, suspect);
                }
                self.send_call(node, ZooKeeperCall::ListQueue);
            }
            CoordinationCommand::PublishLeader { .. } => self.publish(node),
        }
    }

    fn report_not_removed(&mut self, node: usize, kept: usize) {
        let (newest, Some(taker)) = self.zookeeper.newest_epoch() else { return };
        let (kept, taker) = (self.nodes[kept].id.clone(), self.nodes[taker].id.clone());
        self.notify(node, CoordinationEvent::NotRemoved { node: kept, newest, taker });
    }

    /// Without contact, a call either waits in the client's queue and runs later, or fails.
    fn fail_or_queue_call(&mut self, node: usize, call: ZooKeeperCall) {
        match call {
            ZooKeeperCall::ListQueue => {}
            ZooKeeperCall::TakeEpoch { .. } => self.notify(node, CoordinationEvent::EpochRefused),
            ZooKeeperCall::Command(CoordinationCommand::TakeEpoch { .. }, _) => {
                self.notify(node, CoordinationEvent::EpochRefused);
            }
            ZooKeeperCall::Command(command, tries) => {
                if tries < 20 && self.random.chance(700) {
                    self.send_call_after(200 * MILLI, node, ZooKeeperCall::Command(command, tries + 1));
                }
            }
        }
    }

    /// Lists the queue. A client whose znode was removed joins the end of the queue.
    fn list_queue(&mut self, node: usize, session: SessionId) {
        if !self.zookeeper.is_alive(session) {
            return;
        }
        let rank = self.zookeeper.rank(session);
        self.report_rank(node, rank);
        if rank == QueueRank::Absent {
            self.zookeeper.go_to_back(node, session);
            self.queue_changed_by(node);
        } else {
            self.publish(node);
        }
    }

    /// Names the client's node as the leader, if it leads. A write that is lost is repeated when the queue is listed again.
    fn publish(&mut self, node: usize) {
        let leads = self.nodes[node].process.as_ref().and_then(|process| process.coordination.leads);
        let Some(epoch) = leads else { return };
        if self.random.chance(self.knobs.lost_publications) {
            self.met.insert("lost publication");
        } else {
            self.zookeeper.publish(node, epoch);
        }
    }

    fn take_epoch(&mut self, node: usize, version: u64, at_least: Epoch) {
        let taken = self.zookeeper.take_epoch(node, version, at_least);
        if self.random.chance(self.knobs.restored_epochs) {
            self.zookeeper.restore_older_epoch();
            self.met.insert("epoch restored");
        }
        let answer_lost = self.random.chance(self.knobs.ambiguous_epochs);
        let event = match taken {
            None => CoordinationEvent::EpochRefused,
            Some(epoch) if !answer_lost => CoordinationEvent::EpochTaken(epoch),
            // A client that cannot read its nonce back takes a higher epoch.
            Some(_) if self.random.chance(500) => CoordinationEvent::EpochRefused,
            Some(_) => match self.zookeeper.take_epoch(node, self.zookeeper.epoch_version(), at_least) {
                Some(epoch) => CoordinationEvent::EpochTaken(epoch),
                None => CoordinationEvent::EpochRefused,
            },
        };
        self.notify(node, event);
    }
}
