//! The seam between the coordination and the outside: what it needs of ZooKeeper's client library and of the network.
//!
//! Everything above it, including timeouts and the handling of lost connections, is the same code in a node and in the
//! simulation of whole nodes. The errors, session states and metadata are the client library's own.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use zookeeper_client::{Error, SessionState, Stat};

use super::client::Ensemble;
use super::config::CoordinationConfig;
use super::probe::TcpProber;

/// What the coordination reaches outside the process. Cheap to clone.
#[derive(Clone)]
pub struct Outside {
    /// The ZooKeeper servers.
    pub zookeeper: Arc<dyn ZooKeeper>,
    /// The addresses of other processes.
    pub prober: Arc<dyn Prober>,
}

impl Outside {
    /// Real servers and the real network.
    #[must_use]
    pub fn real() -> Self {
        Self { zookeeper: Arc::new(Ensemble), prober: Arc::new(TcpProber) }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

/// A one-shot watch: done when the znode changes or disappears or the session ends.
pub type Watch = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A znode's data and metadata. The coordination uses the version and the owner of an ephemeral znode.
pub type Znode = (Vec<u8>, Stat);

/// How long a znode stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is deleted.
    Persistent,
    /// Until it is deleted or the session that created it ends.
    Ephemeral,
}

/// Servers at which sessions can be opened.
pub trait ZooKeeper: Send + Sync {
    /// Opens a session; tries every server once. The caller bounds the wait.
    ///
    /// # Errors
    /// Whatever the client library gives: no server answered, the list of servers cannot be read, and so on.
    fn connect<'a>(&'a self, config: &'a CoordinationConfig)
    -> BoxFuture<'a, Result<Box<dyn ZooKeeperSession>, Error>>;
}

/// One session. Dropping it closes it in the background.
///
/// An operation is on its way to the server once its future was polled, even if the future is dropped then. Every operation
/// fails with the rejection that the server gives, or with any other error if its outcome is unknown. None has a timeout;
/// one that is issued while disconnected waits without bound, so the caller must not do that. Created znodes get the
/// cluster's access list.
pub trait ZooKeeperSession: Send + Sync {
    /// Its id: the owner that its ephemeral znodes name.
    fn id(&self) -> i64;

    /// The timeout that the servers granted.
    fn timeout(&self) -> Duration;

    /// The state that the client last noticed. It lags behind what the servers know.
    fn state(&self) -> SessionState;

    /// Waits for the next change of the state; only the newest of several is given. It is pending for ever once the
    /// final state was given. Dropping the future loses no change.
    fn changed(&mut self) -> BoxFuture<'_, SessionState>;

    /// Reads a znode.
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Znode, Error>>;

    /// Reads a znode and watches it. The watch survives a lost connection: after the reconnection it fires if the znode
    /// changed meanwhile.
    fn read_and_watch<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(Znode, Watch), Error>>;

    /// The names of a znode's children, in no order.
    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// Waits until this session's server has applied everything that the ensemble had committed before.
    fn sync<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Creates a znode.
    fn create<'a>(&'a self, path: &'a str, data: &'a [u8], lifetime: Lifetime) -> BoxFuture<'a, Result<(), Error>>;

    /// Creates an ephemeral znode whose name is the prefix and the next sequence number of the parent; gives the number
    /// as it stands in the name.
    fn create_sequential<'a>(&'a self, prefix: &'a str, data: &'a [u8]) -> BoxFuture<'a, Result<String, Error>>;

    /// Deletes a znode of this version.
    fn delete<'a>(&'a self, path: &'a str, version: i32) -> BoxFuture<'a, Result<(), Error>>;

    /// Replaces the data of a znode of this version.
    fn replace<'a>(&'a self, path: &'a str, data: &'a [u8], version: i32) -> BoxFuture<'a, Result<(), Error>>;

    /// Deletes `path` if `guard` has this version, as one step.
    fn delete_if<'a>(&'a self, guard: &'a str, version: i32, path: &'a str) -> BoxFuture<'a, Result<(), Error>>;

    /// Stores `data` at `path` if `guard` has this version, as one step: in place of the version `replaced`, or as a new
    /// persistent znode.
    fn store_if<'a>(
        &'a self,
        guard: (&'a str, i32),
        path: &'a str,
        data: &'a [u8],
        replaced: Option<i32>,
    ) -> BoxFuture<'a, Result<(), Error>>;

    /// Closes the session; done when the server has confirmed it, which removes the ephemeral znodes, or when the
    /// session has ended in another way.
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

/// What a connection to a registered address shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A process accepts connections.
    Alive,
    /// The host answers that no process listens.
    Dead,
    /// Nothing can be said.
    Silent,
}

/// Finds out whether another process listens.
pub trait Prober: Send + Sync {
    /// Tries to connect to a node's peer URL. The caller bounds the wait.
    fn probe<'a>(&'a self, peer_url: &'a str) -> BoxFuture<'a, Probe>;
}
