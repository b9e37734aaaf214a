//! Which idempotency keys the ledger holds, for the leader's question "have I seen this one?"
//!
//! Keys younger than the views are held exactly. Older ones are in the views, on disk; a Bloom filter over them answers
//! nearly every new key without a read.

use std::collections::{BTreeMap, VecDeque};

use fastbloom::BloomFilter;

use crate::domain::KeyDigest;
use crate::replication::LogIndex;

/// How many keys the first filter is made for; each further one is made for twice as many as the one before.
const FIRST_FILTER_KEYS: usize = 1 << 16;
/// Of this share of new keys the filter says "maybe", which costs one read.
const FALSE_POSITIVE_RATE: f64 = 0.001;
/// Keys moved out of memory at a time, at least: a fraction of a millisecond's work.
const MOVED_AT_ONCE: usize = 256;
/// The filters' hash seed: fixed, because equal histories must behave alike. Digests cannot be chosen by a caller.
const FILTER_SEED: u128 = 0x51_75_6f_72_61_70_61_79;

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
    filters: Vec<Filter>,
    projected: LogIndex,
    /// Keys added since the last move.
    arrived: usize,
}

#[derive(Debug)]
struct Filter {
    bloom: BloomFilter,
    room: usize,
    capacity: usize,
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
        } else if self.filters.iter().any(|filter| filter.bloom.contains(&digest.0)) {
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
        if self.filters.last().is_none_or(|filter| filter.room == 0) {
            let capacity = self.filters.last().map_or(FIRST_FILTER_KEYS, |filter| filter.capacity * 2);
            let bloom = BloomFilter::with_false_pos(FALSE_POSITIVE_RATE).seed(&FILTER_SEED).expected_items(capacity);
            self.filters.push(Filter { bloom, room: capacity, capacity });
        }
        let filter = self.filters.last_mut().expect("one was just made if there was none");
        filter.bloom.insert(&digest.0);
        filter.room -= 1;
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

    #[test]
    fn no_projected_key_is_ever_said_to_be_new_and_few_new_ones_cost_a_read() {
        let mut keys = Keys::new(LogIndex(0));
        let known = 3 * FIRST_FILTER_KEYS as u64;
        (0..known).for_each(|n| keys.remember(digest(n)));
        assert!((0..known).all(|n| keys.find(digest(n)) == Seen::Maybe));
        let false_alarms = (known..known + 10_000).filter(|n| keys.find(digest(*n)) == Seen::Maybe).count();
        assert!(false_alarms < 100, "{false_alarms} of 10,000");
    }
}
