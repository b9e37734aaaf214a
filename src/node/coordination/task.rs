//! The task that owns the session: it connects, keeps its znodes in place, carries out commands and reports.
//!
//! Only this file decides how to react to a lost connection or a rejection by ZooKeeper.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;
use zookeeper_client::{Error, SessionState};

use super::config::CoordinationConfig;
use super::epochs;
use super::layout::{self, EpochRecord, Layout};
use super::membership::{Claim, Membership};
use super::notice::{CoordinationError, CoordinationNotice};
use super::outside::{Outside, ZooKeeper};
use super::queue::{Queue, QueueState};
use super::reporter::Reporter;
use super::session::{Session, fired, is_rejection};
use quorapay_core::domain::Epoch;
use quorapay_core::replication::{CoordinationCommand, NodeId, QueueRank};

/// The pause between attempts to reach ZooKeeper doubles from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long after a failed refresh of the znodes the next one comes: soon if the outcome is unknown, later if ZooKeeper
/// rejected an operation.
const RETRY_AFTER_UNKNOWN: Duration = Duration::from_millis(100);
const RETRY_AFTER_REJECTION: Duration = Duration::from_secs(1);

/// The znodes are looked at this often though no watch fired: a missed one must not block the queue for ever. It costs one
/// list of the queue, and at the leader one read.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// Why serving a session ended.
enum SessionEnd {
    Lost,
    Stopped,
    Fatal(CoordinationError),
}

/// Why a refresh of the znodes failed.
enum RefreshError {
    Failed(Error),
    Fatal(CoordinationError),
}

/// What to do next in a session.
enum Wake {
    Stop,
    State(SessionState),
    Command(CoordinationCommand),
    Refresh,
}

/// A session with what this node has in it.
struct ActiveSession {
    session: Session,
    queue: Queue,
    /// Whether the persistent znodes exist.
    prepared: bool,
    /// Whether the last refresh was rejected, so that a lasting rejection is logged once.
    rejected: bool,
    /// Whether another process claims this node's id, so that it is logged once.
    disputed: bool,
    /// When to refresh the znodes even if no watch fires.
    refresh_at: Option<Instant>,
}

/// What the task is told from outside.
pub(super) struct Orders {
    pub(super) commands: mpsc::Receiver<CoordinationCommand>,
    /// The epoch that this node leads, to be named in ZooKeeper.
    pub(super) leads: watch::Receiver<Option<Epoch>>,
    pub(super) stop: oneshot::Receiver<()>,
}

/// See the module.
pub(super) struct Task {
    config: Arc<CoordinationConfig>,
    zookeeper: Arc<dyn ZooKeeper>,
    layout: Layout,
    reporter: Reporter,
    orders: Orders,
    membership: Membership,
    /// Whether this process ever had a place in the queue. If so, a later rejection is not final.
    admitted: bool,
}

impl Task {
    pub(super) fn new(
        config: CoordinationConfig,
        outside: Outside,
        notices: mpsc::Sender<CoordinationNotice>,
        orders: Orders,
    ) -> Self {
        let Outside { zookeeper, prober } = outside;
        Self {
            layout: Layout::new(&config.cluster_id),
            config: Arc::new(config),
            zookeeper,
            reporter: Reporter::new(notices),
            orders,
            membership: Membership::new(prober),
            admitted: false,
        }
    }

    /// Serves one session after another until it is stopped or an error is final.
    pub(super) async fn run(mut self) {
        loop {
            let session = match self.connect().await {
                Ok(session) => session,
                Err(SessionEnd::Fatal(error)) => return self.reporter.fatal(error).await,
                Err(SessionEnd::Lost | SessionEnd::Stopped) => return,
            };
            self.reporter.connected().await;
            self.membership.begin_session();
            let now = Some(Instant::now());
            let queue = Queue::default();
            let mut active =
                ActiveSession { session, queue, prepared: false, rejected: false, disputed: false, refresh_at: now };
            let end = self.serve(&mut active).await;
            if matches!(end, SessionEnd::Lost) {
                self.reporter.disconnected("the session ended").await;
            }
            // The watches are dropped first: they belong to the session that is about to be closed.
            self.membership.begin_session();
            let ActiveSession { session, queue, .. } = active;
            drop(queue);
            session.close().await;
            match end {
                SessionEnd::Lost => {}
                SessionEnd::Stopped => return,
                SessionEnd::Fatal(error) => return self.reporter.fatal(error).await,
            }
        }
    }

    /// Tries to open a session until it succeeds.
    async fn connect(&mut self) -> Result<Session, SessionEnd> {
        let (config, zookeeper) = (Arc::clone(&self.config), Arc::clone(&self.zookeeper));
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.while_disconnected(Session::open(&*zookeeper, &config)).await? {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if let Some(fatal) = Session::fatal(&config, &error) {
                return Err(SessionEnd::Fatal(fatal));
            }
            self.reporter.disconnected(&error.to_string()).await;
            self.while_disconnected(sleep(pause)).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Waits for something without a session, and answers commands meanwhile.
    async fn while_disconnected<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, SessionEnd> {
        let mut wait = std::pin::pin!(wait);
        loop {
            tokio::select! {
                biased;
                _ = &mut self.orders.stop => return Err(SessionEnd::Stopped),
                done = &mut wait => return Ok(done),
                command = self.orders.commands.recv() => match command {
                    None => return Err(SessionEnd::Stopped),
                    Some(CoordinationCommand::TakeEpoch { .. }) => self.reporter.epoch(None).await,
                    Some(command) => tracing::debug!(?command, "ignored without a ZooKeeper session"),
                },
            }
        }
    }

    async fn serve(&mut self, active: &mut ActiveSession) -> SessionEnd {
        loop {
            match self.wait(active).await {
                Wake::Stop => return SessionEnd::Stopped,
                Wake::State(state) => {
                    if let Some(end) = self.on_state(active, state).await {
                        return end;
                    }
                }
                Wake::Command(command) => self.on_command(active, command).await,
                Wake::Refresh => {
                    if let Some(end) = self.on_refresh(active).await {
                        return end;
                    }
                }
            }
        }
    }

    async fn wait(&mut self, active: &mut ActiveSession) -> Wake {
        let due = active.refresh_at;
        // A refresh that is due goes before commands: they may come faster than a timer fires.
        if due.is_some_and(|at| at <= Instant::now()) {
            return Wake::Refresh;
        }
        let timer = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = &mut self.orders.stop => Wake::Stop,
            state = active.session.changed() => Wake::State(state),
            Ok(()) = self.orders.leads.changed() => Wake::Refresh,
            command = self.orders.commands.recv() => command.map_or(Wake::Stop, Wake::Command),
            () = fired(self.membership.watch()) => Wake::Refresh,
            () = active.queue.changed() => Wake::Refresh,
            () = timer => Wake::Refresh,
        }
    }

    async fn on_state(&mut self, active: &mut ActiveSession, state: SessionState) -> Option<SessionEnd> {
        match state {
            SessionState::SyncConnected => {
                self.reporter.connected().await;
                active.refresh_at = Some(Instant::now());
                None
            }
            SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                self.reporter.disconnected("the connection broke").await;
                active.refresh_at = None;
                None
            }
            SessionState::AuthFailed => {
                Some(SessionEnd::Fatal(CoordinationError::AccessRefused { path: "/".to_owned() }))
            }
            SessionState::Expired | SessionState::Closed => Some(SessionEnd::Lost),
        }
    }

    async fn on_command(&mut self, active: &mut ActiveSession, command: CoordinationCommand) {
        tracing::debug!(?command, "carrying out a command");
        let done = match command {
            CoordinationCommand::TakeEpoch { at_least } => {
                let taken = epochs::take(&active.session, &self.layout, &self.config, at_least).await;
                if taken.is_none() {
                    // The counter itself may be missing; the next refresh creates it.
                    active.prepared = false;
                    active.refresh_at = Some(Instant::now());
                }
                self.reporter.epoch(taken).await;
                Ok(())
            }
            // It comes as a state, not as a command.
            CoordinationCommand::PublishLeader { .. } => Ok(()),
            CoordinationCommand::GoToBack => {
                active.queue.leave();
                self.reporter.rank(QueueRank::Absent).await;
                active.refresh_at = Some(Instant::now());
                Ok(())
            }
            CoordinationCommand::RemovePredecessor { node, epoch } => self.remove(active, node, epoch).await,
        };
        if let Err(error) = done {
            tracing::debug!(%error, "the command failed, or its outcome is unknown");
        }
    }

    /// Removes the predecessor if it is `node`. Whatever came of it, the queue is read again: the watch that would show
    /// the change may have been missed, or another node may be the predecessor by now.
    async fn remove(&mut self, active: &mut ActiveSession, node: NodeId, epoch: Epoch) -> Result<(), Error> {
        active.refresh_at = Some(Instant::now());
        let Some(place) = active.queue.predecessor(&self.layout, &node) else { return Ok(()) };
        if let Some(newer) = epochs::remove_unless_newer(&active.session, &self.layout, &place, epoch).await? {
            tracing::debug!(%node, ?newer, "a newer epoch was taken: nobody is removed");
            self.reporter.not_removed(node, newer).await;
        }
        Ok(())
    }

    /// Brings the znodes of this node up to date and reports its rank.
    async fn on_refresh(&mut self, active: &mut ActiveSession) -> Option<SessionEnd> {
        active.refresh_at = None;
        if !active.session.is_connected() {
            return None;
        }
        match self.refresh(active).await {
            Ok(again_at) => {
                active.rejected = false;
                active.refresh_at = again_at;
                None
            }
            Err(RefreshError::Fatal(error)) => Some(SessionEnd::Fatal(error)),
            Err(RefreshError::Failed(error)) => {
                let rejected = is_rejection(&error);
                if rejected && !active.rejected {
                    tracing::warn!(%error, "ZooKeeper rejects what this node needs for a place in the queue; retrying");
                } else {
                    tracing::debug!(%error, "the place in the queue could not be brought up to date; retrying");
                }
                active.rejected = rejected;
                active.prepared = active.prepared && error != Error::NoNode;
                let pause = if rejected { RETRY_AFTER_REJECTION } else { RETRY_AFTER_UNKNOWN };
                active.refresh_at = Some(Instant::now() + pause);
                None
            }
        }
    }

    /// Claims the node id and a place in the queue. Returns when to refresh again even if no watch fires.
    async fn refresh(&mut self, active: &mut ActiveSession) -> Result<Option<Instant>, RefreshError> {
        if !active.prepared {
            self.prepare(&active.session).await?;
            active.prepared = true;
        }
        let claim = self.membership.claim(&active.session, &self.layout, &self.config).await;
        match claim.map_err(|error| self.classify(error, &self.layout.live(&self.config.node_id)))? {
            Claim::Held => active.disputed = false,
            Claim::Waiting(until) => return self.stand_aside(active, until).await,
            Claim::Disputed(error) => {
                if !std::mem::replace(&mut active.disputed, true) {
                    tracing::error!(%error, "this node stands in no election until that other claim in ZooKeeper ends");
                }
                return self.stand_aside(active, Instant::now() + LOOK_AGAIN).await;
            }
            Claim::Taken(error) => return Err(RefreshError::Fatal(error)),
        }
        loop {
            let state = active.queue.refresh(&active.session, &self.layout, &self.config).await;
            match state.map_err(|error| self.classify(error, &self.layout.election()))? {
                QueueState::Removed => self.reporter.rank(QueueRank::Absent).await,
                QueueState::Ranked(rank) => {
                    self.admitted = true;
                    self.reporter.rank(rank).await;
                    self.publish(active).await?;
                    return Ok(Some(Instant::now() + LOOK_AGAIN));
                }
            }
        }
    }

    /// Gives up the place in the queue until a later refresh.
    async fn stand_aside(
        &mut self,
        active: &mut ActiveSession,
        until: Instant,
    ) -> Result<Option<Instant>, RefreshError> {
        self.reporter.rank(QueueRank::Absent).await;
        active.queue.give_up(&active.session, &self.layout).await.map_err(RefreshError::Failed)?;
        Ok(Some(until))
    }

    /// Names this node in ZooKeeper while it leads, again if the znode was lost.
    async fn publish(&mut self, active: &ActiveSession) -> Result<(), RefreshError> {
        let epoch = *self.orders.leads.borrow_and_update();
        let (Some(epoch), Some(place)) = (epoch, active.queue.own_place(&self.layout)) else { return Ok(()) };
        let published = epochs::publish(&active.session, &self.layout, &self.config, &place, epoch).await;
        published.map_err(|error| self.classify(error, &self.layout.leader()))
    }

    /// Creates the persistent znodes that are missing.
    async fn prepare(&self, session: &Session) -> Result<(), RefreshError> {
        for path in self.layout.folders() {
            match session.ensure(&path, b"").await {
                Ok(()) => {}
                // Parents are created first, so only the chroot can be missing.
                Err(Error::NoNode) if !self.admitted => {
                    let servers = self.config.servers.clone();
                    return Err(RefreshError::Fatal(CoordinationError::NoChroot { servers }));
                }
                Err(error) => return Err(self.classify(error, &path)),
            }
        }
        let none_yet = EpochRecord { epoch: Epoch(0), node: self.config.node_id.clone(), nonce: Uuid::new_v4() };
        let path = self.layout.epoch();
        session.ensure(&path, &layout::encode(&none_yet)).await.map_err(|error| self.classify(error, &path))
    }

    /// Distinguishes what only an operator can fix from what may pass.
    fn classify(&self, error: Error, path: &str) -> RefreshError {
        if error == Error::NoAuth && !self.admitted {
            RefreshError::Fatal(CoordinationError::AccessRefused { path: path.to_owned() })
        } else {
            RefreshError::Failed(error)
        }
    }
}
