//! Who is there: a connection to every peer that carries nothing. When a process dies its kernel closes the connection
//! within a millisecond; that the port then refuses a new one makes it certain.

use std::error::Error;
use std::io;
use std::time::Duration;

use tokio::sync::mpsc;

use quorapay_core::replication::NodeId;

use super::client::PeerClient;

const FIRST_RETRY: Duration = Duration::from_millis(20);
const LAST_RETRY: Duration = Duration::from_millis(1_000);

/// Keeps a connection to `peer` and reports each time its process is found gone. Ends when the receiver is dropped.
pub async fn watch_presence(client: PeerClient, peer: NodeId, gone: mpsc::Sender<NodeId>) {
    let mut retry = FIRST_RETRY;
    let mut reported = false;
    loop {
        match client.presence(&peer).await {
            Ok(mut connection) => {
                retry = FIRST_RETRY;
                reported = false;
                // The body never carries anything; it ends with the process or the connection.
                while let Ok(Some(_)) = connection.chunk().await {}
                continue;
            }
            Err(error) if is_refused(&error) && !reported => {
                reported = true;
                if gone.send(peer.clone()).await.is_err() {
                    return;
                }
            }
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(retry) => retry = (retry * 2).min(LAST_RETRY),
            () = gone.closed() => return,
        }
    }
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if current.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = current.source();
    }
    false
}
