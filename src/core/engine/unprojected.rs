//! How much the views lack: the entries above the projected index, with their keys and bytes.
//!
//! Memory holds the keys of these entries exactly, a start replays them, and the projector keeps them at hand. So their
//! number is bounded: where the views are as far behind as they may be, nothing more is taken in until they have moved on.
//! What counts is applied. What is not committed yet is bounded by the replica, and cannot be projected before it is.

use std::collections::VecDeque;

use crate::domain::LogIndex;
use crate::planted::{Bug, planted};
use crate::replication::{Entry, Limits};

/// What an entry adds to the views' lag. Small: memory holds one for each entry that the views lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryWeight {
    keys: u32,
    bytes: u32,
}

impl EntryWeight {
    /// The weight of an entry.
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        let keys = entry.operation().map_or(0, |operation| operation.keys().count());
        let [keys, bytes] = [keys, entry.encoded_len()].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        Self { keys, bytes }
    }

    /// Its idempotency keys, those of a batch's items included.
    #[must_use]
    pub fn keys(self) -> u64 {
        u64::from(self.keys)
    }

    /// Its approximate size.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.bytes)
    }
}

/// How far the views are behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewsLag {
    /// Applied entries above the projected index.
    pub entries: u64,
    /// The idempotency keys in them, those of batches' items included.
    pub keys: u64,
    /// Their approximate size.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Unprojected {
    /// The index before the first of `entries`.
    projected: LogIndex,
    /// Every entry of the log above `projected`, in order.
    entries: VecDeque<EntryWeight>,
    /// The sums over those that are applied, which are the first.
    lag: ViewsLag,
}

impl Unprojected {
    /// The views hold everything up to `projected`, and lack the entries after it.
    pub(super) fn new(projected: LogIndex, lacking: Vec<EntryWeight>) -> Self {
        Self { projected, entries: lacking.into(), lag: ViewsLag::default() }
    }

    pub(super) const fn lag(&self) -> ViewsLag {
        self.lag
    }

    /// Whether the views are as far behind as they may be.
    pub(super) fn is_full(&self, limits: &Limits) -> bool {
        let full = self.lag.keys >= limits.unprojected_keys || self.lag.bytes >= limits.unprojected_bytes;
        full && !planted(Bug::LagUnbounded)
    }

    pub(super) fn on_appended(&mut self, entry: &Entry) {
        self.entries.push_back(EntryWeight::of(entry));
    }

    pub(super) fn on_truncated_after(&mut self, index: LogIndex) {
        let kept = usize::try_from(index.0.saturating_sub(self.projected.0)).unwrap_or(usize::MAX);
        self.entries.truncate(kept);
    }

    /// Everything up to `index` is applied.
    pub(super) fn on_applied(&mut self, index: LogIndex) {
        let from = usize::try_from(self.lag.entries).unwrap_or(usize::MAX);
        let upto = usize::try_from(index.0.saturating_sub(self.projected.0)).unwrap_or(usize::MAX);
        for weight in self.entries.iter().take(upto).skip(from) {
            self.lag.entries += 1;
            self.lag.keys += weight.keys();
            self.lag.bytes += weight.bytes();
        }
    }

    /// The views now hold everything up to `index`, which is applied.
    pub(super) fn on_projected(&mut self, index: LogIndex) {
        self.on_applied(index);
        while self.projected < index
            && let Some(weight) = self.entries.pop_front()
        {
            self.projected = self.projected.next();
            self.lag.entries -= 1;
            self.lag.keys -= weight.keys();
            self.lag.bytes -= weight.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::sample::{Chain, batch, item};

    fn chain() -> Chain {
        let mut chain = Chain::begun();
        chain.request(batch(false, (0..30).map(|_| item("external:card", "a", 1, None)).collect()));
        (0..3).for_each(|_| chain.pay());
        chain
    }

    fn lag_of(chain: &Chain, from: u64, upto: u64) -> ViewsLag {
        let weights: Vec<_> = chain
            .entries
            .iter()
            .filter(|entry| (from..=upto).contains(&entry.index.0))
            .map(|entry| EntryWeight::of(entry))
            .collect();
        ViewsLag {
            entries: weights.len() as u64,
            keys: weights.iter().map(|weight| weight.keys()).sum(),
            bytes: weights.iter().map(|weight| weight.bytes()).sum(),
        }
    }

    #[test]
    fn the_lag_is_that_of_the_applied_entries_which_the_views_lack() {
        let chain = chain();
        let last = chain.last().index.0;
        let mut unprojected = Unprojected::new(LogIndex(0), Vec::new());
        chain.entries.iter().for_each(|entry| unprojected.on_appended(entry));
        assert_eq!(unprojected.lag(), ViewsLag::default(), "nothing is applied");
        unprojected.on_applied(LogIndex(last - 1));
        assert_eq!(unprojected.lag(), lag_of(&chain, 1, last - 1));
        unprojected.on_projected(LogIndex(2));
        assert_eq!(unprojected.lag(), lag_of(&chain, 3, last - 1));
        unprojected.on_truncated_after(LogIndex(last - 1));
        unprojected.on_applied(LogIndex(last));
        assert_eq!(unprojected.lag(), lag_of(&chain, 3, last - 1), "what was taken back does not count");
        unprojected.on_projected(LogIndex(last - 1));
        assert_eq!(unprojected.lag(), ViewsLag::default());
    }

    #[test]
    fn the_views_are_as_far_behind_as_they_may_be_at_a_number_of_keys_or_at_a_size() {
        let chain = chain();
        let lag = lag_of(&chain, 1, chain.last().index.0);
        let mut unprojected = Unprojected::new(LogIndex(0), Vec::new());
        chain.entries.iter().for_each(|entry| unprojected.on_appended(entry));
        unprojected.on_applied(chain.last().index);
        let is_full = |keys, bytes| {
            unprojected.is_full(&Limits { unprojected_keys: keys, unprojected_bytes: bytes, ..Limits::default() })
        };
        assert!(!is_full(lag.keys + 1, lag.bytes + 1));
        assert!(is_full(lag.keys, lag.bytes + 1));
        assert!(is_full(lag.keys + 1, lag.bytes));
    }
}
