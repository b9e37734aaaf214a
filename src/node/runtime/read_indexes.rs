//! Read indexes for many reads at once: whoever asks while a request is on its way joins the next one, which is sent after
//! they asked. So the event loop is woken once for each round of the quorum and not once for each read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::query::ReadError;
use quorapay_core::domain::LogIndex;

use super::engine_link::EngineLink;
use super::message::Message;

/// Reads that may wait for the next request.
const MAX_WAITING: usize = 65_536;

/// The index as of which a read may be answered; `None` if this node cannot get one now.
type Answer = Result<Option<LogIndex>, ReadError>;

/// See the module. Cheap to clone; clones share it.
#[derive(Clone)]
pub(super) struct ReadIndexes {
    engine: EngineLink,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    reads: Vec<oneshot::Sender<Answer>>,
    /// Whether a request is on its way.
    asking: bool,
}

impl ReadIndexes {
    pub(super) fn new(engine: EngineLink) -> Self {
        Self { engine, waiting: Arc::default() }
    }

    /// A read index of now or later.
    pub(super) async fn ask(&self) -> Answer {
        let (reply, answer) = oneshot::channel();
        let begins = {
            let mut waiting = self.lock();
            if waiting.reads.len() >= MAX_WAITING {
                return Err(ReadError::Overloaded);
            }
            waiting.reads.push(reply);
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
            let reads = {
                let mut waiting = self.lock();
                waiting.reads.retain(|read| !read.is_closed());
                waiting.asking = !waiting.reads.is_empty();
                if !waiting.asking {
                    return;
                }
                std::mem::take(&mut waiting.reads)
            };
            let (reply, index) = oneshot::channel();
            let answer = match self.engine.send(Message::Read { reply }) {
                Ok(()) => Ok(index.await.unwrap_or(None)),
                Err(error) => Err(error),
            };
            for read in reads {
                // A caller that has given up needs no answer.
                let _ = read.send(answer);
            }
        }
    }
}
