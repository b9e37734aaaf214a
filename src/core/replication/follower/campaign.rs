//! When a follower becomes a candidate.
//!
//! The first node in ZooKeeper's queue may campaign. Before it does, it asks the others whether they hear a leader
//! (pre-vote), so that one node's bad connection does not depose a working leader. If the leader's process is known to
//! be gone, no pre-vote is needed.

use std::collections::{BTreeMap, BTreeSet};

use super::handler::{FollowerHandler, PreVote};
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};
use crate::replication::config::{PRE_VOTE_TIMEOUT_MS, UNFIT_PAUSE_MS};
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
        let disk_hangs = self.state.disk_hangs_for_ms(now).is_some();
        if !self.state.is_voter() || self.state.quarantine.is_some() || disk_hangs {
            self.leave_queue_head(now);
            return None;
        }
        if self.gives_way(now) {
            self.state.election.leads_unfit_until_ms = now.monotonic_ms + UNFIT_PAUSE_MS;
            self.leave_queue_head(now);
            return None;
        }
        let no_leader = now.monotonic_ms < self.state.election.no_leader_until_ms;
        if self.state.queue_rank == QueueRank::First && no_leader {
            return Some(Transition::BecomeCandidate);
        }
        match &self.follower.pre_vote {
            None => self.start_pre_vote(now),
            Some(pre_vote) if now.monotonic_ms >= pre_vote.started_ms + PRE_VOTE_TIMEOUT_MS => {
                self.end_pre_vote(now);
                None
            }
            Some(_) => None,
        }
    }

    /// Whether this node, first in the queue and not fit to lead, lets the others pass, of which one may be. Once only:
    /// if it is first again soon, none of them leads.
    fn gives_way(&self, now: Now) -> bool {
        !self.state.fit
            && self.state.queue_rank == QueueRank::First
            && self.state.voter_ids().len() > 1
            && now.monotonic_ms >= self.state.election.leads_unfit_until_ms
    }

    /// A node that may not lead gives way to the next one.
    fn leave_queue_head(&mut self, now: Now) {
        if self.state.queue_rank == QueueRank::First {
            self.state.election.not_before_ms = now.monotonic_ms + self.state.config.timing.backoff_ms;
            self.state.coordinate(CoordinationCommand::GoToBack);
        }
    }

    fn start_pre_vote(&mut self, now: Now) -> Option<Transition> {
        let mut pre_vote = PreVote {
            started_ms: now.monotonic_ms,
            requests: BTreeMap::new(),
            hearing: BTreeSet::new(),
            silent: BTreeMap::from([(self.state.config.node_id.clone(), self.state.log.last().index)]),
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
        hears_leader: bool,
        last_index: LogIndex,
    ) -> Option<Transition> {
        let pre_vote = self.follower.pre_vote.as_mut()?;
        if pre_vote.requests.get(from) != Some(&id) {
            return None;
        }
        if hears_leader {
            pre_vote.hearing.insert(from.clone());
        } else {
            pre_vote.silent.insert(from.clone(), last_index);
        }
        self.count_pre_votes(now)
    }

    /// Once a majority hears no leader, there is none.
    fn count_pre_votes(&mut self, now: Now) -> Option<Transition> {
        let pre_vote = self.follower.pre_vote.as_ref()?;
        let voters = self.state.voter_ids();
        let silent = pre_vote.silent.keys().filter(|node| voters.contains(node)).count();
        if silent < self.state.quorum() || self.state.heard_leader(now) {
            return None;
        }
        if self.state.log.configuration().is_none() && !self.may_found_cluster(pre_vote) {
            return None;
        }
        self.confirm_no_leader(now);
        if self.state.queue_rank == QueueRank::First {
            return Some(Transition::BecomeCandidate);
        }
        if let Some(leader) = self.follower.leader.clone() {
            self.remove_from_queue(leader);
        }
        None
    }

    fn confirm_no_leader(&mut self, now: Now) {
        let timeout_ms = self.state.config.timing.heartbeat_timeout_ms;
        self.state.election.no_leader_until_ms = now.monotonic_ms + timeout_ms;
    }

    /// An empty log may only be a candidate's when every node of a new cluster has answered and every log is empty.
    fn may_found_cluster(&self, pre_vote: &PreVote) -> bool {
        self.state.config.peers.keys().all(|node| pre_vote.silent.get(node) == Some(&LogIndex(0)))
    }

    fn remove_from_queue(&mut self, node: NodeId) {
        let epoch = self.state.highest_epoch;
        self.state.coordinate(CoordinationCommand::RemovePredecessor { node, epoch });
    }

    /// Time is up. If a majority hears no leader, nodes that did not answer must not block the queue.
    fn end_pre_vote(&mut self, now: Now) {
        let Some(pre_vote) = self.follower.pre_vote.take() else { return };
        if now.monotonic_ms < self.state.election.no_leader_until_ms {
            let PreVote { requests, hearing, silent, .. } = pre_vote;
            for node in requests.into_keys() {
                if !hearing.contains(&node) && !silent.contains_key(&node) {
                    self.remove_from_queue(node);
                }
            }
        } else {
            // A node without a majority can only block the queue. So can one whose configuration is out of date: those who
            // are ahead of it may know of voters that answer, and nobody hears a leader who would tell it.
            let isolated = pre_vote.silent.len() + pre_vote.hearing.len() < self.state.quorum();
            let own = self.state.log.last().index;
            let others_are_ahead = pre_vote.silent.values().any(|last| *last > own);
            let out_of_date = self.state.log.configuration().is_none() || pre_vote.hearing.is_empty();
            if isolated || (out_of_date && others_are_ahead) {
                self.leave_queue_head(now);
            }
        }
        self.state.election.not_before_ms = now.monotonic_ms + self.state.config.timing.backoff_ms;
    }

    /// A peer's process is gone. If it led, no pre-vote is needed.
    pub(in crate::replication) fn on_peer_gone(&mut self, now: Now, peer: &NodeId) -> Option<Transition> {
        if self.follower.leader.as_ref() == Some(peer) {
            self.follower.leader = None;
            self.state.election.last_heard_ms = None;
            self.confirm_no_leader(now);
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
        self.yield_to_successor(now);
        self.campaign_if_due(now)
    }

    /// The leader hands over to `successor`, which campaigns as soon as it is its turn; every other node lets it pass.
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
            self.state.election.succeed_from(now);
            self.state.election.leads_unfit_until_ms = now.monotonic_ms + UNFIT_PAUSE_MS;
            return self.campaign_if_due(now);
        }
        self.state.election.yield_from(now);
        self.yield_to_successor(now);
        None
    }

    /// First in the queue while a named successor has its turn: goes to the back at once.
    fn yield_to_successor(&mut self, now: Now) {
        if self.state.queue_rank == QueueRank::First && now.monotonic_ms < self.state.election.yield_until_ms {
            self.state.coordinate(CoordinationCommand::GoToBack);
        }
    }
}
