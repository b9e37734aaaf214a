//! Messages between clients and servers: delays, order, partitions. One connection is like TCP: what is sent arrives in
//! order or not at all, and waits while the host is cut off.

use std::collections::{BTreeMap, BTreeSet};

use quorapay_lab::random::Random;
use zookeeper_client::Error;

use super::HostId;
use super::tree::{Answer, Operation};

/// Numbers the connections of all clients. None is used twice.
pub(super) type ConnectionId = u64;

/// From a client to the servers.
#[derive(Debug)]
pub(super) enum Request {
    /// Opens a session (zero), or continues one: `watches` were set by a client that saw everything up to `zxid`.
    Connect {
        session: i64,
        timeout_ms: u64,
        zxid: i64,
        watches: Vec<String>,
    },
    Ping,
    Operation {
        number: u64,
        operation: Operation,
    },
    Close,
}

/// From the servers to a client.
#[derive(Debug)]
pub(super) enum Response {
    Accepted {
        session: i64,
        timeout_ms: u64,
    },
    /// The session is unknown.
    Refused,
    Pong,
    Answer {
        number: u64,
        result: Result<Answer, Error>,
        zxid: i64,
    },
    /// A watched znode changed.
    Event {
        path: String,
    },
    Closed,
    /// The server ended the connection.
    Broken,
}

#[derive(Debug)]
pub(super) enum Content {
    Request(Request),
    Response(Response),
}

/// What is on its way.
pub(super) struct Message {
    pub(super) connection: ConnectionId,
    pub(super) host: HostId,
    pub(super) content: Content,
}

/// What goes wrong, in thousandths of the messages of a kind. The latency is always there.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// The shortest and longest time of a request, and of a response.
    pub(crate) request_ms: (u64, u64),
    pub(crate) response_ms: (u64, u64),
    /// Changes that are applied though the connection breaks before the answer.
    pub(crate) lost_responses: u64,
    /// Operations that take up to `slow_ms` longer, and so does what follows on the same connection.
    pub(crate) slow_operations: u64,
    /// Watch events that come up to `slow_ms` late and do not hold up the answers behind them, as no real server does.
    pub(crate) late_watches: u64,
    /// Watch events that never come.
    pub(crate) lost_watches: u64,
    pub(crate) slow_ms: u64,
}

impl Faults {
    /// A healthy ensemble: an operation takes 1 to 3 ms.
    pub(crate) const fn none() -> Self {
        Self {
            request_ms: (1, 2),
            response_ms: (0, 1),
            lost_responses: 0,
            slow_operations: 0,
            late_watches: 0,
            lost_watches: 0,
            slow_ms: 1,
        }
    }
}

/// See the module.
pub(super) struct Wire {
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) unreachable: BTreeSet<HostId>,
    /// Hosts whose watch events are lost.
    pub(super) deaf: BTreeSet<HostId>,
    /// In the order of arrival; the second number is the order of sending.
    messages: BTreeMap<(u64, u64), Message>,
    sent: u64,
    last_connection: ConnectionId,
    /// When the last message of a connection arrives, for requests and responses.
    last_due: BTreeMap<ConnectionId, (u64, u64)>,
}

impl Wire {
    pub(super) const fn new(random: Random) -> Self {
        Self {
            random,
            faults: Faults::none(),
            unreachable: BTreeSet::new(),
            deaf: BTreeSet::new(),
            messages: BTreeMap::new(),
            sent: 0,
            last_connection: 0,
            last_due: BTreeMap::new(),
        }
    }

    pub(super) fn open(&mut self) -> ConnectionId {
        self.last_connection += 1;
        self.last_due.insert(self.last_connection, (0, 0));
        self.last_connection
    }

    /// A client gave a connection up. Requests that are on their way may still arrive.
    pub(super) fn close(&mut self, connection: ConnectionId) {
        self.last_due.remove(&connection);
        let to_client = |message: &Message| matches!(message.content, Content::Response(_));
        self.messages.retain(|_, message| message.connection != connection || !to_client(message));
    }

    /// A host is gone, and with it what could not leave it.
    pub(super) fn drop_held_requests(&mut self, host: HostId) {
        if self.unreachable.contains(&host) {
            self.messages.retain(|_, message| message.host != host);
        }
    }

    pub(super) fn send_request(&mut self, now: u64, host: HostId, connection: ConnectionId, request: Request) {
        let (low, high) = self.faults.request_ms;
        let mut due = now + self.random.between(low, high);
        if matches!(request, Request::Operation { .. }) && self.random.chance(self.faults.slow_operations) {
            due += self.random.between(1, self.faults.slow_ms);
        }
        if let Some((last, _)) = self.last_due.get_mut(&connection) {
            due = due.max(*last);
            *last = due;
        }
        self.post(due, Message { connection, host, content: Content::Request(request) });
    }

    pub(super) fn send_response(&mut self, now: u64, host: HostId, connection: ConnectionId, response: Response) {
        let is_event = matches!(response, Response::Event { .. });
        // A connection that the client gave up has no end to receive anything.
        if !self.last_due.contains_key(&connection) {
            return;
        }
        if is_event && (self.deaf.contains(&host) || self.random.chance(self.faults.lost_watches)) {
            return;
        }
        let (low, high) = self.faults.response_ms;
        let mut due = now + self.random.between(low, high);
        if is_event && self.random.chance(self.faults.late_watches) {
            due += self.random.between(1, self.faults.slow_ms);
        } else if let Some((_, last)) = self.last_due.get_mut(&connection) {
            due = due.max(*last);
            *last = due;
        }
        self.post(due, Message { connection, host, content: Content::Response(response) });
    }

    fn post(&mut self, due: u64, message: Message) {
        self.sent += 1;
        self.messages.insert((due, self.sent), message);
    }

    /// The next message that arrives by now. Messages from and to a host that is cut off wait.
    pub(super) fn receive(&mut self, now: u64) -> Option<Message> {
        loop {
            let entry = self.messages.first_entry()?;
            let (due, order) = *entry.key();
            if due > now {
                return None;
            }
            let message = entry.remove();
            if !self.unreachable.contains(&message.host) {
                return Some(message);
            }
            self.messages.insert((now + 1, order), message);
        }
    }
}
