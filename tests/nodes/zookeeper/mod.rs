//! A ZooKeeper ensemble in memory, for whole nodes in one thread. It has no threads and reads no clock: the driver tells it
//! the time, and everything random comes from its seed.
//!
//! | file | what |
//! |---|---|
//! | `tree.rs` | the znodes |
//! | `server.rs` | sessions, watches, what the servers answer |
//! | `wire.rs` | messages on their way: latency, order, partitions, faults |
//! | `client.rs` | the client library: heartbeats, reconnections, session states |
//! | `session.rs` | the traits that the coordination uses |

mod client;
mod server;
mod session;
mod tree;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorapay_lab::random::Random;
use quorapay_node::coordination::{Lifetime, ZooKeeper};
use tokio::sync::oneshot;
use zookeeper_client::Error;

use client::{Client, Opened, Reply};
use server::Server;
use session::HostClient;
use tree::Operation;
pub(crate) use wire::Faults;
use wire::{Content, Message, Request, Wire};

/// Numbers the simulated hosts.
pub(crate) type HostId = usize;

/// The ensemble. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimZooKeeper {
    state: Arc<Mutex<State>>,
}

/// Everything, behind one lock. There is one thread; the lock is for the compiler.
struct State {
    now: u64,
    wire: Wire,
    server: Server,
    clients: BTreeMap<u64, Client>,
    last_client: u64,
    /// Hosts whose next change is applied and not answered.
    loses_next_response: BTreeSet<HostId>,
    trace: Vec<String>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimZooKeeper {
    pub(crate) fn new(random: Random) -> Self {
        let state = State {
            now: 0,
            wire: Wire::new(random),
            server: Server::new(),
            clients: BTreeMap::new(),
            last_client: 0,
            loses_next_response: BTreeSet::new(),
            trace: Vec::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The ensemble as this host reaches it.
    pub(crate) fn client(&self, host: HostId) -> Arc<dyn ZooKeeper> {
        Arc::new(HostClient { state: Arc::clone(&self.state), host })
    }

    /// Does everything that is due by now. Call it between the steps of the hosts.
    pub(crate) fn step(&self, now_ms: u64) {
        lock(&self.state).step(now_ms);
    }

    /// The host's process has died; call it before or after its runtime is dropped, and before the next step. The servers
    /// notice it by the timeout of its session.
    pub(crate) fn host_died(&self, host: HostId) {
        let mut state = lock(&self.state);
        state.wire.drop_held_requests(host);
        let State { clients, wire, .. } = &mut *state;
        for (_, client) in clients.extract_if(.., |_, client| client.host() == host) {
            if let Some(connection) = client.connection() {
                wire.close(connection);
            }
        }
    }

    /// Whether messages between this host and the servers arrive.
    pub(crate) fn set_reachable(&self, host: HostId, reachable: bool) {
        let unreachable = &mut lock(&self.state).wire.unreachable;
        if reachable {
            unreachable.remove(&host)
        } else {
            unreachable.insert(host)
        };
    }

    /// Whether this host loses all watch events.
    pub(crate) fn set_deaf(&self, host: HostId, is_deaf: bool) {
        let deaf = &mut lock(&self.state).wire.deaf;
        if is_deaf {
            deaf.insert(host)
        } else {
            deaf.remove(&host)
        };
    }

    /// Faults from now on. A response that was to be lost is not.
    pub(crate) fn set_faults(&self, faults: Faults) {
        let mut state = lock(&self.state);
        state.wire.faults = faults;
        state.loses_next_response.clear();
    }

    /// Whether sessions last though nobody hears of them.
    pub(crate) fn set_keeps_silent_sessions(&self, keeps: bool) {
        lock(&self.state).server.keeps_silent_sessions = keeps;
    }

    /// The next change by this host is applied, and its connection breaks before the answer.
    pub(crate) fn lose_next_response(&self, host: HostId) {
        lock(&self.state).loses_next_response.insert(host);
    }

    /// All servers stop: connections break, and new ones are refused.
    pub(crate) fn stop(&self) {
        lock(&self.state).with_server(|server, _| server.stop());
    }

    /// The servers start with their data.
    pub(crate) fn start(&self) {
        lock(&self.state).with_server(Server::start);
    }

    /// The servers lose all znodes and sessions.
    pub(crate) fn wipe(&self) {
        lock(&self.state).with_server(|server, _| server.wipe());
    }

    /// The servers end the host's session though they hear of it.
    pub(crate) fn expire(&self, host: HostId) {
        lock(&self.state).with_server(|server, _| server.expire_host(host));
    }

    /// An operator writes a znode, whatever is there.
    pub(crate) fn put(&self, path: &str, data: &[u8]) {
        let remove = Operation::Delete { path: path.to_owned(), version: None };
        let create = Operation::Create { path: path.to_owned(), data: data.to_vec(), lifetime: Lifetime::Persistent };
        lock(&self.state).with_server(|server, _| {
            let _ = server.meddle(&remove);
            server.meddle(&create).expect("the parent exists");
        });
    }

    /// An operator deletes a znode; false if there is none.
    pub(crate) fn delete(&self, path: &str) -> bool {
        let remove = Operation::Delete { path: path.to_owned(), version: None };
        lock(&self.state).with_server(|server, _| server.meddle(&remove).is_ok())
    }

    /// The names of a znode's children, in order.
    pub(crate) fn children(&self, path: &str) -> Vec<String> {
        lock(&self.state).server.tree.children(path)
    }

    /// The host whose session owns an ephemeral znode.
    pub(crate) fn owner(&self, path: &str) -> Option<HostId> {
        let state = lock(&self.state);
        state.server.host_of(state.server.tree.owner(path)?)
    }

    /// A znode's data.
    pub(crate) fn data(&self, path: &str) -> Option<Vec<u8>> {
        lock(&self.state).server.tree.data(path).map(<[u8]>::to_vec)
    }

    /// What happened since this was last called, one line each.
    pub(crate) fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).trace)
    }
}

impl State {
    fn open_client(&mut self, host: HostId, timeout: Duration, opened: oneshot::Sender<Opened>) -> u64 {
        self.last_client += 1;
        let timeout_ms = u64::try_from(timeout.as_millis()).expect("timeouts are short");
        self.clients.insert(self.last_client, Client::new(host, timeout_ms, self.now, opened));
        self.last_client
    }

    fn close_client(&mut self, id: u64) {
        if let Some(client) = self.clients.get_mut(&id)
            && client.close()
        {
            if let Some(connection) = client.connection() {
                self.wire.close(connection);
            }
            self.clients.remove(&id);
        }
    }

    fn issue(&mut self, id: u64, operation: Operation, reply: Reply) {
        match self.clients.get_mut(&id) {
            Some(client) => client.issue(self.now, &mut self.wire, operation, reply),
            None => drop(reply.send(Err(Error::SessionExpired))),
        }
    }

    fn step(&mut self, now: u64) {
        assert!(now >= self.now, "time goes back from {} to {now}", self.now);
        self.now = now;
        for client in self.clients.values_mut() {
            let refused = !self.server.up && !self.wire.unreachable.contains(&client.host());
            client.tick(now, &mut self.wire, refused);
        }
        while let Some(message) = self.wire.receive(now) {
            self.deliver(message);
        }
        for id in self.with_server(Server::expire_silent) {
            self.trace.push(format!("{now} session {id} expires"));
        }
        self.clients.retain(|_, client| !client.has_ended());
    }

    fn deliver(&mut self, message: Message) {
        let Message { connection, host, content } = message;
        match content {
            Content::Request(request) => {
                let loses = self.loses_response(host, &request);
                let line = self.with_server(|server, now| server.receive(now, (host, connection), request, loses));
                let now = self.now;
                self.trace.extend(line.map(|line| format!("{now} host {host} {line}")));
            }
            Content::Response(response) => {
                let mut clients = self.clients.values_mut();
                if let Some(client) = clients.find(|client| client.connection() == Some(connection)) {
                    client.receive(self.now, &mut self.wire, response);
                }
            }
        }
    }

    fn loses_response(&mut self, host: HostId, request: &Request) -> bool {
        let is_write = matches!(request, Request::Operation { operation, .. } if operation.is_write());
        is_write && (self.loses_next_response.remove(&host) || self.wire.random.chance(self.wire.faults.lost_responses))
    }

    /// Lets the servers do something and sends what they answer.
    fn with_server<T>(&mut self, action: impl FnOnce(&mut Server, u64) -> T) -> T {
        let done = action(&mut self.server, self.now);
        for (host, connection, response) in self.server.take_out() {
            self.wire.send_response(self.now, host, connection, response);
        }
        done
    }
}
