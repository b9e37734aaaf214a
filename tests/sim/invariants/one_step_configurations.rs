//! Invariant: from one configuration to the next in a log at most one store comes or goes. Two steps at once would let
//! two disjoint majorities exist.

use std::collections::BTreeSet;

use quorapay::replication::{Body, Configuration, Entry, NodeId, StoreId};

use crate::disk::{Disk, row};

fn voters(configuration: &Configuration) -> BTreeSet<(&NodeId, StoreId)> {
    configuration.voters.iter().map(|(node, voter)| (node, voter.store_id)).collect()
}

/// Compares a configuration that has just become durable with the one before it.
pub(super) fn check(disk: &Disk, entry: &Entry) {
    let Body::Configuration(next) = &entry.body else { return };
    let before = disk.rows[..row(entry.index)].iter().rev().find_map(|entry| match &entry.body {
        Body::Configuration(configuration) => Some(configuration),
        Body::EpochStart { .. } | Body::Operation(_) => None,
    });
    if let Some(before) = before {
        let changed = voters(before).symmetric_difference(&voters(next)).count();
        assert!(changed <= 1, "two steps at once, from {before:?} to {next:?}");
    }
}
