//! One ZooKeeper session: bounded operations, one-shot alarms and an orderly end.
//!
//! It keeps the invariants that operations are issued only while connected and that each has a timeout. It knows
//! nothing of what the znodes mean.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{
    Acl, Acls, CheckWriteError, Client, CreateMode, Error, MultiWriteError, SessionState, Stat, StateWatcher,
};

use super::layout::{self, Ticket};
use super::{CoordinationConfig, CoordinationError};

/// Bounds of how long one operation may take; in between it is half a session.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);
const MOST_PATIENCE: Duration = Duration::from_secs(5);

/// Rings once, when a watched znode changes or disappears or the session ends.
pub(super) type Alarm = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Waits for an alarm and takes it off; an alarm that is not set never rings.
pub(super) async fn ring(alarm: &mut Option<Alarm>) {
    match alarm {
        Some(set) => set.await,
        None => std::future::pending().await,
    }
    *alarm = None;
}

/// A znode's data and what ZooKeeper knows of it.
pub(super) type Znode = (Vec<u8>, Stat);

/// A live session. Dropping it closes the session in the background.
pub(super) struct Session {
    client: Client,
    states: StateWatcher,
    access: Vec<Acl>,
    patience: Duration,
}

/// Whether ZooKeeper definitely did not do what was asked. Everything else is unknown.
pub(super) fn is_refusal(error: &Error) -> bool {
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
    /// Tries every server once.
    pub(super) async fn open(config: &CoordinationConfig) -> Result<Self, Error> {
        let mut connector = Client::connector().with_session_timeout(config.session_timeout).with_fail_eagerly();
        if let Some(credential) = &config.credential {
            let secret = format!("{}:{}", credential.user, credential.password);
            connector = connector.with_auth("digest", secret.as_bytes());
        }
        let patience = (config.session_timeout / 2).clamp(LEAST_PATIENCE, MOST_PATIENCE);
        // The client itself gives up after about one and a half sessions; this only keeps a wait from being unbounded.
        let allowed = (config.session_timeout * 2).max(MOST_PATIENCE);
        let client = timeout(allowed, connector.connect(&config.servers)).await.unwrap_or(Err(Error::Timeout))?;
        let negotiated = client.session_timeout();
        if negotiated != config.session_timeout {
            tracing::info!(asked = ?config.session_timeout, ?negotiated, "ZooKeeper set another session timeout");
        }
        let states = client.state_watcher();
        Ok(Self { client, states, access: layout::access(config.credential.is_some()), patience })
    }

    /// Why opening a session is hopeless; `None` if it may succeed later.
    pub(super) fn hopeless(config: &CoordinationConfig, error: &Error) -> Option<CoordinationError> {
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

    /// The timeout that the servers agreed to.
    pub(super) fn timeout(&self) -> Duration {
        self.client.session_timeout()
    }

    /// Closes the session and waits until the server has confirmed it, which removes the ephemeral znodes.
    pub(super) async fn close(self) {
        let Self { client, mut states, patience, .. } = self;
        drop(client);
        if !states.peek_state().is_terminated() {
            let closed = async { while !states.changed().await.is_terminated() {} };
            // A server that stays silent ends the session by its timeout; nobody needs to wait for that.
            let _ = timeout(patience, closed).await;
        }
    }

    fn ready(&self) -> Result<(), Error> {
        if self.is_connected() { Ok(()) } else { Err(Error::ConnectionLoss) }
    }

    async fn bounded<T, E: From<Error>>(&self, operation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        timeout(self.patience, operation).await.unwrap_or_else(|_| Err(Error::Timeout.into()))
    }

    pub(super) async fn read(&self, path: &str) -> Result<Znode, Error> {
        self.ready()?;
        self.bounded(self.client.get_data(path)).await
    }

    pub(super) async fn read_and_watch(&self, path: &str) -> Result<(Znode, Alarm), Error> {
        self.ready()?;
        let (data, stat, watcher) = self.bounded(self.client.get_and_watch_data(path)).await?;
        Ok(((data, stat), Box::pin(async move { drop(watcher.changed().await) })))
    }

    pub(super) async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.ready()?;
        self.bounded(self.client.list_children(path)).await
    }

    /// Waits until the server that this session talks to has seen everything that the ensemble had agreed on.
    pub(super) async fn sync(&self, path: &str) -> Result<(), Error> {
        self.ready()?;
        self.bounded(self.client.sync(path)).await
    }

    /// Creates a persistent znode unless it is there.
    pub(super) async fn ensure(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        self.ready()?;
        let options = CreateMode::Persistent.with_acls(Acls::new(&self.access));
        match self.bounded(self.client.create(path, data, &options)).await {
            Ok(_) | Err(Error::NodeExists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create_ephemeral(&self, path: &str, data: &[u8]) -> Result<(), Error> {
        self.ready()?;
        let options = CreateMode::Ephemeral.with_acls(Acls::new(&self.access));
        self.bounded(self.client.create(path, data, &options)).await.map(|_| ())
    }

    /// Creates an ephemeral znode with the next number of its folder.
    pub(super) async fn create_place(&self, prefix: &str, data: &[u8]) -> Result<Ticket, Error> {
        self.ready()?;
        let options = CreateMode::EphemeralSequential.with_acls(Acls::new(&self.access));
        let (_, sequence) = self.bounded(self.client.create(prefix, data, &options)).await?;
        let number = sequence.to_string();
        Ticket::numbered(&number).ok_or_else(|| Error::UnexpectedError(format!("sequence number {number}")))
    }

    /// Deletes a znode of this version; one that is gone already is as good.
    pub(super) async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        self.ready()?;
        match self.bounded(self.client.delete(path, Some(version))).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn replace(&self, path: &str, data: &[u8], version: i32) -> Result<(), Error> {
        self.ready()?;
        self.bounded(self.client.set_data(path, data, Some(version))).await.map(|_| ())
    }

    /// Deletes `path` if `guard` still has this version.
    pub(super) async fn delete_if(&self, guard: &str, version: i32, path: &str) -> Result<(), Error> {
        self.ready()?;
        let mut writer = self.client.new_check_writer(guard, Some(version))?;
        writer.add_delete(path, None)?;
        self.bounded::<_, CheckWriteError>(writer.commit()).await?;
        Ok(())
    }

    /// Stores `data` at `path`, over that version or as a new znode, if `guard` exists.
    pub(super) async fn store_if(
        &self,
        guard: &str,
        path: &str,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<(), Error> {
        self.ready()?;
        let mut writer = self.client.new_multi_writer();
        // An election znode is never written again after its creation.
        writer.add_check_version(guard, 0)?;
        match version {
            Some(version) => writer.add_set_data(path, data, Some(version))?,
            None => writer.add_create(path, data, &CreateMode::Persistent.with_acls(Acls::new(&self.access)))?,
        }
        self.bounded::<_, MultiWriteError>(writer.commit()).await?;
        Ok(())
    }
}
