//! From an epoch to the leadership: promise it, collect the promises of a majority, hold everything that any of them
//! may have committed, and lead.

use std::collections::{BTreeMap, BTreeSet};

use super::handler::{CandidateHandler, Fencing, Stage};
use super::log_copy::Stored;
use crate::domain::{Epoch, LogIndex, RuleVersion};
use crate::planted::{Bug, planted};
use crate::replication::clocks::Clocks;
use crate::replication::config::FENCE_RETRY_MS;
use crate::replication::effect::{Outgoing, QueueRank, RequestId};
use crate::replication::entry::UnchainedEntry;
use crate::replication::message::{FenceAnswer, Request};
use crate::replication::transition::Transition;
use crate::replication::types::{Configuration, Hash, NodeId, Now, Position, Voter};

impl CandidateHandler<'_> {
    /// On every tick: repeats requests, or gives up. A piece of the best log that is in flight is still awaited:
    /// however slow the link, the next candidacy then begins further on.
    pub(in crate::replication) fn on_tick(&mut self, now: Now) -> Option<Transition> {
        if self.is_overdue(now) && !self.awaits_piece(now) {
            return Some(Transition::StepDown);
        }
        match &self.candidate.stage {
            Stage::Fencing(fencing) => {
                let own_promise = fencing.answers.contains_key(&self.state.config.node_id);
                if own_promise && now.monotonic_ms >= fencing.asked_ms + FENCE_RETRY_MS {
                    self.request_promises(now);
                }
            }
            Stage::Fetching(_) => self.repeat_late_fetch(now),
            Stage::TakingEpoch => {}
        }
        None
    }

    /// A candidate is the first in the queue, or was named by the leader before it and stands anywhere in the queue.
    pub(in crate::replication) fn on_queue_rank(&self, now: Now) -> Option<Transition> {
        let stays = match self.state.queue_rank {
            QueueRank::First => true,
            QueueRank::Behind => self.state.election.succeeds(now),
            QueueRank::Absent => false,
        };
        (!stays).then_some(Transition::StepDown)
    }

    /// ZooKeeper has given an epoch. One that was promised before is not used, nor one that no election can have led to.
    pub(in crate::replication) fn on_epoch_taken(&mut self, now: Now, epoch: Epoch) -> Option<Transition> {
        if !matches!(self.candidate.stage, Stage::TakingEpoch) {
            return None;
        }
        if !self.state.is_plausible(epoch) {
            return Some(Transition::StepDown);
        }
        if epoch <= self.state.promised_epoch() && !planted(Bug::EpochsFromZooKeeperAlone) {
            self.take_epoch();
            return None;
        }
        // Clocks may have been corrected since they were read; the promises bring new readings.
        self.state.clocks = Clocks::default();
        self.candidate.stage = Stage::Fencing(Fencing {
            epoch,
            answers: BTreeMap::new(),
            bad_sources: BTreeSet::new(),
            asked_ms: now.monotonic_ms,
        });
        let own = self.state.config.node_id.clone();
        self.state.make_promise(now, epoch, own);
        None
    }

    /// A write of this node is durable. Once its own promise and log are, the promise counts, and the others are asked
    /// for theirs.
    pub(in crate::replication) fn on_persisted(&mut self, now: Now) -> Option<Transition> {
        let Stage::Fencing(fencing) = &self.candidate.stage else { return None };
        let state = &self.state;
        let durable = (state.storage.durable_epoch(), state.storage.durable_index());
        if fencing.answers.contains_key(&state.config.node_id) || durable != (fencing.epoch, state.log.last().index) {
            return None;
        }
        let own = state.config.node_id.clone();
        let answer = state.fence_answer(now, fencing.epoch, state.commit_index);
        let transition = self.on_promised(now, &own, answer);
        if transition.is_none() {
            self.request_promises(now);
        }
        transition
    }

    fn request_promises(&mut self, now: Now) {
        let Stage::Fencing(fencing) = &mut self.candidate.stage else { return };
        fencing.asked_ms = now.monotonic_ms;
        let (epoch, commit_index) = (fencing.epoch, self.state.commit_index);
        for node in self.state.others() {
            if !fencing.answers.contains_key(&node) {
                self.state.send(&node, Outgoing::Plain(Request::Fence { epoch, commit_index }));
            }
        }
    }

    /// A node has promised the epoch.
    pub(in crate::replication) fn on_promised(
        &mut self,
        now: Now,
        from: &NodeId,
        answer: FenceAnswer,
    ) -> Option<Transition> {
        let Stage::Fencing(fencing) = &mut self.candidate.stage else { return None };
        if answer.epoch != fencing.epoch {
            return None;
        }
        self.state.clocks.record(now, from, answer.clock);
        fencing.answers.insert(from.clone(), answer);
        self.recover_if_majority(now)
    }

    /// With the promises of a majority the best log is known: adopts it.
    fn recover_if_majority(&mut self, now: Now) -> Option<Transition> {
        let Stage::Fencing(fencing) = &self.candidate.stage else { return None };
        if !fencing.answers.contains_key(&self.state.config.node_id) {
            return None;
        }
        let Some(configuration) = self.state.log.configuration() else { return self.found_cluster(fencing) };
        let counted = counted_answers(configuration, fencing);
        if counted.len() < configuration.quorum() {
            return None;
        }
        match best_source(&counted, self.state.log.last()).filter(|_| !planted(Bug::NoCatchUp)) {
            None => {
                let rules = self.rules_to_lead_by(fencing);
                self.lead(rules)
            }
            Some((source, answer)) => {
                self.copy_log(now, source, &answer);
                None
            }
        }
    }

    /// A new cluster begins when every node has promised and every log is empty. Anything less may be an existing
    /// cluster whose nodes are away, or one that lost a disk.
    fn found_cluster(&self, fencing: &Fencing) -> Option<Transition> {
        let peers = &self.state.config.peers;
        let is_empty = |node: &NodeId| fencing.answers.get(node).is_some_and(|answer| answer.last.index == LogIndex(0));
        if fencing.answers.values().any(|answer| answer.last.index > LogIndex(0)) {
            return Some(Transition::StepDown);
        }
        if !peers.keys().all(is_empty) {
            return None;
        }
        let voter = |(node, peer_url): (&NodeId, &String)| {
            let voter = Voter { store_id: fencing.answers[node].store_id, peer_url: peer_url.clone() };
            (node.clone(), voter)
        };
        let founding = Configuration { voters: peers.iter().map(voter).collect() };
        Some(Transition::BecomeLeader { rules: self.rules_to_lead_by(fencing), founding: Some(founding) })
    }

    /// Leads with the recovered log. The log may reveal that this node's store was replaced while it was away: a leader
    /// cannot readmit itself, so it lets a voter lead, which will. It may also hold entries of a newer leader: epochs
    /// never decrease along a log, so nothing can follow them in this epoch.
    fn lead(&mut self, rules: RuleVersion) -> Option<Transition> {
        let newest = self.state.log.last().epoch;
        if newest >= self.state.promised_epoch() {
            self.start_over(newest);
            return None;
        }
        let founding = None;
        Some(if self.state.is_voter() { Transition::BecomeLeader { rules, founding } } else { Transition::StepDown })
    }

    /// The newest rules that every node knows, but none older than those in force. A node that has not promised counts
    /// with what the last leader heard from it, if that leader's epoch is the log's newest; otherwise it counts as
    /// knowing the rules in force and no newer ones.
    fn rules_to_lead_by(&self, fencing: &Fencing) -> RuleVersion {
        let state = &*self.state;
        if planted(Bug::LeadAtNewestKnownToSelf) {
            return state.config.newest_rules;
        }
        let in_force = state.log.rules();
        let all_answered = state.others().iter().all(|node| fencing.answers.contains_key(node));
        let absent = if all_answered { state.config.newest_rules } else { state.common_rules().unwrap_or(in_force) };
        let told = fencing.answers.values().map(|answer| answer.newest_rules);
        in_force.max(told.fold(absent.min(state.config.newest_rules), RuleVersion::min))
    }

    /// Starts to copy the best log, from where it parts from this one.
    fn copy_log(&mut self, now: Now, source: NodeId, answer: &FenceAnswer) {
        let commit_index = self.state.commit_index;
        let floor = commit_index.min(answer.commit_index);
        let common = self.state.log.common_with(&answer.spans, answer.last.index, floor);
        if common < commit_index {
            self.state.halt(format!(
                "invariant 3: the log of {source} parts from this one at {common}, below the commit index {commit_index}"
            ));
            return;
        }
        match std::mem::replace(&mut self.candidate.stage, Stage::TakingEpoch) {
            Stage::Fencing(fencing) => self.fetch(now, fencing, source, answer.last, common.next()),
            other => self.candidate.stage = other,
        }
    }

    /// A piece of the best log has arrived.
    pub(in crate::replication) fn on_entries(
        &mut self,
        now: Now,
        id: RequestId,
        previous: Position,
        entries: Vec<UnchainedEntry>,
        last_hash: Hash,
    ) -> Option<Transition> {
        let mut fetching = self.take_fetching(id)?;
        match self.store_piece(&mut fetching, previous, entries, last_hash) {
            Stored::Halted => None,
            // The copied entries stay. Meanwhile a node that lacks fewer may lead.
            Stored::Partly if self.is_overdue(now) => Some(Transition::StepDown),
            Stored::Partly => {
                self.request_piece(now, fetching);
                None
            }
            Stored::Completely => self.resume_fencing(now, fetching.fencing),
            Stored::Replaced { newest } => {
                self.start_over(newest);
                None
            }
            Stored::BadSource => {
                // Neither the entries of a damaged log nor its promise are of use.
                fetching.fencing.bad_sources.insert(fetching.source);
                self.resume_fencing(now, fetching.fencing)
            }
        }
    }

    /// Evaluates the promises again: the copied log may hold a newer configuration, or a better source may be left.
    fn resume_fencing(&mut self, now: Now, fencing: Fencing) -> Option<Transition> {
        self.candidate.stage = Stage::Fencing(fencing);
        self.recover_if_majority(now)
    }

    /// A node has promised this epoch to another candidate, or a higher one: takes a new epoch.
    pub(in crate::replication) fn on_fenced(&mut self, promised: Epoch) {
        let current = match &self.candidate.stage {
            Stage::TakingEpoch => return,
            Stage::Fencing(fencing) => fencing.epoch,
            Stage::Fetching(fetching) => fetching.fencing.epoch,
        };
        if promised >= current {
            self.start_over(promised);
        }
    }

    /// Abandons the epoch: another node got as far as `newest`. Takes a higher one.
    fn start_over(&mut self, newest: Epoch) {
        self.state.hear_of(newest);
        self.candidate.stage = Stage::TakingEpoch;
        self.take_epoch();
    }
}

/// The answers that count: of voters with the bound store, whose logs can be copied. A damaged log may hold entries
/// that only this majority has committed, so its promise is worth nothing without them.
fn counted_answers<'a>(configuration: &Configuration, fencing: &'a Fencing) -> BTreeMap<&'a NodeId, &'a FenceAnswer> {
    let counts = |node: &NodeId, answer: &FenceAnswer| {
        let bound = configuration.binds(node, answer.store_id) || planted(Bug::UnboundPromisesCount);
        bound && !fencing.bad_sources.contains(node)
    };
    fencing.answers.iter().filter(|(node, answer)| counts(node, answer)).collect()
}

/// The most complete log among those that count, unless this node's own is as complete.
fn best_source(counted: &BTreeMap<&NodeId, &FenceAnswer>, own: Position) -> Option<(NodeId, FenceAnswer)> {
    let (node, answer) = counted.iter().max_by_key(|(_, answer)| answer.last.rank())?;
    (answer.last.rank() > own.rank()).then(|| ((*node).clone(), (*answer).clone()))
}
