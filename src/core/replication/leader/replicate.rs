//! What each follower is sent, and when.

use std::sync::Arc;

use super::handler::LeaderHandler;
use super::progress::{InFlight, Progress};
use crate::domain::{Epoch, LogIndex, RuleVersion};
use crate::replication::config::{COMMIT_NOTICE_MS, MAX_APPEND_BYTES};
use crate::replication::effect::{Effect, Outgoing};
use crate::replication::entry::Entry;
use crate::replication::message::{Acknowledged, Append, EntryBatch, Request};
use crate::replication::state::State;
use crate::replication::types::{NodeId, Now, Position};

/// Consecutive entries with the position before them.
type Batch = (Position, Vec<Arc<Entry>>);

/// The leader's side of the replication to one follower.
struct Stream<'a> {
    follower: &'a NodeId,
    progress: &'a mut Progress,
    state: &'a mut State,
    epoch: Epoch,
    round: u64,
    read_waits: bool,
    common_rules: RuleVersion,
    time_error_ms: Option<u64>,
}

impl LeaderHandler<'_> {
    /// Sends each follower what it lacks, a heartbeat if one is due, or nothing.
    pub(in crate::replication) fn replicate(&mut self, now: Now) {
        if self.leader.reads.back().is_some_and(|read| read.round > self.leader.round) {
            self.leader.round += 1;
        }
        self.change_configuration(now);
        self.add_followers();
        let (epoch, round, read_waits) = (self.leader.epoch, self.leader.round, !self.leader.reads.is_empty());
        let common_rules = self.common_rules(now);
        self.state.rules_named = (epoch, common_rules);
        let time_error_ms = self.state.time_error_ms(now);
        self.state.time_error_named = (epoch, time_error_ms);
        for (follower, progress) in &mut self.leader.followers {
            let state = &mut *self.state;
            let mut stream =
                Stream { follower, progress, state, epoch, round, read_waits, common_rules, time_error_ms };
            stream.load_ahead();
            stream.replicate(now);
        }
    }

    /// Every known node gets a progress record; it is first tried with the entries of this epoch.
    fn add_followers(&mut self) {
        let newest = Some(self.state.log.configuration_index());
        if self.leader.followers_as_of == newest {
            return;
        }
        self.leader.followers_as_of = newest;
        let start = self.leader.start;
        for node in self.state.others() {
            self.leader.followers.entry(node).or_insert_with(|| Progress::starting_at(start));
        }
    }

    /// Older entries that were read for a follower.
    pub(in crate::replication) fn on_loaded(&mut self, follower: &NodeId, entries: Vec<Arc<Entry>>) {
        // Entries that were requested in an earlier leadership of this node may have been truncated since.
        let is_current = entries.last().is_none_or(|last| self.state.log.epoch_at(last.index) == Some(last.epoch));
        if let Some(progress) = self.leader.followers.get_mut(follower) {
            progress.loading = false;
            progress.loaded = if is_current { entries } else { Vec::new() };
        }
    }
}

impl Stream<'_> {
    /// Has older entries read before they are needed: while one batch is in flight the next one is read.
    fn load_ahead(&mut self) {
        let (durable, limit) = (self.state.storage.durable_index(), self.state.config.limits.batch_entries as u64);
        let progress = &mut *self.progress;
        if progress.loading || !progress.loaded.is_empty() || progress.store_id.is_none() || !progress.answers() {
            return;
        }
        if self.state.log.holds(progress.next) || progress.next > durable {
            return;
        }
        progress.loading = true;
        // One entry more than the batch: the position before it is needed too.
        let from_index = LogIndex(progress.next.previous().0.max(1));
        let to_index = durable.min(LogIndex(progress.next.previous().0 + limit));
        self.state.emit(Effect::Load { peer: self.follower.clone(), from_index, to_index });
    }

    fn replicate(&mut self, now: Now) {
        let heartbeat_ms = self.state.config.timing.heartbeat_ms;
        let progress = &*self.progress;
        let since_sent_ms = progress.sent_ms.map_or(u64::MAX, |sent| now.monotonic_ms.saturating_sub(sent));
        if progress.in_flight.is_some() {
            if progress.heartbeat_in_flight.is_none() && since_sent_ms >= heartbeat_ms {
                self.send(now, None);
            }
            return;
        }
        let last_failed = progress.answered_ms < progress.sent_ms;
        if last_failed && since_sent_ms < heartbeat_ms {
            // A dead follower costs one heartbeat at a time.
            return;
        }
        let has_entries = progress.next <= self.state.log.last().index;
        let is_due = since_sent_ms >= heartbeat_ms
            || (self.read_waits && progress.sent_round < self.round)
            || (progress.sent_commit < self.state.commit_index && since_sent_ms >= COMMIT_NOTICE_MS);
        // A follower that reports less than it acknowledged before is sent the end of this log, with no entries.
        let is_unsure = is_due && progress.matched < progress.next.previous();
        let wants_batch = progress.answers() && (has_entries || is_unsure);
        let batch = if wants_batch { self.next_batch() } else { None };
        if batch.is_some() || is_due {
            self.send(now, batch);
        }
    }

    /// The next entries, from memory or from what was loaded.
    fn next_batch(&mut self) -> Option<Batch> {
        let limit = self.state.config.limits.batch_entries;
        let cached = self.state.log.batch_from(self.progress.next, limit, MAX_APPEND_BYTES);
        cached.or_else(|| self.progress.take_loaded())
    }

    /// Sends an append, without a batch as a heartbeat.
    fn send(&mut self, now: Now, batch: Option<Batch>) {
        let first = batch.as_ref().map(|(previous, _)| previous.index.next());
        let last = batch.as_ref().and_then(|(_, entries)| entries.last()).map(|entry| entry.index);
        let outgoing = self.append(batch);
        let id = self.state.send(self.follower, outgoing);
        self.state.cluster_clock.asked(now, self.follower, id);
        let progress = &mut *self.progress;
        if progress.in_flight.is_some() {
            // The follower commits nothing of the batch in flight by this heartbeat, so `sent_commit` stays.
            progress.heartbeat_in_flight = Some(id);
        } else {
            progress.in_flight = Some(InFlight { id, first });
            progress.sent_commit = self.state.commit_index;
        }
        if last.is_some() {
            progress.stalled_since_ms.get_or_insert(now.monotonic_ms);
        }
        progress.sent_round = self.round;
        progress.sent_ms = Some(now.monotonic_ms);
        // Where the next batch begins if this one is stored; a refusal or no response sets it back.
        progress.next = last.map_or(progress.next, LogIndex::next);
    }

    /// What the follower's store must hold, if it has acknowledged anything.
    fn acknowledged(&self) -> Option<Acknowledged> {
        let (store_id, index) = (self.progress.store_id?, self.progress.acknowledged);
        let epoch = self.state.log.epoch_at(index)?;
        (index > LogIndex(0)).then_some(Acknowledged { store_id, index, epoch })
    }

    fn append(&self, batch: Option<Batch>) -> Outgoing {
        let commit_index = self.state.commit_index;
        let commit_hash = self.state.log.position(commit_index).map(|position| position.hash);
        let (epoch, round, acknowledged) = (self.epoch, self.round, self.acknowledged());
        let (common_rules, time_error_ms) = (self.common_rules, self.time_error_ms);
        let head =
            |log| Append { epoch, round, log, commit_index, commit_hash, common_rules, time_error_ms, acknowledged };
        match batch {
            None => Outgoing::Plain(Request::Append(head(None))),
            Some((previous, entries)) => {
                Outgoing::Append { head: head(Some(EntryBatch { previous, entries: Vec::new() })), entries }
            }
        }
    }
}
