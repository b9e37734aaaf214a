//! One ZooKeeper session: operations with timeouts, one-shot watches, closing.
//!
//! It keeps invariants 1 and 2 of the module: operations are issued only while connected, and each has a timeout. It
//! does not know what the znodes mean, nor which client library carries the operations out.

use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Error, SessionState, Stat};

use super::config::CoordinationConfig;
use super::layout::Ticket;
use super::notice::CoordinationError;
use super::outside::{Lifetime, Watch, Znode, ZooKeeper, ZooKeeperSession};

/// Bounds of the timeout of one operation, which is otherwise half a session timeout.
const MIN_OPERATION_TIMEOUT: Duration = Duration::from_millis(500);
const MAX_OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until a watch fires and clears it; one that is not set never fires.
pub(super) async fn fired(watch: &mut Option<Watch>) {
    match watch {
        Some(set) => set.await,
        None => std::future::pending().await,
    }
    *watch = None;
}

/// A live session. Dropping it closes the session in the background.
pub(super) struct Session {
    client: Box<dyn ZooKeeperSession>,
    operation_timeout: Duration,
}

/// Whether ZooKeeper rejected the operation. After any other error its outcome is unknown.
pub(super) fn is_rejection(error: &Error) -> bool {
    matches!(
        error,
        Error::NoNode
            | Error::NodeExists
            | Error::BadVersion
            | Error::NoAuth
            | Error::InvalidAcl
            | Error::NotEmpty
            | Error::NoChildrenForEphemerals
            | Error::QuotaExceeded
    )
}

impl Session {
    /// Opens a session; tries every server once.
    pub(super) async fn open(zookeeper: &dyn ZooKeeper, config: &CoordinationConfig) -> Result<Self, Error> {
        let operation_timeout = (config.session_timeout / 2).clamp(MIN_OPERATION_TIMEOUT, MAX_OPERATION_TIMEOUT);
        // The client itself gives up after about one and a half session timeouts; this only bounds the wait in any
        // case.
        let connect_timeout = (config.session_timeout * 2).max(MAX_OPERATION_TIMEOUT);
        let client = timeout(connect_timeout, zookeeper.connect(config)).await.unwrap_or(Err(Error::Timeout))?;
        let negotiated = client.timeout();
        if negotiated != config.session_timeout {
            tracing::info!(requested = ?config.session_timeout, ?negotiated, "ZooKeeper set another session timeout");
        }
        Ok(Self { client, operation_timeout })
    }

    /// Why a session can never be opened with this configuration; `None` if it may succeed later.
    pub(super) fn fatal(config: &CoordinationConfig, error: &Error) -> Option<CoordinationError> {
        let servers = config.servers.clone();
        match error {
            Error::BadArguments(reason) => Some(CoordinationError::BadServers { servers, reason: (**reason).into() }),
            Error::AuthFailed => Some(CoordinationError::AccessRefused { path: "/".to_owned() }),
            _ => None,
        }
    }

    /// Waits for the next change of the connection's state.
    pub(super) async fn changed(&mut self) -> SessionState {
        self.client.changed().await
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.state() == SessionState::SyncConnected
    }

    /// Whether an ephemeral znode is this session's own.
    pub(super) fn owns(&self, stat: &Stat) -> bool {
        stat.ephemeral_owner == self.client.id()
    }

    /// The timeout that the servers granted.
    pub(super) fn timeout(&self) -> Duration {
        self.client.timeout()
    }

    /// Closes the session and waits until the server has confirmed it, which removes the ephemeral znodes.
    pub(super) async fn close(self) {
        // A server that stays silent ends the session by its timeout; there is no need to wait for that.
        let _ = timeout(self.operation_timeout, self.client.close()).await;
    }

    fn require_connection(&self) -> Result<(), Error> {
        if self.is_connected() { Ok(()) } else { Err(Error::ConnectionLoss) }
    }

    async fn with_timeout<T>(&self, operation: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.operation_timeout, operation).await.unwrap_or(Err(Error::Timeout))
    }

    pub(super) async fn read(&self, path: &str) -> Result<Znode, Error> {
        self.require_connection()?;
        self.with_timeout(self.client.read(path)).await
    }

    pub(super) async fn read_and_watch(&self, path: &str) -> Result<(Znode, Watch), Error> {
        self.require_connection()?;
        self.with_timeout(self.client.read_and_watch(path)).await
    }

    pub(super) async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.require_connection()?;
        self.with_timeout(self.client.children(path)).await
    }

    /// Waits until this session's server has applied everything that the ensemble had committed before.
    pub(super) async fn sync(&self, path: &str) -> Result<(), Error> {
        self.require_connection()?;
        self.with_timeout(self.client.sync(path)).await
    }

    /// Creates a persistent znode if it is missing.
    pub(super) async fn ensure(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        self.require_connection()?;
        match self.with_timeout(self.client.create(path, data, Lifetime::Persistent)).await {
            Ok(()) | Err(Error::NodeExists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create_ephemeral(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        self.require_connection()?;
        self.with_timeout(self.client.create(path, data, Lifetime::Ephemeral)).await
    }

    /// Creates an ephemeral znode with the next sequence number of its parent.
    pub(super) async fn create_place(&self, prefix: &str, data: &[u8]) -> Result<Ticket, Error> {
        self.require_connection()?;
        let number = self.with_timeout(self.client.create_sequential(prefix, data)).await?;
        Ticket::numbered(&number).ok_or_else(|| Error::UnexpectedError(format!("sequence number {number}")))
    }

    /// Deletes a znode of this version; one that is already gone counts as deleted.
    pub(super) async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        self.require_connection()?;
        match self.with_timeout(self.client.delete(path, version)).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn replace(&self, path: &str, data: &[u8], version: i32) -> Result<(), Error> {
        self.require_connection()?;
        self.with_timeout(self.client.replace(path, data, version)).await
    }

    /// Deletes `path` if `guard` still has this version.
    pub(super) async fn delete_if(&self, guard: &str, version: i32, path: &str) -> Result<(), Error> {
        self.require_connection()?;
        self.with_timeout(self.client.delete_if(guard, version, path)).await
    }

    /// Stores `data` at `path`, replacing that version or as a new znode, if `guard` exists.
    pub(super) async fn store_if(
        &self,
        guard: &str,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<(), Error> {
        self.require_connection()?;
        // An election znode keeps the version of its creation: it is never written again.
        self.with_timeout(self.client.store_if((guard, 0), path, data, version)).await
    }
}
