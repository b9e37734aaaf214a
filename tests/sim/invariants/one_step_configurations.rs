//! Invariant: from one configuration to the next in a log at most one store comes or goes, and the next begins
//! only when the last is committed. Two steps at once would let two disjoint majorities exist.

use std::collections::BTreeSet;

use quorapay_core::replication::{Configuration, Entry, EntryBody, NodeId, StoreId};

use crate::disk::{Disk, row};

fn voters(configuration: &Configuration) -> BTreeSet<(&NodeId, StoreId)> {
    configuration.voters.iter().map(|(node, voter)| (node, voter.store_id)).collect()
}

/// Compares a configuration that has just become durable for the first time with the one before it, which it returns:
/// a quorum must have that one.
pub(super) fn check<'disk>(disk: &'disk Disk, entry: &Entry) -> Option<&'disk Entry> {
    let EntryBody::Configuration(next) = &entry.body else { return None };
    let (before, entry) = disk.rows[..row(entry.index)].iter().rev().find_map(|entry| match &entry.body {
        EntryBody::Configuration(configuration) => Some((configuration, entry)),
        EntryBody::EpochStart { .. } | EntryBody::Operation(_) => None,
    })?;
    let changed = voters(before).symmetric_difference(&voters(next)).count();
    assert!(changed <= 1, "two steps at once, from {before:?} to {next:?}");
    Some(entry)
}
