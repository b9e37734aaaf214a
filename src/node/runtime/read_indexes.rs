//! Read indexes for many reads at once: whoever asks while a request is on its way joins the next one, which is sent after
//! they asked. So the event loop is woken once for each round of the quorum and not once for each read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::query::ReadError;
use crate::request_id::GivenId;
use quorapay_core::domain::LogIndex;

use super::message::Message;

/// Reads that may wait for the next request.
const MAX_WAITING: usize = 65_536;
/// Names that travel with one request.
pub(super) const MAX_NAMES: usize = 16;
/// How long a request may take before the next one is sent beside it: a round over a slow link takes less.
const PATIENCE: Duration = Duration::from_millis(100);
/// After this time no caller waits for an answer any more.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The index as of which a read may be answered; `None` if this node cannot get one now.
type Answer = Result<Option<LogIndex>, ReadError>;

/// See the module. Cheap to clone; clones share it.
#[derive(Clone)]
pub(super) struct ReadIndexes {
    requests: mpsc::Sender<Message>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    reads: Vec<oneshot::Sender<Answer>>,
    /// What clients named some of them.
    names: Vec<GivenId>,
    /// Whether a request is on its way.
    asking: bool,
}

impl ReadIndexes {
    pub(super) fn new(requests: mpsc::Sender<Message>) -> Self {
        Self { requests, waiting: Arc::default() }
    }

    /// A read index of now or later. The leader's log names the read.
    pub(super) async fn ask(&self, name: Option<GivenId>) -> Answer {
        let (reply, answer) = oneshot::channel();
        let begins = {
            let mut waiting = self.lock();
            if waiting.reads.len() >= MAX_WAITING {
                return Err(ReadError::Overloaded);
            }
            waiting.reads.push(reply);
            if let Some(name) = name.filter(|_| waiting.names.len() < MAX_NAMES) {
                waiting.names.push(name);
            }
            !std::mem::replace(&mut waiting.asking, true)
        };
        if begins {
            // A task of its own: a caller may give up while others wait for the same answer.
            tokio::spawn(self.clone().run());
        }
        // The task is gone only when the node stops.
        answer.await.unwrap_or(Ok(None))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks until nobody waits.
    async fn run(self) {
        loop {
            let (reads, names) = {
                let mut waiting = self.lock();
                waiting.reads.retain(|read| !read.is_closed());
                waiting.asking = !waiting.reads.is_empty();
                if !waiting.asking {
                    return;
                }
                (std::mem::take(&mut waiting.reads), std::mem::take(&mut waiting.names))
            };
            let (reply, mut index) = oneshot::channel();
            if self.requests.try_send(Message::Read { reply, names }).is_err() {
                answer(reads, Err(ReadError::Overloaded));
                continue;
            }
            match timeout(PATIENCE, &mut index).await {
                Ok(index) => answer(reads, Ok(index.unwrap_or(None))),
                // Those who come now need not wait for it.
                Err(_) => drop(tokio::spawn(answer_late(reads, index))),
            }
        }
    }
}

async fn answer_late(reads: Vec<oneshot::Sender<Answer>>, index: oneshot::Receiver<Option<LogIndex>>) {
    if let Ok(index) = timeout(LONGEST_WAIT, index).await {
        answer(reads, Ok(index.unwrap_or(None)));
    }
}

fn answer(reads: Vec<oneshot::Sender<Answer>>, answer: Answer) {
    for read in reads {
        // A caller that has given up needs no answer.
        let _ = read.send(answer);
    }
}

#[cfg(test)]
#[path = "read_indexes_tests.rs"]
mod tests;
