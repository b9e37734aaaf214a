//! Presence: an idle connection to every peer. When a process dies, its kernel closes the connection within a
//! millisecond; that the port then refuses a new one makes the death certain. That no connection can be opened for
//! another reason shows that the network is broken, perhaps in this direction only.

use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use quorapay_core::replication::NodeId;

use super::client::PeerClient;
use super::network::SendError;

/// The pause between attempts to connect doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often new connections are tried while the old one stands: a link may carry old connections and no new ones, or
/// nothing at all in one direction, and neither ends a connection that is silent.
const REACH_EVERY: Duration = Duration::from_millis(300);

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
    let mut pause = FIRST_PAUSE;
    let (mut reported, mut unreachable) = (false, false);
    loop {
        let opened = client.presence(&peer).await;
        if opened.is_err() != unreachable {
            unreachable = opened.is_err();
            let notice = if unreachable { PeerNotice::Unreachable } else { PeerNotice::Reachable };
            if notices.send(notice(peer.clone())).await.is_err() {
                return;
            }
        }
        match opened {
            Ok(mut connection) => {
                pause = FIRST_PAUSE;
                reported = false;
                if !keep(&client, &peer, &mut connection, &mut unreachable, &notices).await {
                    return;
                }
                continue;
            }
            Err(SendError::Refused) if !reported => {
                reported = true;
                if notices.send(PeerNotice::Gone(peer.clone())).await.is_err() {
                    return;
                }
            }
            Err(_) => {}
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            () = notices.closed() => return,
        }
    }
}

/// Watches an open connection until it ends, and meanwhile whether others could be opened. False once nobody listens.
async fn keep(
    client: &PeerClient,
    peer: &NodeId,
    connection: &mut Body,
    unreachable: &mut bool,
    notices: &mpsc::Sender<PeerNotice>,
) -> bool {
    loop {
        let try_another = async {
            tokio::time::sleep(REACH_EVERY).await;
            client.reach(peer).await
        };
        let tried = tokio::select! {
            biased;
            () = ends(connection) => return true,
            () = notices.closed() => return false,
            tried = try_another => tried,
        };
        if tried == Err(SendError::Refused) {
            // Its process is gone, and the old connection does not know it yet.
            return true;
        }
        let reaches = tried.is_ok();
        if reaches == *unreachable {
            *unreachable = !reaches;
            let notice = if reaches { PeerNotice::Reachable } else { PeerNotice::Unreachable };
            if notices.send(notice(peer.clone())).await.is_err() {
                return false;
            }
        }
    }
}

/// Waits until a connection ends. Its body is empty; it ends with the process or the connection.
async fn ends(connection: &mut Body) {
    while let Some(Ok(_)) = connection.frame().await {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpSocket, TcpStream};
    use tokio::time::timeout;

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

    #[tokio::test]
    async fn a_peer_that_accepts_no_new_connection_is_unreachable_though_an_old_one_stays_open() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let node = |id: &str| NodeId::parse(id).unwrap();
        let identity = PeerIdentity {
            cluster_id: "test".to_owned(),
            node_id: node("node1"),
            secret: None,
            peers: BTreeMap::from([(node("node2"), format!("http://{address}"))]),
        };
        let client = PeerClient::new(Arc::new(identity), Arc::new(HttpNetwork::new(None)));
        let (notices, mut noticed) = mpsc::channel(8);
        let watching = tokio::spawn(watch_presence(client, node("node2"), notices));
        let (mut presence, _) = listener.accept().await.unwrap();
        let _ = presence.read(&mut [0; 1_024]).await.unwrap();
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
