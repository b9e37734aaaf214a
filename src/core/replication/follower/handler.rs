//! The follower's state, and what its handler may touch.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::LogIndex;
use crate::replication::effect::RequestId;
use crate::replication::state::State;
use crate::replication::types::NodeId;

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
    /// Nodes that hear a leader.
    pub(super) hearing: BTreeSet<NodeId>,
    /// Nodes that hear no leader, with the ends of their logs.
    pub(super) silent: BTreeMap<NodeId, LogIndex>,
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
