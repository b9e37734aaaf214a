//! Which idempotency keys are used, for the leader's check of each proposal.
//!
//! Keys of entries above the projected index are held exactly. Older keys are in the views, on disk, which bring filters
//! over them: nearly every new key is recognised without a read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::domain::{KeyDigest, LogIndex};

use super::filters::ViewsFilters;

/// Keys that each poll forgets at least, if the views hold as many: a fraction of a millisecond's work.
pub const MIN_FORGOTTEN_PER_POLL: usize = 256;

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
#[derive(Debug)]
pub(super) struct Keys {
    recent: BTreeMap<KeyDigest, LogIndex>,
    /// The same keys in the order of their entries.
    by_index: VecDeque<(LogIndex, KeyDigest)>,
    filters: Arc<ViewsFilters>,
    projected: LogIndex,
    /// Keys added since some were last forgotten.
    added_since: usize,
}

impl Keys {
    /// No recent keys; the views hold the others, up to the index `projected`.
    pub(super) const fn new(projected: LogIndex, filters: Arc<ViewsFilters>) -> Self {
        Self { recent: BTreeMap::new(), by_index: VecDeque::new(), filters, projected, added_since: 0 }
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
        } else if self.filters.keys.may_contain(&digest.0) {
            KeyStatus::PerhapsInViews
        } else {
            KeyStatus::Unused
        }
    }

    pub(super) fn on_appended(&mut self, digest: KeyDigest, index: LogIndex) {
        self.added_since += 1;
        self.recent.insert(digest, index);
        self.by_index.push_back((index, digest));
    }

    pub(super) fn on_truncated_after(&mut self, index: LogIndex) {
        while let Some((_, digest)) = self.by_index.pop_back_if(|(at, _)| *at > index) {
            self.recent.remove(&digest);
        }
    }

    /// The views now hold everything up to `index`, and these are the filters over it.
    pub(super) fn on_projected(&mut self, index: LogIndex, filters: Arc<ViewsFilters>) {
        self.projected = self.projected.max(index);
        self.filters = filters;
    }

    /// The filters over what the views hold.
    pub(super) fn filters(&self) -> &ViewsFilters {
        &self.filters
    }

    /// Forgets some of the keys that the views hold. A chunk of the views has tens of thousands; forgetting all of them
    /// at once would delay everything else.
    pub(super) fn forget_some(&mut self) {
        // Twice as many as were added: a backlog shrinks at any rate of new entries.
        let limit = MIN_FORGOTTEN_PER_POLL.max(2 * std::mem::take(&mut self.added_since));
        for _ in 0..limit {
            let Some((_, digest)) = self.by_index.pop_front_if(|(at, _)| *at <= self.projected) else { return };
            self.recent.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest_filter::{DigestFilter, digest_prefix};
    use super::super::filters::DigestFilters;
    use super::*;

    fn empty() -> Keys {
        Keys::new(LogIndex(0), Arc::default())
    }

    fn filters_over(digest: KeyDigest) -> Arc<ViewsFilters> {
        let filter = DigestFilter::build(&[digest_prefix(&digest.0)], 16).expect("there is a key");
        Arc::new(ViewsFilters { keys: DigestFilters::new(vec![vec![Arc::new(filter)]]), ..ViewsFilters::default() })
    }

    fn digest(n: u64) -> KeyDigest {
        crate::domain::IdempotencyKey::parse(&n.to_string()).expect("digits are printable").digest()
    }

    #[test]
    fn a_key_is_found_while_recent_and_may_be_in_the_views_afterwards() {
        let mut keys = empty();
        assert_eq!(keys.find(digest(1)), KeyStatus::Unused);
        keys.on_appended(digest(1), LogIndex(1));
        assert_eq!(keys.find(digest(1)), KeyStatus::UsedAt(LogIndex(1)));
        keys.on_projected(LogIndex(1), filters_over(digest(1)));
        assert_eq!(keys.find(digest(1)), KeyStatus::UsedAt(LogIndex(1)));
        keys.forget_some();
        assert_eq!(keys.find(digest(1)), KeyStatus::PerhapsInViews);
        assert_eq!((keys.find(digest(2)), keys.recent()), (KeyStatus::Unused, 0));
    }

    #[test]
    fn a_truncated_key_is_forgotten() {
        let mut keys = empty();
        keys.on_appended(digest(1), LogIndex(1));
        keys.on_appended(digest(2), LogIndex(2));
        keys.on_truncated_after(LogIndex(1));
        assert_eq!(keys.find(digest(2)), KeyStatus::Unused);
        assert_eq!(keys.find(digest(1)), KeyStatus::UsedAt(LogIndex(1)));
    }
}
