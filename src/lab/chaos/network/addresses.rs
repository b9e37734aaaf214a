//! Where every process listens.

use std::net::{IpAddr, SocketAddr};

/// The addresses of all processes.
#[derive(Clone, Debug)]
pub(in crate::chaos) struct Addresses {
    /// Each node's port for clients.
    pub(in crate::chaos) clients: Vec<SocketAddr>,
    /// Each node's port for peers.
    pub(in crate::chaos) peers: Vec<SocketAddr>,
    /// Each ZooKeeper server's address, with its ports for clients, for other servers and for elections.
    pub(in crate::chaos) zookeepers: Vec<(IpAddr, [u16; 3])>,
}
