//! Accepts connections and serves each in a task of its own.

use std::io;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::connection::serve_connection;
use super::pace::Pace;
use super::places::{Place, Places};
use crate::published::Watched;
use crate::tls::Sealing;

/// Wait after the system refused a connection for want of memory or files. No event tells when it has some again.
const RETRY_ACCEPT: Duration = Duration::from_millis(100);

/// Interval between two lines in the log that say the same.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// How the connections of a port are served.
#[derive(Clone)]
pub(crate) struct Terms {
    /// What is expected of the other side.
    pub(crate) pace: Pace,
    /// How they are sealed; `None` for plain HTTP.
    pub(crate) sealing: Option<Sealing>,
}

/// A connection and its place.
pub(crate) struct Accepted {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// Kept as long as the connection.
    pub(crate) place: Place,
}

/// Where connections come from.
pub(crate) trait Connections {
    /// The next connection. Dropping the future loses none.
    fn next(&mut self) -> impl Future<Output = Accepted> + Send;
}

/// A port with a bounded number of connections.
pub(crate) struct Port {
    listener: TcpListener,
    places: Places,
    /// When it was last said that something is short.
    warned: Option<Instant>,
}

impl Port {
    /// A port at which this listener waits.
    pub(crate) const fn new(listener: TcpListener, places: Places) -> Self {
        Self { listener, places, warned: None }
    }

    fn warn(&mut self, why: &str) {
        if self.warned.is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL) {
            self.warned = Some(Instant::now());
            let port = self.listener.local_addr().ok().map(|address| address.port());
            tracing::warn!(port, open = self.places.open(), refused = self.places.refused(), "{why}");
        }
    }
}

impl Connections for Port {
    async fn next(&mut self) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => match self.places.take(address.ip()) {
                    Some(place) => {
                        // Nagle's algorithm would delay small answers. A connection that cannot be set is slow, not wrong.
                        let _ = stream.set_nodelay(true);
                        return Accepted { stream, place };
                    }
                    None => {
                        self.warn("connections are closed at once: the port, or one address, has as many as it may");
                    }
                },
                // It was gone before it was accepted.
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    self.warn(&format!("no connection can be accepted: {error}"));
                    sleep(RETRY_ACCEPT).await;
                }
            }
        }
    }
}

fn is_of_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves connections until `stopping` is true and their requests are answered. Dropping the future closes them.
pub(crate) async fn serve(mut connections: impl Connections, router: Router, terms: Terms, stopping: Watched<bool>) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop(stopping.clone()) => break,
            Some(_) = tasks.join_next() => {}
            Accepted { stream, place } = connections.next() => {
                let served = serve_connection(stream, router.clone(), terms.clone(), stopping.clone());
                tasks.spawn(async move {
                    served.await;
                    drop(place);
                });
            }
        }
    }
    // The port closes.
    drop(connections);
    while tasks.join_next().await.is_some() {}
}

/// Completes when the node stops.
pub(crate) async fn stop(stopping: Watched<bool>) {
    // A publisher that is gone means the same.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
