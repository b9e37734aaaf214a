//! What a node finds outside itself. A simulation brings its own.

use std::sync::Arc;

use crate::blocking::Blocking;
use crate::clock::WallClock;
use crate::coordination::Outside;
use crate::port::Port;
use crate::transport::{HttpNetwork, Network, PeerSealing};

/// See the module.
pub struct Environment {
    /// Carries requests to peers and from them.
    pub network: Arc<dyn Network>,
    /// ZooKeeper, and the addresses that nodes registered there.
    pub outside: Outside,
    /// Shows the time that entries are stamped with.
    pub wall_clock: WallClock,
    /// How the node waits for its disk.
    pub blocking: Blocking,
}

impl Environment {
    /// This machine. The port is the one of the node's peer URL, and the sealing that of all connections between nodes.
    #[must_use]
    pub(crate) fn of_the_system(peer_port: Port, sealing: Option<PeerSealing>) -> Self {
        Self {
            network: Arc::new(HttpNetwork::reached_at(peer_port, sealing)),
            outside: Outside::real(),
            wall_clock: WallClock::of_the_system(),
            blocking: Blocking::Yields,
        }
    }
}
