//! Invariants: two entries with the same index and epoch, on any two disks, are equal and follow the same history; and
//! every hash chain is unbroken.

use std::collections::HashMap;

use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::replication::{Entry, Hash, Position};

/// Every entry that was ever durable anywhere: its hash and the hash before it.
#[derive(Default)]
pub(super) struct EqualEntries(HashMap<(LogIndex, Epoch), (Hash, Hash)>);

impl EqualEntries {
    pub(super) fn seen(&mut self, previous: &Position, entry: &Entry) {
        let key = (entry.index, entry.epoch);
        match self.0.get(&key) {
            Some(known) => assert_eq!(*known, (entry.hash, previous.hash), "two entries at {key:?}: {entry:?}"),
            None => {
                assert!(entry.follows(previous), "{entry:?} does not follow {previous:?}");
                self.0.insert(key, (entry.hash, previous.hash));
            }
        }
    }
}
