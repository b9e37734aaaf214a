//! Starts and stops the coordination.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::config::CoordinationConfig;
use super::notice::CoordinationNotice;
use super::outside::Outside;
use super::task::{Orders, Task};
use quorapay_core::domain::Epoch;
use quorapay_core::replication::CoordinationCommand;

/// Commands that may wait. The replica has only a few in progress; a full queue would mean a mistake in it.
const COMMAND_QUEUE: usize = 64;

/// A running coordination. Dropping it closes the session without waiting.
#[derive(Debug)]
pub struct Coordination {
    /// Takes the replica's commands.
    pub commands: CoordinationCommands,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Takes the replica's commands, in order and without waiting: a loop that waited here for room, while the coordination
/// waits for room in the notices, would wait forever. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CoordinationCommands {
    queue: mpsc::Sender<CoordinationCommand>,
    /// The epoch that this node leads: a state, of which only the newest matters, and not a step that could be lost.
    leads: Arc<watch::Sender<Option<Epoch>>>,
}

impl CoordinationCommands {
    /// Takes a command. One without room counts as lost on the way to ZooKeeper: the core repeats it while it matters.
    /// [`CoordinationCommand::PublishLeader`] needs no room; it holds until another epoch or
    /// [`CoordinationCommand::GoToBack`] replaces it.
    pub fn send(&self, command: CoordinationCommand) {
        match command {
            CoordinationCommand::PublishLeader { epoch } => {
                self.leads.send_replace(Some(epoch));
                return;
            }
            CoordinationCommand::GoToBack => {
                self.leads.send_replace(None);
            }
            CoordinationCommand::TakeEpoch { .. } | CoordinationCommand::RemovePredecessor { .. } => {}
        }
        if let Err(error) = self.queue.try_send(command) {
            tracing::debug!(%error, "a command to ZooKeeper is lost");
        }
    }
}

/// Starts the coordination on the current runtime.
///
/// It keeps trying while ZooKeeper is away. Without a session, [`CoordinationCommand::TakeEpoch`] is refused,
/// [`CoordinationCommand::GoToBack`] is remembered for as long as the session may come back,
/// [`CoordinationCommand::PublishLeader`] is carried out by the next session, and the other commands do nothing.
#[must_use]
pub fn start(config: CoordinationConfig, outside: Outside, notices: mpsc::Sender<CoordinationNotice>) -> Coordination {
    let (queue, receiver) = mpsc::channel(COMMAND_QUEUE);
    let (leads, published) = watch::channel(None);
    let (stop, stopped) = oneshot::channel();
    let orders = Orders { commands: receiver, leads: published, stop: stopped };
    let task = tokio::spawn(Task::new(config, outside, notices, orders).run());
    Coordination { commands: CoordinationCommands { queue, leads: Arc::new(leads) }, stop, task }
}

impl Coordination {
    /// Closes the session and waits until ZooKeeper has removed this node's znodes, so that the next in the queue moves
    /// up at once. After `within` the task is aborted, and the znodes go when the session expires.
    pub async fn shutdown(self, within: Duration) {
        let Self { commands, stop, mut task } = self;
        // A task that has already ended needs no signal.
        let _ = stop.send(());
        drop(commands);
        if timeout(within, &mut task).await.is_err() {
            task.abort();
            tracing::warn!(?within, "ZooKeeper did not confirm the end of the session; it will expire");
        }
    }
}
