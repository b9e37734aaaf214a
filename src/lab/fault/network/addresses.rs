//! Where every process listens.

use std::net::{IpAddr, SocketAddr};

/// The addresses of all processes.
#[derive(Clone, Debug)]
pub(crate) struct Addresses {
    /// Each node's port for clients.
    pub(crate) clients: Vec<SocketAddr>,
    /// Each node's port for peers.
    pub(crate) peers: Vec<SocketAddr>,
    /// Each ZooKeeper server's address, with its ports for clients, for other servers and for elections.
    pub(crate) zookeepers: Vec<(IpAddr, [u16; 3])>,
}
