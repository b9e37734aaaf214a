//! The log in memory: the newest entries, and for the older ones only where each epoch begins.
//!
//! Two logs that hold an entry of the same epoch at the same index are equal up to there, because an epoch has one
//! leader and a leader never changes what it appended. So the epochs' boundaries suffice to find where two logs
//! diverge; the hashes prove it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::config::MAX_CACHED_BYTES;
use super::entry::{Entry, EntryBody, UnchainedEntry};
use super::message::EpochSpan;
use super::start::ReplicaStart;
use super::types::{Configuration, Position};
use crate::domain::{Epoch, LogIndex, RuleVersion, Timestamp};

/// The log in memory.
#[derive(Debug)]
pub(super) struct Log {
    /// The position before the first cached entry.
    base: Position,
    /// Bytes of all entries that were cached up to `base`.
    base_bytes: u64,
    /// Consecutive entries, from after `base` to the end of the log.
    cache: VecDeque<Cached>,
    last: Position,
    last_timestamp: Timestamp,
    /// Every epoch in the log with its first index, oldest first.
    spans: Vec<EpochSpan>,
    /// Every configuration in the log with its index, oldest first.
    configurations: Vec<(LogIndex, Configuration)>,
}

/// An entry in memory.
#[derive(Debug)]
struct Cached {
    entry: Arc<Entry>,
    /// Bytes of all entries that were cached up to and including this one: the size of any range is one subtraction.
    bytes_up_to_here: u64,
}

impl Log {
    pub(super) fn new(start: &mut ReplicaStart) -> Self {
        let mut tail: VecDeque<_> = std::mem::take(&mut start.tail).into();
        assert_eq!(
            tail.back().map_or(Position::default(), |entry| entry.position()),
            start.last,
            "the tail ends the log"
        );
        // Read before the oldest entry becomes the base: it may be the newest one too.
        let last_timestamp = tail.back().map_or(Timestamp(0), |entry| entry.timestamp);
        let whole_log = tail.front().is_none_or(|first| first.index == LogIndex(1));
        let base = if whole_log {
            Position::default()
        } else {
            tail.pop_front().expect("a tail that does not begin at 1 is not empty").position()
        };
        let with_sums = |bytes_up_to_here: &mut u64, entry: Arc<Entry>| {
            *bytes_up_to_here += entry.encoded_len() as u64;
            Some(Cached { entry, bytes_up_to_here: *bytes_up_to_here })
        };
        Self {
            base,
            base_bytes: 0,
            last_timestamp,
            cache: tail.into_iter().scan(0, with_sums).collect(),
            last: start.last,
            spans: std::mem::take(&mut start.spans),
            configurations: std::mem::take(&mut start.configurations),
        }
    }

    pub(super) fn last(&self) -> Position {
        self.last
    }

    pub(super) fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// The newest configuration: it is in force as soon as it is in the log.
    pub(super) fn configuration(&self) -> Option<&Configuration> {
        self.configurations.last().map(|(_, configuration)| configuration)
    }

    /// Index of the newest configuration; zero if there is none.
    pub(super) fn configuration_index(&self) -> LogIndex {
        self.configurations.last().map_or(LogIndex(0), |(index, _)| *index)
    }

    /// The rules in force: those that the newest start of an epoch names.
    pub(super) fn rules(&self) -> RuleVersion {
        self.spans.last().map_or(RuleVersion::FIRST, |span| span.rules)
    }

    /// The rules that were in force before the newest epoch.
    pub(super) fn rules_before(&self) -> RuleVersion {
        let before = self.spans.len().checked_sub(2);
        before.map_or(RuleVersion::FIRST, |at| self.spans[at].rules)
    }

    pub(super) fn entry(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        self.cached(index).map(|cached| &cached.entry)
    }

    fn cached(&self, index: LogIndex) -> Option<&Cached> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.cache.get(usize::try_from(offset).ok()?)
    }

    /// Approximate size of the entries above an index, as far as they are in memory.
    pub(super) fn bytes_above(&self, index: LogIndex) -> u64 {
        self.bytes_up_to(self.last.index) - self.bytes_up_to(index)
    }

    fn bytes_up_to(&self, index: LogIndex) -> u64 {
        self.cached(index).map_or(self.base_bytes, |cached| cached.bytes_up_to_here)
    }

    /// The position at an index, if memory still knows its hash.
    pub(super) fn position(&self, index: LogIndex) -> Option<Position> {
        match index {
            LogIndex(0) => Some(Position::default()),
            _ if index == self.base.index => Some(self.base),
            _ => self.entry(index).map(|entry| entry.position()),
        }
    }

    /// The epoch of the entry at an index; zero before the first entry, `None` after the last.
    pub(super) fn epoch_at(&self, index: LogIndex) -> Option<Epoch> {
        if index > self.last.index {
            return None;
        }
        let after = self.spans.partition_point(|span| span.start <= index);
        Some(after.checked_sub(1).map_or(Epoch(0), |at| self.spans[at].epoch))
    }

    /// The first index of the epoch of the entry at `index`.
    pub(super) fn epoch_start_of(&self, index: LogIndex) -> LogIndex {
        let after = self.spans.partition_point(|span| span.start <= index);
        after.checked_sub(1).map_or(LogIndex(0), |at| self.spans[at].start)
    }

    /// The epochs with entries above `index`, oldest first.
    pub(super) fn spans_above(&self, index: LogIndex) -> Vec<EpochSpan> {
        let first = self.spans.partition_point(|span| span.start <= index).saturating_sub(1);
        self.spans[first.min(self.spans.len())..].to_vec()
    }

    /// The last index whose entry is of this epoch or an older one.
    fn end_of_epochs_up_to(&self, epoch: Epoch) -> LogIndex {
        let after = self.spans.partition_point(|span| span.epoch <= epoch);
        self.spans.get(after).map_or(self.last.index, |next| next.start.previous())
    }

    /// The highest index at which this log may agree with one that has an entry of `epoch` at `index`, and whose first
    /// entry of that epoch is at `epoch_start`.
    pub(super) fn agreement(&self, index: LogIndex, epoch: Epoch, epoch_start: LogIndex) -> LogIndex {
        let candidate = index.min(self.end_of_epochs_up_to(epoch));
        if self.epoch_at(candidate) == Some(epoch) { candidate } else { candidate.min(epoch_start.previous()) }
    }

    /// The highest index at which this log agrees with one that has these epochs and ends at `their_last`; `floor` is
    /// known to be common.
    pub(super) fn common_with(&self, spans: &[EpochSpan], their_last: LogIndex, floor: LogIndex) -> LogIndex {
        let mut their_end = their_last;
        for span in spans.iter().rev() {
            let shared = self.agreement(their_end, span.epoch, span.start);
            if self.epoch_at(shared) == Some(span.epoch) {
                return shared.max(floor);
            }
            their_end = span.start.previous();
        }
        floor
    }

    /// Appends an entry to the end of the chain.
    pub(super) fn push(&mut self, entry: UnchainedEntry) -> Arc<Entry> {
        let entry = Arc::new(entry.chain(&self.last.hash));
        if self.last.epoch != entry.epoch {
            let rules = match &entry.body {
                EntryBody::EpochStart { rules, .. } => *rules,
                EntryBody::Configuration(_) | EntryBody::Operation(_) => self.rules(),
            };
            self.spans.push(EpochSpan { epoch: entry.epoch, start: entry.index, rules });
        }
        if let EntryBody::Configuration(configuration) = &entry.body {
            self.configurations.push((entry.index, configuration.clone()));
        }
        self.last = entry.position();
        self.last_timestamp = entry.timestamp;
        let bytes_up_to_here =
            self.cache.back().map_or(self.base_bytes, |cached| cached.bytes_up_to_here) + entry.encoded_len() as u64;
        self.cache.push_back(Cached { entry: Arc::clone(&entry), bytes_up_to_here });
        entry
    }

    /// Removes every entry after `to`, which must be a position in this log.
    pub(super) fn truncate(&mut self, to: Position) {
        while self.cache.back().is_some_and(|cached| cached.entry.index > to.index) {
            self.cache.pop_back();
        }
        if self.cache.is_empty() {
            self.base = to;
        }
        self.spans.retain(|span| span.start <= to.index);
        self.configurations.retain(|(index, _)| *index <= to.index);
        self.last = to;
        // If memory does not hold the new last entry, the timestamp of the removed one serves as a lower bound.
        if let Some(cached) = self.cache.back() {
            self.last_timestamp = cached.entry.timestamp;
        }
    }

    /// Removes old entries from memory: keeps all from `needed` on, and before it at most `keep` entries of limited
    /// size.
    pub(super) fn trim(&mut self, needed: LogIndex, keep: usize) {
        let keep_from = needed.0.saturating_sub(keep as u64);
        let all = self.bytes_up_to(self.last.index);
        while let Some(oldest) = self.cache.pop_front_if(|oldest| {
            let index = oldest.entry.index;
            index.0 < keep_from || (index < needed && all - oldest.bytes_up_to_here > MAX_CACHED_BYTES)
        }) {
            self.base = oldest.entry.position();
            self.base_bytes = oldest.bytes_up_to_here;
        }
    }

    /// Whether memory still holds the entry at `next`, or would if it were appended now.
    pub(super) fn holds(&self, next: LogIndex) -> bool {
        next > self.base.index
    }

    /// Entries from an index on with the position before them, bounded in number and size; `None` if memory no longer
    /// holds the first.
    pub(super) fn batch_from(
        &self,
        first: LogIndex,
        max_entries: usize,
        max_bytes: usize,
    ) -> Option<(Position, Vec<Arc<Entry>>)> {
        if !self.holds(first) {
            return None;
        }
        let previous = self.position(first.previous())?;
        let offset = usize::try_from(first.0 - self.base.index.0 - 1).ok()?;
        let before = self.bytes_up_to(first.previous());
        // The first entry is sent whatever its size.
        let fits = |(at, cached): &(usize, &Cached)| *at == 0 || cached.bytes_up_to_here <= before + max_bytes as u64;
        let range = self.cache.range(offset.min(self.cache.len())..).take(max_entries).enumerate().take_while(fits);
        Some((previous, range.map(|(_, cached)| Arc::clone(&cached.entry)).collect()))
    }
}
