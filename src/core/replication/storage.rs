//! The replica's model of its ledger file: the next write, the write in flight, what is durable, and the responses that
//! wait for durability.
//!
//! One write is in flight at a time. Everything that comes up meanwhile forms the next one: group commit.

use std::sync::Arc;

use super::config::IDLE_COMMIT_MS;
use super::effect::{Effect, Persist, PersistId, RpcId};
use super::entry::Entry;
use super::message::Response;
use super::types::{Now, Promise};
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};

/// What was handed to the ledger file and what is durable there.
#[derive(Debug)]
pub(super) struct Storage {
    /// The next write.
    next: Persist,
    in_flight: Option<InFlight>,
    last_id: PersistId,
    /// Invariant 4: everything up to here is in the ledger file, synced, and equal to the log in memory.
    durable_index: LogIndex,
    durable_promise: Option<Promise>,
    /// End of the log as of the last write that was handed out.
    written_index: LogIndex,
    written_commit: LogIndex,
    commit_written_ms: u64,
    waiting: Vec<WaitingResponse>,
}

#[derive(Debug)]
struct InFlight {
    id: PersistId,
    since_ms: u64,
    /// End of the log after the write, lowered by truncations since.
    end: LogIndex,
    promise: Option<Promise>,
}

/// A response that must not be sent before it is true of the ledger file.
#[derive(Debug)]
struct WaitingResponse {
    rpc: RpcId,
    response: Response,
    /// It is true only under a promise of this epoch.
    epoch: Epoch,
    /// It vouches for the log up to here.
    index: LogIndex,
    /// When its request arrived, in microseconds of the monotonic clock.
    since_us: u64,
}

impl Storage {
    pub(super) fn new(last: LogIndex, promise: Option<Promise>, commit: LogIndex) -> Self {
        Self {
            next: Persist::default(),
            in_flight: None,
            last_id: PersistId(0),
            durable_index: last,
            durable_promise: promise,
            written_index: last,
            written_commit: commit,
            commit_written_ms: 0,
            waiting: Vec::new(),
        }
    }

    pub(super) fn durable_index(&self) -> LogIndex {
        self.durable_index
    }

    pub(super) fn durable_epoch(&self) -> Epoch {
        self.durable_promise.as_ref().map_or(Epoch(0), |promise| promise.epoch)
    }

    pub(super) fn append(&mut self, entry: Arc<Entry>) {
        self.next.entries.push(entry);
    }

    pub(super) fn promise(&mut self, promise: Promise) {
        self.next.promise = Some(promise);
    }

    pub(super) fn truncate(&mut self, after: LogIndex) {
        self.next.entries.retain(|entry| entry.index <= after);
        if self.written_index > after {
            self.next.truncate_after = Some(after);
            self.written_index = after;
        }
        self.durable_index = self.durable_index.min(after);
        if let Some(in_flight) = &mut self.in_flight
            && !planted(Bug::InFlightWriteNotTruncated)
        {
            in_flight.end = in_flight.end.min(after);
        }
    }

    /// Takes the next write, if there is something to write and no write is in flight.
    pub(super) fn take_write(&mut self, commit: LogIndex, max_entries: usize, now_ms: u64) -> Option<Persist> {
        if self.in_flight.is_some() {
            return None;
        }
        let empty = self.next.entries.is_empty() && self.next.promise.is_none() && self.next.truncate_after.is_none();
        let commit_is_due = commit > self.written_commit && now_ms >= self.commit_written_ms + IDLE_COMMIT_MS;
        if empty && !commit_is_due {
            return None;
        }
        let mut write = std::mem::take(&mut self.next);
        if write.entries.len() > max_entries {
            self.next.entries = write.entries.split_off(max_entries);
        }
        self.last_id = PersistId(self.last_id.0 + 1);
        write.id = self.last_id;
        self.written_index = write.entries.last().map_or(self.written_index, |entry| entry.index);
        // The stored commit index is a lower bound for this very file, so it never exceeds the file's end.
        write.commit_index = commit.min(self.written_index);
        self.written_commit = write.commit_index;
        self.commit_written_ms = now_ms;
        let (id, end, promise) = (write.id, self.written_index, write.promise.clone());
        self.in_flight = Some(InFlight { id, since_ms: now_ms, end, promise });
        Some(write)
    }

    /// For how long the write in flight has been so; zero if there is none.
    pub(super) fn write_takes_ms(&self, now_ms: u64) -> u64 {
        self.in_flight.as_ref().map_or(0, |in_flight| now_ms.saturating_sub(in_flight.since_ms))
    }

    /// A write is durable. False if it is not the one in flight.
    pub(super) fn on_persisted(&mut self, id: PersistId) -> bool {
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.id == id) else {
            return false;
        };
        self.durable_index = self.durable_index.max(in_flight.end);
        if in_flight.promise.is_some() {
            self.durable_promise = in_flight.promise;
        }
        true
    }

    /// Keeps a response back until a promise of `epoch` and the log up to `index` are durable.
    pub(super) fn hold_back(&mut self, now: Now, rpc: RpcId, response: Response, epoch: Epoch, index: LogIndex) {
        let since_us = now.reading.monotonic_us;
        self.waiting.push(WaitingResponse { rpc, response, epoch, index, since_us });
    }

    /// Sends every waiting response that has become true, and refuses those that a higher promise made untrue.
    pub(super) fn release_responses(&mut self, now: Now, promised: Epoch, effects: &mut Vec<Effect>) {
        let (durable_epoch, durable_index) = (self.durable_epoch(), self.durable_index);
        self.waiting.retain_mut(|waiting| {
            let early = match &waiting.response {
                Response::Promised(_) => planted(Bug::PromiseBeforeFsync),
                _ => planted(Bug::AckBeforeFsync),
            };
            let response = if promised > waiting.epoch && !planted(Bug::NoFence) {
                Response::Fenced { promised }
            } else if early || (durable_epoch >= waiting.epoch && durable_index >= waiting.index) {
                if let Response::Appended { clock, .. } = &mut waiting.response {
                    clock.held_us = now.reading.monotonic_us.saturating_sub(waiting.since_us);
                }
                waiting.response.clone()
            } else {
                return true;
            };
            effects.push(Effect::Respond { rpc: waiting.rpc, response });
            false
        });
    }
}
