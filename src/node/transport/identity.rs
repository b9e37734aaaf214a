//! Who may talk to whom: the identity that every request carries and every receiver checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use quorapay_core::replication::NodeId;

pub(super) const CLUSTER_HEADER: &str = "quorapay-cluster";
pub(super) const FROM_HEADER: &str = "quorapay-from";
/// The names that clients gave to the requests for which a peer asks, with commas between them.
pub(super) const REQUEST_IDS_HEADER: &str = "quorapay-request-ids";
pub(super) const SECRET_HEADER: &str = "quorapay-secret";

/// A node's identity for its peers, and the peers that it knows.
#[derive(Clone)]
pub struct PeerIdentity {
    /// This node's id.
    pub node_id: NodeId,
    /// The cluster's id: nodes of other clusters are rejected.
    pub cluster_id: String,
    /// The secret that all nodes share, if one is set. Never logged.
    pub secret: Option<Arc<str>>,
    /// The peer URLs of all nodes of the cluster.
    pub peers: BTreeMap<NodeId, String>,
}

impl PeerIdentity {
    /// Compares in constant time.
    pub(super) fn secret_matches(&self, offered: Option<&[u8]>) -> bool {
        match &self.secret {
            None => true,
            Some(secret) => offered.is_some_and(|offered| bool::from(offered.ct_eq(secret.as_bytes()))),
        }
    }
}
