//! The applied entries that the views lack, in memory: the projector need not read them from the ledger.
//!
//! The event loop puts in what was applied, the projector takes it out. What does not fit is left out: the projector reads
//! that from the ledger, and once everything in here is projected the event loop begins anew with what it applies then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorapay_core::domain::LogIndex;
use quorapay_core::engine::EntryWeight;
use quorapay_core::replication::Entry;

/// Bytes of the entries that are kept. Most of them are in the replica's cache too.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Debug, Default)]
struct Kept {
    /// Consecutive.
    entries: VecDeque<(Arc<Entry>, EntryWeight)>,
    bytes: u64,
}

/// See the module. Clones share one.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog(Arc<Mutex<Kept>>);

/// How much a chunk may hold; one entry alone may be more.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkSize {
    pub(super) entries: usize,
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

impl Backlog {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps entries that were applied, as far as they follow those that are kept and fit.
    pub(super) fn push(&self, applied: impl IntoIterator<Item = Arc<Entry>>) {
        let mut kept = self.kept();
        for entry in applied {
            let follows = kept.entries.back().is_none_or(|(last, _)| entry.index == last.index.next());
            if !follows || kept.bytes >= MAX_BYTES {
                return;
            }
            let weight = EntryWeight::of(&entry);
            kept.bytes += weight.bytes();
            kept.entries.push_back((entry, weight));
        }
    }

    /// The first entries after `after`, at least one; none if the one after it is not kept.
    pub(super) fn chunk(&self, after: LogIndex, size: ChunkSize) -> Vec<Arc<Entry>> {
        let kept = self.kept();
        let Some((first, _)) = kept.entries.front() else { return Vec::new() };
        let Some(skipped) = after.next().0.checked_sub(first.index.0) else { return Vec::new() };
        let from = usize::try_from(skipped).unwrap_or(usize::MAX).min(kept.entries.len());
        let (mut keys, mut bytes) = (0, 0);
        let fits = |(at, (_, weight)): &(usize, &(Arc<Entry>, EntryWeight))| {
            keys += weight.keys();
            bytes += weight.bytes();
            *at == 0 || (*at < size.entries && keys <= size.keys && bytes <= size.bytes)
        };
        kept.entries.range(from..).enumerate().take_while(fits).map(|(_, (entry, _))| Arc::clone(entry)).collect()
    }

    /// The index of the oldest entry that is kept.
    pub(super) fn first(&self) -> Option<LogIndex> {
        self.kept().entries.front().map(|(entry, _)| entry.index)
    }

    /// Everything up to `index` is projected.
    pub(super) fn forget_up_to(&self, index: LogIndex) {
        let mut kept = self.kept();
        while let Some((_, weight)) = kept.entries.pop_front_if(|(entry, _)| entry.index <= index) {
            kept.bytes -= weight.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorapay_core::replication::sample::{Chain, batch, item};

    const LARGE: ChunkSize = ChunkSize { entries: 1_000, keys: 1_000_000, bytes: 1 << 30 };

    fn indexes(entries: &[Arc<Entry>]) -> Vec<u64> {
        entries.iter().map(|entry| entry.index.0).collect()
    }

    #[test]
    fn a_chunk_begins_where_the_views_end_or_is_empty() {
        let (chain, backlog) = (Chain::of_payments(10), Backlog::default());
        backlog.push(chain.entries[3..].iter().cloned());
        assert_eq!(backlog.first(), Some(LogIndex(4)));
        assert!(backlog.chunk(LogIndex(2), LARGE).is_empty(), "entry 3 is not kept");
        assert_eq!(indexes(&backlog.chunk(LogIndex(3), ChunkSize { entries: 2, ..LARGE })), [4, 5]);
        assert_eq!(indexes(&backlog.chunk(LogIndex(5), ChunkSize { entries: 2, ..LARGE })), [6, 7]);
        backlog.forget_up_to(LogIndex(5));
        assert_eq!(backlog.first(), Some(LogIndex(6)));
        assert!(backlog.chunk(chain.last().index, LARGE).is_empty());
    }

    #[test]
    fn a_chunk_is_bounded_in_keys_and_in_bytes_but_holds_one_entry() {
        let (mut chain, backlog) = (Chain::begun(), Backlog::default());
        let begun = chain.last().index;
        for _ in 0..3 {
            chain.request(batch(false, (0..40).map(|_| item("external:card", "a", 1, None)).collect()));
        }
        backlog.push(chain.entries.iter().filter(|entry| entry.index > begun).cloned());
        let count = |size| backlog.chunk(begun, size).len();
        assert_eq!(count(LARGE), 3);
        assert_eq!(count(ChunkSize { keys: 1, ..LARGE }), 1);
        assert_eq!(count(ChunkSize { bytes: 1, ..LARGE }), 1);
        assert_eq!(
            count(ChunkSize { bytes: 2 * chain.entries.last().expect("some").encoded_len() as u64, ..LARGE }),
            2
        );
    }

    #[test]
    fn what_does_not_follow_is_left_out_until_everything_before_it_is_projected() {
        let (chain, backlog) = (Chain::of_payments(10), Backlog::default());
        backlog.push(chain.entries[..3].iter().cloned());
        backlog.push(chain.entries[5..].iter().cloned());
        assert_eq!(indexes(&backlog.chunk(LogIndex(0), LARGE)), [1, 2, 3]);
        backlog.forget_up_to(LogIndex(3));
        backlog.push(chain.entries[6..].iter().cloned());
        assert_eq!(backlog.first(), Some(LogIndex(7)));
    }
}
