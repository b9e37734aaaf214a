//! Invariant: from one configuration to the next in a log at most one store is added or removed, and the next change
//! begins only after the previous one has committed. Two steps at once would allow two disjoint majorities.

use std::collections::BTreeSet;

use quorapay_core::replication::{Configuration, Entry, EntryBody, NodeId, StoreId};

use crate::disk::{Disk, row};

fn voters(configuration: &Configuration) -> BTreeSet<(&NodeId, StoreId)> {
    configuration.voters.iter().map(|(node, voter)| (node, voter.store_id)).collect()
}

/// Compares a configuration that has just become durable for the first time with the one before it. Returns the latter:
/// it must be on a quorum.
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
