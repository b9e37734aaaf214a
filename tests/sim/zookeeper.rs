//! A model of the ZooKeeper ensemble as one consistent server: the epoch znode with its version, sessions, and the
//! election queue of ephemeral sequential znodes. The nodes' view of it is in `coordination`.

use std::collections::BTreeMap;

use quorapay_core::domain::Epoch;
use quorapay_core::replication::{QueueRank, can_follow};

/// Identifies a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(pub(crate) u64);

struct Session {
    node: usize,
    last_contact: u64,
    /// How long the server waits; longer than negotiated if the run makes this session expire late.
    timeout: u64,
}

/// The servers' state.
pub(crate) struct ZooKeeper {
    pub(crate) up: bool,
    epoch: Epoch,
    /// The node that took it.
    taker: Option<usize>,
    /// The leader that was named last, and its epoch.
    leader: Option<(Epoch, usize)>,
    version: u64,
    sessions: BTreeMap<SessionId, Session>,
    queue: BTreeMap<u64, (usize, SessionId)>,
    next_sequence: u64,
    next_session: u64,
}

impl ZooKeeper {
    pub(crate) const fn new() -> Self {
        Self {
            up: true,
            epoch: Epoch(0),
            taker: None,
            leader: None,
            version: 0,
            sessions: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_sequence: 0,
            next_session: 1,
        }
    }

    /// Loses everything: sessions, queue and the epoch.
    pub(crate) fn wipe(&mut self) {
        (self.epoch, self.taker, self.leader) = (Epoch(0), None, None);
        self.version += 1;
        self.sessions.clear();
        self.queue.clear();
    }

    /// Sets the epoch znode back to what it was before the last epoch was taken, as if restored from a backup.
    pub(crate) fn restore_older_epoch(&mut self) {
        self.epoch = Epoch(self.epoch.0.saturating_sub(1));
        self.version += 1;
    }

    /// Somebody writes this number into the epoch znode.
    pub(crate) fn forge_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.version += 1;
    }

    /// Whether one of these nodes has a session.
    pub(crate) fn any_session_of(&self, nodes: &[usize]) -> bool {
        self.sessions.values().any(|session| nodes.contains(&session.node))
    }

    /// Opens a session and joins the end of the queue. Removes what an older session of the node left behind, as the
    /// real adapter removes znodes with its own id.
    pub(crate) fn open_session(&mut self, node: usize, now: u64, timeout: u64) -> SessionId {
        self.sessions.retain(|_, session| session.node != node);
        self.queue.retain(|_, (holder, _)| *holder != node);
        let id = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.insert(id, Session { node, last_contact: now, timeout });
        self.enter_queue(node, id);
        id
    }

    fn enter_queue(&mut self, node: usize, session: SessionId) {
        self.next_sequence += 1;
        self.queue.insert(self.next_sequence, (node, session));
    }

    /// A ping of a session; false if the session is gone.
    pub(crate) fn touch(&mut self, session: SessionId, now: u64) -> bool {
        self.sessions.get_mut(&session).map(|session| session.last_contact = now).is_some()
    }

    pub(crate) fn is_alive(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Ends the sessions that were silent for too long; true if there were any.
    pub(crate) fn expire_silent(&mut self, now: u64) -> bool {
        let before = self.sessions.len();
        self.sessions.retain(|_, session| now < session.last_contact + session.timeout);
        self.drop_orphans();
        self.sessions.len() != before
    }

    /// Gives every session its full timeout again, as a new leader of the ensemble does.
    pub(crate) fn renew_sessions(&mut self, now: u64) {
        self.sessions.values_mut().for_each(|session| session.last_contact = now);
    }

    /// Ends a node's session although it is in contact.
    pub(crate) fn expire(&mut self, node: usize) {
        self.sessions.retain(|_, session| session.node != node);
        self.drop_orphans();
    }

    fn drop_orphans(&mut self) {
        let sessions = &self.sessions;
        self.queue.retain(|_, (_, session)| sessions.contains_key(session));
    }

    /// A session's rank in the queue.
    pub(crate) fn rank(&self, session: SessionId) -> QueueRank {
        let found = self.queue.values().position(|(_, holder)| *holder == session);
        match found {
            None => QueueRank::Absent,
            Some(0) => QueueRank::First,
            Some(_) => QueueRank::Behind,
        }
    }

    /// Leaves the queue and joins its end.
    pub(crate) fn go_to_back(&mut self, node: usize, session: SessionId) {
        self.queue.retain(|_, (_, holder)| *holder != session);
        if self.is_alive(session) {
            self.enter_queue(node, session);
        }
    }

    /// Whose place is directly before this session's.
    pub(crate) fn predecessor(&self, session: SessionId) -> Option<usize> {
        let ahead = self.queue.values().take_while(|(_, holder)| *holder != session);
        ahead.last().map(|(node, _)| *node).filter(|_| self.rank(session) == QueueRank::Behind)
    }

    /// Removes the znode before this session's one, if it is `node`'s and no epoch newer than `epoch` was taken.
    pub(crate) fn remove_predecessor(&mut self, session: SessionId, node: usize, epoch: Epoch) -> bool {
        let mine = self.queue.iter().find(|(_, (_, holder))| *holder == session).map(|(sequence, _)| *sequence);
        let Some(mine) = mine.filter(|_| self.counted(epoch) <= epoch) else { return false };
        let before = self.queue.range(..mine).next_back().map(|(sequence, (holder, _))| (*sequence, *holder));
        match before {
            Some((sequence, holder)) if holder == node => self.queue.remove(&sequence).is_some(),
            _ => false,
        }
    }

    /// The nodes in the order of the queue.
    pub(crate) fn queue(&self) -> impl Iterator<Item = usize> + '_ {
        self.queue.values().map(|(node, _)| *node)
    }

    /// Names a leader, unless a later one is named.
    pub(crate) fn publish(&mut self, node: usize, epoch: Epoch) {
        if self.leader.is_none_or(|(named, _)| named <= epoch) {
            self.leader = Some((epoch, node));
        }
    }

    /// The leader that is named.
    pub(crate) fn named_leader(&self) -> Option<usize> {
        self.leader.map(|(_, node)| node)
    }

    /// The newest epoch as the real adapter reads it: a number that no election can have led to counts as none.
    const fn counted(&self, known: Epoch) -> Epoch {
        if can_follow(self.epoch, known) { self.epoch } else { Epoch(0) }
    }

    /// The newest epoch and the node that took it.
    pub(crate) const fn newest_epoch(&self) -> (Epoch, Option<usize>) {
        (self.epoch, self.taker)
    }

    /// The version for a later compare-and-set.
    pub(crate) const fn epoch_version(&self) -> u64 {
        self.version
    }

    /// Takes the next epoch of at least the given number, unless the znode was written since `version` was read.
    pub(crate) fn take_epoch(&mut self, node: usize, version: u64, at_least: Epoch) -> Option<Epoch> {
        if version != self.version {
            return None;
        }
        self.version += 1;
        self.epoch = Epoch(at_least.0.max(self.counted(at_least).0 + 1));
        self.taker = Some(node);
        Some(self.epoch)
    }
}
