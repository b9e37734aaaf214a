//! The replica: owns the node's state and role, dispatches each event to the role's handler, performs the transitions
//! between roles, and checks the invariants after every step.

use std::sync::Arc;

use super::candidate::{Candidate, CandidateHandler};
use super::config::ReplicaConfig;
use super::effect::{
    CoordinationCommand, CoordinationEvent, Effect, Event, LogChange, Outgoing, PersistId, QueueRank, ReadId,
    RequestId, RpcId,
};
use super::entry::{Entry, EntryBody};
use super::follower::{Follower, FollowerHandler, Vote};
use super::leader::{Answered, Leader, LeaderHandler};
use super::message::{Append, Request, Response};
use super::pacing::HeldBatch;
use super::start::ReplicaStart;
use super::state::State;
use super::transition::Transition;
use super::types::{Configuration, NodeId, Now};
use crate::domain::{ApiKeyId, Epoch, LogIndex, Operation, RuleVersion, Stamp};
use crate::planted::{Bug, planted};

/// One node's part in the protocol. See the module `replication` for the contract.
#[derive(Debug)]
pub struct Replica {
    pub(super) state: State,
    pub(super) role: Role,
}

/// What a node is doing, with the state that belongs to it.
#[derive(Debug)]
pub(super) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Box<Leader>),
}

impl Replica {
    /// Makes the replica of a node from what its ledger holds.
    #[must_use]
    pub fn new(config: ReplicaConfig, start: ReplicaStart) -> Self {
        Self { state: State::new(config, start), role: Role::Follower(Follower::default()) }
    }

    /// Processes an event. After a broken invariant all events are ignored.
    pub fn step(&mut self, now: Now, event: Event) {
        if self.state.is_halted() {
            return;
        }
        let commit_before = self.state.commit_index;
        let transition = match event {
            Event::Tick => self.on_tick(now),
            Event::Request { rpc, from, request } => {
                self.on_request(now, rpc, &from, request);
                None
            }
            Event::Response { id, from, response } => self.on_response(now, id, &from, response),
            Event::Unanswered { id, to } => {
                self.on_unanswered(now, id, &to);
                None
            }
            Event::Persisted(id) => self.on_persisted(now, id),
            Event::Loaded { peer, entries } => {
                if let Some(mut leader) = self.as_leader() {
                    leader.on_loaded(&peer, entries);
                }
                None
            }
            Event::PeerGone(peer) => self.on_peer_gone(now, &peer),
            Event::PeerReachable { peer, reachable } => {
                self.state.on_peer_reachable(now, peer, reachable);
                None
            }
            Event::Coordination(event) => self.on_coordination(now, &event),
            Event::Quarantine(reason) => self.on_quarantine(reason),
        };
        self.perform(now, transition);
        self.check_invariants(commit_before);
    }

    /// Takes out everything that is to be done.
    pub fn take_effects(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.state.is_halted() {
            if let Some(mut leader) = self.as_leader() {
                leader.replicate(now);
            }
            let (commit, limits) = (self.state.commit_index, self.state.config.limits);
            if let Some(write) = self.state.storage.take_write(commit, limits.batch_entries, now.monotonic_ms) {
                self.state.emit(Effect::Persist(write));
            }
            self.forward_reads();
            self.state.log.trim(commit.min(self.state.storage.durable_index()), limits.cached_entries);
        }
        self.state.take_effects(effects);
    }

    /// Takes out how the log changed since the last call.
    pub fn take_changes(&mut self) -> Vec<LogChange> {
        self.state.take_changes()
    }

    /// When and where the next entry will be appended by this leader.
    #[must_use]
    pub fn next_stamp(&self, now: Now) -> Stamp {
        self.state.next_stamp(now)
    }

    /// Appends an operation that `principal` asked for as the leader, under the stamp for which it was decided. Call only while
    /// [`Replica::takes_proposals`].
    ///
    /// # Panics
    /// If the stamp is not that of the next entry.
    pub fn propose(&mut self, stamp: Stamp, principal: Option<ApiKeyId>, operation: Operation) -> Arc<Entry> {
        self.state.append_stamped(stamp, principal, EntryBody::Operation(operation))
    }

    /// Begins to transfer the leadership: proposals are refused until a successor leads or time is up.
    pub fn transfer(&mut self, now: Now, to: Option<NodeId>) {
        let transition = self.as_leader().and_then(|mut leader| leader.begin_transfer(now, to));
        self.perform(now, transition);
    }

    /// Holds batches of a leader back from now on, or takes them again, the one that was held included.
    pub fn hold_batches(&mut self, now: Now, hold: bool) {
        let Some(HeldBatch { rpc, from, append }) = self.state.pacing.hold(hold) else { return };
        self.step(now, Event::Request { rpc, from, request: Request::Append(append) });
    }

    /// Whether this node can decide whatever it may be asked as the leader. It votes and stores in any case.
    pub fn set_fit(&mut self, fit: bool) {
        self.state.fit = fit;
    }

    /// Asks for a read index.
    pub fn read(&mut self, read: ReadId) {
        let accepted = self.state.quarantine.is_none()
            && match &mut self.role {
                Role::Leader(leader) => {
                    LeaderHandler { leader, state: &mut self.state }.on_local_read(read);
                    true
                }
                Role::Follower(follower) => follower.leader.is_some() && self.state.forwarded_reads.push(read),
                Role::Candidate(_) => false,
            };
        if !accepted {
            self.state.emit(Effect::ReadRefused(read));
        }
    }

    /// Reports from outside the protocol that an invariant is broken, such as a bank that differs from the ledger.
    pub fn halt_on(&mut self, reason: String) {
        self.state.halt(reason);
    }
}

/// The handlers of the roles.
impl Replica {
    fn as_follower(&mut self) -> Option<FollowerHandler<'_>> {
        let Role::Follower(follower) = &mut self.role else { return None };
        Some(FollowerHandler { follower, state: &mut self.state })
    }

    fn as_candidate(&mut self) -> Option<CandidateHandler<'_>> {
        let Role::Candidate(candidate) = &mut self.role else { return None };
        Some(CandidateHandler { candidate, state: &mut self.state })
    }

    fn as_leader(&mut self) -> Option<LeaderHandler<'_>> {
        let Role::Leader(leader) = &mut self.role else { return None };
        Some(LeaderHandler { leader, state: &mut self.state })
    }
}

/// The events.
impl Replica {
    fn on_tick(&mut self, now: Now) -> Option<Transition> {
        self.state.tend_clocks(now);
        let state = &mut self.state;
        match &mut self.role {
            Role::Follower(follower) => FollowerHandler { follower, state }.campaign_if_due(now),
            Role::Candidate(candidate) => CandidateHandler { candidate, state }.on_tick(now),
            Role::Leader(leader) => LeaderHandler { leader, state }.on_tick(now),
        }
    }

    fn on_request(&mut self, now: Now, rpc: RpcId, from: &NodeId, request: Request) {
        if self.state.quarantine.is_some() {
            return self.state.respond(rpc, Response::Unable);
        }
        match request {
            Request::PreVote => self.on_pre_vote_request(now, rpc, from),
            Request::Clock => self.state.respond(rpc, Response::Clock(State::clock_times(now))),
            Request::Fence { epoch, commit_index } => {
                if !self.state.promise_allows(epoch, from) {
                    return self.state.respond_fenced(rpc);
                }
                self.accept_epoch(now, epoch, from, None);
                self.state.respond_promised(now, rpc, epoch, commit_index);
            }
            Request::Fetch { epoch, from_index, to_index } => self.state.on_fetch(rpc, epoch, from_index, to_index),
            Request::Append(append) => self.on_append(now, rpc, from, append),
            Request::ReadIndex => match self.as_leader() {
                Some(mut leader) => leader.on_peer_read(rpc),
                None => self.state.respond(rpc, Response::Unable),
            },
            Request::Transfer { epoch, successor } => {
                let transition =
                    self.as_follower().and_then(|mut follower| follower.on_transfer(now, epoch, &successor));
                self.perform(now, transition);
                self.state.respond(rpc, Response::Transferring);
            }
        }
    }

    fn on_pre_vote_request(&mut self, now: Now, rpc: RpcId, from: &NodeId) {
        let succeeds = self.state.election.succeeds(now);
        let response = Response::PreVote {
            hears_leader: self.is_leader() || self.state.heard_leader(now) || succeeds,
            reaches: !self.state.unreachable(now).contains(from),
            promised: self.state.promised_epoch(),
            last: self.state.log.last(),
        };
        self.state.respond(rpc, response);
    }

    fn on_append(&mut self, now: Now, rpc: RpcId, from: &NodeId, append: Append) {
        if !self.state.promise_allows(append.epoch, from) || *from == self.state.config.node_id {
            return self.state.respond_fenced(rpc);
        }
        if self.state.election.has_taken_over_from(now, append.epoch) {
            // It was on its way when the leader named this node, which has everything. It is no sign of a leader.
            return self.state.respond(rpc, Response::Unable);
        }
        let mut follower = self.accept_epoch(now, append.epoch, from, Some(from));
        if !follower.state.pacing.holds(&append) {
            return follower.on_append(now, rpc, append);
        }
        let held = HeldBatch { rpc, from: from.clone(), append };
        if let Some(given_up) = follower.state.pacing.keep(held) {
            follower.state.respond(given_up.rpc, Response::Unable);
        }
    }

    fn on_response(&mut self, now: Now, id: RequestId, from: &NodeId, response: Response) -> Option<Transition> {
        match response {
            Response::PreVote { hears_leader, reaches, promised, last } => {
                self.state.hear_of(promised);
                self.as_follower()?.on_pre_vote(now, id, from, Vote { hears_leader, reaches, last })
            }
            Response::Promised(answer) => self.as_candidate()?.on_promised(now, from, *answer),
            Response::Entries { previous, entries, last_hash } => {
                self.as_candidate()?.on_entries(now, id, previous, entries, last_hash)
            }
            Response::Clock(clock) => {
                self.state.cluster_clock.heard(now, from, id, clock);
                None
            }
            Response::Appended {
                round,
                matched,
                store_id,
                clock,
                leader_is_false,
                unreachable,
                in_queue,
                newest_rules,
            } => {
                self.state.cluster_clock.heard(now, from, id, clock);
                let mut leader = self.as_leader()?;
                leader.on_judged(id, from, leader_is_false);
                leader.on_rules_reported(id, from, newest_rules);
                leader.on_reach_reported(id, from, unreachable, in_queue);
                leader.on_appended(now, &Answered { id, from, round, store_id }, matched, clock.sent())
            }
            Response::Mismatch { round, index, epoch, epoch_start, store_id } => {
                let answered = Answered { id, from, round, store_id };
                self.as_leader()?.on_mismatch(now, &answered, (index, epoch, epoch_start));
                None
            }
            Response::Fenced { promised } => self.on_fenced(now, id, from, promised),
            Response::ReadIndex { epoch, commit_index } => {
                self.on_read_index(id, epoch, commit_index);
                None
            }
            Response::Transferring => None,
            Response::Unable => {
                if let Some(mut leader) = self.as_leader() {
                    leader.on_append_refused(id, from);
                }
                self.on_unanswered(now, id, from);
                None
            }
        }
    }

    fn on_fenced(&mut self, now: Now, id: RequestId, from: &NodeId, promised: Epoch) -> Option<Transition> {
        if !self.state.is_plausible(promised) {
            self.on_unanswered(now, id, from);
            return None;
        }
        self.state.hear_of(promised);
        let state = &mut self.state;
        match &mut self.role {
            Role::Follower(_) => None,
            Role::Candidate(candidate) => {
                CandidateHandler { candidate, state }.on_fenced(promised);
                None
            }
            Role::Leader(leader) => LeaderHandler { leader, state }.on_fenced(id, from, promised),
        }
    }

    fn on_unanswered(&mut self, now: Now, id: RequestId, to: &NodeId) {
        if let Some(mut leader) = self.as_leader() {
            leader.on_append_unanswered(id, to);
        }
        if let Some(mut candidate) = self.as_candidate() {
            candidate.on_fetch_unanswered(now, id);
        }
        if let Some(reads) = self.state.forwarded_reads.take_requested(id) {
            self.state.refuse_reads(reads);
        }
    }

    fn on_persisted(&mut self, now: Now, id: PersistId) -> Option<Transition> {
        self.state.on_persisted(now, id);
        let recovered = self.as_candidate().and_then(|mut candidate| candidate.on_persisted(now));
        self.perform(now, recovered);
        self.as_leader()?.advance_commit(now)
    }

    fn on_peer_gone(&mut self, now: Now, peer: &NodeId) -> Option<Transition> {
        let state = &mut self.state;
        match &mut self.role {
            Role::Follower(follower) => FollowerHandler { follower, state }.on_peer_gone(now, peer),
            Role::Candidate(_) => None,
            Role::Leader(leader) => {
                LeaderHandler { leader, state }.on_peer_gone(peer);
                None
            }
        }
    }

    fn on_coordination(&mut self, now: Now, event: &CoordinationEvent) -> Option<Transition> {
        match event {
            CoordinationEvent::QueueRank(rank) => self.on_queue_rank(now, *rank),
            CoordinationEvent::EpochTaken(epoch) => self.as_candidate()?.on_epoch_taken(now, *epoch),
            CoordinationEvent::EpochRefused => self.as_candidate().map(|_| Transition::StepDown),
            CoordinationEvent::NotRemoved { node, newest, taker } => {
                self.as_follower()?.on_not_removed(node, *newest, taker);
                None
            }
        }
    }

    fn on_queue_rank(&mut self, now: Now, rank: QueueRank) -> Option<Transition> {
        self.state.queue_rank = rank;
        let state = &mut self.state;
        match &mut self.role {
            Role::Follower(follower) => FollowerHandler { follower, state }.on_queue_rank(now),
            Role::Candidate(candidate) => CandidateHandler { candidate, state }.on_queue_rank(now),
            // A leader stays while a majority answers, even if ZooKeeper removes it from the queue.
            Role::Leader(_) => None,
        }
    }

    fn on_quarantine(&mut self, reason: String) -> Option<Transition> {
        if self.state.quarantine.is_some() {
            return None;
        }
        self.state.quarantine = Some(reason);
        Some(Transition::StepDown)
    }

    /// Requests a read index from the leader, for all reads that have arrived since the last request.
    fn forward_reads(&mut self) {
        let Some(reads) = self.state.forwarded_reads.take_waiting() else { return };
        match &self.role {
            Role::Follower(Follower { leader: Some(leader), .. }) => {
                let id = self.state.send(leader, Outgoing::Plain(Request::ReadIndex));
                self.state.forwarded_reads.requested(id, reads);
            }
            _ => self.state.refuse_reads(reads),
        }
    }

    /// The leader has given a read index. It is committed, so that a read need not wait for the next append.
    fn on_read_index(&mut self, id: RequestId, epoch: Epoch, commit_index: LogIndex) {
        let Some(reads) = self.state.forwarded_reads.take_requested(id) else { return };
        if let Role::Follower(follower) = &self.role
            && epoch == self.state.promised_epoch()
        {
            self.state.commit_up_to(commit_index.min(follower.matched));
        }
        for read in reads {
            self.state.emit(Effect::ReadReady { read, index: commit_index });
        }
    }
}

/// The transitions between roles.
impl Replica {
    fn perform(&mut self, now: Now, transition: Option<Transition>) {
        match transition {
            None => {}
            Some(Transition::BecomeCandidate) => self.become_candidate(now),
            Some(Transition::BecomeLeader { rules, founding }) => self.become_leader(now, rules, founding),
            Some(Transition::StepDown) => self.step_down(now),
            Some(Transition::HandOver) => self.hand_over(now),
        }
    }

    fn become_candidate(&mut self, now: Now) {
        let mut candidate = Candidate::new(now);
        CandidateHandler { candidate: &mut candidate, state: &mut self.state }.take_epoch();
        self.role = Role::Candidate(candidate);
    }

    /// Begins the epoch: its first entry, once committed, commits everything before it, and it names the rules by which
    /// everything after it is decided.
    fn become_leader(&mut self, now: Now, rules: RuleVersion, founding: Option<Configuration>) {
        let (epoch, start) = (self.state.promised_epoch(), self.state.log.last().index.next());
        self.role = Role::Leader(Box::new(Leader::new(epoch, start, now)));
        self.state.forwarded_reads.withdraw();
        self.state.election.last_heard_ms = None;
        let leader = self.state.config.node_id.clone();
        self.state.append(now, EntryBody::EpochStart { leader, rules });
        if let Some(configuration) = founding {
            self.state.append(now, EntryBody::Configuration(configuration));
        }
    }

    /// Ends a leadership or candidacy and goes to the back of the queue.
    fn step_down(&mut self, now: Now) {
        if matches!(self.role, Role::Follower(_)) {
            return;
        }
        self.become_follower(None);
        let backoff_ms = self.state.config.timing.backoff_ms;
        self.state.election.last_heard_ms = None;
        self.state.election.no_leader_until_ms = 0;
        self.state.election.not_before_ms = now.monotonic_ms + backoff_ms;
        self.state.coordinate(CoordinationCommand::GoToBack);
    }

    /// Ends a leadership whose successor was named: gives it time to take over.
    fn hand_over(&mut self, now: Now) {
        self.become_follower(None);
        self.state.election.yield_from(now);
        self.state.coordinate(CoordinationCommand::GoToBack);
    }

    /// Accepts the epoch of a leader, or of a candidate (`leader` is `None`): promises it if it is new, and follows.
    fn accept_epoch(&mut self, now: Now, epoch: Epoch, from: &NodeId, leader: Option<&NodeId>) -> FollowerHandler<'_> {
        let promised = self.state.promised_epoch();
        let followed = matches!(&self.role, Role::Follower(f) if epoch == promised && f.leader.as_ref() == leader);
        if epoch > promised {
            self.state.make_promise(now, epoch, from.clone());
        }
        if !followed {
            self.become_follower(leader.cloned());
            if planted(Bug::TruncateToCommitIndex)
                && let Some(committed) = self.state.log.position(self.state.commit_index)
            {
                self.state.truncate(committed);
            }
            if leader.is_some() {
                self.state.election.follow(now);
            }
        }
        self.state.election.last_heard_ms = Some(now.monotonic_ms);
        self.state.election.no_leader_until_ms = 0;
        let handler = self.as_follower().expect("a node that accepts an epoch is a follower");
        handler.follower.pre_vote = None;
        handler
    }

    /// Becomes a follower of `leader`, or of nobody yet. Reads that waited for this node's leadership are refused; those
    /// that waited for another leader are asked of this one, or refused if there is none: their callers ask again.
    fn become_follower(&mut self, leader: Option<NodeId>) {
        self.state.forwarded_reads.withdraw();
        let follower = Role::Follower(Follower::of(leader));
        if let Role::Leader(leader) = std::mem::replace(&mut self.role, follower) {
            leader.refuse_reads(&mut self.state);
        }
    }

    fn check_invariants(&mut self, commit_before: LogIndex) {
        let state = &self.state;
        let (last, commit, durable) = (state.log.last().index, state.commit_index, state.storage.durable_index());
        let broken = if commit < commit_before {
            Some(format!("invariant 2: the commit index fell from {commit_before} to {commit}"))
        } else if commit > last {
            Some(format!("invariant 2: commit index {commit} beyond the end of the log {last}"))
        } else if durable > last {
            Some(format!("invariant 4: durable index {durable} beyond the log {last}"))
        } else if state.log.rules() < state.log.rules_before() || state.log.rules() > state.config.newest_rules {
            let (before, rules, newest) = (state.log.rules_before(), state.log.rules(), state.config.newest_rules);
            Some(format!("invariant 9: rules {rules} follow {before}, and this program knows them up to {newest}"))
        } else if let Role::Leader(leader) = &self.role {
            let promise = state.promise.as_ref();
            let own = promise.is_some_and(|p| p.epoch == leader.epoch && p.leader == state.config.node_id);
            (!own).then(|| format!("invariant 5: leads epoch {} but promised {promise:?}", leader.epoch))
        } else {
            None
        };
        if let Some(reason) = broken {
            self.state.halt(reason);
        }
    }
}
