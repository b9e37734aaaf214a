//! The leader's state, and what its handler may touch.

use std::collections::{BTreeMap, VecDeque};

use super::progress::Progress;
use crate::domain::{Epoch, LogIndex};
use crate::planted::{Bug, planted};
use crate::replication::effect::{Effect, ReadId, RequestId, RpcId};
use crate::replication::message::Response;
use crate::replication::quorum::reached_by_quorum;
use crate::replication::state::State;
use crate::replication::types::{NodeId, Now, Voter};

/// The leader of one epoch.
#[derive(Debug)]
pub(in crate::replication) struct Leader {
    pub(in crate::replication) epoch: Epoch,
    /// Index of the epoch's first entry. Invariant 6: nothing is committed by counting copies of older entries.
    pub(super) start: LogIndex,
    /// Whether that entry is committed: only then are proposals and reads accepted.
    pub(in crate::replication) open: bool,
    pub(super) began_ms: u64,
    pub(super) followers: BTreeMap<NodeId, Progress>,
    /// Index of the configuration as of which `followers` is complete.
    pub(super) followers_as_of: Option<LogIndex>,
    /// Number of the newest quorum round.
    pub(super) round: u64,
    pub(super) reads: VecDeque<PendingRead>,
    pub(super) transfer: Option<Transfer>,
    /// Since when a follower has better links than this node.
    pub(super) unreached_since_ms: Option<u64>,
}

/// A read that waits for a quorum round.
#[derive(Debug)]
pub(super) struct PendingRead {
    pub(super) origin: ReadOrigin,
    /// The commit index when it arrived.
    pub(super) index: LogIndex,
    /// The round, sent after it arrived, that a quorum must confirm.
    pub(super) round: u64,
}

/// Who asked for a read index.
#[derive(Clone, Copy, Debug)]
pub(super) enum ReadOrigin {
    /// A read at this node.
    Local(ReadId),
    /// A follower, for its own reads.
    Peer(RpcId),
}

/// A transfer of the leadership in progress.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The successor; `None` for whichever follower is ready first.
    pub(super) to: Option<NodeId>,
    pub(super) until_ms: u64,
    /// Whether the successor has better links, which is the reason.
    pub(super) for_links: bool,
}

/// What a leader knows about one follower.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowerView {
    /// The follower.
    pub node: NodeId,
    /// Highest index that is durable there and equal to the leader's log, as its process last reported.
    pub matched: LogIndex,
    /// Whether it answered within the heartbeat timeout.
    pub reachable: bool,
    /// Whether its store is a voter.
    pub votes: bool,
    /// Whether it can be the next leader: its store is a voter, and it stands in ZooKeeper's queue.
    pub can_succeed: bool,
}

/// A leader at work.
pub(in crate::replication) struct LeaderHandler<'a> {
    pub(in crate::replication) leader: &'a mut Leader,
    pub(in crate::replication) state: &'a mut State,
}

impl Leader {
    /// The leader of an epoch whose first entry will be at `start`.
    pub(in crate::replication) fn new(epoch: Epoch, start: LogIndex, now: Now) -> Self {
        Self {
            epoch,
            start,
            open: false,
            began_ms: now.monotonic_ms,
            followers: BTreeMap::new(),
            followers_as_of: None,
            round: 1,
            reads: VecDeque::new(),
            transfer: None,
            unreached_since_ms: None,
        }
    }

    pub(in crate::replication) fn takes_proposals(&self) -> bool {
        self.open && self.transfer.is_none()
    }

    pub(in crate::replication) fn views(&self, state: &State, now: Now) -> Vec<FollowerView> {
        let timeout_ms = state.config.timing.heartbeat_timeout_ms;
        let view = |(node, progress): (&NodeId, &Progress)| FollowerView {
            node: node.clone(),
            matched: progress.counted(),
            reachable: progress.answered_within(now, timeout_ms),
            votes: votes(state, node, progress),
            can_succeed: can_succeed(state, node, progress),
        };
        self.followers.iter().map(view).collect()
    }

    /// Whether the response of a follower to this append of this leadership is expected.
    pub(in crate::replication) fn awaits(&self, from: &NodeId, id: RequestId) -> bool {
        self.followers.get(from).is_some_and(|progress| progress.awaits(id))
    }

    /// The leadership has ended: the reads that waited for it are refused.
    pub(in crate::replication) fn refuse_reads(self, state: &mut State) {
        for read in self.reads {
            state.emit(refusal(read.origin));
        }
    }
}

/// Whether a follower's store counts in the newest configuration.
pub(super) fn votes(state: &State, node: &NodeId, progress: &Progress) -> bool {
    progress.store_id.and_then(|store| state.binds(node, store)).unwrap_or(false)
}

/// Whether a follower can lead: it votes, and stands in ZooKeeper's queue, so that it can take an epoch.
pub(super) fn can_succeed(state: &State, node: &NodeId, progress: &Progress) -> bool {
    votes(state, node, progress) && (progress.in_queue || planted(Bug::SuccessorNotInQueue))
}

/// The answer to a read that cannot have an index here.
pub(super) fn refusal(origin: ReadOrigin) -> Effect {
    match origin {
        ReadOrigin::Local(id) => Effect::ReadRefused(id),
        ReadOrigin::Peer(rpc) => Effect::Respond { rpc, response: Response::Unable },
    }
}

impl LeaderHandler<'_> {
    /// The highest value that a quorum of voters has reached, given this node's own. Invariant 8: a follower counts
    /// only with the store that the configuration binds.
    pub(super) fn quorum_value<T: Ord + Copy + Default>(&self, own: T, of: impl Fn(&Progress) -> T) -> T {
        let Some(configuration) = self.state.log.configuration() else { return T::default() };
        let value = |(node, voter): (&NodeId, &Voter)| {
            if *node == self.state.config.node_id {
                return if voter.store_id == self.state.store_id { own } else { T::default() };
            }
            let counts =
                |progress: &&Progress| progress.store_id == Some(voter.store_id) || planted(Bug::WipedStoreCounts);
            self.leader.followers.get(node).filter(counts).map_or(T::default(), &of)
        };
        reached_by_quorum(configuration.voters.iter().map(value).collect(), configuration.quorum())
    }
}
