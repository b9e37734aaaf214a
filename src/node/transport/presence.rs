//! Presence: an idle connection to every peer. When a process dies, its kernel closes the connection within a
//! millisecond; that the port then refuses a new one makes the death certain. That no connection can be opened for
//! another reason shows that the network is broken, perhaps in this direction only.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use quorapay_core::replication::NodeId;

use super::client::PeerClient;
use super::network::SendError;

/// How often new connections are tried while the old one stands: a link may carry old connections and no new ones, or
/// nothing at all in one direction, and neither ends a connection that is silent. An attempt in vain takes longer, and the
/// next one follows at once.
const REACH_EVERY: Duration = Duration::from_millis(250);

/// Without a connection, the time between the beginnings of two attempts doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A peer that accepts connections sends the head of its answer within this time, or is asked again.
const HEAD_TIMEOUT: Duration = Duration::from_millis(500);

/// News about a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerNotice {
    /// Its process is gone.
    Gone(NodeId),
    /// A connection to it was opened, after some that could not be.
    Reachable(NodeId),
    /// No connection to it can be opened.
    Unreachable(NodeId),
}

/// Keeps a connection to `peer` and reports each time its process is gone, and whether it can be reached. Ends when the
/// receiver is dropped.
pub async fn watch_presence(client: PeerClient, peer: NodeId, notices: mpsc::Sender<PeerNotice>) {
    let mut known = Known { peer, notices, gone: false, unreachable: false };
    let mut connection = None;
    let (mut attempt_at, mut pause) = (Instant::now(), FIRST_PAUSE);
    loop {
        let attempt = async {
            sleep_until(attempt_at).await;
            (Instant::now(), client.reach(&known.peer).await)
        };
        let (began, reached) = tokio::select! {
            biased;
            () = ends(&mut connection) => {
                (connection, attempt_at, pause) = (None, Instant::now(), FIRST_PAUSE);
                continue;
            }
            () = known.notices.closed() => return,
            attempted = attempt => attempted,
        };
        if known.report(reached).await.is_err() {
            return;
        }
        if reached == Err(SendError::Refused) {
            // The old connection may not know yet that its process is gone.
            connection = None;
        } else if reached.is_ok() && connection.is_none() {
            let opened = timeout(HEAD_TIMEOUT, client.presence(&known.peer)).await;
            connection = opened.ok().and_then(Result::ok);
        }
        if connection.is_some() {
            (attempt_at, pause) = (began + REACH_EVERY, FIRST_PAUSE);
        } else {
            (attempt_at, pause) = (began + pause, (pause * 2).min(LONGEST_PAUSE));
        }
    }
}

/// What was reported about a peer.
struct Known {
    peer: NodeId,
    notices: mpsc::Sender<PeerNotice>,
    gone: bool,
    unreachable: bool,
}

impl Known {
    /// Reports what an attempt to connect shows, if it is new. An error once nobody listens.
    async fn report(&mut self, reached: Result<(), SendError>) -> Result<(), mpsc::error::SendError<PeerNotice>> {
        if reached.is_err() != self.unreachable {
            self.unreachable = reached.is_err();
            let notice = if self.unreachable { PeerNotice::Unreachable } else { PeerNotice::Reachable };
            self.notices.send(notice(self.peer.clone())).await?;
        }
        let gone = match reached {
            Ok(()) => false,
            Err(SendError::Refused) => true,
            Err(SendError::Unreachable | SendError::Broken) => self.gone,
        };
        if gone && !self.gone {
            self.notices.send(PeerNotice::Gone(self.peer.clone())).await?;
        }
        self.gone = gone;
        Ok(())
    }
}

/// Waits until a connection ends; without one, for ever. Its body is empty; it ends with the process or the connection.
async fn ends(connection: &mut Option<Body>) {
    match connection {
        Some(body) => while let Some(Ok(_)) = body.frame().await {},
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::transport::{HttpNetwork, PeerIdentity};

    /// The kernel drops every attempt to connect to a port whose queue is full, as a broken network does.
    async fn fill_queue(address: std::net::SocketAddr) -> Vec<TcpStream> {
        let mut waiting = Vec::new();
        while let Ok(connected) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            waiting.push(connected.unwrap());
        }
        waiting
    }

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    /// Watches a peer at this address.
    fn watch(address: std::net::SocketAddr) -> (JoinHandle<()>, mpsc::Receiver<PeerNotice>) {
        let identity = PeerIdentity {
            cluster_id: "test".to_owned(),
            node_id: node("node1"),
            secret: None,
            peers: BTreeMap::from([(node("node2"), format!("http://{address}"))]),
        };
        let client = PeerClient::new(Arc::new(identity), Arc::new(HttpNetwork::only_sending()));
        let (notices, noticed) = mpsc::channel(8);
        (tokio::spawn(watch_presence(client, node("node2"), notices)), noticed)
    }

    /// The next connection that brings a request, unlike attempts to connect, which bring nothing.
    async fn next_request(listener: &TcpListener) -> TcpStream {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            if connection.read(&mut [0; 1_024]).await.is_ok_and(|bytes| bytes > 0) {
                return connection;
            }
        }
    }

    #[tokio::test]
    async fn a_peer_that_does_not_answer_is_asked_again_over_a_new_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (watching, mut noticed) = watch(listener.local_addr().unwrap());
        let _silent = timeout(Duration::from_secs(10), next_request(&listener)).await.expect("it is asked");
        let _again = timeout(Duration::from_secs(10), next_request(&listener)).await.expect("it is asked again");
        assert!(noticed.try_recv().is_err(), "connections can be opened, and nobody is gone");
        drop(listener);
        let next = timeout(Duration::from_secs(10), noticed.recv()).await.expect("it is noticed");
        assert_eq!(next, Some(PeerNotice::Unreachable(node("node2"))));
        let next = timeout(Duration::from_secs(10), noticed.recv()).await.expect("it is noticed");
        assert_eq!(next, Some(PeerNotice::Gone(node("node2"))));
        watching.abort();
    }

    #[tokio::test]
    async fn a_peer_that_accepts_no_new_connection_is_unreachable_though_an_old_one_stays_open() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let (watching, mut noticed) = watch(address);
        let mut presence = next_request(&listener).await;
        presence.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        let waiting = fill_queue(address).await;
        let next = timeout(Duration::from_secs(10), noticed.recv()).await.expect("it is noticed");
        assert_eq!(next, Some(PeerNotice::Unreachable(node("node2"))));
        drop(waiting);
        let accepting = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let next = timeout(Duration::from_secs(10), noticed.recv()).await.expect("it is noticed");
        assert_eq!(next, Some(PeerNotice::Reachable(node("node2"))));
        accepting.abort();
        watching.abort();
    }
}
