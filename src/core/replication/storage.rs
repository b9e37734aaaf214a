//! The replica's side of its ledger: what is to be written, what is on its way, what is durable, and the answers that
//! wait for it.
//!
//! One write is on its way at a time. Whatever comes up meanwhile is the next one: that is the group commit.

use super::effect::{Effect, Persist, PersistId, RpcId};
use super::entry::Entry;
use super::message::Response;
use super::replica::Replica;
use super::types::Promise;
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};

use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(super) struct Storage {
    /// What the next write will hold.
    next: Persist,
    /// The write on its way.
    in_flight: Option<InFlight>,
    last_id: PersistId,
    /// Invariant 4: everything up to here is in the ledger file, synced, and equal to the log in memory.
    durable_index: LogIndex,
    durable_promise: Option<Promise>,
    /// End of the log as far as it was handed to the ledger.
    written_index: LogIndex,
    written_commit: LogIndex,
    commit_written_ms: u64,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct InFlight {
    id: PersistId,
    /// End of the log after the write, as far as that part of the log still stands.
    end: LogIndex,
    promise: Option<Promise>,
}

/// An answer that must not leave before what it says is durable.
#[derive(Debug)]
struct Waiting {
    rpc: RpcId,
    response: Response,
    /// The promise under which it is true.
    epoch: Epoch,
    /// The part of the log that it vouches for.
    index: LogIndex,
}

/// A commit index alone is written when it has been ahead of the ledger's for this long.
const IDLE_COMMIT_MS: u64 = 200;

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
            && !planted(Bug::WriteOnItsWayNotCut)
        {
            in_flight.end = in_flight.end.min(after);
        }
    }

    /// Takes the next write, if there is one and none is on its way.
    pub(super) fn take(&mut self, commit: LogIndex, most_entries: usize, now_ms: u64) -> Option<Persist> {
        if self.in_flight.is_some() {
            return None;
        }
        let empty = self.next.entries.is_empty() && self.next.promise.is_none() && self.next.truncate_after.is_none();
        let commit_is_due = commit > self.written_commit && now_ms >= self.commit_written_ms + IDLE_COMMIT_MS;
        if empty && !commit_is_due {
            return None;
        }
        let mut write = std::mem::take(&mut self.next);
        if write.entries.len() > most_entries {
            self.next.entries = write.entries.split_off(most_entries);
        }
        self.last_id = PersistId(self.last_id.0 + 1);
        write.id = self.last_id;
        self.written_index = write.entries.last().map_or(self.written_index, |entry| entry.index);
        // Stored as a lower bound of what this very file holds, so never above its end.
        write.commit_index = commit.min(self.written_index);
        self.written_commit = write.commit_index;
        self.commit_written_ms = now_ms;
        self.in_flight = Some(InFlight { id: write.id, end: self.written_index, promise: write.promise.clone() });
        Some(write)
    }

    fn persisted(&mut self, id: PersistId) -> bool {
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.id == id) else {
            return false;
        };
        self.durable_index = self.durable_index.max(in_flight.end);
        if in_flight.promise.is_some() {
            self.durable_promise = in_flight.promise;
        }
        true
    }
}

impl Replica {
    /// A write is durable: releases the answers that waited for it.
    pub(super) fn on_persisted(&mut self, id: PersistId) {
        if self.storage.persisted(id) {
            self.release_waiting();
        }
    }

    /// Sends an answer once this node's promise of `epoch` and its log up to `index` are durable.
    pub(super) fn respond_when_durable(&mut self, rpc: RpcId, response: Response, epoch: Epoch, index: LogIndex) {
        self.storage.waiting.push(Waiting { rpc, response, epoch, index });
        self.release_waiting();
    }

    /// Lets go of every waiting answer that has become true, and refuses those that a higher promise made untrue.
    pub(super) fn release_waiting(&mut self) {
        let promised = self.promised_epoch();
        let (durable_epoch, durable_index) = (self.storage.durable_epoch(), self.storage.durable_index);
        let effects = &mut self.effects;
        self.storage.waiting.retain(|waiting| {
            let early = match &waiting.response {
                Response::Promised(_) => planted(Bug::PromiseBeforeFsync),
                _ => planted(Bug::AckBeforeFsync),
            };
            let response = if promised > waiting.epoch && !planted(Bug::NoFence) {
                Response::Fenced { promised }
            } else if early || (durable_epoch >= waiting.epoch && durable_index >= waiting.index) {
                waiting.response.clone()
            } else {
                return true;
            };
            effects.push(Effect::Respond { rpc: waiting.rpc, response });
            false
        });
    }
}
