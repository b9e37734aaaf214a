//! The port for clients: accepts connections and serves them, on the loop's own thread or on several others.
//!
//! One acceptor hands the connections to the threads in turn. With a socket for each thread (`SO_REUSEPORT`), the kernel
//! would choose the thread by a hash of the addresses: a few kept-alive connections would be spread unevenly for as long
//! as they live, and closing such a socket resets the connections that wait in it.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use futures_util::future::{join_all, select_all};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::http::ClientApi;
use crate::port::{Accepted, Connections, Place, Port, Terms, serve, stop};
use crate::published::Watched;
use crate::runtime::NodeHandle;

/// Connections that may wait for one thread.
const HANDED_CONNECTIONS: usize = 256;

/// A connection on its way to the thread that serves it, and its place.
type Handed = (std::net::TcpStream, Place);

/// Serves clients until `stopping` is true and their requests are answered. `threads` is how many threads do so besides
/// this one; with 0 this one does. Dropping the future closes the connections of the other threads.
///
/// # Errors
/// Why a thread cannot start or ended by itself.
pub(crate) async fn serve_clients(
    port: Port,
    threads: usize,
    node: NodeHandle,
    api: ClientApi,
    terms: Terms,
    stopping: Watched<bool>,
) -> io::Result<()> {
    if threads == 0 {
        serve(port, api.router(node), terms, stopping).await;
        return Ok(());
    }
    let api = Arc::new(api);
    let start = |number| Server::start(number, &node, &api, &terms, &stopping);
    let mut servers = (1..=threads).map(start).collect::<io::Result<Vec<_>>>()?;
    let queues = servers.iter().map(|server| server.connections.clone()).collect();
    tokio::select! {
        biased;
        () = stop(stopping.clone()) => {}
        // It runs for as long as the node does.
        (ended, ..) = select_all(servers.iter_mut().map(|server| &mut server.ended)) => return result(ended),
        () = accept(port, queues) => {}
    }
    // The port is closed. Each thread ends when its last request is answered.
    let ended = join_all(servers.iter_mut().map(|server| &mut server.ended)).await;
    ended.into_iter().try_for_each(result)
}

fn result(ended: Result<(), oneshot::error::RecvError>) -> io::Result<()> {
    ended.map_err(|_| io::Error::other("a thread that served clients panicked"))
}

/// Hands each connection to the next thread that has room for it.
async fn accept(mut port: Port, queues: Vec<mpsc::Sender<Handed>>) {
    for number in (0..queues.len()).cycle() {
        let Accepted { stream, place } = port.next().await;
        // One that cannot be handed over is closed, as one that cannot be accepted.
        let Ok(stream) = stream.into_std() else { continue };
        let mut all = queues[number..].iter().chain(&queues[..number]);
        let free = all.find_map(|queue| queue.try_reserve().ok());
        match free {
            Some(room) => room.send((stream, place)),
            // While all threads are that far behind, the next connections wait in the port's own queue.
            None if queues[number].send((stream, place)).await.is_err() => return,
            None => {}
        }
    }
}

/// A thread that serves clients.
struct Server {
    connections: mpsc::Sender<Handed>,
    ended: oneshot::Receiver<()>,
    /// Dropped with this: the thread ends then, whatever it does.
    _alive: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Server {
    fn start(
        number: usize,
        node: &NodeHandle,
        api: &Arc<ClientApi>,
        terms: &Terms,
        stopping: &Watched<bool>,
    ) -> io::Result<Self> {
        let (connections, handed) = mpsc::channel(HANDED_CONNECTIONS);
        let (ended_sender, ended) = oneshot::channel();
        let (alive, abandoned) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (node, api, terms, stopping) = (node.clone(), Arc::clone(api), terms.clone(), stopping.clone());
        let run = move || {
            runtime.block_on(async {
                let router = api.router(node.for_other_thread());
                tokio::select! {
                    () = serve(HandedOver { connections: handed }, router, terms, stopping) => {}
                    _ = abandoned => {}
                }
            });
            runtime.shutdown_background();
            // Nobody waits for the end of a thread that was abandoned.
            let _ = ended_sender.send(());
        };
        let thread = Builder::new().name(format!("http-{number}")).spawn(run)?;
        Ok(Self { connections, ended, _alive: alive, _thread: thread })
    }
}

/// The connections that the acceptor hands to a thread.
struct HandedOver {
    connections: mpsc::Receiver<Handed>,
}

impl Connections for HandedOver {
    async fn next(&mut self) -> Accepted {
        while let Some((stream, place)) = self.connections.recv().await {
            // One that this thread cannot watch is closed.
            if let Ok(stream) = TcpStream::from_std(stream) {
                return Accepted { stream, place };
            }
        }
        // The port is closed; the thread ends with its last connection.
        std::future::pending().await
    }
}
