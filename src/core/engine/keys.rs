//! Which idempotency keys are used, for the leader's check of each proposal.
//!
//! Keys of entries above the projected index are held exactly. Older keys are in the views, on disk; a Bloom filter
//! over them recognises nearly every new key without a read.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::{KeyDigest, LogIndex};

use super::bloom_filter::BloomFilter;

/// Keys that each poll moves into the Bloom filter at least, if there are as many: a fraction of a millisecond's work.
pub const MIN_MOVED_PER_POLL: usize = 256;

/// What memory knows about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyStatus {
    /// The entry at this index holds the key.
    UsedAt(LogIndex),
    /// The views may hold the key.
    PerhapsInViews,
    /// No entry holds the key.
    Unused,
}

/// The used keys: the recent ones exactly, the projected ones approximately.
#[derive(Debug, Default)]
pub(super) struct Keys {
    recent: BTreeMap<KeyDigest, LogIndex>,
    /// The same keys in the order of their entries.
    by_index: VecDeque<(LogIndex, KeyDigest)>,
    in_views: BloomFilter,
    projected: LogIndex,
    /// Keys added since the last move.
    added_since_move: usize,
}

impl Keys {
    pub(super) fn new(projected: LogIndex) -> Self {
        Self { projected, ..Self::default() }
    }

    pub(super) fn projected(&self) -> LogIndex {
        self.projected
    }

    /// How many keys are held exactly.
    pub(super) fn recent(&self) -> usize {
        self.recent.len()
    }

    pub(super) fn find(&self, digest: KeyDigest) -> KeyStatus {
        if let Some(index) = self.recent.get(&digest) {
            KeyStatus::UsedAt(*index)
        } else if self.in_views.may_contain(&digest.0) {
            KeyStatus::PerhapsInViews
        } else {
            KeyStatus::Unused
        }
    }

    pub(super) fn on_appended(&mut self, digest: KeyDigest, index: LogIndex) {
        self.added_since_move += 1;
        self.recent.insert(digest, index);
        self.by_index.push_back((index, digest));
    }

    pub(super) fn on_truncated_after(&mut self, index: LogIndex) {
        while let Some((_, digest)) = self.by_index.pop_back_if(|(at, _)| *at > index) {
            self.recent.remove(&digest);
        }
    }

    /// The views now hold everything up to `index`.
    pub(super) fn on_projected(&mut self, index: LogIndex) {
        self.projected = self.projected.max(index);
    }

    /// Moves some of the projected keys into the Bloom filter. A chunk of the views has tens of thousands of keys;
    /// moving all of them at once would delay everything else.
    pub(super) fn move_some(&mut self) {
        // Twice as many as were added: a backlog shrinks at any rate of new entries.
        let limit = MIN_MOVED_PER_POLL.max(2 * std::mem::take(&mut self.added_since_move));
        for _ in 0..limit {
            let Some((_, digest)) = self.by_index.pop_front_if(|(at, _)| *at <= self.projected) else { return };
            self.recent.remove(&digest);
            self.add_projected(digest);
        }
    }

    /// Adds a key that the views hold.
    pub(super) fn add_projected(&mut self, digest: KeyDigest) {
        self.in_views.insert(&digest.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u64) -> KeyDigest {
        crate::domain::IdempotencyKey::parse(&n.to_string()).expect("digits are printable").digest()
    }

    #[test]
    fn a_key_is_found_while_recent_and_may_be_in_the_views_afterwards() {
        let mut keys = Keys::new(LogIndex(0));
        assert_eq!(keys.find(digest(1)), KeyStatus::Unused);
        keys.on_appended(digest(1), LogIndex(1));
        assert_eq!(keys.find(digest(1)), KeyStatus::UsedAt(LogIndex(1)));
        keys.on_projected(LogIndex(1));
        assert_eq!(keys.find(digest(1)), KeyStatus::UsedAt(LogIndex(1)));
        keys.move_some();
        assert_eq!(keys.find(digest(1)), KeyStatus::PerhapsInViews);
    }

    #[test]
    fn a_truncated_key_is_forgotten() {
        let mut keys = Keys::new(LogIndex(0));
        keys.on_appended(digest(1), LogIndex(1));
        keys.on_appended(digest(2), LogIndex(2));
        keys.on_truncated_after(LogIndex(1));
        assert_eq!(keys.find(digest(2)), KeyStatus::Unused);
        assert_eq!(keys.find(digest(1)), KeyStatus::UsedAt(LogIndex(1)));
    }
}
