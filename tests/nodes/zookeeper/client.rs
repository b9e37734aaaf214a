//! The client library of one session: its connections, heartbeats, operations in progress and watches.
//!
//! It behaves like the real one where the coordination can tell: `Disconnected` after 0.4 session timeouts of silence or
//! when the server ends the connection, `Expired` at 1.4 or when a server says so; after a reconnection watches are set
//! again; operations issued without a connection wait for the next one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use zookeeper_client::{Error, SessionState, Stat};

use super::HostId;
use super::tree::{Answer, Operation};
use super::wire::{ConnectionId, Request, Response, Wire};

/// The pause before the second attempt to reconnect; it doubles with each attempt, and a random part is added.
const FIRST_PAUSE_MS: u64 = 100;

/// What a new session is told: its id, its timeout, and where its states appear.
pub(super) type Opened = Result<(i64, Duration, watch::Receiver<SessionState>), Error>;

/// The result of an operation.
pub(super) enum Outcome {
    Plain(Answer),
    /// A read that set a watch, which ends when the sender is used or dropped.
    Watched(Vec<u8>, Stat, oneshot::Receiver<()>),
}

pub(super) type Reply = oneshot::Sender<Result<Outcome, Error>>;

struct Pending {
    operation: Operation,
    reply: Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The next attempt to connect is due then.
    Pausing {
        until: u64,
    },
    Connecting {
        since: u64,
    },
    Connected,
    Ended,
}

/// See the module.
pub(super) struct Client {
    host: HostId,
    phase: Phase,
    connection: Option<ConnectionId>,
    /// Zero until it is open.
    session: i64,
    timeout_ms: u64,
    /// When a session without a connection counts as expired.
    expires_at: u64,
    attempts: u32,
    last_heard: u64,
    last_sent: u64,
    pinging: bool,
    last_zxid: i64,
    opened: Option<oneshot::Sender<Opened>>,
    states: watch::Sender<SessionState>,
    next_number: u64,
    queued: VecDeque<Pending>,
    pending: BTreeMap<u64, Pending>,
    watches: BTreeMap<String, Vec<oneshot::Sender<()>>>,
    /// Set when the session is to be closed; whether the request has been sent over this connection.
    closing: Option<bool>,
}

impl Client {
    pub(super) fn new(host: HostId, timeout_ms: u64, now: u64, opened: oneshot::Sender<Opened>) -> Self {
        Self {
            host,
            phase: Phase::Pausing { until: now },
            connection: None,
            session: 0,
            timeout_ms,
            expires_at: u64::MAX,
            attempts: 0,
            last_heard: now,
            last_sent: now,
            pinging: false,
            last_zxid: 0,
            opened: Some(opened),
            states: watch::Sender::new(SessionState::Disconnected),
            next_number: 0,
            queued: VecDeque::new(),
            pending: BTreeMap::new(),
            watches: BTreeMap::new(),
            closing: None,
        }
    }

    pub(super) const fn host(&self) -> HostId {
        self.host
    }

    pub(super) const fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    pub(super) fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// Nobody uses it any more. True if it was never open, so that nothing is left to be closed.
    pub(super) const fn close(&mut self) -> bool {
        self.closing = Some(false);
        self.session == 0
    }

    pub(super) fn issue(&mut self, now: u64, wire: &mut Wire, operation: Operation, reply: Reply) {
        self.queued.push_back(Pending { operation, reply });
        self.send_queued(now, wire);
    }

    fn send_queued(&mut self, now: u64, wire: &mut Wire) {
        if self.phase != Phase::Connected {
            return;
        }
        while let Some(pending) = self.queued.pop_front() {
            self.next_number += 1;
            let operation = pending.operation.clone();
            self.pending.insert(self.next_number, pending);
            self.send(now, wire, Request::Operation { number: self.next_number, operation });
        }
    }

    fn send(&mut self, now: u64, wire: &mut Wire, request: Request) {
        if let Some(connection) = self.connection {
            self.last_sent = now;
            wire.send_request(now, self.host, connection, request);
        }
    }

    /// How long a server may be silent.
    const fn patience_ms(&self) -> u64 {
        self.timeout_ms * 2 / 5
    }

    /// Does what is due. `refused` says that no server runs and the host can find that out.
    pub(super) fn tick(&mut self, now: u64, wire: &mut Wire, refused: bool) {
        if self.phase != Phase::Connected && now >= self.expires_at {
            return self.end(SessionState::Expired);
        }
        match self.phase {
            Phase::Pausing { until } if now >= until && refused => self.attempt_failed(now, wire),
            Phase::Pausing { until } if now >= until => self.connect(now, wire),
            Phase::Connecting { since } if now >= since + self.patience_ms() => self.attempt_failed(now, wire),
            Phase::Connected => self.keep_alive(now, wire),
            Phase::Pausing { .. } | Phase::Connecting { .. } | Phase::Ended => {}
        }
    }

    fn keep_alive(&mut self, now: u64, wire: &mut Wire) {
        if now >= self.last_heard + self.patience_ms() {
            return self.disconnected(now, wire);
        }
        if self.closing == Some(false) {
            self.closing = Some(true);
            self.send(now, wire, Request::Close);
        }
        if !self.pinging && now >= self.last_sent + self.timeout_ms * 3 / 20 {
            self.pinging = true;
            self.send(now, wire, Request::Ping);
        }
    }

    fn connect(&mut self, now: u64, wire: &mut Wire) {
        self.watches.values_mut().for_each(|watches| watches.retain(|watch| !watch.is_closed()));
        self.watches.retain(|_, watches| !watches.is_empty());
        let watches = self.watches.keys().cloned().collect();
        let (session, timeout_ms, zxid) = (self.session, self.timeout_ms, self.last_zxid);
        self.connection = Some(wire.open());
        self.phase = Phase::Connecting { since: now };
        self.send(now, wire, Request::Connect { session, timeout_ms, zxid, watches });
    }

    fn attempt_failed(&mut self, now: u64, wire: &mut Wire) {
        self.hang_up(wire);
        if self.session == 0 {
            // A new session is tried once at each server.
            if let Some(opened) = self.opened.take() {
                let _ = opened.send(Err(Error::NoHosts));
            }
            return self.end(SessionState::Closed);
        }
        let pause = (FIRST_PAUSE_MS << self.attempts.min(10)) + wire.random.below(FIRST_PAUSE_MS);
        self.attempts += 1;
        self.phase = Phase::Pausing { until: now + pause };
    }

    fn hang_up(&mut self, wire: &mut Wire) {
        if let Some(connection) = self.connection.take() {
            wire.close(connection);
        }
    }

    /// The connection is lost, and with it the outcome of every operation in progress.
    fn disconnected(&mut self, now: u64, wire: &mut Wire) {
        if self.phase != Phase::Connected {
            return self.attempt_failed(now, wire);
        }
        self.hang_up(wire);
        self.expires_at = self.last_heard + self.timeout_ms * 7 / 5;
        self.attempts = 0;
        self.phase = Phase::Pausing { until: now };
        self.closing = self.closing.map(|_| false);
        self.fail_pending(&Error::ConnectionLoss);
        self.states.send_replace(SessionState::Disconnected);
    }

    fn fail_pending(&mut self, error: &Error) {
        for (_, pending) in std::mem::take(&mut self.pending) {
            let _ = pending.reply.send(Err(error.clone()));
        }
    }

    fn end(&mut self, state: SessionState) {
        let error = if state == SessionState::Expired { Error::SessionExpired } else { Error::ClientClosed };
        self.phase = Phase::Ended;
        self.fail_pending(&error);
        for pending in self.queued.drain(..) {
            let _ = pending.reply.send(Err(error.clone()));
        }
        self.watches.clear();
        self.states.send_replace(state);
    }

    pub(super) fn receive(&mut self, now: u64, wire: &mut Wire, response: Response) {
        self.last_heard = now;
        match response {
            Response::Accepted { session, timeout_ms } => self.accepted(now, wire, session, timeout_ms),
            Response::Refused => {
                self.hang_up(wire);
                self.end(SessionState::Expired);
            }
            Response::Pong => self.pinging = false,
            Response::Answer { number, result, zxid } => {
                self.last_zxid = self.last_zxid.max(zxid);
                if let Some(pending) = self.pending.remove(&number) {
                    let outcome = result.map(|answer| self.outcome(&pending.operation, answer));
                    // The caller may have given up.
                    let _ = pending.reply.send(outcome);
                }
            }
            Response::Event { path } => drop(self.watches.remove(&path)),
            Response::Closed => {
                self.hang_up(wire);
                self.end(SessionState::Closed);
            }
            Response::Broken => self.disconnected(now, wire),
        }
    }

    fn accepted(&mut self, now: u64, wire: &mut Wire, session: i64, timeout_ms: u64) {
        self.phase = Phase::Connected;
        (self.session, self.timeout_ms) = (session, timeout_ms);
        (self.attempts, self.pinging, self.last_sent) = (0, false, now);
        self.expires_at = u64::MAX;
        self.states.send_replace(SessionState::SyncConnected);
        if let Some(opened) = self.opened.take() {
            let mut states = self.states.subscribe();
            states.mark_unchanged();
            let _ = opened.send(Ok((session, Duration::from_millis(timeout_ms), states)));
        }
        self.send_queued(now, wire);
    }

    fn outcome(&mut self, operation: &Operation, answer: Answer) -> Outcome {
        match (operation, answer) {
            (Operation::Read { path, watch: true }, Answer::Data(data, stat)) => {
                let (fires, fired) = oneshot::channel();
                self.watches.entry(path.clone()).or_default().push(fires);
                Outcome::Watched(data, stat, fired)
            }
            (_, answer) => Outcome::Plain(answer),
        }
    }
}
