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
const LONGEST_PAUSE: Duration = Duration::from_millis(1_000);

/// How often new connections are tried while the old one stands: a link may carry old connections and no new ones, or
/// nothing at all in one direction, and neither ends a connection that is silent.
const REACH_EVERY: Duration = Duration::from_millis(500);

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
            client.reaches(peer).await
        };
        let reaches = tokio::select! {
            biased;
            () = ends(connection) => return true,
            reaches = try_another => reaches,
        };
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
