//! The servers, as one that is consistent: sessions with timeouts, one-shot watches, and the tree.

use std::collections::{BTreeMap, BTreeSet};

use zookeeper_client::Error;

use super::HostId;
use super::tree::{Answer, Operation, Tree};
use super::wire::{ConnectionId, Request, Response};

/// Sessions expire when the servers' clock has ticked after their timeout.
const TICK_MS: u64 = 200;

struct Session {
    host: HostId,
    timeout_ms: u64,
    last_contact: u64,
    connection: Option<ConnectionId>,
    watches: BTreeSet<String>,
}

/// A response with its way.
pub(super) type Outgoing = (HostId, ConnectionId, Response);

/// See the module.
pub(super) struct Server {
    pub(super) tree: Tree,
    /// False while no server runs.
    pub(super) up: bool,
    /// Whether sessions last though nobody hears of them.
    pub(super) keeps_silent_sessions: bool,
    sessions: BTreeMap<i64, Session>,
    last_session: i64,
    out: Vec<Outgoing>,
}

impl Server {
    pub(super) fn new() -> Self {
        Self {
            tree: Tree::new(0),
            up: true,
            keeps_silent_sessions: false,
            sessions: BTreeMap::new(),
            last_session: 0,
            out: Vec::new(),
        }
    }

    /// What has to be sent.
    pub(super) fn take_out(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.out)
    }

    /// The host that opened a session which still lives.
    pub(super) fn host_of(&self, session: i64) -> Option<HostId> {
        self.sessions.get(&session).map(|session| session.host)
    }

    /// Handles a request. With `loses_response` the connection breaks before the answer is sent. Gives a line for the
    /// trace if an operation was applied.
    pub(super) fn receive(
        &mut self,
        now: u64,
        (host, connection): (HostId, ConnectionId),
        request: Request,
        loses_response: bool,
    ) -> Option<String> {
        if !self.up {
            self.out.push((host, connection, Response::Broken));
            return None;
        }
        if let Request::Connect { session, timeout_ms, zxid, watches } = request {
            return Some(self.on_connect(now, (host, connection), (session, timeout_ms), (zxid, watches)));
        }
        // What comes over a connection that a newer one has replaced is not read any more.
        let (id, session) = self.sessions.iter_mut().find(|(_, session)| session.connection == Some(connection))?;
        session.last_contact = now;
        let id = *id;
        match request {
            Request::Connect { .. } => None,
            Request::Ping => {
                self.out.push((host, connection, Response::Pong));
                None
            }
            Request::Operation { number, operation } => {
                Some(self.on_operation((host, connection), id, (number, &operation), loses_response))
            }
            Request::Close => {
                self.end_session(id);
                self.out.push((host, connection, Response::Closed));
                Some("closes its session".to_owned())
            }
        }
    }

    fn on_connect(
        &mut self,
        now: u64,
        (host, connection): (HostId, ConnectionId),
        (session, timeout_ms): (i64, u64),
        (zxid, watches): (i64, Vec<String>),
    ) -> String {
        if zxid > self.tree.zxid() {
            self.out.push((host, connection, Response::Broken));
            return "is turned away: it has seen more than the servers".to_owned();
        }
        let id = if session == 0 {
            self.last_session += 1;
            let (last_contact, watches) = (now, BTreeSet::new());
            let opened = Session { host, timeout_ms, last_contact, connection: None, watches };
            self.sessions.insert(self.last_session, opened);
            self.last_session
        } else {
            session
        };
        let Some(found) = self.sessions.get_mut(&id) else {
            self.out.push((host, connection, Response::Refused));
            return format!("session {id} has expired");
        };
        (found.connection, found.last_contact) = (Some(connection), now);
        found.watches.clear();
        self.out.push((host, connection, Response::Accepted { session: id, timeout_ms: found.timeout_ms }));
        for path in watches {
            if self.tree.changed_since(&path, zxid) {
                self.out.push((host, connection, Response::Event { path }));
            } else {
                found.watches.insert(path);
            }
        }
        format!("session {id} is connected")
    }

    fn on_operation(
        &mut self,
        (host, connection): (HostId, ConnectionId),
        id: i64,
        (number, operation): (u64, &Operation),
        loses_response: bool,
    ) -> String {
        let result = self.tree.apply(id, operation);
        self.fire_watches();
        if let (Operation::Read { path, watch: true }, Ok(_)) = (operation, &result)
            && let Some(session) = self.sessions.get_mut(&id)
        {
            session.watches.insert(path.clone());
        }
        let line = format!("{}: {}", operation.describe(), outcome(&result));
        if loses_response {
            self.break_connection(id);
            return format!("{line}, and the response is lost");
        }
        self.out.push((host, connection, Response::Answer { number, result, zxid: self.tree.zxid() }));
        line
    }

    fn fire_watches(&mut self) {
        for path in self.tree.take_changed() {
            for session in self.sessions.values_mut() {
                if session.watches.remove(&path)
                    && let Some(connection) = session.connection
                {
                    self.out.push((session.host, connection, Response::Event { path: path.clone() }));
                }
            }
        }
    }

    fn break_connection(&mut self, id: i64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.watches.clear();
            if let Some(connection) = session.connection.take() {
                self.out.push((session.host, connection, Response::Broken));
            }
        }
    }

    fn end_session(&mut self, id: i64) {
        self.sessions.remove(&id);
        self.tree.remove_ephemerals(id);
        self.fire_watches();
    }

    /// Ends the sessions that were silent for too long; gives them.
    pub(super) fn expire_silent(&mut self, now: u64) -> Vec<i64> {
        if !self.up || self.keeps_silent_sessions {
            return Vec::new();
        }
        let due = |session: &Session| (session.last_contact + session.timeout_ms).next_multiple_of(TICK_MS) <= now;
        let silent: Vec<i64> = self.sessions.iter().filter(|(_, session)| due(session)).map(|(id, _)| *id).collect();
        silent.iter().for_each(|id| self.expire(*id));
        silent
    }

    fn expire(&mut self, id: i64) {
        self.break_connection(id);
        self.end_session(id);
    }

    /// Ends a host's sessions though it is in contact.
    pub(super) fn expire_host(&mut self, host: HostId) {
        let of_host = self.sessions.iter().filter(|(_, session)| session.host == host);
        let ids: Vec<i64> = of_host.map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.expire(id));
    }

    /// All servers stop.
    pub(super) fn stop(&mut self) {
        let ids: Vec<i64> = self.sessions.keys().copied().collect();
        ids.into_iter().for_each(|id| self.break_connection(id));
        self.up = false;
    }

    /// They start with their data, and every session has its full timeout again.
    pub(super) fn start(&mut self, now: u64) {
        self.up = true;
        self.sessions.values_mut().for_each(|session| session.last_contact = now);
    }

    /// They lose everything and number their changes from the beginning.
    pub(super) fn wipe(&mut self) {
        let ids: Vec<i64> = self.sessions.keys().copied().collect();
        ids.into_iter().for_each(|id| self.break_connection(id));
        self.sessions.clear();
        self.tree = Tree::new(0);
    }

    /// Somebody else changes the znodes.
    pub(super) fn meddle(&mut self, operation: &Operation) -> Result<(), Error> {
        self.tree.apply(0, operation)?;
        self.fire_watches();
        Ok(())
    }
}

fn outcome(result: &Result<Answer, Error>) -> String {
    match result {
        Ok(Answer::Data(_, stat)) => format!("version {} of {}", stat.version, stat.ephemeral_owner),
        Ok(Answer::Children(names)) => names.join(" "),
        Ok(Answer::Sequence(sequence)) => sequence.clone(),
        Ok(Answer::Done) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}
