//! Invariant: two entries with the same index and epoch are the same entry and follow the same history, on whatever
//! disk they ever were; and every chain of hashes holds.

use std::collections::HashMap;

use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::{Entry, Hash, Position};

/// Every entry that ever was durable anywhere: its hash and the hash before it.
#[derive(Default)]
pub(super) struct EqualEntries(HashMap<(LogIndex, Epoch), (Hash, Hash)>);

impl EqualEntries {
    pub(super) fn seen(&mut self, previous: &Position, entry: &Entry) {
        let place = (entry.index, entry.epoch);
        match self.0.get(&place) {
            Some(known) => assert_eq!(*known, (entry.hash, previous.hash), "two entries at {place:?}: {entry:?}"),
            None => {
                assert!(entry.follows(previous), "{entry:?} does not follow {previous:?}");
                self.0.insert(place, (entry.hash, previous.hash));
            }
        }
    }
}
