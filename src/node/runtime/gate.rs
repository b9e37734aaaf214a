//! How the proposals of another thread get into the event loop, and their outcomes back: in batches.
//!
//! A thread that serves clients gathers its proposals while it reads its connections, and wakes the loop once for all of
//! them. The loop wakes the thread once for all outcomes of a turn. A wake-up of another thread is a system call: one for
//! each proposal and each outcome would cost the loop as much as the proposal itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};

use quorapay_core::engine::ProposalOutcome;

use super::message::{Message, ProposedWrite};

/// Where a proposal's outcome goes.
pub(super) type Reply = oneshot::Sender<ProposalOutcome>;

/// See the module. The thread and the loop share it.
pub(super) struct Gate {
    asked: Mutex<Asked>,
    /// Most proposals that wait for the loop.
    limit: usize,
    /// Tells the thread's own task that proposals have gathered.
    gathered: Notify,
    /// Outcomes for the thread. There are no more than callers that wait, which the engine bounds.
    known: Mutex<Vec<(Reply, ProposalOutcome)>>,
    /// Tells the thread's own task that outcomes are known.
    decided: Notify,
}

#[derive(Default)]
struct Asked {
    proposals: Vec<ProposedWrite>,
    /// The loop has ended.
    closed: bool,
}

impl Gate {
    /// Opens a gate between the runtime of this thread and the loop that takes `proposals`. `limit` proposals may wait.
    pub(super) fn open(proposals: mpsc::Sender<Message>, limit: usize) -> Arc<Self> {
        let gate = Arc::new(Self {
            asked: Mutex::default(),
            limit,
            gathered: Notify::new(),
            known: Mutex::default(),
            decided: Notify::new(),
        });
        tokio::spawn(Arc::clone(&gate).announce(proposals));
        tokio::spawn(Arc::clone(&gate).pass_on());
        gate
    }

    /// Leaves a proposal for the loop. `false` if too many wait, or the loop has ended.
    pub(super) fn ask(&self, write: ProposedWrite) -> bool {
        let mut asked = lock(&self.asked);
        if asked.closed || asked.proposals.len() >= self.limit {
            return false;
        }
        asked.proposals.push(write);
        if asked.proposals.len() == 1 {
            self.gathered.notify_one();
        }
        true
    }

    /// Takes the proposals that have gathered, into the loop.
    pub(super) fn take(&self) -> Vec<ProposedWrite> {
        std::mem::take(&mut lock(&self.asked).proposals)
    }

    /// Leaves the outcomes of a turn of the loop for the thread.
    pub(super) fn deliver(&self, outcomes: &mut Vec<(Reply, ProposalOutcome)>) {
        lock(&self.known).append(outcomes);
        self.decided.notify_one();
    }

    /// Wakes the loop for what has gathered, after the thread's tasks that were ready at the same time have added theirs.
    async fn announce(self: Arc<Self>, proposals: mpsc::Sender<Message>) {
        loop {
            tokio::select! {
                biased;
                () = proposals.closed() => break,
                () = self.gathered.notified() => {}
            }
            if proposals.send(Message::Gathered(Arc::clone(&self))).await.is_err() {
                break;
            }
        }
        let mut asked = lock(&self.asked);
        asked.closed = true;
        // Whoever waits for one of them learns that its outcome is unknown.
        asked.proposals.clear();
    }

    /// Passes the outcomes on to the tasks of this thread that wait for them.
    async fn pass_on(self: Arc<Self>) {
        loop {
            self.decided.notified().await;
            let known = std::mem::take(&mut *lock(&self.known));
            for (reply, outcome) in known {
                // A caller that has given up needs no outcome.
                let _ = reply.send(outcome);
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::domain::{IdempotencyKey, Proposal};
    use quorapay_core::replication::sample::payment;

    fn proposal() -> Proposal {
        let key = IdempotencyKey::parse("k").expect("printable");
        Proposal { key, request: payment("external:card", "a", 1, None, None) }
    }

    fn ask(gate: &Gate) -> Option<oneshot::Receiver<ProposalOutcome>> {
        let (reply, outcome) = oneshot::channel();
        gate.ask(ProposedWrite { principal: None, proposal: proposal(), reply }).then_some(outcome)
    }

    #[tokio::test]
    async fn what_gathers_in_one_turn_is_announced_once_and_answered_together() {
        let (requests, mut received) = mpsc::channel(8);
        let gate = Gate::open(requests, 8);
        let outcomes: Vec<_> = (0..3).map(|_| ask(&gate).expect("there is room")).collect();
        let Some(Message::Gathered(announced)) = received.recv().await else { panic!("it is announced") };
        let taken = announced.take();
        assert_eq!(taken.len(), 3);
        assert!(received.try_recv().is_err(), "once");
        let late = ask(&gate).expect("there is room");
        let Some(Message::Gathered(again)) = received.recv().await else { panic!("the next is announced too") };
        let mut known =
            taken.into_iter().chain(again.take()).map(|write| (write.reply, ProposalOutcome::Unknown)).collect();
        gate.deliver(&mut known);
        for outcome in outcomes.into_iter().chain([late]) {
            assert!(matches!(outcome.await, Ok(ProposalOutcome::Unknown)));
        }
    }

    #[tokio::test]
    async fn no_more_wait_than_the_limit_and_none_after_the_loop_has_ended() {
        let (requests, received) = mpsc::channel(8);
        let gate = Gate::open(requests, 2);
        let waiting: Vec<_> = (0..2).map(|_| ask(&gate).expect("there is room")).collect();
        assert!(ask(&gate).is_none(), "it is full");
        drop(received);
        for outcome in waiting {
            assert!(outcome.await.is_err(), "the loop is gone");
        }
        assert!(ask(&gate).is_none(), "it is closed");
    }
}
