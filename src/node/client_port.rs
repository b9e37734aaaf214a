//! The port for clients: accepts connections and serves them, on the loop's own thread or on several others.
//!
//! One acceptor hands the connections to the threads in turn. With a socket for each thread (`SO_REUSEPORT`), the kernel
//! would choose the thread by a hash of the addresses: a few kept-alive connections would be spread unevenly for as long
//! as they live, and closing such a socket resets the connections that wait in it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use axum::serve::Listener;
use futures_util::future::{join_all, select_all};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::counted::{Counted, OpenConnections};
use crate::http::ClientApi;
use crate::port::without_delay;
use crate::published::Watched;
use crate::runtime::NodeHandle;

/// Connections that may wait for one thread.
const HANDED_CONNECTIONS: usize = 256;

/// A connection on its way to the thread that serves it.
type Handed = (std::net::TcpStream, SocketAddr);

/// Serves clients until `stopping` is true and their requests are answered. `threads` is how many threads do so besides
/// this one; with 0 this one does. `open` counts their connections. Dropping the future closes the connections of the other threads.
///
/// # Errors
/// Why a thread cannot start or ended by itself.
pub(crate) async fn serve_clients(
    listener: TcpListener,
    threads: usize,
    node: NodeHandle,
    api: ClientApi,
    (open, stopping): (OpenConnections, Watched<bool>),
) -> io::Result<()> {
    if threads == 0 {
        let router = api.router(node);
        return axum::serve(Counted::new(without_delay(listener), open), router)
            .with_graceful_shutdown(stop(stopping))
            .await;
    }
    let (address, api) = (listener.local_addr()?, Arc::new(api));
    let start = |number| Server::start(number, address, (&node, &api), &open, &stopping);
    let mut servers = (1..=threads).map(start).collect::<io::Result<Vec<_>>>()?;
    let queues = servers.iter().map(|server| server.connections.clone()).collect();
    tokio::select! {
        biased;
        () = stop(stopping.clone()) => {}
        // It runs for as long as the node does.
        (ended, ..) = select_all(servers.iter_mut().map(|server| &mut server.ended)) => return result(ended),
        () = accept(listener, queues) => {}
    }
    // The port is closed. Each thread ends when its last request is answered.
    let ended = join_all(servers.iter_mut().map(|server| &mut server.ended)).await;
    ended.into_iter().try_for_each(result)
}

async fn stop(stopping: Watched<bool>) {
    // A publisher that is gone means the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn result(ended: Result<io::Result<()>, oneshot::error::RecvError>) -> io::Result<()> {
    ended.unwrap_or_else(|_| Err(io::Error::other("a thread that served clients panicked")))
}

/// Hands each connection to the next thread that has room for it.
async fn accept(listener: TcpListener, queues: Vec<mpsc::Sender<Handed>>) {
    let mut listener = without_delay(listener);
    for number in (0..queues.len()).cycle() {
        let (stream, address) = Listener::accept(&mut listener).await;
        // One that cannot be handed over is closed, as one that cannot be accepted.
        let Ok(stream) = stream.into_std() else { continue };
        let mut all = queues[number..].iter().chain(&queues[..number]);
        let free = all.find_map(|queue| queue.try_reserve().ok());
        match free {
            Some(place) => place.send((stream, address)),
            // While all threads are that far behind, the next connections wait in the port's own queue.
            None if queues[number].send((stream, address)).await.is_err() => return,
            None => {}
        }
    }
}

/// A thread that serves clients.
struct Server {
    connections: mpsc::Sender<Handed>,
    ended: oneshot::Receiver<io::Result<()>>,
    /// Dropped with this: the thread ends then, whatever it does.
    _alive: oneshot::Sender<()>,
    _thread: JoinHandle<()>,
}

impl Server {
    fn start(
        number: usize,
        address: SocketAddr,
        (node, api): (&NodeHandle, &Arc<ClientApi>),
        open: &OpenConnections,
        stopping: &Watched<bool>,
    ) -> io::Result<Self> {
        let (connections, handed) = mpsc::channel(HANDED_CONNECTIONS);
        let (ended_sender, ended) = oneshot::channel();
        let (alive, abandoned) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (node, api, open, stopping) = (node.clone(), Arc::clone(api), open.clone(), stopping.clone());
        let run = move || {
            let served = runtime.block_on(async {
                let router = api.router(node.for_other_thread());
                let listener = Counted::new(HandedOver { connections: handed, address }, open);
                tokio::select! {
                    served = axum::serve(listener, router).with_graceful_shutdown(stop(stopping)) => served,
                    _ = abandoned => Ok(()),
                }
            });
            runtime.shutdown_background();
            // Nobody waits for the end of a thread that was abandoned.
            let _ = ended_sender.send(served);
        };
        let thread = Builder::new().name(format!("http-{number}")).spawn(run)?;
        Ok(Self { connections, ended, _alive: alive, _thread: thread })
    }
}

/// The connections that the acceptor hands to a thread.
struct HandedOver {
    connections: mpsc::Receiver<Handed>,
    address: SocketAddr,
}

impl Listener for HandedOver {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        while let Some((stream, address)) = self.connections.recv().await {
            // One that this thread cannot watch is closed.
            if let Ok(stream) = TcpStream::from_std(stream) {
                return (stream, address);
            }
        }
        // The port is closed; the thread ends with its last connection.
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
