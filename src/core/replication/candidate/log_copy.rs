//! Copying the best log of a majority, piece by piece.

use super::handler::{CandidateHandler, Fencing, Fetching, Stage};
use crate::domain::{Epoch, LogIndex};
use crate::replication::config::FETCH_TIMEOUT_MS;
use crate::replication::effect::{Outgoing, RequestId};
use crate::replication::entry::UnchainedEntry;
use crate::replication::message::Request;
use crate::replication::types::{Hash, NodeId, Now, Position};

/// What a piece of the source's log led to.
pub(super) enum Stored {
    /// It was stored, and more is to come.
    Partly,
    /// The copy is complete.
    Completely,
    /// The source's log is damaged.
    BadSource,
    /// A newer leader has replaced the log that the source had when it promised.
    Replaced {
        /// The newest epoch in the piece.
        newest: Epoch,
    },
    /// It would have truncated committed entries, or is decided by rules that this program does not know: the process
    /// stops.
    Halted,
}

impl CandidateHandler<'_> {
    /// Requests the log at `source` from `next` up to `target`.
    pub(super) fn fetch(&mut self, now: Now, fencing: Fencing, source: NodeId, target: Position, next: LogIndex) {
        let fetching = Fetching { fencing, source, target, next, request: None, asked_ms: now.monotonic_ms };
        self.request_piece(now, fetching);
    }

    /// Requests the next piece.
    pub(super) fn request_piece(&mut self, now: Now, fetching: Fetching) {
        let Fetching { fencing, source, target, next, .. } = &fetching;
        let wanted = Request::Fetch { epoch: fencing.epoch, from_index: *next, to_index: target.index };
        let request = Some(self.state.send(source, Outgoing::Plain(wanted)));
        self.candidate.stage = Stage::Fetching(Fetching { request, asked_ms: now.monotonic_ms, ..fetching });
    }

    /// Takes the copy out of the stage if this is its request in flight.
    pub(super) fn take_fetching(&mut self, id: RequestId) -> Option<Fetching> {
        match std::mem::replace(&mut self.candidate.stage, Stage::TakingEpoch) {
            Stage::Fetching(fetching) if fetching.request == Some(id) => Some(fetching),
            other => {
                self.candidate.stage = other;
                None
            }
        }
    }

    /// Stores a piece if its chain is unbroken. The first piece removes, in the same write, whatever conflicts with it.
    pub(super) fn store_piece(
        &mut self,
        fetching: &mut Fetching,
        previous: Position,
        entries: Vec<UnchainedEntry>,
        last_hash: Hash,
    ) -> Stored {
        let log = &self.state.log;
        let fits = previous.index == fetching.next.previous()
            && log.epoch_at(previous.index) == Some(previous.epoch)
            && log.position(previous.index).is_none_or(|own| own.hash == previous.hash)
            && chain_ends_in(&previous, &entries, &last_hash)
            && entries.last().is_some_and(|last| last.index <= fetching.target.index);
        if !fits {
            return Stored::BadSource;
        }
        // The epochs of an unbroken chain never decrease.
        let newest = entries.last().map_or(previous.epoch, |last| last.epoch);
        if newest > fetching.target.epoch {
            return Stored::Replaced { newest };
        }
        if self.state.is_outdated_by(&entries) || !self.state.truncate(previous) {
            return Stored::Halted;
        }
        for entry in entries {
            self.state.push(entry);
        }
        let last = self.state.log.last();
        fetching.next = last.index.next();
        if last.index < fetching.target.index {
            Stored::Partly
        } else if last == fetching.target {
            Stored::Completely
        } else {
            Stored::BadSource
        }
    }

    /// A piece will not arrive. It is requested again on a later tick, until the candidacy is overdue.
    pub(in crate::replication) fn on_fetch_unanswered(&mut self, now: Now, id: RequestId) {
        if let Stage::Fetching(fetching) = &mut self.candidate.stage
            && fetching.request == Some(id)
        {
            (fetching.request, fetching.asked_ms) = (None, now.monotonic_ms);
        }
    }

    /// On every tick: repeats the request for a piece that failed or is late.
    pub(super) fn repeat_late_fetch(&mut self, now: Now) {
        let Stage::Fetching(fetching) = &self.candidate.stage else { return };
        let heartbeat_ms = self.state.config.timing.heartbeat_ms;
        let timeout_ms = if fetching.request.is_some() { FETCH_TIMEOUT_MS } else { heartbeat_ms };
        if now.monotonic_ms < fetching.asked_ms + timeout_ms {
            return;
        }
        if let Stage::Fetching(fetching) = std::mem::replace(&mut self.candidate.stage, Stage::TakingEpoch) {
            self.request_piece(now, fetching);
        }
    }

    /// Whether a piece of the best log is in flight and not late.
    pub(super) fn awaits_piece(&self, now: Now) -> bool {
        let Stage::Fetching(fetching) = &self.candidate.stage else { return false };
        fetching.request.is_some() && now.monotonic_ms < fetching.asked_ms + FETCH_TIMEOUT_MS
    }
}

fn chain_ends_in(previous: &Position, entries: &[UnchainedEntry], last_hash: &Hash) -> bool {
    let mut end = *previous;
    for entry in entries {
        let chained = entry.clone().chain(&end.hash);
        if !chained.follows(&end) {
            return false;
        }
        end = chained.position();
    }
    end.hash == *last_hash
}
