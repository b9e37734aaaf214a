//! From the promises of a majority to a log that holds everything committed: find the best log, copy what is missing,
//! open the epoch.

use std::collections::BTreeMap;

use super::candidate::{Candidate, Fencing, Stage};
use super::effect::{CoordinationCommand, Outgoing, RequestId};
use super::entry::{EntryBody, UnchainedEntry};
use super::leader::Leader;
use super::message::{FenceAnswer, Request};
use super::replica::{Replica, Role};
use super::types::{Configuration, Hash, NodeId, Now, Position, Voter};
use crate::domain::LogIndex;
use crate::planted::{Bug, planted};

/// A candidate copying the best log of its majority.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) fencing: Fencing,
    source: NodeId,
    target: Position,
    /// The next entry wanted.
    next: LogIndex,
    request: RequestId,
    asked_ms: u64,
}

/// How long a source may take for one piece: the heaviest entry, 16 MiB, takes 2.8 s on the thinnest link.
const FETCH_TIMEOUT_MS: u64 = 3_000;

impl Replica {
    /// A promise has come in. With those of a majority the best log is known.
    pub(super) fn on_promised(&mut self, now: Now, from: &NodeId, answer: FenceAnswer) {
        let Role::Candidate(Candidate { stage: Stage::Fencing(fencing), .. }) = &mut self.role else { return };
        if answer.epoch == fencing.epoch {
            self.clocks.hear(now, from, answer.clock);
            fencing.answers.insert(from.clone(), answer);
            self.recover_if_majority(now);
        }
    }

    fn recover_if_majority(&mut self, now: Now) {
        let Role::Candidate(Candidate { stage: Stage::Fencing(fencing), .. }) = &self.role else { return };
        if !fencing.answers.contains_key(&self.config.node_id) {
            return;
        }
        match self.log.configuration() {
            Some(configuration) => {
                let counted = counted_answers(configuration, fencing);
                if counted.len() >= configuration.quorum() {
                    let best = best_source(&counted, self.log.last());
                    self.adopt(now, best);
                }
            }
            None => self.found_cluster(now),
        }
    }

    /// A new cluster begins when every node has promised and every log is empty. Anything less could be an old cluster
    /// whose nodes are away, or one that lost a disk.
    fn found_cluster(&mut self, now: Now) {
        let Role::Candidate(Candidate { stage: Stage::Fencing(fencing), .. }) = &self.role else { return };
        let all_empty =
            |node: &NodeId| fencing.answers.get(node).is_some_and(|answer| answer.last.index == LogIndex(0));
        if fencing.answers.values().any(|answer| answer.last.index > LogIndex(0)) {
            self.abandon_candidacy(now);
        } else if self.config.peers.keys().all(all_empty) {
            let voter = |(node, peer_url): (&NodeId, &String)| {
                let voter = Voter { store_id: fencing.answers[node].store_id, peer_url: peer_url.clone() };
                (node.clone(), voter)
            };
            let configuration = Configuration { voters: self.config.peers.iter().map(voter).collect() };
            self.lead(now, Some(configuration));
        }
    }

    /// Leads with the own log if it is the best; otherwise copies the one that is.
    fn adopt(&mut self, now: Now, best: Option<(NodeId, FenceAnswer)>) {
        let Some((source, answer)) = best.filter(|_| !planted(Bug::NoCatchUp)) else {
            self.lead_if_voter(now);
            return;
        };
        let floor = self.commit_index.min(answer.commit_index);
        let common = self.log.common_with(&answer.spans, answer.last.index, floor);
        if common < self.commit_index {
            self.halt(format!(
                "invariant 3: the log of {source} parts from this one at {common}, below the commit index {}",
                self.commit_index
            ));
            return;
        }
        let Role::Candidate(candidate) = &self.role else { return };
        let Stage::Fencing(fencing) = &candidate.stage else { return };
        let fencing = fencing.clone();
        self.fetch(now, fencing, source, answer.last, common.next());
    }

    fn fetch(&mut self, now: Now, fencing: Fencing, source: NodeId, target: Position, next: LogIndex) {
        let wanted = Request::Fetch { epoch: fencing.epoch, from_index: next, to_index: target.index };
        let request = self.send(&source, Outgoing::Plain(wanted));
        let fetching = Fetching { fencing, source, target, next, request, asked_ms: now.monotonic_ms };
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.stage = Stage::Fetching(fetching);
        }
    }

    fn take_fetching(&mut self, id: RequestId) -> Option<Fetching> {
        let Role::Candidate(candidate) = &mut self.role else { return None };
        match std::mem::replace(&mut candidate.stage, Stage::TakingEpoch) {
            Stage::Fetching(fetching) if fetching.request == id => Some(fetching),
            other => {
                candidate.stage = other;
                None
            }
        }
    }

    /// A piece of the best log has come. It is stored only if its chain is whole; the first piece removes, in the same
    /// write, whatever it contradicts.
    pub(super) fn on_entries(
        &mut self,
        now: Now,
        id: RequestId,
        previous: Position,
        entries: Vec<UnchainedEntry>,
        last_hash: Hash,
    ) {
        let Some(fetching) = self.take_fetching(id) else { return };
        let own_previous = self.log.position(previous.index);
        let fits = previous.index == fetching.next.previous()
            && self.log.epoch_at(previous.index) == Some(previous.epoch)
            && own_previous.is_none_or(|own| own.hash == previous.hash)
            && chain_ends_in(&previous, &entries, &last_hash)
            && entries.last().is_some_and(|last| last.index <= fetching.target.index);
        if !fits {
            self.refuse_source(now, fetching);
            return;
        }
        if !self.truncate(previous) {
            return;
        }
        for entry in entries {
            self.push(entry);
        }
        let last = self.log.last();
        if last.index < fetching.target.index && self.candidacy_is_over(now) {
            // What was copied stays; meanwhile a node that lacks less may lead.
            self.abandon_candidacy(now);
        } else if last.index < fetching.target.index {
            self.fetch(now, fetching.fencing, fetching.source, fetching.target, last.index.next());
        } else if last == fetching.target {
            self.resume_fencing(now, fetching.fencing);
        } else {
            self.refuse_source(now, fetching);
        }
    }

    /// The log at the source is damaged: neither its entries nor its promise are of use.
    fn refuse_source(&mut self, now: Now, fetching: Fetching) {
        let Fetching { mut fencing, source, .. } = fetching;
        fencing.bad_sources.insert(source);
        self.resume_fencing(now, fencing);
    }

    /// Looks at the promises again: the copied log may hold a newer configuration, or a better source may be left.
    fn resume_fencing(&mut self, now: Now, fencing: Fencing) {
        if let Role::Candidate(candidate) = &mut self.role {
            candidate.stage = Stage::Fencing(fencing);
            self.recover_if_majority(now);
        }
    }

    pub(super) fn on_fetch_unanswered(&mut self, now: Now, id: RequestId) {
        if let Some(fetching) = self.take_fetching(id) {
            let Fetching { fencing, source, target, next, .. } = fetching;
            // Asked again on a later tick; the candidacy's own limit ends it.
            let asked_ms = now.monotonic_ms;
            if let Role::Candidate(candidate) = &mut self.role {
                candidate.stage =
                    Stage::Fetching(Fetching { fencing, source, target, next, request: RequestId(0), asked_ms });
            }
        }
    }

    pub(super) fn continue_fetching(&mut self, now: Now) {
        let Role::Candidate(Candidate { stage: Stage::Fetching(fetching), .. }) = &self.role else { return };
        let lost = fetching.request == RequestId(0);
        let patience_ms = if lost { self.config.timing.heartbeat_ms } else { FETCH_TIMEOUT_MS };
        if now.monotonic_ms >= fetching.asked_ms + patience_ms
            && let Some(fetching) = self.take_fetching(fetching.request)
        {
            let Fetching { fencing, source, target, next, .. } = fetching;
            self.fetch(now, fencing, source, target, next);
        }
    }

    /// Whether a piece of the best log is on its way and not late.
    pub(super) fn awaits_piece(&self, now: Now) -> bool {
        let Role::Candidate(Candidate { stage: Stage::Fetching(fetching), .. }) = &self.role else { return false };
        fetching.request != RequestId(0) && now.monotonic_ms < fetching.asked_ms + FETCH_TIMEOUT_MS
    }

    /// The recovered log may say what this node did not know when it stood: that its store was replaced while it was
    /// away. A leader cannot readmit itself, so it lets a voter lead, which will.
    fn lead_if_voter(&mut self, now: Now) {
        if self.is_voter() {
            self.lead(now, None);
        } else {
            self.abandon_candidacy(now);
        }
    }

    /// Begins the epoch: its first entry commits everything before it.
    fn lead(&mut self, now: Now, founding: Option<Configuration>) {
        let start = self.log.last().index.next();
        let epoch = self.promised_epoch();
        self.role = Role::Leader(Box::new(Leader::new(epoch, start, now)));
        self.last_heard_ms = None;
        self.append(now, EntryBody::EpochStart { leader: self.config.node_id.clone() });
        if let Some(configuration) = founding {
            self.append(now, EntryBody::Configuration(configuration));
        }
    }

    /// The epoch's first entry is committed: proposals are taken from now on.
    pub(super) fn open_epoch(&mut self) {
        if let Role::Leader(leader) = &mut self.role
            && !leader.open
        {
            leader.open = true;
            let epoch = leader.epoch;
            self.elections_won += 1;
            self.coordinate(CoordinationCommand::PublishLeader { epoch });
        }
    }
}

/// The answers that count: of voters, with the store that the configuration binds, whose log can be had. A damaged log
/// may hold what only this majority has committed, so its promise is worth nothing without its entries.
fn counted_answers<'a>(configuration: &Configuration, fencing: &'a Fencing) -> BTreeMap<&'a NodeId, &'a FenceAnswer> {
    let counts = |node: &NodeId, answer: &FenceAnswer| {
        let bound = configuration.binds(node, answer.store_id) || planted(Bug::UnboundPromisesCount);
        bound && !fencing.bad_sources.contains(node)
    };
    fencing.answers.iter().filter(|(node, answer)| counts(node, answer)).collect()
}

/// The most complete log among those that count, unless the own one is as complete.
fn best_source(counted: &BTreeMap<&NodeId, &FenceAnswer>, own: Position) -> Option<(NodeId, FenceAnswer)> {
    let (node, answer) = counted.iter().max_by_key(|(_, answer)| answer.last.rank())?;
    (answer.last.rank() > own.rank()).then(|| ((*node).clone(), (*answer).clone()))
}

fn chain_ends_in(previous: &Position, entries: &[UnchainedEntry], last_hash: &Hash) -> bool {
    let mut place = *previous;
    for entry in entries {
        let chained = entry.clone().chain(&place.hash);
        if !chained.follows(&place) {
            return false;
        }
        place = chained.position();
    }
    place.hash == *last_hash
}
