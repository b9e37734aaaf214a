//! Peers talk HTTP on their own port: kept-alive connections, compact binary bodies, a shared secret.
//!
//! | path | body → answer | what |
//! |---|---|---|
//! | `POST /peer/rpc` | one request of the protocol → one response | replication, elections, read indexes |
//! | `POST /peer/propose` | a batch of proposals → what became of each | client writes, one hop to the leader |
//! | `POST /peer/transfer` | the successor wanted → whether it was begun | leader transfer asked of another node |
//! | `GET /peer/status` | → JSON | a node's account of itself |
//! | `GET /peer/presence` | → a body that never ends | its end tells that the process is gone |
//!
//! Every request carries the cluster's id, the sender's id and, where one is set, the cluster secret; anything else is
//! refused. This module does not know what the messages mean: a [`PeerService`] answers them.

mod client;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod outcome;
mod presence;
mod server;
mod wire;

pub use client::{PeerClient, PeerError};
pub use outcome::{CommittedWrite, WriteOutcome};
pub use presence::watch_presence;
pub use server::{PeerServer, PeerService, Stopped, peer_router};

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use quorapay_core::replication::NodeId;

const CLUSTER_HEADER: &str = "quorapay-cluster";
const FROM_HEADER: &str = "quorapay-from";
const SECRET_HEADER: &str = "quorapay-secret";

/// Largest body that one peer takes from another. The heaviest entry fits: a batch of 10,000 payments, each with 4 KiB of
/// metadata, 500 characters of description and the longest names, takes 67 MB.
const MAX_PEER_BODY_BYTES: usize = 96 * 1024 * 1024;

/// Who a node is to its peers and who they are to it.
#[derive(Clone)]
pub struct PeerIdentity {
    /// This node.
    pub node_id: NodeId,
    /// The cluster: a node of another one is refused.
    pub cluster_id: String,
    /// The secret that all nodes share, if one is set. Never logged.
    pub secret: Option<Arc<str>>,
    /// Where every node of the cluster is reached by its peers.
    pub peers: BTreeMap<NodeId, String>,
}

impl PeerIdentity {
    /// Compares in a time that does not depend on where the difference is.
    fn secret_matches(&self, offered: Option<&[u8]>) -> bool {
        match &self.secret {
            None => true,
            Some(secret) => offered.is_some_and(|offered| bool::from(offered.ct_eq(secret.as_bytes()))),
        }
    }
}
