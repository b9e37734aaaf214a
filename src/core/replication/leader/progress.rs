//! What the leader knows about one follower, and what is in flight to it.

use std::sync::Arc;

use crate::domain::{LogIndex, RuleVersion};
use crate::planted::{Bug, planted};
use crate::replication::config::{MAX_UNANSWERED_APPENDS, STALL_TIMEOUT_MS};
use crate::replication::effect::RequestId;
use crate::replication::entry::Entry;
use crate::replication::types::{NodeId, Now, Position, StoreId};

/// What the leader knows about one follower, and what is in flight to it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The next entry to send.
    pub(super) next: LogIndex,
    /// Highest index that its store has acknowledged to this leader. It is told, and must still hold it.
    pub(super) acknowledged: LogIndex,
    /// Highest index durable there and equal to the leader's log, as its process last reported: this counts. After a
    /// restart or a late fence it is less than what was acknowledged, until an append confirms more; a store that has
    /// lost what it acknowledged never does.
    pub(super) matched: LogIndex,
    /// The store that reported them.
    pub(super) store_id: Option<StoreId>,
    pub(super) in_flight: Option<InFlight>,
    /// A heartbeat in flight during an append that takes long: a large batch on a slow link, or a slow disk there.
    pub(super) heartbeat_in_flight: Option<RequestId>,
    /// Highest quorum round that it has answered.
    pub(super) confirmed_round: u64,
    pub(super) sent_round: u64,
    pub(super) sent_ms: Option<u64>,
    pub(super) sent_commit: LogIndex,
    pub(super) answered_ms: Option<u64>,
    /// Appends that it has left unanswered since then.
    pub(super) unanswered: u32,
    /// Since when batches are sent there and none is stored.
    pub(super) stalled_since_ms: Option<u64>,
    /// Whether its process was found gone since it last answered. Then it cannot be the successor.
    pub(super) process_gone: bool,
    /// The last append that was in flight when it was found gone.
    pub(super) sent_before_gone: Option<RequestId>,
    /// The nodes to which it cannot open connections, as it last reported.
    pub(super) unreachable: Vec<NodeId>,
    /// Whether it judges this leader's clock false, as it last reported.
    pub(super) judges_false: bool,
    /// Whether it stands in ZooKeeper's election queue, as it last reported.
    pub(super) in_queue: bool,
    /// The newest rules that its program knows, as it last reported.
    pub(super) newest_rules: RuleVersion,
    /// Whether a read of older entries from this node's ledger is in flight.
    pub(super) loading: bool,
    /// Older entries for it, beginning with the one before `next`.
    pub(super) loaded: Vec<Arc<Entry>>,
    /// What its store must hold before it may vote: everything that was committed when the store was first seen.
    pub(super) admission_index: LogIndex,
}

/// An append in flight.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: RequestId,
    /// The first entry of its batch, if it brings one.
    pub(super) first: Option<LogIndex>,
}

impl Progress {
    /// A follower that nothing is known about: it is first tried with the entries from `next` on.
    pub(super) fn starting_at(next: LogIndex) -> Self {
        Self { next, ..Self::default() }
    }

    /// Whether it answered within `within_ms` and its process was not found gone since.
    pub(super) fn answered_within(&self, now: Now, within_ms: u64) -> bool {
        !self.process_gone && self.answered_ms.is_some_and(|answered| now.monotonic_ms <= answered + within_ms)
    }

    /// Whether it answers: only then batches are worth reading and sending.
    pub(super) fn answers(&self) -> bool {
        self.unanswered < MAX_UNANSWERED_APPENDS || planted(Bug::SilentFollowerFed)
    }

    /// When it last answered; zero if never, or if it has stopped storing what it is sent.
    pub(super) fn supported_ms(&self, now: Now) -> u64 {
        let stalled = self.stalled_since_ms.is_some_and(|since| now.monotonic_ms > since + STALL_TIMEOUT_MS);
        self.answered_ms.filter(|_| !stalled).unwrap_or(0)
    }

    /// Whether the response to this append is still expected.
    pub(super) fn awaits(&self, id: RequestId) -> bool {
        self.heartbeat_in_flight == Some(id) || self.in_flight.as_ref().is_some_and(|in_flight| in_flight.id == id)
    }

    /// A response has arrived: stops expecting it. False if it was not expected. A heartbeat that was sent before the one that is
    /// answered here is no longer waited for: no entries must wait for its response, which may be lost.
    pub(super) fn take_awaited(&mut self, id: RequestId) -> bool {
        if self.in_flight.take_if(|in_flight| in_flight.id == id).is_some() {
            return true;
        }
        let answered = self.heartbeat_in_flight.take_if(|heartbeat| *heartbeat == id).is_some();
        if answered {
            self.in_flight.take_if(|in_flight| in_flight.first.is_none() && in_flight.id < id);
        }
        answered
    }

    /// An append will have no response. Whether it arrived is unknown; its batch is sent again, which changes nothing
    /// if it did.
    pub(super) fn on_unanswered(&mut self, id: RequestId) {
        if self.awaits(id) {
            self.unanswered = self.unanswered.saturating_add(1);
        }
        self.heartbeat_in_flight.take_if(|heartbeat| *heartbeat == id);
        if let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.id == id)
            && let Some(first) = in_flight.first
        {
            self.next = first.max(self.matched.next());
            self.loaded = Vec::new();
        }
    }

    /// Its process was found gone.
    pub(super) fn on_process_gone(&mut self) {
        self.process_gone = true;
        let in_flight = self.in_flight.as_ref().map(|in_flight| in_flight.id);
        self.sent_before_gone = in_flight.max(self.heartbeat_in_flight);
    }

    /// It has answered this request. A response to what was sent before its process was found gone was on its way then, so
    /// it does not show that it lives, nor that its disk still holds what it reports.
    pub(super) fn on_answered(&mut self, id: RequestId, now: Now) {
        self.answered_ms = Some(now.monotonic_ms);
        self.unanswered = 0;
        self.process_gone &= self.sent_before_gone.is_some_and(|last| id <= last);
    }

    /// It refuses an append: it is quarantined, or cannot store. Nothing is known of its log until it reports again.
    pub(super) fn on_refused(&mut self, id: RequestId) {
        if self.awaits(id) {
            self.matched = LogIndex(0);
        }
    }

    /// What counts as stored there.
    pub(super) fn counted(&self) -> LogIndex {
        if planted(Bug::LostCopiesCount) { self.acknowledged } else { self.matched }
    }

    /// Another store answers than before: everything that the old one acknowledged is lost with it.
    pub(super) fn reset_for_new_store(&mut self, admission_index: LogIndex) {
        self.matched = LogIndex(0);
        self.acknowledged = LogIndex(0);
        self.admission_index = admission_index;
        self.loaded = Vec::new();
    }

    /// The next batch with the position before it, out of the entries that were loaded for it.
    pub(super) fn take_loaded(&mut self) -> Option<(Position, Vec<Arc<Entry>>)> {
        let mut loaded = std::mem::take(&mut self.loaded);
        if self.next == LogIndex(1) && loaded.first().is_some_and(|entry| entry.index == self.next) {
            return Some((Position::default(), loaded));
        }
        if loaded.len() > 1 && loaded[0].index == self.next.previous() {
            let previous = loaded.remove(0).position();
            return Some((previous, loaded));
        }
        None
    }
}
