//! When a node stands for election, and how it gets its epoch.
//!
//! ZooKeeper's queue says whose turn it is. Before a node takes its turn it asks the others whether they hear a leader
//! (pre-vote), so that a sitting leader is not disturbed by one node's bad connection. A process known to be gone needs
//! no asking.

use std::collections::{BTreeMap, BTreeSet};

use super::effect::{CoordinationCommand, Outgoing, QueueRank, RequestId, RpcId};
use super::message::{FenceAnswer, Request, Response};
use super::recovery::Fetching;
use super::replica::{Replica, Role};
use super::time::Clocks;
use super::types::{NodeId, Now};
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};

/// How long a poll waits for the slow before it is over.
const POLL_MS: u64 = 150;

/// How long a named successor is given to take over.
pub(super) const TRANSFER_GRACE_MS: u64 = 1_000;

/// "Do you hear a leader?", asked of everybody.
#[derive(Debug)]
pub(super) struct PreVote {
    started_ms: u64,
    requests: BTreeMap<NodeId, RequestId>,
    hearing: BTreeSet<NodeId>,
    silent: BTreeMap<NodeId, LogIndex>,
}

/// On the way from first in the queue to leader.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) started_ms: u64,
    pub(super) stage: Stage,
}

/// How far a candidacy is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Asked ZooKeeper for an epoch.
    TakingEpoch,
    /// Collecting the promises of a majority; this node's own first.
    Fencing(Fencing),
    /// Copying the best log.
    Fetching(Fetching),
}

/// The promises collected so far.
#[derive(Clone, Debug)]
pub(super) struct Fencing {
    pub(super) epoch: Epoch,
    /// Own answer included, once durable.
    pub(super) answers: BTreeMap<NodeId, FenceAnswer>,
    /// Nodes whose logs turned out to be damaged.
    pub(super) bad_sources: BTreeSet<NodeId>,
    pub(super) asked_ms: u64,
}

/// How often those that have not promised are asked again.
const FENCE_RETRY_MS: u64 = 50;

impl Replica {
    /// Asks around or stands, if it is time to.
    pub(super) fn consider_standing(&mut self, now: Now) {
        if self.hears_leader(now) || now.monotonic_ms < self.stand_not_before_ms || self.place == QueueRank::Absent {
            return;
        }
        if !self.is_voter() || self.quarantine.is_some() {
            self.pass_turn(now);
            return;
        }
        if self.place == QueueRank::First && now.monotonic_ms < self.silence_confirmed_until_ms {
            self.stand(now);
            return;
        }
        match &self.pre_vote {
            None => self.start_poll(now),
            Some(poll) if now.monotonic_ms >= poll.started_ms + POLL_MS => self.end_poll(now),
            Some(_) => {}
        }
    }

    /// A node that may not lead lets the next one have its turn.
    fn pass_turn(&mut self, now: Now) {
        if self.place == QueueRank::First {
            self.stand_not_before_ms = now.monotonic_ms + self.config.timing.backoff_ms;
            self.coordinate(CoordinationCommand::GoToBack);
        }
    }

    fn start_poll(&mut self, now: Now) {
        let mut poll = PreVote {
            started_ms: now.monotonic_ms,
            requests: BTreeMap::new(),
            hearing: BTreeSet::new(),
            silent: BTreeMap::from([(self.config.node_id.clone(), self.log.last().index)]),
        };
        for node in self.others() {
            let id = self.send(&node, Outgoing::Plain(Request::PreVote));
            poll.requests.insert(node, id);
        }
        self.pre_vote = Some(poll);
        self.count_poll(now);
    }

    pub(super) fn on_pre_vote(&mut self, now: Now, id: RequestId, from: &NodeId, hears: bool, last_index: LogIndex) {
        let Some(poll) = &mut self.pre_vote else { return };
        if poll.requests.get(from) != Some(&id) {
            return;
        }
        if hears {
            poll.hearing.insert(from.clone());
        } else {
            poll.silent.insert(from.clone(), last_index);
        }
        self.count_poll(now);
    }

    /// A majority that hears nobody confirms the silence.
    fn count_poll(&mut self, now: Now) {
        let Some(poll) = &self.pre_vote else { return };
        let voters = self.voter_ids();
        let silent = poll.silent.keys().filter(|node| voters.contains(node)).count();
        if silent < self.quorum() || !matches!(self.role, Role::Follower(_)) || self.hears_leader(now) {
            return;
        }
        if self.log.configuration().is_none() && !self.may_found_cluster() {
            return;
        }
        self.silence_confirmed_until_ms = now.monotonic_ms + self.config.timing.heartbeat_timeout_ms;
        self.claim_turn(now);
    }

    /// An empty log may only stand when every node of a new cluster has answered and every log is empty.
    fn may_found_cluster(&self) -> bool {
        let Some(poll) = &self.pre_vote else { return false };
        self.config.peers.keys().all(|node| poll.silent.get(node) == Some(&LogIndex(0)))
    }

    /// Stands if it is this node's turn; otherwise takes the dead leader out of the queue.
    fn claim_turn(&mut self, now: Now) {
        if self.place == QueueRank::First {
            self.stand(now);
        } else if let Role::Follower(follower) = &self.role
            && let Some(leader) = follower.leader.clone()
        {
            self.remove_predecessor(leader);
        }
    }

    fn remove_predecessor(&mut self, node: NodeId) {
        self.coordinate(CoordinationCommand::RemovePredecessor { node, epoch: self.highest_epoch });
    }

    /// The poll is over: whoever did not answer it must not hold up the queue, if a majority hears no leader.
    fn end_poll(&mut self, now: Now) {
        let Some(poll) = self.pre_vote.take() else { return };
        let confirmed = now.monotonic_ms < self.silence_confirmed_until_ms;
        if confirmed {
            let unanswered = |node: &&NodeId| !poll.hearing.contains(*node) && !poll.silent.contains_key(*node);
            let suspects: Vec<NodeId> = poll.requests.keys().filter(unanswered).cloned().collect();
            for node in suspects {
                self.remove_predecessor(node);
            }
        } else {
            // A node that reaches no majority, or an empty one among others that are not, can only hold up the queue.
            let unheard = poll.silent.len() + poll.hearing.len() < self.quorum();
            let others_have_logs = poll.silent.values().any(|last| *last > LogIndex(0));
            if unheard || (self.log.last().index == LogIndex(0) && others_have_logs) {
                self.pass_turn(now);
            }
        }
        self.stand_not_before_ms = now.monotonic_ms + self.config.timing.backoff_ms;
    }

    /// A peer's process is gone. If it led, there is nothing to ask: the silence is certain.
    pub(super) fn on_peer_gone(&mut self, now: Now, peer: &NodeId) {
        if let Role::Follower(follower) = &mut self.role
            && follower.leader.as_ref() == Some(peer)
        {
            follower.leader = None;
            self.last_heard_ms = None;
            self.silence_confirmed_until_ms = now.monotonic_ms + self.config.timing.heartbeat_timeout_ms;
        }
        self.note_gone(peer);
        if matches!(self.role, Role::Follower(_)) {
            self.remove_predecessor(peer.clone());
            self.consider_standing(now);
        }
    }

    pub(super) fn on_place(&mut self, now: Now, place: QueueRank) {
        self.place = place;
        match self.role {
            Role::Follower(_) => {
                self.pass_turn_to_successor(now);
                self.consider_standing(now);
            }
            Role::Candidate(_) if place != QueueRank::First => self.abandon_candidacy(now),
            // A sitting leader goes on while a majority answers, whatever ZooKeeper says.
            Role::Candidate(_) | Role::Leader(_) => {}
        }
    }

    /// The leader hands over to `successor`: it stands as soon as it is its turn, everybody else lets it pass.
    pub(super) fn on_transfer(&mut self, now: Now, rpc: RpcId, epoch: Epoch, successor: &NodeId) {
        if epoch == self.promised_epoch() && matches!(self.role, Role::Follower(_)) {
            self.last_heard_ms = None;
            self.become_follower(None);
            if *successor == self.config.node_id {
                self.silence_confirmed_until_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
                self.stand_not_before_ms = now.monotonic_ms;
                // An earlier hand-over may have asked this node to let another pass; now it is its own turn.
                self.transfer_until_ms = now.monotonic_ms;
                self.consider_standing(now);
            } else {
                // Heard as of now: a pre-vote by a third node fails for as long as the successor has time.
                self.last_heard_ms = Some(now.monotonic_ms);
                self.stand_not_before_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
                self.transfer_until_ms = now.monotonic_ms + TRANSFER_GRACE_MS;
                self.pass_turn_to_successor(now);
            }
        }
        self.effects.push(super::effect::Effect::Respond { rpc, response: Response::Transferring });
    }

    /// First in line while another node is to lead next: goes to the back at once.
    pub(super) fn pass_turn_to_successor(&mut self, now: Now) {
        if self.place == QueueRank::First && now.monotonic_ms < self.transfer_until_ms {
            self.coordinate(CoordinationCommand::GoToBack);
        }
    }

    /// Somebody leads, so nobody has to be let pass any more: should this leader die, its successor need not wait.
    pub(super) fn end_yielding(&mut self, now: Now) {
        if now.monotonic_ms < self.transfer_until_ms {
            self.transfer_until_ms = now.monotonic_ms;
            self.stand_not_before_ms = now.monotonic_ms;
        }
    }

    fn stand(&mut self, now: Now) {
        self.pre_vote = None;
        self.role = Role::Candidate(Candidate { started_ms: now.monotonic_ms, stage: Stage::TakingEpoch });
        self.take_epoch();
    }

    fn take_epoch(&mut self) {
        let at_least = if planted(Bug::EpochsFromZooKeeperAlone) { Epoch(1) } else { Epoch(self.highest_epoch.0 + 1) };
        self.coordinate(CoordinationCommand::TakeEpoch { at_least });
    }

    /// Gives up and lets the others have their turn.
    pub(super) fn abandon_candidacy(&mut self, now: Now) {
        if matches!(self.role, Role::Candidate(_)) {
            self.step_down(now);
        }
    }

    pub(super) fn on_epoch_taken(&mut self, now: Now, epoch: Epoch) {
        let promised = self.promised_epoch();
        let Role::Candidate(candidate) = &mut self.role else { return };
        if !matches!(candidate.stage, Stage::TakingEpoch) {
            return;
        }
        if epoch <= promised && !planted(Bug::EpochsFromZooKeeperAlone) {
            self.take_epoch();
            return;
        }
        // What clocks said long ago may have been set right since; the promises say it anew.
        self.clocks = Clocks::default();
        candidate.stage = Stage::Fencing(Fencing {
            epoch,
            answers: BTreeMap::new(),
            bad_sources: BTreeSet::new(),
            asked_ms: now.monotonic_ms,
        });
        let own = self.config.node_id.clone();
        self.make_promise(epoch, own);
    }

    /// The own promise is durable: now it counts, and the others may be asked for theirs.
    pub(super) fn on_promise_durable(&mut self, now: Now) {
        let own = &self.config.node_id;
        let durable = (self.storage.durable_epoch(), self.storage.durable_index());
        let Role::Candidate(Candidate { stage: Stage::Fencing(fencing), .. }) = &self.role else { return };
        if fencing.answers.contains_key(own) || durable != (fencing.epoch, self.log.last().index) {
            return;
        }
        let epoch = fencing.epoch;
        let answer = self.fence_answer(now, epoch, self.commit_index);
        self.on_promised(now, &self.config.node_id.clone(), answer);
        self.ask_for_promises(now);
    }

    fn ask_for_promises(&mut self, now: Now) {
        let commit_index = self.commit_index;
        let others = self.others();
        let Role::Candidate(Candidate { stage: Stage::Fencing(fencing), .. }) = &mut self.role else { return };
        fencing.asked_ms = now.monotonic_ms;
        let epoch = fencing.epoch;
        let missing: Vec<NodeId> = others.into_iter().filter(|node| !fencing.answers.contains_key(node)).collect();
        for node in missing {
            self.send(&node, Outgoing::Plain(Request::Fence { epoch, commit_index }));
        }
    }

    /// On every tick of a candidacy: asks again, or gives up.
    pub(super) fn continue_candidacy(&mut self, now: Now) {
        let own_durable = |fencing: &Fencing| fencing.answers.contains_key(&self.config.node_id);
        if self.candidacy_is_over(now) && !self.awaits_piece(now) {
            self.abandon_candidacy(now);
            return;
        }
        let Role::Candidate(candidate) = &self.role else { return };
        match &candidate.stage {
            Stage::Fencing(fencing)
                if own_durable(fencing) && now.monotonic_ms >= fencing.asked_ms + FENCE_RETRY_MS =>
            {
                self.ask_for_promises(now);
            }
            Stage::Fetching(_) => self.continue_fetching(now),
            Stage::Fencing(_) | Stage::TakingEpoch => {}
        }
    }

    /// Whether it has taken so long that others should have their turn. A piece of the best log that is on its way is
    /// waited for all the same: however thin the link, the next candidacy then begins further on.
    pub(super) fn candidacy_is_over(&self, now: Now) -> bool {
        let Role::Candidate(candidate) = &self.role else { return false };
        now.monotonic_ms >= candidate.started_ms + self.config.timing.candidacy_ms
    }

    /// A node has promised more than what this one leads or stands for. Promised to another, the very epoch that this
    /// node leads is too much as well: that node would never follow, so a new epoch has to begin.
    pub(super) fn on_fenced(&mut self, now: Now, promised: Epoch, of_this_leadership: bool) {
        self.hear_of(promised);
        let retry = match &mut self.role {
            Role::Follower(_) => false,
            Role::Leader(leader) => {
                if promised > leader.epoch || (promised == leader.epoch && of_this_leadership) {
                    self.step_down(now);
                }
                false
            }
            Role::Candidate(candidate) => {
                let current = match &candidate.stage {
                    Stage::TakingEpoch => None,
                    Stage::Fencing(fencing) => Some(fencing.epoch),
                    Stage::Fetching(fetching) => Some(fetching.fencing.epoch),
                };
                let higher = current.is_some_and(|epoch| promised >= epoch);
                if higher {
                    candidate.stage = Stage::TakingEpoch;
                }
                higher
            }
        };
        if retry {
            self.take_epoch();
        }
    }

    /// The nodes that vote: by the log's configuration or, before the first one, as set by hand.
    pub(super) fn voter_ids(&self) -> BTreeSet<&NodeId> {
        match self.log.configuration() {
            Some(configuration) => configuration.voters.keys().collect(),
            None => self.config.peers.keys().collect(),
        }
    }
}
