//! Read access to a replica for the engine and the runtime.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cluster_clock::{ClockView, ClusterTime};
use super::config::Limits;
use super::effect::RequestId;
use super::entry::Entry;
use super::leader::FollowerView;
use super::replica::{Replica, Role};
use super::types::{Configuration, NodeId, Now, Position, StoreId};
use crate::domain::{Epoch, LogIndex, RuleVersion};

impl Replica {
    /// The promised epoch, 0 before the first promise.
    #[must_use]
    pub fn promised_epoch(&self) -> Epoch {
        self.state.promised_epoch()
    }

    /// End of the log.
    #[must_use]
    pub fn last(&self) -> Position {
        self.state.log.last()
    }

    /// Highest index known to be on a quorum.
    #[must_use]
    pub const fn commit_index(&self) -> LogIndex {
        self.state.commit_index
    }

    /// Highest index that is committed and in this node's ledger: what reads show.
    #[must_use]
    pub fn applied_index(&self) -> LogIndex {
        self.state.commit_index.min(self.state.storage.durable_index())
    }

    /// The ledger file.
    #[must_use]
    pub const fn store_id(&self) -> StoreId {
        self.state.store_id
    }

    /// Whether this node leads and its `EpochStart` is committed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.open)
    }

    /// Whether this node leads, even if its `EpochStart` is not committed yet.
    #[must_use]
    pub const fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    /// Whether this node is a candidate.
    #[must_use]
    pub const fn is_candidate(&self) -> bool {
        matches!(self.role, Role::Candidate(_))
    }

    /// The leader, if this node leads or heard one within the heartbeat timeout.
    #[must_use]
    pub fn leader(&self, now: Now) -> Option<&NodeId> {
        match &self.role {
            Role::Leader(leader) => leader.open.then_some(&self.state.config.node_id),
            Role::Follower(follower) if self.state.heard_leader(now) => follower.leader.as_ref(),
            Role::Follower(_) | Role::Candidate(_) => None,
        }
    }

    /// When a leader's append, or at the leader a quorum of responses, last confirmed this node's commit index.
    #[must_use]
    pub const fn confirmed_ms(&self) -> Option<u64> {
        self.state.confirmed_ms
    }

    /// Whether the store counts in the newest configuration; true before the first one.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.state.is_voter()
    }

    /// Why the node quarantined itself, if it did.
    #[must_use]
    pub fn quarantine(&self) -> Option<&str> {
        self.state.quarantine.as_deref()
    }

    /// For how long the write in flight has been so, if that is longer than a working disk takes.
    #[must_use]
    pub fn hung_write_ms(&self, now: Now) -> Option<u64> {
        self.state.disk_hangs_for_ms(now)?;
        Some(self.state.storage.write_takes_ms(now.monotonic_ms))
    }

    /// How many entries at the end of the log are in memory only.
    #[must_use]
    pub fn unpersisted(&self) -> u64 {
        self.state.log.last().index.0 - self.state.storage.durable_index().0
    }

    /// The newest configuration in the log.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.state.log.configuration()
    }

    /// The rules in force at the end of the log.
    #[must_use]
    pub fn rules(&self) -> RuleVersion {
        self.state.log.rules()
    }

    /// The newest rules that all nodes know, as the leader of the log's newest epoch last named them; `None` if it has
    /// named none to this node. A candidate counts nodes that it has not heard from with these.
    #[must_use]
    pub fn common_rules(&self) -> Option<RuleVersion> {
        self.state.common_rules()
    }

    /// The newest rules that this program knows.
    #[must_use]
    pub const fn newest_rules(&self) -> RuleVersion {
        self.state.config.newest_rules
    }

    /// What the leader knows about each follower; empty unless this node leads.
    #[must_use]
    pub fn followers(&self, now: Now) -> Vec<FollowerView> {
        match &self.role {
            Role::Leader(leader) => leader.views(&self.state, now),
            Role::Follower(_) | Role::Candidate(_) => Vec::new(),
        }
    }

    /// Whether this node leads and still expects a follower's response to this append. It makes no use of others that arrive.
    #[must_use]
    pub fn awaits_response(&self, from: &NodeId, id: RequestId) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.awaits(from, id))
    }

    /// What this node knows of all nodes' clocks, its own among them.
    #[must_use]
    pub fn clocks(&self, now: Now) -> Vec<ClockView> {
        self.state.cluster_clock.views(now, &self.state.config.node_id)
    }

    /// The clocks that this node judges false.
    #[must_use]
    pub const fn falsetickers(&self) -> &BTreeSet<NodeId> {
        self.state.cluster_clock.falsetickers()
    }

    /// The time that a majority of clocks shows; `None` while no majority agrees.
    #[must_use]
    pub fn cluster_time(&self, now: Now) -> Option<ClusterTime> {
        self.state.cluster_clock.time(now)
    }

    /// How far the true time can be from the stamps that the leader of the promised epoch gives, in milliseconds, as it
    /// last named it; `None` if it has named none, or no majority of clocks agrees.
    #[must_use]
    pub fn time_error_ms(&self) -> Option<u64> {
        let (epoch, error_ms) = self.state.time_error_named;
        error_ms.filter(|_| epoch == self.state.promised_epoch())
    }

    /// How often this node opened an epoch since it started.
    #[must_use]
    pub const fn elections_won(&self) -> u64 {
        self.state.elections_won
    }

    /// An entry, if memory still holds it.
    #[must_use]
    pub fn cached_entry(&self, index: LogIndex) -> Option<&Arc<Entry>> {
        self.state.log.entry(index)
    }

    /// The position at an index, if memory still knows its hash.
    #[must_use]
    pub fn cached_position(&self, index: LogIndex) -> Option<Position> {
        self.state.log.position(index)
    }

    /// The bounds of its batches and memory.
    #[must_use]
    pub const fn limits(&self) -> Limits {
        self.state.config.limits
    }

    /// Whether this node accepts proposals: it leads an open epoch and is not handing over. See also
    /// [`Replica::tail_is_full`].
    #[must_use]
    pub fn takes_proposals(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.takes_proposals()) && self.state.quarantine.is_none()
    }

    /// Whether so much waits for a quorum, or for this node's own disk, that a proposal must be refused for now.
    #[must_use]
    pub fn tail_is_full(&self) -> bool {
        self.state.tail_is_full()
    }
}
