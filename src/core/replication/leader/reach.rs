//! Leadership on a network that works in one direction only: followers that cannot open connections to their leader
//! answer its appends, but can forward nothing to it. They say so in their answers, and the leadership moves to a node
//! that a majority can reach.

use super::handler::{LeaderHandler, votes};
use super::progress::Progress;
use crate::planted::{Bug, planted};
use crate::replication::config::UNREACHED_MS;
use crate::replication::effect::RequestId;
use crate::replication::transition::Transition;
use crate::replication::types::{NodeId, Now};

impl LeaderHandler<'_> {
    /// A follower reports to which nodes it cannot open connections.
    pub(in crate::replication) fn on_unreachable_reported(
        &mut self,
        id: RequestId,
        from: &NodeId,
        unreachable: Vec<NodeId>,
    ) {
        if let Some(progress) = self.leader.followers.get_mut(from).filter(|progress| progress.awaits(id)) {
            progress.unreachable = unreachable;
        }
    }

    /// Moves the leadership if no majority has been able to reach this node for a while and another one would be
    /// reached.
    pub(super) fn leave_if_unreached(&mut self, now: Now) -> Option<Transition> {
        let own = self.state.config.node_id.clone();
        let successor = if self.is_reached(now, &own) { None } else { self.reached_follower(now) };
        let Some(successor) = successor.filter(|_| !planted(Bug::UnreachedLeaderStays)) else {
            self.leader.unreached_since_ms = None;
            return None;
        };
        let since_ms = *self.leader.unreached_since_ms.get_or_insert(now.monotonic_ms);
        if now.monotonic_ms < since_ms + UNREACHED_MS || self.leader.transfer.is_some() {
            return None;
        }
        self.begin_transfer(now, Some(successor))
    }

    /// A voter that answers, holds most of the log, and that a majority can reach.
    fn reached_follower(&self, now: Now) -> Option<NodeId> {
        let may_lead = |(node, progress): &(&NodeId, &Progress)| {
            self.answers(now, progress) && votes(self.state, node, progress) && self.is_reached(now, node)
        };
        let best = self.leader.followers.iter().filter(may_lead).max_by_key(|(_, progress)| progress.counted());
        best.map(|(node, _)| node.clone())
    }

    /// Whether a majority can open connections to `node`. A voter that does not answer counts as one that cannot,
    /// unless nobody has complained.
    fn is_reached(&self, now: Now, node: &NodeId) -> bool {
        let own = &self.state.config.node_id;
        let complains = |voter: &NodeId| match self.leader.followers.get(voter) {
            Some(progress) => progress.unreachable.contains(node),
            None => *voter == *own && self.state.unreachable(now).contains(node),
        };
        let voters = self.state.voter_ids();
        if !voters.iter().any(|voter| *voter != node && complains(voter)) {
            return true;
        }
        let reaches = |voter: &NodeId| {
            let present = self.leader.followers.get(voter).is_none_or(|progress| self.answers(now, progress));
            voter == node || (present && !complains(voter))
        };
        voters.into_iter().filter(|voter| reaches(voter)).count() >= self.state.quorum()
    }

    fn answers(&self, now: Now, progress: &Progress) -> bool {
        progress.answered_within(now, self.state.config.timing.heartbeat_timeout_ms)
    }
}
