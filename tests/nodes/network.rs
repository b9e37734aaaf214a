//! The simulated network: requests and answers travel as messages, which arrive when their time has come.
//!
//! Real on both sides of it: the routers of peers and clients, bodies and headers, and everything that waits for an answer.
//! In place of TCP there are connections that are refused, cannot be opened, break, or lose what is under way until the
//! link heals.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, Response, Uri, response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http_body_util::BodyExt;
use quorapay_lab::random::Random;
use quorapay_node::coordination::{Probe, Prober};
use quorapay_node::transport::{Network, SendError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tower::ServiceExt;

/// A host, by its number: the nodes from 0 on, then the one of the clients.
pub(crate) type Host = usize;

/// The ports of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Port {
    Clients = 8080,
    Peers = 9090,
}

/// How long an attempt to open a connection lasts when nothing comes back.
const CONNECT_TIMEOUT_MS: u64 = 500;
/// How long a lost packet delays what it carried.
const RETRANSMISSION_MS: u64 = 200;

/// The URL of a host's port.
pub(crate) fn url(host: Host, port: Port) -> String {
    format!("http://node{}:{}", host + 1, port as u16)
}

fn destination(uri: &Uri) -> Option<(Host, Port)> {
    let number: usize = uri.host()?.strip_prefix("node")?.parse().ok()?;
    let port = [Port::Clients, Port::Peers].into_iter().find(|port| Some(*port as u16) == uri.port_u16())?;
    Some((number.checked_sub(1)?, port))
}

type Answer = Result<response::Parts, SendError>;
type Part = Result<Bytes, io::Error>;
/// A request that has arrived, and its connection.
type Arrived = (Request<Bytes>, ServerSide);
/// By the number of their connection.
type LastMessages = BTreeMap<u64, Vec<(Host, Message)>>;

/// What is under way on a connection.
enum Message {
    Request {
        to: (Host, Port),
        request: Box<Request<Bytes>>,
        connection: ServerSide,
    },
    Answer {
        answer: Answer,
        reply: oneshot::Sender<Answer>,
    },
    Part {
        part: Part,
        parts: mpsc::UnboundedSender<Part>,
    },
    /// Dropped when it arrives, which ends the body.
    End {
        _parts: mpsc::UnboundedSender<Part>,
    },
    /// The caller has given up.
    Cancel(Arc<OnceLock<AbortHandle>>),
}

/// What happens to messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Messages of a thousand that are delayed by a retransmission.
    pub(crate) loss_per_mille: u64,
    /// The longest usual delay.
    pub(crate) delay_ms: u64,
}

impl Weather {
    pub(crate) const FAIR: Self = Self { loss_per_mille: 0, delay_ms: 2 };
}

struct State {
    now_ms: u64,
    random: Random,
    sequence: u64,
    /// By the time of arrival.
    under_way: BTreeMap<(u64, u64), Message>,
    /// What a cut link holds back.
    held: Vec<(Host, Host, Message)>,
    /// The tasks that take requests. A port without one is closed.
    listening: BTreeMap<(Host, Port), mpsc::UnboundedSender<Arrived>>,
    /// Directions in which nothing passes.
    cut: BTreeSet<(Host, Host)>,
    /// Directions in which no new connection can be opened.
    closed: BTreeSet<(Host, Host)>,
    /// Hosts with kept-alive connections to others.
    connected: BTreeSet<(Host, Host)>,
    weather: Weather,
    /// The host whose process is ending, and what its connections send, by their numbers.
    dying: Option<(Host, LastMessages)>,
    connections: u64,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimNetwork(Arc<Mutex<State>>);

impl SimNetwork {
    pub(crate) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(State {
            now_ms: 0,
            random,
            sequence: 0,
            under_way: BTreeMap::new(),
            held: Vec::new(),
            listening: BTreeMap::new(),
            cut: BTreeSet::new(),
            closed: BTreeSet::new(),
            connected: BTreeSet::new(),
            weather: Weather::FAIR,
            dying: None,
            connections: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what is due.
    pub(crate) fn step(&self, now_ms: u64) {
        let mut due = {
            let mut state = self.state();
            state.now_ms = now_ms;
            let later = state.under_way.split_off(&(now_ms + 1, 0));
            std::mem::replace(&mut state.under_way, later)
        };
        // Without the lock: what is delivered may send.
        while let Some((_, message)) = due.pop_first() {
            self.deliver(message);
        }
    }

    fn deliver(&self, message: Message) {
        match message {
            Message::Request { to, request, connection } => {
                let listening = self.state().listening.get(&to).cloned();
                match listening {
                    Some(port) => drop(port.send((*request, connection))),
                    None => connection.refuse(),
                }
            }
            // A receiver that is gone has given up.
            Message::Answer { answer, reply } => drop(reply.send(answer)),
            Message::Part { part, parts } => drop(parts.send(part)),
            Message::End { .. } => {}
            Message::Cancel(handler) => {
                if let Some(handler) = handler.get() {
                    handler.abort();
                }
            }
        }
    }

    /// Lets nothing pass in one direction.
    pub(crate) fn cut(&self, from: Host, to: Host) {
        self.state().cut.insert((from, to));
    }

    /// Lets no connection be opened in one direction, and breaks those that are open.
    pub(crate) fn close(&self, from: Host, to: Host) {
        let mut state = self.state();
        state.closed.insert((from, to));
        state.connected.remove(&(from, to));
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Ends every fault of the network. What the cut links held back arrives after all.
    pub(crate) fn heal(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.closed.clear();
        state.weather = Weather::FAIR;
        for (from, to, message) in std::mem::take(&mut state.held) {
            state.send(from, to, 0, message);
        }
    }

    /// Ends the process of a host: its ports are closed, and its connections break when `end` drops its tasks. They are
    /// dropped in no order, so their connections break in the order in which they were opened.
    pub(crate) fn dies(&self, host: Host, end: impl FnOnce()) {
        let mut state = self.state();
        state.listening.retain(|(owner, _), _| *owner != host);
        state.connected.retain(|(from, to)| *from != host && *to != host);
        state.dying = Some((host, BTreeMap::new()));
        drop(state);
        end();
        let mut state = self.state();
        let (_, messages) = state.dying.take().expect("only one dies at a time");
        for (to, message) in messages.into_values().flatten() {
            state.send(host, to, 0, message);
        }
    }

    /// Drops everything under way, at the end of a run: connections refer to the network, and the network to them.
    pub(crate) fn clear(&self) {
        loop {
            let mut state = self.state();
            state.cut.clear();
            let dropped = (std::mem::take(&mut state.under_way), std::mem::take(&mut state.held));
            let listening = std::mem::take(&mut state.listening);
            drop(state);
            if dropped.0.is_empty() && dropped.1.is_empty() && listening.is_empty() {
                return;
            }
        }
    }

    /// The network as this host sees it.
    pub(crate) fn at(&self, host: Host) -> HostNetwork {
        HostNetwork { network: self.clone(), host }
    }
}

impl State {
    /// Whether a connection can be opened now: that takes messages in both directions.
    fn opens(&self, from: Host, to: (Host, Port)) -> Result<(), SendError> {
        if self.closed.contains(&(from, to.0)) || self.cut.contains(&(from, to.0)) || self.cut.contains(&(to.0, from)) {
            Err(SendError::Unreachable)
        } else if self.listening.contains_key(&to) {
            Ok(())
        } else {
            Err(SendError::Refused)
        }
    }

    /// Sends a message of a connection.
    fn send_on(&mut self, connection: u64, (from, to): (Host, Host), earliest: u64, message: Message) -> u64 {
        match &mut self.dying {
            Some((host, messages)) if *host == from => {
                messages.entry(connection).or_default().push((to, message));
                earliest
            }
            _ => self.send(from, to, earliest, message),
        }
    }

    /// Sends a message; returns when it arrives. It arrives not before `earliest`: a connection keeps the order.
    fn send(&mut self, from: Host, to: Host, earliest: u64, message: Message) -> u64 {
        let lost = self.random.chance(self.weather.loss_per_mille);
        let delay = 1 + self.random.below(self.weather.delay_ms) + if lost { RETRANSMISSION_MS } else { 0 };
        let at = earliest.max(self.now_ms + delay);
        if self.cut.contains(&(from, to)) {
            self.held.push((from, to, message));
        } else {
            self.arrives(at, message);
        }
        at
    }

    fn arrives(&mut self, at: u64, message: Message) {
        self.sequence += 1;
        self.under_way.insert((at, self.sequence), message);
    }
}

/// The network as one host sees it.
#[derive(Clone)]
pub(crate) struct HostNetwork {
    network: SimNetwork,
    host: Host,
}

impl HostNetwork {
    /// Answers the requests at one of this host's ports.
    pub(crate) fn listen(&self, port: Port, router: Router) -> BoxFuture<'static, io::Result<()>> {
        let (sender, mut arrived) = mpsc::unbounded_channel();
        self.network.state().listening.insert((self.host, port), sender);
        Box::pin(async move {
            while let Some((request, connection)) = arrived.recv().await {
                let handler = Arc::clone(&connection.handler);
                let task = tokio::spawn(handle(router.clone(), request, connection));
                let _ = handler.set(task.abort_handle());
            }
            Ok(())
        })
    }
}

impl Network for HostNetwork {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, SendError>> {
        let Some(to) = destination(request.uri()) else { return Box::pin(async { Err(SendError::Unreachable) }) };
        let (reply, answer) = oneshot::channel();
        let (parts, body) = mpsc::unbounded_channel();
        let handler = Arc::new(OnceLock::new());
        let network = self.network.clone();
        let (client, server) = (self.host, to.0);
        let mut state = network.state();
        state.connections += 1;
        let number = state.connections;
        let connection = ServerSide {
            network: network.clone(),
            number,
            client,
            server,
            handler: Arc::clone(&handler),
            reply: Some(reply),
            parts: Some(parts),
            sent_until: 0,
        };
        let opens = !state.connected.contains(&(client, server));
        if opens && state.opens(client, to) == Err(SendError::Unreachable) {
            let at = state.now_ms + CONNECT_TIMEOUT_MS;
            let message = connection.never_opened();
            state.arrives(at, message);
        } else {
            state.connected.insert((client, server));
            state.send(client, server, 0, Message::Request { to, request: Box::new(request), connection });
        }
        drop(state);
        let caller = ClientSide { network: self.network.clone(), number, client, server, handler, finished: false };
        Box::pin(receive(caller, answer, body))
    }

    fn reach(&self, url: &str) -> BoxFuture<'static, Result<(), SendError>> {
        let to = url.parse().ok().as_ref().and_then(destination);
        let (network, host) = (self.network.clone(), self.host);
        Box::pin(async move {
            let to = to.ok_or(SendError::Unreachable)?;
            let opened = network.state().opens(host, to);
            let takes = if opened == Err(SendError::Unreachable) { CONNECT_TIMEOUT_MS } else { 1 };
            tokio::time::sleep(Duration::from_millis(takes)).await;
            opened
        })
    }

    fn serve(&self, router: Router) -> BoxFuture<'static, io::Result<()>> {
        self.listen(Port::Peers, router)
    }
}

impl Prober for HostNetwork {
    fn probe<'a>(&'a self, peer_url: &'a str) -> BoxFuture<'a, Probe> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let Some(to) = peer_url.parse().ok().as_ref().and_then(destination) else { return Probe::Silent };
            match self.network.state().opens(self.host, to) {
                Ok(()) => Probe::Alive,
                Err(SendError::Refused) => Probe::Dead,
                Err(_) => Probe::Silent,
            }
        })
    }
}

async fn receive(
    mut caller: ClientSide,
    answer: oneshot::Receiver<Answer>,
    body: mpsc::UnboundedReceiver<Part>,
) -> Result<Response<Body>, SendError> {
    // The other side never drops a reply without an answer.
    let answer = answer.await.unwrap_or(Err(SendError::Broken));
    if answer.is_err() {
        caller.finish(false);
    }
    let parts = stream::unfold((caller, body), |(mut caller, mut body)| async move {
        match body.recv().await {
            Some(part) => Some((part, (caller, body))),
            None => {
                caller.finish(true);
                None
            }
        }
    });
    Ok(Response::from_parts(answer?, Body::from_stream(parts)))
}

async fn handle(router: Router, request: Request<Bytes>, mut connection: ServerSide) {
    let (mut head, body) = request.into_parts();
    // A server sees the path only.
    if let Some(path) = head.uri.path_and_query().cloned() {
        head.uri = Uri::from(path);
    }
    let response = router.oneshot(Request::from_parts(head, Body::from(body))).await;
    let (head, mut body) = response.unwrap_or_else(|never| match never {}).into_parts();
    connection.answer(Ok(head));
    while let Some(frame) = body.frame().await {
        // An error breaks the connection.
        let Ok(frame) = frame else { return };
        if let Ok(data) = frame.into_data() {
            connection.part(Ok(data));
        }
    }
    connection.end();
}

/// The caller's side of a request. If it is dropped before the end, the request is given up.
struct ClientSide {
    network: SimNetwork,
    number: u64,
    client: Host,
    server: Host,
    handler: Arc<OnceLock<AbortHandle>>,
    finished: bool,
}

impl ClientSide {
    fn finish(&mut self, connection_stays: bool) {
        self.finished = true;
        if !connection_stays {
            self.network.state().connected.remove(&(self.client, self.server));
        }
    }
}

impl Drop for ClientSide {
    fn drop(&mut self) {
        if !self.finished {
            let mut state = self.network.state();
            state.connected.remove(&(self.client, self.server));
            let message = Message::Cancel(Arc::clone(&self.handler));
            state.send_on(self.number, (self.client, self.server), 0, message);
        }
    }
}

/// The server's side of a request. If it is dropped before the end, the connection breaks: that is how a process dies.
struct ServerSide {
    network: SimNetwork,
    number: u64,
    client: Host,
    server: Host,
    handler: Arc<OnceLock<AbortHandle>>,
    reply: Option<oneshot::Sender<Answer>>,
    parts: Option<mpsc::UnboundedSender<Part>>,
    /// When the last message of this answer arrives.
    sent_until: u64,
}

impl ServerSide {
    fn send(&mut self, message: Message) {
        let way = (self.server, self.client);
        self.sent_until = self.network.state().send_on(self.number, way, self.sent_until, message);
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(reply) = self.reply.take() {
            self.send(Message::Answer { answer, reply });
        }
    }

    fn part(&mut self, part: Part) {
        if let Some(parts) = self.parts.clone() {
            self.send(Message::Part { part, parts });
        }
    }

    fn end(&mut self) {
        if let Some(parts) = self.parts.take() {
            self.send(Message::End { _parts: parts });
        }
    }

    fn refuse(mut self) {
        self.answer(Err(SendError::Refused));
        self.end();
    }

    /// The answer to a caller that could open no connection.
    fn never_opened(mut self) -> Message {
        self.parts = None;
        let reply = self.reply.take().expect("nothing was answered yet");
        Message::Answer { answer: Err(SendError::Unreachable), reply }
    }
}

impl Drop for ServerSide {
    fn drop(&mut self) {
        if self.reply.is_some() {
            self.answer(Err(SendError::Broken));
        } else {
            self.part(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.end();
    }
}
