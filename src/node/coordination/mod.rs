//! The node's word with ZooKeeper: who is there, who is next in line, which epoch is free.
//!
//! Nothing here is needed for safety. Every answer may be late or wrong, every command may fail or happen twice: the
//! replica's promises fence whatever comes of it. This module therefore carries out
//! [`CoordinationCommand`]s and reports [`CoordinationEvent`]s, and never decides whether a node should stand, wait or
//! step down. It knows no ledger, no peer protocol and no clock beyond timeouts.
//!
//! One task owns the session:
//!
//! ```text
//! connect ──► session ──► live/<node> held ──► place in the queue ──► watch own znode and the one ahead
//!    ▲           │ Disconnected: QueueRank::Absent, no operation is issued until SyncConnected, then look again
//!    └───────────┘ Expired: a new session with new znodes
//! ```
//!
//! Numbered invariants:
//! 1. No operation is issued while the client is disconnected: it would wait in the client without bound and run later,
//!    even if nobody waited for it any more.
//! 2. Every operation has its own timeout, and every change names a version or goes through a check. A lost
//!    connection, the client's "no response" and a timeout all mean *unknown*: look again, never assume.
//! 3. A place in the queue is only taken while `live/<node>` is held by the same session.

mod epochs;
mod layout;
mod membership;
mod queue;
mod reporter;
mod session;
mod task;

use std::fmt;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use quorapay_core::replication::{CoordinationCommand, CoordinationEvent, NodeId, StoreId};

/// Commands that may wait. The replica has at most a handful under way; more would be a mistake that must show.
const COMMAND_QUEUE: usize = 64;

/// Where ZooKeeper is and who this node is.
#[derive(Clone, Debug)]
pub struct CoordinationConfig {
    /// `host:port,host:port`, with an optional `/chroot` at the end. The chroot must exist.
    pub servers: String,
    /// How long ZooKeeper keeps this node's znodes without hearing from it. The servers may negotiate another value.
    pub session_timeout: Duration,
    /// Names the folder of all that this cluster keeps in ZooKeeper.
    pub cluster_id: String,
    /// This node.
    pub node_id: NodeId,
    /// Its ledger file.
    pub store_id: StoreId,
    /// Where its peers reach it. The caller must be listening there before it starts the coordination: another process
    /// that registered the same address is taken to be dead, because the port is ours.
    pub peer_url: String,
    /// Where clients reach it.
    pub client_url: String,
    /// With one, znodes may be changed only by those who know it; all nodes of a cluster share it.
    pub credential: Option<Credential>,
}

/// A name and a password for ZooKeeper's digest scheme.
#[derive(Clone)]
pub struct Credential {
    /// The name; without a colon.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What the coordination tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinationNotice {
    /// For the replica.
    Event(CoordinationEvent),
    /// Whether there is a connected session; for readiness and metrics.
    Connected(bool),
    /// The coordination has ended, because no repetition would help. No notice follows.
    Fatal(CoordinationError),
}

/// Why this node can take no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinationError {
    /// The node id is in use.
    #[error("another process runs as {node} at {url}; stop it or choose another node_id")]
    DuplicateNode {
        /// The node id.
        node: NodeId,
        /// Where the other process listens for its peers.
        url: String,
    },
    /// ZooKeeper does not accept the credential, or the znodes belong to another one.
    #[error("ZooKeeper refuses access to {path}: it belongs to another credential, or none is set")]
    AccessRefused {
        /// The znode.
        path: String,
    },
    /// The chroot in the list of servers does not exist.
    #[error("the chroot of the ZooKeeper servers '{servers}' does not exist; create it or leave it out")]
    NoChroot {
        /// The setting.
        servers: String,
    },
    /// The list of servers cannot be read.
    #[error("the ZooKeeper servers '{servers}' are not host:port,host:port with an optional /chroot: {reason}")]
    BadServers {
        /// The setting.
        servers: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// A running coordination. Dropping it closes the session without waiting.
#[derive(Debug)]
pub struct Coordination {
    /// Where the replica's commands go, in order. Use `try_send`: a loop that waits here for room while the
    /// coordination waits for room in the notices would wait forever.
    pub commands: mpsc::Sender<CoordinationCommand>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts the coordination on the current runtime.
///
/// It keeps trying for as long as ZooKeeper is away. While there is no session, [`CoordinationCommand::TakeEpoch`] is
/// refused, [`CoordinationCommand::GoToBack`] is remembered for as long as the session may come back, and the other
/// commands do nothing.
#[must_use]
pub fn start(config: CoordinationConfig, notices: mpsc::Sender<CoordinationNotice>) -> Coordination {
    let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(task::Task::new(config, notices, receiver, stopped).run());
    Coordination { commands, stop, task }
}

impl Coordination {
    /// Closes the session and waits until ZooKeeper has removed this node's znodes, so that the next in line moves up
    /// at once. After `within` the task is ended and the znodes go when the session expires.
    pub async fn shutdown(self, within: Duration) {
        let Self { commands, stop, mut task } = self;
        // A task that has ended by itself no longer listens, and that is as good.
        let _ = stop.send(());
        drop(commands);
        if timeout(within, &mut task).await.is_err() {
            task.abort();
            tracing::warn!(?within, "ZooKeeper did not confirm the end of the session; it will expire");
        }
    }
}
