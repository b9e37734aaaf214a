//! The follower's state, and what its handler may touch.

use std::collections::BTreeMap;

use crate::domain::LogIndex;
use crate::replication::effect::RequestId;
use crate::replication::state::State;
use crate::replication::types::{NodeId, Position};

/// Follows the leader of an epoch, or waits for one.
#[derive(Debug, Default)]
pub(in crate::replication) struct Follower {
    /// The leader heard last, unless it was found dead since.
    pub(in crate::replication) leader: Option<NodeId>,
    /// The highest index known to be equal to that leader's log.
    pub(in crate::replication) matched: LogIndex,
    /// The pre-vote in progress.
    pub(in crate::replication) pre_vote: Option<PreVote>,
}

/// The question to all nodes whether they hear a leader, with the answers so far.
#[derive(Debug)]
pub(in crate::replication) struct PreVote {
    pub(super) started_ms: u64,
    pub(super) requests: BTreeMap<NodeId, RequestId>,
    /// The answers, this node's own among them.
    pub(super) votes: BTreeMap<NodeId, Vote>,
}

/// One node's answer in a pre-vote.
#[derive(Clone, Copy, Debug)]
pub(in crate::replication) struct Vote {
    /// Whether it hears a leader.
    pub(in crate::replication) hears_leader: bool,
    /// Whether it can open connections to the node that asks.
    pub(in crate::replication) reaches: bool,
    /// End of its log.
    pub(in crate::replication) last: Position,
}

/// A follower at work.
pub(in crate::replication) struct FollowerHandler<'a> {
    pub(in crate::replication) follower: &'a mut Follower,
    pub(in crate::replication) state: &'a mut State,
}

impl Follower {
    /// A follower of `leader`, or of nobody yet.
    pub(in crate::replication) fn of(leader: Option<NodeId>) -> Self {
        Self { leader, ..Self::default() }
    }
}
