//! Starts and stops the coordination.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::config::CoordinationConfig;
use super::notice::CoordinationNotice;
use super::task::Task;
use quorapay_core::replication::CoordinationCommand;

/// Commands that may wait. The replica has only a few in progress; a full queue would mean a mistake in it.
const COMMAND_QUEUE: usize = 64;

/// A running coordination. Dropping it closes the session without waiting.
#[derive(Debug)]
pub struct Coordination {
    /// Takes the replica's commands, in order. Use `try_send`: a loop that waits here for room while the coordination
    /// waits for room in the notices would wait forever.
    pub commands: mpsc::Sender<CoordinationCommand>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Starts the coordination on the current runtime.
///
/// It keeps trying while ZooKeeper is away. Without a session, [`CoordinationCommand::TakeEpoch`] is refused,
/// [`CoordinationCommand::GoToBack`] is remembered for as long as the session may come back, and the other commands do
/// nothing.
#[must_use]
pub fn start(config: CoordinationConfig, notices: mpsc::Sender<CoordinationNotice>) -> Coordination {
    let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(Task::new(config, notices, receiver, stopped).run());
    Coordination { commands, stop, task }
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
