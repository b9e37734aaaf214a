//! The task that owns the session: it connects, keeps its znodes in place, carries out commands and reports.
//!
//! It is the only place that decides what follows from a lost connection or a refusal by ZooKeeper.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;
use zookeeper_client::{Error, SessionState};

use super::layout::{self, EpochRecord, Layout};
use super::membership::{Hold, Membership};
use super::queue::{Queue, Standing};
use super::reporter::Reporter;
use super::session::{Session, is_refusal, ring};
use super::{CoordinationConfig, CoordinationError, CoordinationNotice, epochs};
use quorapay_core::domain::Epoch;
use quorapay_core::replication::{CoordinationCommand, QueueRank};

/// Pauses between attempts to reach ZooKeeper grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// A look at the znodes that failed is repeated after this long: soon if the outcome is unknown, later if ZooKeeper
/// refused.
const AFTER_UNKNOWN: Duration = Duration::from_millis(100);
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Why a session is no longer served.
enum End {
    Lost,
    Stopped,
    Hopeless(CoordinationError),
}

/// Why a look at the znodes did not succeed.
enum Obstacle {
    Failed(Error),
    Hopeless(CoordinationError),
}

/// What is to be done next in a session.
enum Wake {
    Stop,
    State(SessionState),
    Command(CoordinationCommand),
    Look,
}

/// What one session has.
struct Seat {
    session: Session,
    queue: Queue,
    prepared: bool,
    /// Whether the last look was refused, so that a refusal that lasts is logged once.
    refused: bool,
    look_at: Option<Instant>,
}

/// See the module.
pub(super) struct Task {
    config: Arc<CoordinationConfig>,
    layout: Layout,
    reporter: Reporter,
    commands: mpsc::Receiver<CoordinationCommand>,
    stop: oneshot::Receiver<()>,
    membership: Membership,
    /// Whether this process ever had a place: what was allowed once is not hopeless, whatever ZooKeeper says later.
    admitted: bool,
}

impl Task {
    pub(super) fn new(
        config: CoordinationConfig,
        notices: mpsc::Sender<CoordinationNotice>,
        commands: mpsc::Receiver<CoordinationCommand>,
        stop: oneshot::Receiver<()>,
    ) -> Self {
        Self {
            layout: Layout::new(&config.cluster_id),
            config: Arc::new(config),
            reporter: Reporter::new(notices),
            commands,
            stop,
            membership: Membership::new(),
            admitted: false,
        }
    }

    /// Serves one session after the other until it is stopped or there is no hope.
    pub(super) async fn run(mut self) {
        loop {
            let session = match self.connect().await {
                Ok(session) => session,
                Err(End::Hopeless(error)) => return self.reporter.fatal(error).await,
                Err(End::Lost | End::Stopped) => return,
            };
            self.reporter.connected().await;
            self.membership.begin_session();
            let now = Some(Instant::now());
            let mut seat = Seat { session, queue: Queue::default(), prepared: false, refused: false, look_at: now };
            let end = self.serve(&mut seat).await;
            if matches!(end, End::Lost) {
                self.reporter.disconnected("the session ended").await;
            }
            // The alarms go first: they belong to the session that is about to be closed.
            self.membership.begin_session();
            let Seat { session, queue, .. } = seat;
            drop(queue);
            session.close().await;
            match end {
                End::Lost => {}
                End::Stopped => return,
                End::Hopeless(error) => return self.reporter.fatal(error).await,
            }
        }
    }

    /// Tries to open a session for as long as it takes.
    async fn connect(&mut self) -> Result<Session, End> {
        let config = Arc::clone(&self.config);
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.meanwhile(Session::open(&config)).await? {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            if let Some(hopeless) = Session::hopeless(&config, &error) {
                return Err(End::Hopeless(hopeless));
            }
            self.reporter.disconnected(&error.to_string()).await;
            self.meanwhile(sleep(pause)).await?;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Waits for something while there is no session, and answers commands.
    async fn meanwhile<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, End> {
        let mut wait = std::pin::pin!(wait);
        loop {
            tokio::select! {
                biased;
                _ = &mut self.stop => return Err(End::Stopped),
                done = &mut wait => return Ok(done),
                command = self.commands.recv() => match command {
                    None => return Err(End::Stopped),
                    Some(CoordinationCommand::TakeEpoch { .. }) => self.reporter.epoch(None).await,
                    Some(command) => tracing::debug!(?command, "without a ZooKeeper session nothing is done"),
                },
            }
        }
    }

    async fn serve(&mut self, seat: &mut Seat) -> End {
        loop {
            match self.wait(seat).await {
                Wake::Stop => return End::Stopped,
                Wake::State(state) => {
                    if let Some(end) = self.on_state(seat, state).await {
                        return end;
                    }
                }
                Wake::Command(command) => self.on_command(seat, command).await,
                Wake::Look => {
                    if let Some(end) = self.on_look(seat).await {
                        return end;
                    }
                }
            }
        }
    }

    async fn wait(&mut self, seat: &mut Seat) -> Wake {
        let due = seat.look_at;
        // A look that is due goes before commands: they may come faster than a timer rings.
        if due.is_some_and(|at| at <= Instant::now()) {
            return Wake::Look;
        }
        let timer = async {
            match due {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = &mut self.stop => Wake::Stop,
            state = seat.session.changed() => Wake::State(state),
            command = self.commands.recv() => command.map_or(Wake::Stop, Wake::Command),
            () = ring(self.membership.alarm()) => Wake::Look,
            () = seat.queue.rung() => Wake::Look,
            () = timer => Wake::Look,
        }
    }

    async fn on_state(&mut self, seat: &mut Seat, state: SessionState) -> Option<End> {
        match state {
            SessionState::SyncConnected => {
                self.reporter.connected().await;
                seat.look_at = Some(Instant::now());
                None
            }
            SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                self.reporter.disconnected("the connection broke").await;
                seat.look_at = None;
                None
            }
            SessionState::AuthFailed => Some(End::Hopeless(CoordinationError::AccessRefused { path: "/".to_owned() })),
            SessionState::Expired | SessionState::Closed => Some(End::Lost),
        }
    }

    async fn on_command(&mut self, seat: &mut Seat, command: CoordinationCommand) {
        tracing::debug!(?command, "asked of ZooKeeper");
        let done = match command {
            CoordinationCommand::TakeEpoch { at_least } => {
                let taken = epochs::take(&seat.session, &self.layout, &self.config, at_least).await;
                if taken.is_none() {
                    // The counter itself may be missing; the next look makes it.
                    seat.prepared = false;
                    seat.look_at = Some(Instant::now());
                }
                self.reporter.epoch(taken).await;
                Ok(())
            }
            CoordinationCommand::PublishLeader { epoch } => match seat.queue.own_place(&self.layout) {
                Some(place) => epochs::publish(&seat.session, &self.layout, &self.config, &place, epoch).await,
                None => Ok(()),
            },
            CoordinationCommand::GoToBack => {
                seat.queue.leave();
                self.reporter.place(QueueRank::Absent).await;
                seat.look_at = Some(Instant::now());
                Ok(())
            }
            CoordinationCommand::RemovePredecessor { node, epoch } => {
                match seat.queue.place_ahead(&self.layout, &node) {
                    Some(place) => epochs::remove_unless_newer(&seat.session, &self.layout, &place, epoch).await,
                    None => Ok(()),
                }
            }
        };
        if let Err(error) = done {
            tracing::debug!(%error, "ZooKeeper did not do it, or it is not known whether it did");
        }
    }

    /// Looks at all znodes that concern this node and reports its place.
    async fn on_look(&mut self, seat: &mut Seat) -> Option<End> {
        seat.look_at = None;
        if !seat.session.is_connected() {
            return None;
        }
        match self.look(seat).await {
            Ok(again_at) => {
                seat.refused = false;
                seat.look_at = again_at;
                None
            }
            Err(Obstacle::Hopeless(error)) => Some(End::Hopeless(error)),
            Err(Obstacle::Failed(error)) => {
                let refused = is_refusal(&error);
                if refused && !seat.refused {
                    tracing::warn!(%error, "ZooKeeper refused this node its place; trying on");
                } else {
                    tracing::debug!(%error, "the place in the queue is not settled; looking again");
                }
                seat.refused = refused;
                seat.prepared = seat.prepared && error != Error::NoNode;
                let pause = if refused { AFTER_REFUSAL } else { AFTER_UNKNOWN };
                seat.look_at = Some(Instant::now() + pause);
                None
            }
        }
    }

    /// Makes everything as it should be; says when to look again even if no alarm rings.
    async fn look(&mut self, seat: &mut Seat) -> Result<Option<Instant>, Obstacle> {
        if !seat.prepared {
            self.prepare(&seat.session).await?;
            seat.prepared = true;
        }
        let held = self.membership.hold(&seat.session, &self.layout, &self.config).await;
        match held.map_err(|error| self.obstacle(error, &self.layout.live(&self.config.node_id)))? {
            Hold::Held => {}
            Hold::Waiting(until) => {
                self.reporter.place(QueueRank::Absent).await;
                seat.queue.give_up(&seat.session, &self.layout).await.map_err(Obstacle::Failed)?;
                return Ok(Some(until));
            }
            Hold::Taken(error) => return Err(Obstacle::Hopeless(error)),
        }
        loop {
            let standing = seat.queue.look(&seat.session, &self.layout, &self.config).await;
            match standing.map_err(|error| self.obstacle(error, &self.layout.election()))? {
                Standing::Removed => self.reporter.place(QueueRank::Absent).await,
                Standing::At(place) => {
                    self.admitted = true;
                    self.reporter.place(place).await;
                    return Ok(None);
                }
            }
        }
    }

    /// Creates the persistent znodes that are missing.
    async fn prepare(&self, session: &Session) -> Result<(), Obstacle> {
        for path in self.layout.folders() {
            match session.ensure(&path, b"").await {
                Ok(()) => {}
                // Parents are created first, so only the chroot can be missing.
                Err(Error::NoNode) if !self.admitted => {
                    let servers = self.config.servers.clone();
                    return Err(Obstacle::Hopeless(CoordinationError::NoChroot { servers }));
                }
                Err(error) => return Err(self.obstacle(error, &path)),
            }
        }
        let none_yet = EpochRecord { epoch: Epoch(0), node: self.config.node_id.clone(), nonce: Uuid::new_v4() };
        let path = self.layout.epoch();
        session.ensure(&path, &layout::encode(&none_yet)).await.map_err(|error| self.obstacle(error, &path))
    }

    /// Tells what can only be mended by an operator from what passes.
    fn obstacle(&self, error: Error, path: &str) -> Obstacle {
        if error == Error::NoAuth && !self.admitted {
            Obstacle::Hopeless(CoordinationError::AccessRefused { path: path.to_owned() })
        } else {
            Obstacle::Failed(error)
        }
    }
}
