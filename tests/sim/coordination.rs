//! Each node's ZooKeeper client: what it believes, how late it believes it, and how its commands reach the servers.
//! Everything here may be slow, stale or lost; nothing of it may matter to safety.

use quorapay_core::domain::Epoch;
use quorapay_core::engine::Input;
use quorapay_core::replication::{CoordinationCommand, CoordinationEvent, Event, QueueRank};

use super::knobs::MILLI;
use super::world::{Happening, World};
use super::zookeeper::SessionId;

/// How often the clients ping and the servers look for silent sessions.
pub(crate) const COORDINATION_TICK: u64 = 50 * MILLI;

/// What one process knows of ZooKeeper.
#[derive(Default)]
pub(crate) struct Client {
    session: Option<SessionId>,
    /// Since when the servers have not been heard, if they are not.
    silent_since: Option<u64>,
    told: QueueRank,
    /// News arrive in the order in which the servers sent them.
    last_news: u64,
}

/// A command on its way to the servers or at them.
#[derive(Debug)]
pub(crate) enum Errand {
    /// One of the node's commands arrives; it was sent this often.
    Command(CoordinationCommand, u64),
    /// The second half of taking an epoch: the compare-and-set.
    TakeEpoch { version: u64, at_least: Epoch },
    /// A watch fired: list the queue again.
    Look,
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
        self.schedule(COORDINATION_TICK, Happening::CoordinationTick);
    }

    fn keep_session(&mut self, node: usize) {
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return };
        let client = &mut process.coordination;
        client.silent_since = None;
        match client.session {
            Some(session) if self.zookeeper.touch(session, now) => self.send_errand(node, Errand::Look),
            Some(_) => {
                client.session = None;
                self.tell_place(node, QueueRank::Absent);
            }
            None => {
                let rivals = self.rivals_of(node);
                if self.zookeeper.any_session_of(&rivals) {
                    // Another process holds the znode that says who is alive under this id.
                    return;
                }
                let timeout = self.session_timeout();
                let session = self.zookeeper.open_session(node, now, timeout);
                if let Some(process) = &mut self.nodes[node].process {
                    process.coordination.session = Some(session);
                }
                self.fire_watches();
            }
        }
    }

    /// How long the servers wait for a new session: as agreed, longer, or for ever.
    fn session_timeout(&mut self) -> u64 {
        if self.random.chance(self.knobs.sessions_without_end) {
            self.met.insert("session without end");
            return u64::MAX / 2;
        }
        let late = self.random.chance(self.knobs.late_expiry);
        self.knobs.session_timeout * if late { 4 } else { 1 }
    }

    /// The client says that it is disconnected after four tenths of the session timeout.
    fn lose_contact(&mut self, node: usize) {
        let (now, patience) = (self.now, self.knobs.session_timeout * 2 / 5);
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.paused {
            return;
        }
        let since = *process.coordination.silent_since.get_or_insert(now);
        if now >= since + patience {
            self.tell_place(node, QueueRank::Absent);
        }
    }

    pub(crate) fn fire_watches(&mut self) {
        for node in 0..self.nodes.len() {
            self.send_errand(node, Errand::Look);
        }
    }

    fn send_errand(&mut self, node: usize, errand: Errand) {
        let delay = self.zookeeper_delay();
        self.send_errand_after(delay, node, errand);
    }

    fn send_errand_after(&mut self, delay: u64, node: usize, errand: Errand) {
        if let Some(life) = self.life(node) {
            self.schedule(delay, Happening::Errand { node, life, errand });
        }
    }

    fn tell_place(&mut self, node: usize, place: QueueRank) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.coordination.told == place {
            return;
        }
        process.coordination.told = place;
        self.tell(node, CoordinationEvent::QueueRank(place));
    }

    fn tell(&mut self, node: usize, event: CoordinationEvent) {
        let arrives = self.now + self.zookeeper_delay();
        let now = self.now;
        let Some(process) = &mut self.nodes[node].process else { return };
        let arrives = arrives.max(process.coordination.last_news);
        process.coordination.last_news = arrives;
        let life = process.life;
        let input = Input::Replication(Event::Coordination(event));
        self.schedule(arrives - now, Happening::Input { node, life, input });
    }

    /// The core wants something of ZooKeeper.
    pub(crate) fn coordinate(&mut self, node: usize, command: CoordinationCommand) {
        self.trace.show("coordinate", &command);
        self.send_errand(node, Errand::Command(command, 0));
    }

    /// An errand reaches the servers.
    pub(crate) fn run_errand(&mut self, node: usize, errand: Errand) {
        let session = self.nodes[node].process.as_ref().and_then(|process| process.coordination.session);
        let Some(session) = session.filter(|_| self.in_contact(node)) else {
            return self.errand_stays(node, errand);
        };
        match errand {
            Errand::Look => self.look(node, session),
            Errand::TakeEpoch { version, at_least } => self.take_epoch(node, version, at_least),
            Errand::Command(command, _) => self.run_command(node, session, command),
        }
    }

    fn run_command(&mut self, node: usize, session: SessionId, command: CoordinationCommand) {
        match command {
            CoordinationCommand::TakeEpoch { at_least } => {
                let version = self.zookeeper.epoch_version();
                self.send_errand(node, Errand::TakeEpoch { version, at_least });
            }
            CoordinationCommand::GoToBack => {
                self.zookeeper.go_to_back(node, session);
                self.fire_watches();
            }
            CoordinationCommand::RemovePredecessor { node: suspect, epoch } => {
                let suspect = self.number_of(&suspect);
                if self.zookeeper.remove_predecessor(session, suspect, epoch) {
                    self.fire_watches();
                }
            }
            CoordinationCommand::PublishLeader { .. } => {}
        }
    }

    /// Without contact, an errand waits in the client's queue and runs after all, or it fails; nobody knows which.
    fn errand_stays(&mut self, node: usize, errand: Errand) {
        match errand {
            Errand::Look => {}
            Errand::TakeEpoch { .. } => self.tell(node, CoordinationEvent::EpochRefused),
            Errand::Command(CoordinationCommand::TakeEpoch { .. }, _) => {
                self.tell(node, CoordinationEvent::EpochRefused);
            }
            Errand::Command(command, tries) => {
                if tries < 20 && self.random.chance(700) {
                    self.send_errand_after(200 * MILLI, node, Errand::Command(command, tries + 1));
                }
            }
        }
    }

    /// Lists the queue; a client whose znode was taken away takes a new place at the end.
    fn look(&mut self, node: usize, session: SessionId) {
        if !self.zookeeper.is_alive(session) {
            return;
        }
        let place = self.zookeeper.place(session);
        self.tell_place(node, place);
        if place == QueueRank::Absent {
            self.zookeeper.go_to_back(node, session);
            self.fire_watches();
        }
    }

    fn take_epoch(&mut self, node: usize, version: u64, at_least: Epoch) {
        let taken = self.zookeeper.take_epoch(version, at_least);
        if self.random.chance(self.knobs.restored_epochs) {
            self.zookeeper.restore_older_epoch();
            self.met.insert("epoch restored");
        }
        let answer_lost = self.random.chance(self.knobs.ambiguous_epochs);
        let event = match taken {
            None => CoordinationEvent::EpochRefused,
            Some(epoch) if !answer_lost => CoordinationEvent::EpochTaken(epoch),
            // The nonce would have told; a client that does not find out goes higher.
            Some(_) if self.random.chance(500) => CoordinationEvent::EpochRefused,
            Some(_) => match self.zookeeper.take_epoch(self.zookeeper.epoch_version(), at_least) {
                Some(epoch) => CoordinationEvent::EpochTaken(epoch),
                None => CoordinationEvent::EpochRefused,
            },
        };
        self.tell(node, event);
    }
}
