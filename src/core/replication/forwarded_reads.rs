//! Linearizable reads at a node that does not lead: it asks the leader for a read index, one question at a time, each for
//! all reads that have arrived meanwhile.

use super::config::MAX_WAITING_READS;
use super::effect::{ReadId, RequestId};

/// The reads that wait for the leader's read index. They outlive a change of role: the question may still be answered.
#[derive(Debug, Default)]
pub(super) struct ForwardedReads {
    /// The question in flight with the reads that it covers.
    asked: Option<(RequestId, Vec<ReadId>)>,
    /// Reads that arrived after it was sent: its answer may be too old for them.
    waiting: Vec<ReadId>,
}

impl ForwardedReads {
    /// Adds a read; false if too many wait already.
    pub(super) fn push(&mut self, read: ReadId) -> bool {
        let has_room = self.waiting.len() < MAX_WAITING_READS;
        if has_room {
            self.waiting.push(read);
        }
        has_room
    }

    /// The reads for the next question, unless one is in flight or no read waits.
    pub(super) fn take_waiting(&mut self) -> Option<Vec<ReadId>> {
        let is_due = self.asked.is_none() && !self.waiting.is_empty();
        is_due.then(|| std::mem::take(&mut self.waiting))
    }

    /// The question for these reads was sent.
    pub(super) fn asked(&mut self, id: RequestId, reads: Vec<ReadId>) {
        self.asked = Some((id, reads));
    }

    /// The reads that a question covered, now that it has its answer or will have none.
    pub(super) fn take_asked(&mut self, id: RequestId) -> Option<Vec<ReadId>> {
        self.asked.take_if(|(asked, _)| *asked == id).map(|(_, reads)| reads)
    }
}
