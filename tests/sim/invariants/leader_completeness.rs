//! Invariant: the leader of an epoch has in its log, from its first append on, everything that was committed in earlier
//! epochs. So every acknowledged payment is in every later leader's log.

use quorapay_core::domain::{Epoch, LogIndex};

use super::committed_history::CommittedHistory;
use crate::node::Node;

/// Checks the leader's log in memory or, for older entries, on its disk.
pub(super) fn check(leader: &Node, epoch: Epoch, history: &CommittedHistory) {
    let Some(entry) = history.last_before(epoch) else { return };
    let index: LogIndex = entry.index;
    let in_memory = leader.process.as_ref().and_then(|process| process.engine.replica().cached_position(index));
    let held = in_memory.or_else(|| leader.disk.position(index));
    assert_eq!(held, Some(entry.position()), "{} leads epoch {epoch} without the committed {entry:?}", leader.id);
}
