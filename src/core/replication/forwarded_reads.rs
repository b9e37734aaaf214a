//! Linearizable reads at a follower: it requests a read index from the leader, one request at a time, each for all
//! reads that have arrived since the last one.

use super::config::MAX_WAITING_READS;
use super::effect::{ReadId, RequestId};

/// The reads that wait for the leader's read index. They survive a change of role, and the next leader is asked if it is known by then.
#[derive(Debug, Default)]
pub(super) struct ForwardedReads {
    /// The request in flight with the reads that it covers.
    requested: Option<(RequestId, Vec<ReadId>)>,
    /// Reads that arrived after it was sent: its answer may be too old for them.
    waiting: Vec<ReadId>,
}

impl ForwardedReads {
    /// Adds a read; false if too many wait for the next request already.
    pub(super) fn push(&mut self, read: ReadId) -> bool {
        let has_room = self.waiting.len() < MAX_WAITING_READS;
        if has_room {
            self.waiting.push(read);
        }
        has_room
    }

    /// The node that was asked is no longer the leader: its response may never come, and the next leader can answer. A
    /// response that comes nevertheless finds nobody.
    pub(super) fn withdraw(&mut self) {
        if let Some((_, reads)) = self.requested.take() {
            self.waiting.splice(0..0, reads);
        }
    }

    /// The reads for the next request, unless one is in flight or no read waits.
    pub(super) fn take_waiting(&mut self) -> Option<Vec<ReadId>> {
        let is_due = self.requested.is_none() && !self.waiting.is_empty();
        is_due.then(|| std::mem::take(&mut self.waiting))
    }

    /// The request for these reads was sent.
    pub(super) fn requested(&mut self, id: RequestId, reads: Vec<ReadId>) {
        self.requested = Some((id, reads));
    }

    /// The reads that a request covers, once it has a response or has failed.
    pub(super) fn take_requested(&mut self, id: RequestId) -> Option<Vec<ReadId>> {
        self.requested.take_if(|(requested, _)| *requested == id).map(|(_, reads)| reads)
    }
}
