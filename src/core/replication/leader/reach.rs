//! Leadership on a network that is broken between some nodes or works in one direction only. A follower that cannot open
//! connections to its leader can forward nothing to it; one to which the leader can open none gets nothing from it. All
//! nodes say in their answers which others they cannot reach, and the leadership moves to the node with the best links.

use super::handler::{LeaderHandler, can_succeed};
use super::progress::Progress;
use crate::planted::{Bug, planted};
use crate::replication::config::UNREACHED_MS;
use crate::replication::effect::RequestId;
use crate::replication::transition::Transition;
use crate::replication::types::{NodeId, Now};

impl LeaderHandler<'_> {
    /// A follower reports to which nodes it cannot open connections, and whether it stands in ZooKeeper's queue.
    pub(in crate::replication) fn on_reach_reported(
        &mut self,
        id: RequestId,
        from: &NodeId,
        unreachable: Vec<NodeId>,
        in_queue: bool,
    ) {
        if let Some(progress) = self.leader.followers.get_mut(from).filter(|progress| progress.awaits(id)) {
            (progress.unreachable, progress.in_queue) = (unreachable, in_queue);
        }
    }

    /// A follower reports whether it judges this leader's clock false.
    pub(in crate::replication) fn on_judged(&mut self, id: RequestId, from: &NodeId, judges_false: bool) {
        if let Some(progress) = self.leader.followers.get_mut(from).filter(|progress| progress.awaits(id)) {
            progress.judges_false = judges_false;
        }
    }

    /// Moves the leadership if for a while another voter has had links with more voters, a majority among them.
    pub(super) fn leave_if_unreached(&mut self, now: Now) -> Option<Transition> {
        let own = self.state.config.node_id.clone();
        let Some(successor) = self.better_linked(now, &own).filter(|_| !planted(Bug::UnreachedLeaderStays)) else {
            self.leader.unreached_since_ms = None;
            return None;
        };
        let since_ms = *self.leader.unreached_since_ms.get_or_insert(now.monotonic_ms);
        let too_early = now.monotonic_ms < (since_ms + UNREACHED_MS).max(self.state.election.no_move_before_ms);
        if too_early || !self.leader.takes_proposals() || !self.is_near(&successor) {
            return None;
        }
        self.leader.unreached_since_ms = None;
        self.begin_move(now, successor)
    }

    /// Whether a follower lacks so little that it can take over at once. The leader takes no payments until then.
    fn is_near(&self, follower: &NodeId) -> bool {
        let behind = |progress: &Progress| self.state.log.last().index.0.saturating_sub(progress.counted().0);
        let progress = self.leader.followers.get(follower);
        progress.is_some_and(|progress| behind(progress) <= self.state.config.limits.batch_entries as u64)
    }

    /// A voter that suits, answers and can take over at once; of several, the one that holds most of the log.
    pub(super) fn near_follower(&self, now: Now, suits: impl Fn(&NodeId) -> bool) -> Option<NodeId> {
        let may_lead = |(node, progress): &(&NodeId, &Progress)| {
            suits(node) && self.answers(now, progress) && can_succeed(self.state, node, progress) && self.is_near(node)
        };
        let near = self.leader.followers.iter().filter(may_lead).max_by_key(|(_, progress)| progress.counted());
        near.map(|(node, _)| node.clone())
    }

    /// The voter that can take over and has links with most voters, if these are more than `own` has links with and a
    /// majority that answers is among them; of several, the one that holds most of the log.
    fn better_linked(&self, now: Now, own: &NodeId) -> Option<NodeId> {
        let links = self.links(now, own);
        let voters = self.state.voter_ids();
        if links + 1 >= voters.len() {
            return None;
        }
        let may_lead = |(node, progress): &(&NodeId, &Progress)| {
            self.answers(now, progress)
                && can_succeed(self.state, node, progress)
                && self.links(now, node) > links
                && voters.iter().filter(|voter| self.answers_link(now, voter, node)).count() >= self.state.quorum()
        };
        let best = self.leader.followers.iter().filter(may_lead);
        let best = best.max_by_key(|(node, progress)| (self.links(now, node), progress.counted()));
        best.map(|(node, _)| node.clone())
    }

    /// With how many other voters `node` can exchange messages in both directions. A voter that does not answer reports
    /// nothing; its link counts if `node` can reach it.
    fn links(&self, now: Now, node: &NodeId) -> usize {
        self.state.voter_ids().into_iter().filter(|voter| *voter != node && self.linked(now, voter, node)).count()
    }

    /// Whether neither of two voters says that it cannot open connections to the other.
    fn linked(&self, now: Now, one: &NodeId, other: &NodeId) -> bool {
        !self.complains(now, one, other) && !self.complains(now, other, one)
    }

    /// Whether `voter` is `node`, or answers and has a link with it.
    fn answers_link(&self, now: Now, voter: &NodeId, node: &NodeId) -> bool {
        let present = self.leader.followers.get(voter).is_none_or(|progress| self.answers(now, progress));
        voter == node || (present && self.linked(now, voter, node))
    }

    /// Whether `voter` has reported, as long as it answers, that it cannot open connections to `node`.
    fn complains(&self, now: Now, voter: &NodeId, node: &NodeId) -> bool {
        match self.leader.followers.get(voter) {
            Some(progress) => self.answers(now, progress) && progress.unreachable.contains(node),
            None => *voter == self.state.config.node_id && self.state.unreachable(now).contains(node),
        }
    }

    fn answers(&self, now: Now, progress: &Progress) -> bool {
        progress.answered_within(now, self.state.config.timing.heartbeat_timeout_ms)
    }
}
