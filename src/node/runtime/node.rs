//! A running node: its tasks, why it fails, and how it stops.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::blocking::Blocking;
use crate::coordination::{Coordination, CoordinationError, Credential};
use crate::ledger::{DirectoryLock, LedgerError, Watermark};
use crate::published::Publisher;
use crate::traces::TraceSettings;
use quorapay_core::domain::ApiKey;
use quorapay_core::replication::{Limits, NodeId, Timing};

use super::error::NodeError;
use super::handle::NodeHandle;
use super::upkeep::advance_watermark;

/// How long a stopping leader waits for a successor.
const HAND_OVER_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long a stopping node waits for ZooKeeper to close its session.
const CLOSE_SESSION_TIMEOUT: Duration = Duration::from_millis(1_000);
/// How long a stopping node waits for reads of the ledger.
const CLOSE_READERS_TIMEOUT: Duration = Duration::from_millis(300);

/// The configuration of a node.
#[derive(Clone)]
pub struct NodeConfig {
    /// The node's id.
    pub node_id: NodeId,
    /// The id of its cluster.
    pub cluster_id: String,
    /// The directory of its files.
    pub data_dir: PathBuf,
    /// The URL at which clients reach it.
    pub client_url: String,
    /// All nodes with their peer URLs, this one included.
    pub peers: BTreeMap<NodeId, String>,
    /// The secret that peers share.
    pub cluster_secret: Option<Arc<str>>,
    /// `host:port,host:port`, with an optional chroot.
    pub zookeeper: String,
    /// How long ZooKeeper waits before it takes a silent node for dead.
    pub zookeeper_session_timeout: Duration,
    /// If set, only nodes with this credential may change the znodes.
    pub zookeeper_credential: Option<Credential>,
    /// Timeouts of the protocol.
    pub timing: Timing,
    /// Limits of the protocol.
    pub limits: Limits,
    /// Client requests that may wait for the event loop; more are rejected.
    pub request_queue: usize,
    /// Which requests are traced; `None` for none.
    pub traces: Option<TraceSettings>,
    /// The first API key of a ledger that has none.
    pub first_api_key: Option<ApiKey>,
}

/// A running node.
pub struct Node {
    pub(super) handle: NodeHandle,
    pub(super) stop: Publisher<bool>,
    pub(super) coordination: Coordination,
    pub(super) loop_task: JoinHandle<Result<(), NodeError>>,
    pub(super) writer_task: JoinHandle<Result<(), LedgerError>>,
    pub(super) peer_port: JoinHandle<std::io::Result<()>>,
    pub(super) fatal: mpsc::Receiver<CoordinationError>,
    pub(super) damaged: mpsc::Receiver<()>,
    pub(super) heartbeat_timeout: Duration,
    pub(super) watermark: Watermark,
    /// Released when the node has stopped.
    pub(super) lock: DirectoryLock,
    pub(super) blocking: Blocking,
}

impl Node {
    /// A handle on the node.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Waits until the node can no longer run: `Ok` if its ledger is damaged and condemned, the others serve without it,
    /// and the node is to begin again by itself; otherwise why.
    ///
    /// # Errors
    /// [`NodeError`] says why the node failed.
    pub async fn ended(&mut self) -> Result<(), NodeError> {
        let ended = "its event loop ended";
        let (handle, heartbeat_timeout, damaged) = (self.handle.clone(), self.heartbeat_timeout, &mut self.damaged);
        let may_begin_again = async move {
            match damaged.recv().await {
                Some(()) => handle.await_others(heartbeat_timeout).await,
                // The loop has ended, and says why.
                None => std::future::pending().await,
            }
        };
        Err(tokio::select! {
            biased;
            () = may_begin_again => return Ok(()),
            result = &mut self.loop_task => match result {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => NodeError::Halted(ended.to_owned()),
            },
            result = &mut self.writer_task => match result {
                Ok(Err(error)) => NodeError::Ledger(error),
                Ok(Ok(())) | Err(_) => NodeError::Halted("its ledger writer ended".to_owned()),
            },
            result = &mut self.peer_port => match result {
                Ok(Err(error)) => NodeError::PeerPort(error),
                Ok(Ok(())) | Err(_) => NodeError::Halted("its peers' port ended".to_owned()),
            },
            Some(error) = self.fatal.recv() => NodeError::Coordination(error),
        })
    }

    /// Hands the leadership over if this node leads. Clients are still served: their writes go to the successor.
    pub async fn hand_over(&self) {
        let status = self.handle.status();
        if status.leader.as_ref() == Some(&status.node_id) {
            let deadline = Instant::now() + HAND_OVER_TIMEOUT;
            match self.handle.transfer_leadership(None, deadline).await {
                Ok(leader) => tracing::info!(%leader, "handed the leadership over"),
                Err(error) => tracing::warn!(%error, "stopping without a successor"),
            }
        }
    }

    /// Stops the node: closes the ZooKeeper session, ends the loop, finishes the write in progress, advances the
    /// watermark.
    ///
    /// # Errors
    /// [`LedgerError`] if the last write failed.
    pub async fn stop(self) -> Result<(), NodeError> {
        let Self {
            handle,
            stop,
            coordination,
            loop_task,
            writer_task,
            peer_port,
            watermark,
            lock: _lock,
            blocking,
            ..
        } = self;
        coordination.shutdown(CLOSE_SESSION_TIMEOUT).await;
        stop.replace(true);
        // The loop ends and drops the only sender of writes, so the writer ends after its last one.
        let _ = loop_task.await;
        let written = writer_task.await;
        let applied = handle.progress().applied_index;
        advance_watermark(&watermark, &handle.shared.ledger, applied, &blocking).await;
        // Reads that take longer end with the process.
        let _ = tokio::time::timeout(CLOSE_READERS_TIMEOUT, handle.shared.ledger.close()).await;
        peer_port.abort();
        match written {
            Ok(result) => Ok(result?),
            Err(_) => Err(NodeError::Halted("its ledger writer ended".to_owned())),
        }
    }
}
