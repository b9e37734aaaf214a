//! When a follower becomes a candidate.
//!
//! The first node in ZooKeeper's queue may campaign. Before it does, it asks the others (pre-vote) whether they hear a
//! leader, so that one node's bad connection does not depose a working leader, and whether they can open connections to
//! it, so that no node leads which the others cannot reach. What they hear does not matter if the leader's process is
//! known to be gone. A successor that the last leader named campaigns at once.

use std::collections::BTreeMap;

use super::handler::{FollowerHandler, PreVote, Vote};
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};
use crate::replication::effect::{CoordinationCommand, Outgoing, QueueRank, RequestId};
use crate::replication::message::Request;
use crate::replication::transition::Transition;
use crate::replication::types::{NodeId, Now};

impl FollowerHandler<'_> {
    /// Begins a pre-vote or a candidacy, if it is time to.
    pub(in crate::replication) fn campaign_if_due(&mut self, now: Now) -> Option<Transition> {
        let too_early = now.monotonic_ms < self.state.election.not_before_ms;
        if self.state.heard_leader(now) || too_early || self.state.queue_rank == QueueRank::Absent {
            return None;
        }
        if !self.may_lead(now) {
            self.leave_queue_head(now);
            return None;
        }
        if self.gives_way(now) {
            self.state.give_way(now, self.state.own_clock_is_false());
            self.leave_queue_head(now);
            return None;
        }
        if self.state.election.succeeds(now) {
            return Some(Transition::BecomeCandidate);
        }
        match &self.follower.pre_vote {
            None => self.start_pre_vote(now),
            Some(pre_vote) if now.monotonic_ms >= pre_vote.started_ms + self.state.election.pre_vote_timeout_ms() => {
                self.end_pre_vote(now);
                None
            }
            Some(_) => self.stand(now),
        }
    }

    /// Whether this node may lead at all.
    fn may_lead(&self, now: Now) -> bool {
        let disk_hangs = self.state.disk_hangs_for_ms(now).is_some();
        self.state.is_voter() && self.state.quarantine.is_none() && !disk_hangs
    }

    /// Becomes a candidate if this node is the first in the queue, there is no leader, and a majority can open
    /// connections to it. Answers may come after it was found damaged.
    fn stand(&self, now: Now) -> Option<Transition> {
        let is_next = self.may_lead(now) && self.state.queue_rank == QueueRank::First && self.no_leader(now);
        let reached = self.majority(|vote| vote.reaches) || self.state.election.stands_unreached(now);
        (is_next && (reached || planted(Bug::UnreachedCandidateStands))).then_some(Transition::BecomeCandidate)
    }

    /// Whether it counts as confirmed that there is no leader.
    const fn no_leader(&self, now: Now) -> bool {
        now.monotonic_ms < self.state.election.no_leader_until_ms
    }

    /// Whether this holds for the answers of a majority in the pre-vote in progress.
    fn majority(&self, holds: impl Fn(&Vote) -> bool) -> bool {
        let voters = self.state.voter_ids();
        let counts = |(node, vote): &(&NodeId, &Vote)| voters.contains(node) && holds(vote);
        let votes = self.follower.pre_vote.iter().flat_map(|pre_vote| &pre_vote.votes);
        votes.filter(counts).count() >= self.state.quorum()
    }

    /// Whether this node, first in the queue and not fit to lead or with a false clock, lets the others pass, of which one may be. Once only:
    /// if it is first again soon, none of them leads.
    fn gives_way(&self, now: Now) -> bool {
        self.state.should_give_way(now, self.state.own_clock_is_false())
            && self.state.queue_rank == QueueRank::First
            && self.state.voter_ids().len() > 1
    }

    /// A node that may not lead gives way to the next one.
    fn leave_queue_head(&mut self, now: Now) {
        if self.state.queue_rank == QueueRank::First {
            self.state.election.not_before_ms = now.monotonic_ms + self.state.config.timing.backoff_ms;
            self.state.coordinate(CoordinationCommand::GoToBack);
        }
    }

    fn start_pre_vote(&mut self, now: Now) -> Option<Transition> {
        let own = Vote { hears_leader: false, reaches: true, last: self.state.log.last() };
        let mut pre_vote = PreVote {
            started_ms: now.monotonic_ms,
            requests: BTreeMap::new(),
            votes: BTreeMap::from([(self.state.config.node_id.clone(), own)]),
        };
        for node in self.state.others() {
            let id = self.state.send(&node, Outgoing::Plain(Request::PreVote));
            pre_vote.requests.insert(node, id);
        }
        self.follower.pre_vote = Some(pre_vote);
        self.count_pre_votes(now)
    }

    pub(in crate::replication) fn on_pre_vote(
        &mut self,
        now: Now,
        id: RequestId,
        from: &NodeId,
        vote: Vote,
    ) -> Option<Transition> {
        let pre_vote = self.follower.pre_vote.as_mut()?;
        if pre_vote.requests.get(from) != Some(&id) {
            return None;
        }
        pre_vote.votes.insert(from.clone(), vote);
        self.count_pre_votes(now)
    }

    /// Once a majority hears no leader, there is none.
    fn count_pre_votes(&mut self, now: Now) -> Option<Transition> {
        if self.state.heard_leader(now) {
            return None;
        }
        let may_vote = self.state.log.configuration().is_some() || self.may_found_cluster();
        if may_vote && self.majority(|vote| !vote.hears_leader) {
            self.confirm_no_leader(now);
            if self.state.queue_rank != QueueRank::First
                && let Some(leader) = self.follower.leader.clone()
            {
                self.remove_from_queue(leader);
            }
        }
        self.stand(now)
    }

    fn confirm_no_leader(&mut self, now: Now) {
        let timeout_ms = self.state.config.timing.heartbeat_timeout_ms;
        self.state.election.no_leader_until_ms = now.monotonic_ms + timeout_ms;
    }

    /// An empty log may only be a candidate's when every node of a new cluster has answered and every log is empty.
    fn may_found_cluster(&self) -> bool {
        let votes = self.follower.pre_vote.as_ref().map(|pre_vote| &pre_vote.votes);
        let is_empty = |node: &NodeId| {
            votes.and_then(|votes| votes.get(node)).is_some_and(|vote| !vote.hears_leader && vote.last.index.0 == 0)
        };
        self.state.config.peers.keys().all(is_empty)
    }

    fn remove_from_queue(&mut self, node: NodeId) {
        let epoch = self.state.highest_epoch;
        self.state.coordinate(CoordinationCommand::RemovePredecessor { node, epoch });
    }

    /// Time is up. If a majority hears no leader, nodes that did not answer must not block the queue, nor must this one
    /// if a majority cannot reach it.
    fn end_pre_vote(&mut self, now: Now) {
        let answered = self.majority(|_| true);
        let unanswered = &mut self.state.election.pre_votes_unanswered;
        *unanswered = if answered { 0 } else { unanswered.saturating_add(1) };
        let gives_way = if self.no_leader(now) { self.is_unreached(now) } else { self.cannot_lead() };
        if answered && !self.no_leader(now) {
            // Somebody leads: the others are able to.
            self.state.election.unreached_since_ms = None;
        }
        let Some(PreVote { requests, votes, .. }) = self.follower.pre_vote.take() else { return };
        if self.no_leader(now) {
            requests.into_keys().filter(|node| !votes.contains_key(node)).for_each(|node| self.remove_from_queue(node));
        }
        if gives_way {
            self.leave_queue_head(now);
        }
        self.state.election.not_before_ms = now.monotonic_ms + self.state.config.timing.backoff_ms;
    }

    /// Whether a majority has answered, but too few of it can open connections to this node. Remembers since when.
    fn is_unreached(&mut self, now: Now) -> bool {
        let unreached = self.majority(|_| true) && !self.majority(|vote| vote.reaches);
        if unreached {
            self.state.election.unreached_since_ms.get_or_insert(now.monotonic_ms);
        }
        unreached
    }

    /// Whether this node can only block the queue: it has no majority, or its configuration is out of date. Those who
    /// are ahead of it may know of voters that answer, and nobody hears a leader who would tell it.
    fn cannot_lead(&self) -> bool {
        let Some(PreVote { votes, .. }) = &self.follower.pre_vote else { return false };
        let own = self.state.log.last().rank();
        let others_are_ahead = votes.values().any(|vote| !vote.hears_leader && vote.last.rank() > own);
        let nobody_hears = votes.values().all(|vote| !vote.hears_leader);
        let out_of_date = self.state.log.configuration().is_none() || nobody_hears;
        votes.len() < self.state.quorum() || (out_of_date && others_are_ahead)
    }

    /// A peer's process is gone. If it led, there is no leader, whatever other nodes still hear.
    pub(in crate::replication) fn on_peer_gone(&mut self, now: Now, peer: &NodeId) -> Option<Transition> {
        if self.follower.leader.as_ref() == Some(peer) {
            self.follower.leader = None;
            self.state.election.last_heard_ms = None;
            self.confirm_no_leader(now);
            // Its answers may be from before the others noticed that they cannot reach this node: they are asked anew.
            self.follower.pre_vote = None;
        }
        self.remove_from_queue(peer.clone());
        self.campaign_if_due(now)
    }

    /// `node` keeps its place in the queue, because `taker` has taken an epoch that this node has not heard of. A taker
    /// that is itself the dead node died before it asked for promises: it is removed like a dead leader. Any other may
    /// be about to lead; if nobody hears it, the next pre-vote removes the nodes that do not answer.
    pub(in crate::replication) fn on_not_removed(&mut self, node: &NodeId, newest: Epoch, taker: &NodeId) {
        if planted(Bug::TakerNotConsidered) {
            return;
        }
        self.state.hear_of(newest);
        if taker == node && newest <= self.state.highest_epoch {
            self.remove_from_queue(node.clone());
        }
    }

    pub(in crate::replication) fn on_queue_rank(&mut self, now: Now) -> Option<Transition> {
        self.campaign_if_due(now)
    }

    /// The leader hands over to `successor`, which campaigns at once, wherever in the queue it stands; every other node
    /// lets it pass.
    pub(in crate::replication) fn on_transfer(
        &mut self,
        now: Now,
        epoch: Epoch,
        successor: &NodeId,
    ) -> Option<Transition> {
        if epoch != self.state.promised_epoch() {
            return None;
        }
        (self.follower.leader, self.follower.matched) = (None, LogIndex(0));
        if *successor == self.state.config.node_id {
            self.state.election.succeed_from(now, epoch);
            // Whoever named it had reasons to: it leads even if it is not fit, or its clock is false.
            self.state.give_way(now, self.state.own_clock_is_false());
            return self.campaign_if_due(now);
        }
        self.state.election.yield_from(now);
        None
    }
}
