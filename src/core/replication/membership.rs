//! Who votes: a node whose disk was replaced is readmitted by itself, one step at a time.

use super::entry::EntryBody;
use super::replica::{Replica, Role};
use super::types::{Configuration, NodeId, Now, Voter};
use crate::planted::{Bug, planted};

impl Replica {
    /// Starts the next change of voters, if there is one to make and the previous one has committed.
    pub(super) fn change_configuration(&mut self, now: Now) {
        let committed = self.log.configuration_index() <= self.commit_index || planted(Bug::OverlappingChanges);
        if !self.is_open() || !committed {
            return;
        }
        if let Some(configuration) = self.next_configuration(now) {
            self.append(now, EntryBody::Configuration(configuration));
        }
    }

    /// The next step towards every caught-up node being a voter. A replaced store is removed by one entry and the new
    /// one added by the next: swapping both at once would allow two disjoint majorities.
    fn next_configuration(&self, now: Now) -> Option<Configuration> {
        let Role::Leader(leader) = &self.role else { return None };
        let current = self.log.configuration()?;
        for (node, progress) in &leader.peers {
            let Some(store_id) = progress.store_id else { continue };
            let caught_up = progress.matched >= progress.admission_index || planted(Bug::AdmissionWithoutCatchUp);
            if current.binds(node, store_id) || !caught_up || !self.config.peers.contains_key(node) {
                continue;
            }
            let mut next = current.clone();
            if next.voters.remove(node).is_none() || planted(Bug::SwapInOneEntry) {
                let peer_url = self.config.peers[node].clone();
                next.voters.insert(node.clone(), Voter { store_id, peer_url });
            }
            if self.has_live_quorum(&next, now) {
                return Some(next);
            }
        }
        None
    }

    /// Whether a quorum of these voters answers: a change that cannot commit would stop payments.
    fn has_live_quorum(&self, configuration: &Configuration, now: Now) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let within_ms = self.config.timing.heartbeat_timeout_ms;
        let answers = |node: &NodeId| {
            *node == self.config.node_id
                || leader.peers.get(node).is_some_and(|progress| progress.answered_within(now, within_ms))
        };
        configuration.voters.keys().filter(|node| answers(node)).count() >= configuration.quorum()
    }
}
