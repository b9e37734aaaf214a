//! What request handlers and the node's own tasks watch.

use quorapay_core::domain::{Epoch, LogIndex};
use quorapay_core::engine::ViewsLag;
use quorapay_core::replication::NodeId;

/// How far the node is: small, and updated with every batch of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// Highest index that reads here show.
    pub applied_index: LogIndex,
    /// The epoch that this node has promised.
    pub epoch: Epoch,
    /// The leader, if it takes proposals as far as this node knows.
    pub leader: Option<NodeId>,
    /// When a leader last confirmed this node's commit index, in the clock's milliseconds.
    pub confirmed_ms: Option<u64>,
    /// How far the views are behind.
    pub views_lag: ViewsLag,
    /// How far the true time can be from the stamps that the leader gives now, in milliseconds, if that is known.
    pub time_error_ms: Option<u64>,
    /// Whether the node is quarantined.
    pub quarantined: bool,
}
