//! What a node notes of its batches: which entries, which step, from when to when. The newest are kept.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::NodeId;

/// Stretches that are kept: those of some seconds at the highest rate, about 3 MB.
const MAX_STRETCHES: usize = 32_768;

/// What was done with a batch of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// The leader decided its payments and chained its entries.
    Decide,
    /// A node wrote and synced its entries.
    Persist,
    /// The leader sent it to this follower and waited for the acknowledgement.
    Send(NodeId),
    /// A follower took it from the leader and acknowledged it.
    Receive,
    /// The leader knew that a quorum has it, and answered.
    Commit,
}

/// A step with its time since the Unix epoch in microseconds, by the node's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// What was done.
    pub step: Step,
    /// When it began.
    pub began_us: u64,
    /// When it ended.
    pub ended_us: u64,
}

#[derive(Clone, Debug)]
struct Stretch {
    step: Step,
    first: LogIndex,
    last: LogIndex,
    began: Instant,
    ended: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Timeline(Mutex<VecDeque<Stretch>>);

impl Timeline {
    /// Notes that a step with these entries began then and ends now.
    pub fn note(&self, step: Step, (first, last): (LogIndex, LogIndex), began: Instant) {
        let mut stretches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stretches.len() == MAX_STRETCHES {
            stretches.pop_front();
        }
        stretches.push_back(Stretch { step, first, last, began, ended: Instant::now() });
    }

    /// What was noted of an entry, while the wall clock shows this time.
    #[must_use]
    pub fn of(&self, index: LogIndex, unix_ms: u64) -> Vec<Noted> {
        let now = Instant::now();
        let stretches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_entry = stretches.iter().filter(|stretch| stretch.first <= index && index <= stretch.last);
        let noted = |stretch: &Stretch| Noted {
            step: stretch.step.clone(),
            began_us: unix_us(stretch.began, now, unix_ms),
            ended_us: unix_us(stretch.ended, now, unix_ms),
        };
        of_entry.map(noted).collect()
    }
}

/// A moment since the Unix epoch in microseconds, if the wall clock shows this time now.
pub(super) fn unix_us(moment: Instant, now: Instant, unix_ms: u64) -> u64 {
    let ago = now.saturating_duration_since(moment);
    let since_epoch = Duration::from_millis(unix_ms).saturating_sub(ago);
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_has_the_steps_of_its_batches_and_old_ones_are_forgotten() {
        let timeline = Timeline::default();
        let began = Instant::now();
        tokio::time::advance(Duration::from_millis(2)).await;
        timeline.note(Step::Decide, (LogIndex(5), LogIndex(7)), began);
        timeline.note(Step::Persist, (LogIndex(6), LogIndex(9)), began);
        tokio::time::advance(Duration::from_millis(3)).await;
        let of = |index| timeline.of(LogIndex(index), 1_005);
        assert_eq!(of(5), [Noted { step: Step::Decide, began_us: 1_000_000, ended_us: 1_002_000 }]);
        assert_eq!((of(7).len(), of(9).len(), of(10).len()), (2, 1, 0));
        for _ in 0..MAX_STRETCHES {
            timeline.note(Step::Commit, (LogIndex(10), LogIndex(10)), began);
        }
        assert_eq!((of(7).len(), of(10).len()), (0, MAX_STRETCHES));
    }
}
