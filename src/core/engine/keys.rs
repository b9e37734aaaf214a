//! Which idempotency keys the ledger holds, for the leader's question "have I seen this one?"
//!
//! Keys younger than the views are held exactly. Older ones are in the views, on disk; a Bloom filter over them answers
//! nearly every new key without a read.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::KeyDigest;
use crate::domain::LogIndex;

use super::filter::Filter;

/// Keys moved out of memory at a time, at least: a fraction of a millisecond's work.
const MOVED_AT_ONCE: usize = 256;

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// The entry at this index holds it.
    At(LogIndex),
    /// The views may hold it.
    Maybe,
    /// No entry holds it.
    Never,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Keys {
    recent: BTreeMap<KeyDigest, LogIndex>,
    /// The same keys in the order of their entries.
    by_index: VecDeque<(LogIndex, KeyDigest)>,
    older: Filter,
    projected: LogIndex,
    /// Keys added since the last move.
    arrived: usize,
}

impl Keys {
    pub(super) fn new(projected: LogIndex) -> Self {
        Self { projected, ..Self::default() }
    }

    pub(super) fn projected(&self) -> LogIndex {
        self.projected
    }

    pub(super) fn find(&self, digest: KeyDigest) -> Seen {
        if let Some(index) = self.recent.get(&digest) {
            Seen::At(*index)
        } else if self.older.may_hold(&digest.0) {
            Seen::Maybe
        } else {
            Seen::Never
        }
    }

    pub(super) fn appended(&mut self, digest: KeyDigest, index: LogIndex) {
        self.arrived += 1;
        self.recent.insert(digest, index);
        self.by_index.push_back((index, digest));
    }

    pub(super) fn truncated_after(&mut self, index: LogIndex) {
        while let Some((_, digest)) = self.by_index.pop_back_if(|(at, _)| *at > index) {
            self.recent.remove(&digest);
        }
    }

    /// The views hold everything up to `index`.
    pub(super) fn projected_up_to(&mut self, index: LogIndex) {
        self.projected = self.projected.max(index);
    }

    /// Moves some of the keys that the views hold out of memory and into the filter. A chunk of the views has tens of
    /// thousands; moving all of them at once would keep everybody waiting.
    pub(super) fn move_some(&mut self) {
        // Twice what has arrived since: a backlog shrinks even while entries pour in.
        let most = MOVED_AT_ONCE.max(2 * std::mem::take(&mut self.arrived));
        for _ in 0..most {
            let Some((_, digest)) = self.by_index.pop_front_if(|(at, _)| *at <= self.projected) else { return };
            self.recent.remove(&digest);
            self.remember(digest);
        }
    }

    /// Notes a key that the views hold.
    pub(super) fn remember(&mut self, digest: KeyDigest) {
        self.older.insert(&digest.0);
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
        assert_eq!(keys.find(digest(1)), Seen::Never);
        keys.appended(digest(1), LogIndex(1));
        assert_eq!(keys.find(digest(1)), Seen::At(LogIndex(1)));
        keys.projected_up_to(LogIndex(1));
        assert_eq!(keys.find(digest(1)), Seen::At(LogIndex(1)));
        keys.move_some();
        assert_eq!(keys.find(digest(1)), Seen::Maybe);
    }

    #[test]
    fn a_truncated_key_is_forgotten() {
        let mut keys = Keys::new(LogIndex(0));
        keys.appended(digest(1), LogIndex(1));
        keys.appended(digest(2), LogIndex(2));
        keys.truncated_after(LogIndex(1));
        assert_eq!(keys.find(digest(2)), Seen::Never);
        assert_eq!(keys.find(digest(1)), Seen::At(LogIndex(1)));
    }
}
