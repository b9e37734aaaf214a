//! The coordination's view: sessions whose operations the simulated ensemble carries out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use quorapay_node::coordination::{CoordinationConfig, Lifetime, Watch, Znode, ZooKeeper, ZooKeeperSession};
use tokio::sync::{oneshot, watch};
use zookeeper_client::{Error, SessionState};

use super::client::Outcome;
use super::tree::{Answer, Operation};
use super::{HostId, State, lock};

/// The ensemble as one host reaches it.
pub(super) struct HostClient {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) host: HostId,
}

impl ZooKeeper for HostClient {
    fn connect<'a>(
        &'a self,
        config: &'a CoordinationConfig,
    ) -> BoxFuture<'a, Result<Box<dyn ZooKeeperSession>, Error>> {
        let (sender, opened) = oneshot::channel();
        let id = lock(&self.state).open_client(self.host, config.session_timeout, sender);
        // It exists from the first moment, so that a session is closed though nobody waits for it any more.
        let handle = Handle { state: Arc::clone(&self.state), id };
        Box::pin(async move {
            let (session, timeout, states) = opened.await.unwrap_or(Err(Error::NoHosts))?;
            Ok(Box::new(SimSession { handle, session, timeout, states }) as Box<dyn ZooKeeperSession>)
        })
    }
}

/// Owns a client of the simulation.
struct Handle {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.state).close_client(self.id);
    }
}

struct SimSession {
    handle: Handle,
    session: i64,
    timeout: Duration,
    states: watch::Receiver<SessionState>,
}

impl SimSession {
    fn issue(&self, operation: Operation) -> BoxFuture<'static, Result<Outcome, Error>> {
        let (reply, outcome) = oneshot::channel();
        lock(&self.handle.state).issue(self.handle.id, operation, reply);
        Box::pin(async move { outcome.await.unwrap_or(Err(Error::ClientClosed)) })
    }

    fn change(&self, operation: Operation) -> BoxFuture<'static, Result<(), Error>> {
        let outcome = self.issue(operation);
        Box::pin(async move { outcome.await.map(drop) })
    }
}

impl ZooKeeperSession for SimSession {
    fn id(&self) -> i64 {
        self.session
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn state(&self) -> SessionState {
        *self.states.borrow()
    }

    fn changed(&mut self) -> BoxFuture<'_, SessionState> {
        Box::pin(async move {
            match self.states.changed().await {
                Ok(()) => *self.states.borrow_and_update(),
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Znode, Error>> {
        let outcome = self.issue(Operation::Read { path: path.to_owned(), watch: false });
        Box::pin(async move {
            match outcome.await? {
                Outcome::Plain(Answer::Data(data, stat)) => Ok((data, stat)),
                _ => unreachable!("a read is answered by data"),
            }
        })
    }

    fn read_and_watch<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<(Znode, Watch), Error>> {
        let outcome = self.issue(Operation::Read { path: path.to_owned(), watch: true });
        Box::pin(async move {
            match outcome.await? {
                Outcome::Watched(data, stat, fired) => {
                    let watch: Watch = Box::pin(async move { drop(fired.await) });
                    Ok(((data, stat), watch))
                }
                Outcome::Plain(_) => unreachable!("a read that watches is answered by data and a watch"),
            }
        })
    }

    fn children<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        let outcome = self.issue(Operation::Children { path: path.to_owned() });
        Box::pin(async move {
            match outcome.await? {
                Outcome::Plain(Answer::Children(names)) => Ok(names),
                _ => unreachable!("a list is answered by names"),
            }
        })
    }

    fn sync<'a>(&'a self, _path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.change(Operation::Sync)
    }

    fn create<'a>(&'a self, path: &'a str, data: &'a [u8], lifetime: Lifetime) -> BoxFuture<'a, Result<(), Error>> {
        self.change(Operation::Create { path: path.to_owned(), data: data.to_vec(), lifetime })
    }

    fn create_sequential<'a>(&'a self, prefix: &'a str, data: &'a [u8]) -> BoxFuture<'a, Result<String, Error>> {
        let outcome = self.issue(Operation::CreateSequential { prefix: prefix.to_owned(), data: data.to_vec() });
        Box::pin(async move {
            match outcome.await? {
                Outcome::Plain(Answer::Sequence(sequence)) => Ok(sequence),
                _ => unreachable!("a sequential creation is answered by a number"),
            }
        })
    }

    fn delete<'a>(&'a self, path: &'a str, version: i32) -> BoxFuture<'a, Result<(), Error>> {
        self.change(Operation::Delete { path: path.to_owned(), version: Some(version) })
    }

    fn replace<'a>(&'a self, path: &'a str, data: &'a [u8], version: i32) -> BoxFuture<'a, Result<(), Error>> {
        self.change(Operation::Replace { path: path.to_owned(), data: data.to_vec(), version })
    }

    fn delete_if<'a>(&'a self, guard: &'a str, version: i32, path: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.change(Operation::DeleteIf { guard: guard.to_owned(), version, path: path.to_owned() })
    }

    fn store_if<'a>(
        &'a self,
        (guard, version): (&'a str, i32),
        path: &'a str,
        data: &'a [u8],
        replaced: Option<i32>,
    ) -> BoxFuture<'a, Result<(), Error>> {
        let guard = (guard.to_owned(), version);
        self.change(Operation::StoreIf { guard, path: path.to_owned(), data: data.to_vec(), replaced })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        let Self { handle, mut states, .. } = *self;
        drop(handle);
        Box::pin(async move {
            // An error says that the client is gone, which is an end too.
            let _ = states.wait_for(|state| state.is_terminated()).await;
        })
    }
}
