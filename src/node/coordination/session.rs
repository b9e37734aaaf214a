//! One ZooKeeper session: operations with timeouts, one-shot watches, closing.
//!
//! It keeps invariants 1 and 2 of the module: operations are issued only while connected, and each has a timeout. It
//! does not know what the znodes mean.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{
    Acl, Acls, CheckWriteError, Client, CreateMode, Error, MultiWriteError, SessionState, Stat, StateWatcher,
};

use super::config::CoordinationConfig;
use super::layout::{self, Ticket};
use super::notice::CoordinationError;

/// Bounds of the timeout of one operation, which is otherwise half a session timeout.
const MIN_OPERATION_TIMEOUT: Duration = Duration::from_millis(500);
const MAX_OPERATION_TIMEOUT: Duration = Duration::from_secs(5);

/// A one-shot watch: done when the znode changes or disappears or the session ends.
pub(super) type Watch = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Waits until a watch fires and clears it; one that is not set never fires.
pub(super) async fn fired(watch: &mut Option<Watch>) {
    match watch {
        Some(set) => set.await,
        None => std::future::pending().await,
    }
    *watch = None;
}

/// A znode's data and metadata.
pub(super) type Znode = (Vec<u8>, Stat);

/// A live session. Dropping it closes the session in the background.
pub(super) struct Session {
    client: Client,
    states: StateWatcher,
    access: Vec<Acl>,
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
    pub(super) async fn open(config: &CoordinationConfig) -> Result<Self, Error> {
        let mut connector = Client::connector().with_session_timeout(config.session_timeout).with_fail_eagerly();
        if let Some(credential) = &config.credential {
            let secret = format!("{}:{}", credential.user, credential.password);
            connector = connector.with_auth("digest", secret.as_bytes());
        }
        let operation_timeout = (config.session_timeout / 2).clamp(MIN_OPERATION_TIMEOUT, MAX_OPERATION_TIMEOUT);
        // The client itself gives up after about one and a half session timeouts; this only bounds the wait in any
        // case.
        let connect_timeout = (config.session_timeout * 2).max(MAX_OPERATION_TIMEOUT);
        let client =
            timeout(connect_timeout, connector.connect(&config.servers)).await.unwrap_or(Err(Error::Timeout))?;
        let negotiated = client.session_timeout();
        if negotiated != config.session_timeout {
            tracing::info!(requested = ?config.session_timeout, ?negotiated, "ZooKeeper set another session timeout");
        }
        let states = client.state_watcher();
        Ok(Self { client, states, access: layout::access(config.credential.is_some()), operation_timeout })
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
        self.states.changed().await
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.state() == SessionState::SyncConnected
    }

    /// Whether an ephemeral znode is this session's own.
    pub(super) fn owns(&self, stat: &Stat) -> bool {
        stat.ephemeral_owner == self.client.session_id().0
    }

    /// The timeout that the servers granted.
    pub(super) fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    /// Closes the session and waits until the server has confirmed it, which removes the ephemeral znodes.
    pub(super) async fn close(self) {
        let Self { client, mut states, operation_timeout, .. } = self;
        drop(client);
        if !states.peek_state().is_terminated() {
            let closed = async { while !states.changed().await.is_terminated() {} };
            // A server that stays silent ends the session by its timeout; there is no need to wait for that.
            let _ = timeout(operation_timeout, closed).await;
        }
    }

    fn require_connection(&self) -> Result<(), Error> {
        if self.is_connected() { Ok(()) } else { Err(Error::ConnectionLoss) }
    }

    async fn with_timeout<T, E: From<Error>>(&self, operation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        timeout(self.operation_timeout, operation).await.unwrap_or_else(|_| Err(Error::Timeout.into()))
    }

    pub(super) async fn read(&self, path: &str) -> Result<Znode, Error> {
        self.require_connection()?;
        self.with_timeout(self.client.get_data(path)).await
    }

    pub(super) async fn read_and_watch(&self, path: &str) -> Result<(Znode, Watch), Error> {
        self.require_connection()?;
        let (data, stat, watcher) = self.with_timeout(self.client.get_and_watch_data(path)).await?;
        Ok(((data, stat), Box::pin(async move { drop(watcher.changed().await) })))
    }

    pub(super) async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.require_connection()?;
        self.with_timeout(self.client.list_children(path)).await
    }

    /// Waits until this session's server has applied everything that the ensemble had committed before.
    pub(super) async fn sync(&self, path: &str) -> Result<(), Error> {
        self.require_connection()?;
        self.with_timeout(self.client.sync(path)).await
    }

    /// Creates a persistent znode if it is missing.
    pub(super) async fn ensure(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        self.require_connection()?;
        let options = CreateMode::Persistent.with_acls(Acls::new(&self.access));
        match self.with_timeout(self.client.create(path, data, &options)).await {
            Ok(_) | Err(Error::NodeExists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create_ephemeral(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        self.require_connection()?;
        let options = CreateMode::Ephemeral.with_acls(Acls::new(&self.access));
        self.with_timeout(self.client.create(path, data, &options)).await.map(|_| ())
    }

    /// Creates an ephemeral znode with the next sequence number of its parent.
    pub(super) async fn create_place(&self, prefix: &str, data: &[u8]) -> Result<Ticket, Error> {
        self.require_connection()?;
        let options = CreateMode::EphemeralSequential.with_acls(Acls::new(&self.access));
        let (_, sequence) = self.with_timeout(self.client.create(prefix, data, &options)).await?;
        let number = sequence.to_string();
        Ticket::numbered(&number).ok_or_else(|| Error::UnexpectedError(format!("sequence number {number}")))
    }

    /// Deletes a znode of this version; one that is already gone counts as deleted.
    pub(super) async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        self.require_connection()?;
        match self.with_timeout(self.client.delete(path, Some(version))).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn replace(&self, path: &str, data: &[u8], version: i32) -> Result<(), Error> {
        self.require_connection()?;
        self.with_timeout(self.client.set_data(path, data, Some(version))).await.map(|_| ())
    }

    /// Deletes `path` if `guard` still has this version.
    pub(super) async fn delete_if(&self, guard: &str, version: i32, path: &str) -> Result<(), Error> {
        self.require_connection()?;
        let mut writer = self.client.new_check_writer(guard, Some(version))?;
        writer.add_delete(path, None)?;
        self.with_timeout::<_, CheckWriteError>(writer.commit()).await?;
        Ok(())
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
        let mut writer = self.client.new_multi_writer();
        // An election znode keeps the version of its creation: it is never written again.
        writer.add_check_version(guard, 0)?;
        match version {
            Some(version) => writer.add_set_data(path, data, Some(version))?,
            None => writer.add_create(path, data, &CreateMode::Persistent.with_acls(Acls::new(&self.access)))?,
        }
        self.with_timeout::<_, MultiWriteError>(writer.commit()).await?;
        Ok(())
    }
}
