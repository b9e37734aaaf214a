//! The candidate's state, and what its handler may touch.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};
use crate::replication::effect::{CoordinationCommand, RequestId};
use crate::replication::message::FenceAnswer;
use crate::replication::state::State;
use crate::replication::types::{NodeId, Now, Position};

/// On the way from the head of the queue to the leadership.
#[derive(Debug)]
pub(in crate::replication) struct Candidate {
    started_ms: u64,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Asked ZooKeeper for an epoch.
    TakingEpoch,
    /// Collecting the promises of a majority, this node's own first.
    Fencing(Fencing),
    /// Copying the best log.
    Fetching(Fetching),
}

/// The promises collected so far.
#[derive(Debug)]
pub(super) struct Fencing {
    pub(super) epoch: Epoch,
    /// The answers with promises. This node's own is among them once its promise is durable.
    pub(super) answers: BTreeMap<NodeId, FenceAnswer>,
    /// Nodes whose logs turned out to be damaged.
    pub(super) bad_sources: BTreeSet<NodeId>,
    /// When promises were last requested.
    pub(super) asked_ms: u64,
}

/// The copy of the best log in progress.
#[derive(Debug)]
pub(super) struct Fetching {
    pub(super) fencing: Fencing,
    pub(super) source: NodeId,
    /// End of the log at the source.
    pub(super) target: Position,
    /// The first entry of the next piece.
    pub(super) next: LogIndex,
    /// The request in flight; `None` after one failed, until it is repeated.
    pub(super) request: Option<RequestId>,
    pub(super) asked_ms: u64,
}

/// A candidate at work.
pub(in crate::replication) struct CandidateHandler<'a> {
    pub(in crate::replication) candidate: &'a mut Candidate,
    pub(in crate::replication) state: &'a mut State,
}

impl Candidate {
    pub(in crate::replication) fn new(now: Now) -> Self {
        Self { started_ms: now.monotonic_ms, stage: Stage::TakingEpoch }
    }
}

impl CandidateHandler<'_> {
    /// Asks ZooKeeper for an epoch higher than any that this node has heard of.
    pub(in crate::replication) fn take_epoch(&mut self) {
        let highest = self.state.highest_epoch;
        let at_least = if planted(Bug::EpochsFromZooKeeperAlone) { Epoch(1) } else { Epoch(highest.0 + 1) };
        self.state.coordinate(CoordinationCommand::TakeEpoch { at_least });
    }

    /// Whether the candidacy has taken so long that others should have their turn.
    pub(super) fn is_overdue(&self, now: Now) -> bool {
        now.monotonic_ms >= self.candidate.started_ms + self.state.config.timing.candidacy_ms
    }
}
