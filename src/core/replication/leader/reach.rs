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

    /// Moves the leadership if some voter has been unable to reach this node for a while, and another node is reached by
    /// more voters and by a majority.
    pub(super) fn leave_if_unreached(&mut self, now: Now) -> Option<Transition> {
        let own = self.state.config.node_id.clone();
        let successor = if self.is_complained_about(now, &own) { self.better_reached(now, &own) } else { None };
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

    /// The voter that answers and that most voters can reach, if these are a majority and more than reach `own`; of
    /// several, the one that holds most of the log.
    fn better_reached(&self, now: Now, own: &NodeId) -> Option<NodeId> {
        let needed = self.state.quorum().max(self.reached_by(now, own) + 1);
        let followers = self.leader.followers.iter();
        let may_lead = followers
            .filter(|(node, progress)| self.answers(now, progress) && votes(self.state, node, progress))
            .map(|(node, progress)| (self.reached_by(now, node), progress.counted(), node));
        let best =
            may_lead.filter(|(voters, ..)| *voters >= needed).max_by_key(|(voters, counted, _)| (*voters, *counted));
        best.map(|(.., node)| node.clone())
    }

    fn is_complained_about(&self, now: Now, node: &NodeId) -> bool {
        self.state.voter_ids().into_iter().any(|voter| voter != node && self.complains(now, voter, node))
    }

    /// Whether `voter` has reported that it cannot open connections to `node`.
    fn complains(&self, now: Now, voter: &NodeId, node: &NodeId) -> bool {
        match self.leader.followers.get(voter) {
            Some(progress) => progress.unreachable.contains(node),
            None => *voter == self.state.config.node_id && self.state.unreachable(now).contains(node),
        }
    }

    /// How many voters can open connections to `node`. One that does not answer counts as one that cannot.
    fn reached_by(&self, now: Now, node: &NodeId) -> usize {
        let reaches = |voter: &NodeId| {
            let present = self.leader.followers.get(voter).is_none_or(|progress| self.answers(now, progress));
            voter == node || (present && !self.complains(now, voter, node))
        };
        self.state.voter_ids().into_iter().filter(|voter| reaches(voter)).count()
    }

    fn answers(&self, now: Now, progress: &Progress) -> bool {
        progress.answered_within(now, self.state.config.timing.heartbeat_timeout_ms)
    }
}
