//! Invariant: once any node has committed an entry at an index, no node ever commits another one there.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorapay_core::domain::{Epoch, LogIndex, Operation};
use quorapay_core::replication::{Configuration, Entry, EntryBody, Hash, Position};

use crate::disk::{index_of_last, row};

/// The history as far as any node has applied it.
#[derive(Default)]
pub(super) struct CommittedHistory {
    entries: Vec<Arc<Entry>>,
    /// Hashes that leaders and answers named for indexes that no node has applied yet.
    claims: BTreeMap<LogIndex, Hash>,
}

impl CommittedHistory {
    pub(super) fn last(&self) -> LogIndex {
        index_of_last(&self.entries)
    }

    pub(super) fn at(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        if index.0 == 0 { None } else { self.entries.get(row(index)) }
    }

    /// The position at an index.
    pub(super) fn position(&self, index: LogIndex) -> Option<Position> {
        if index.0 == 0 { Some(Position::default()) } else { self.at(index).map(|entry| entry.position()) }
    }

    /// The last entry of the epochs before this one.
    pub(super) fn last_before(&self, epoch: Epoch) -> Option<&Arc<Entry>> {
        self.entries.iter().rev().find(|entry| entry.epoch < epoch)
    }

    /// Every entry.
    pub(super) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// Every operation with its index.
    pub(super) fn operations(&self) -> impl Iterator<Item = (LogIndex, &Operation)> {
        self.entries.iter().filter_map(|entry| Some((entry.index, entry.operation()?)))
    }

    /// The entry before an index, if there is one.
    pub(super) fn before(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        self.at(index.previous())
    }

    /// A node has applied this entry. True if it is the first to do so.
    pub(super) fn confirm(&mut self, entry: &Arc<Entry>) -> bool {
        if let Some(known) = self.at(entry.index) {
            assert_eq!(known.hash, entry.hash, "committed twice: {known:?} and {entry:?}");
            return false;
        }
        assert_eq!(entry.index, self.last().next(), "the history has no gaps");
        if let Some(claimed) = self.claims.remove(&entry.index) {
            assert_eq!(claimed, entry.hash, "another entry was said to be committed in place of {entry:?}");
        }
        self.entries.push(Arc::clone(entry));
        true
    }

    /// A leader or an answer names the hash of the entry committed at this index.
    pub(super) fn claim(&mut self, index: LogIndex, hash: Hash) {
        let known = match self.at(index) {
            Some(entry) => entry.hash,
            None if index.0 == 0 => Hash::default(),
            None => *self.claims.entry(index).or_insert(hash),
        };
        assert_eq!(known, hash, "two histories are said to be committed at {index}");
    }

    /// The newest committed configuration.
    pub(super) fn configuration(&self) -> Option<&Configuration> {
        self.entries.iter().rev().find_map(|entry| match &entry.body {
            EntryBody::Configuration(configuration) => Some(configuration),
            EntryBody::EpochStart { .. } | EntryBody::Operation(_) => None,
        })
    }
}
