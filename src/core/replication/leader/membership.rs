//! Changes of the voters: a node whose store was replaced is readmitted automatically, one step at a time.

use super::handler::LeaderHandler;
use crate::planted::{Bug, planted};
use crate::replication::entry::EntryBody;
use crate::replication::types::{Configuration, NodeId, Now, Voter};

impl LeaderHandler<'_> {
    /// Starts the next change of voters, if one is needed and the previous one has committed.
    pub(super) fn change_configuration(&mut self, now: Now) {
        let committed = self.state.log.configuration_index() <= self.state.commit_index;
        if !self.leader.open || !(committed || planted(Bug::OverlappingChanges)) {
            return;
        }
        if let Some(configuration) = self.next_configuration(now) {
            self.state.append(now, EntryBody::Configuration(configuration));
        }
    }

    /// The next step towards every caught-up store being a voter. A replaced store is removed by one entry and the new
    /// one added by the next: swapping both at once would allow two disjoint majorities.
    fn next_configuration(&self, now: Now) -> Option<Configuration> {
        let current = self.state.log.configuration()?;
        for (node, progress) in &self.leader.followers {
            let (Some(store_id), Some(peer_url)) = (progress.store_id, self.state.config.peers.get(node)) else {
                continue;
            };
            let caught_up = progress.matched >= progress.admission_index || planted(Bug::AdmissionWithoutCatchUp);
            if current.binds(node, store_id) || !caught_up {
                continue;
            }
            let mut next = current.clone();
            if next.voters.remove(node).is_none() || planted(Bug::SwapInOneEntry) {
                next.voters.insert(node.clone(), Voter { store_id, peer_url: peer_url.clone() });
            }
            if self.has_live_quorum(&next, now) {
                return Some(next);
            }
        }
        None
    }

    /// Whether a quorum of these voters answers: a change that cannot commit would block payments.
    fn has_live_quorum(&self, configuration: &Configuration, now: Now) -> bool {
        let within_ms = self.state.config.timing.heartbeat_timeout_ms;
        let answers = |node: &NodeId| {
            *node == self.state.config.node_id
                || self.leader.followers.get(node).is_some_and(|progress| progress.answered_within(now, within_ms))
        };
        configuration.voters.keys().filter(|node| answers(node)).count() >= configuration.quorum()
    }
}
