//! Invariant: a store that is admitted as a voter holds everything that was committed when it started, so that no
//! quorum depends on a nearly empty store.

use std::collections::HashMap;

use quorapay_core::domain::LogIndex;
use quorapay_core::replication::{Configuration, StoreId};

use super::committed_history::CommittedHistory;
use crate::node::Node;

/// What was committed when each store was first started.
#[derive(Default)]
pub(super) struct AdmittedStores(HashMap<StoreId, LogIndex>);

impl AdmittedStores {
    pub(super) fn started(&mut self, store: StoreId, committed: LogIndex) {
        self.0.entry(store).or_insert(committed);
    }

    /// A configuration has committed that follows `before`.
    pub(super) fn check(
        &self,
        before: &Configuration,
        now: &Configuration,
        history: &CommittedHistory,
        nodes: &[Node],
    ) {
        for (id, voter) in now.voters.iter().filter(|(id, voter)| !before.binds(id, voter.store_id)) {
            // A store that was lost again before its admission committed cannot be checked.
            let Some(node) = nodes.iter().find(|node| node.disk.store_id == voter.store_id) else { continue };
            let floor = self.0[&voter.store_id];
            let (held, committed) = (node.disk.position(floor), history.position(floor));
            assert!(
                held == committed || node.disk.is_damaged(),
                "{id} is admitted with {:?}, but {floor} was committed when it came back",
                node.disk.last_index()
            );
        }
    }
}
