//! Which of the bank's rules every node knows. The leader tells all nodes, because the next leader may begin its epoch
//! when only a majority has answered, and must not lead by rules that another node does not know.

use super::handler::LeaderHandler;
use crate::domain::RuleVersion;
use crate::replication::effect::RequestId;
use crate::replication::types::{NodeId, Now};

impl LeaderHandler<'_> {
    /// A follower reports the newest rules that its program knows.
    pub(in crate::replication) fn on_rules_reported(&mut self, id: RequestId, from: &NodeId, newest: RuleVersion) {
        if let Some(progress) = self.leader.followers.get_mut(from).filter(|progress| progress.awaits(id)) {
            progress.newest_rules = newest;
        }
    }

    /// The newest rules that every node knows, voter or not: one that does not vote today is readmitted tomorrow. One
    /// that has not answered just now may be having its program replaced, so it counts as knowing the first rules only.
    pub(super) fn common_rules(&self, now: Now) -> RuleVersion {
        let within_ms = self.state.config.timing.heartbeat_timeout_ms;
        let known = self.leader.followers.values().map(|progress| {
            if progress.answered_within(now, within_ms) { progress.newest_rules } else { RuleVersion::FIRST }
        });
        known.fold(self.state.config.newest_rules, RuleVersion::min)
    }
}
