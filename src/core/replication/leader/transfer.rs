//! Transfer of the leadership: proposals are refused until a follower has everything, which then is named as successor.

use super::handler::{LeaderHandler, Transfer, can_succeed};
use super::progress::Progress;
use crate::planted::{Bug, planted};
use crate::replication::config::{MOVE_PAUSE_MS, TRANSFER_TIMEOUT_MS};
use crate::replication::effect::Outgoing;
use crate::replication::message::Request;
use crate::replication::transition::Transition;
use crate::replication::types::{NodeId, Now};

impl LeaderHandler<'_> {
    /// Begins a transfer, to a particular follower or to whichever is ready first. If none can take over, nothing is
    /// begun: proposals would be refused in vain.
    pub(in crate::replication) fn begin_transfer(&mut self, now: Now, to: Option<NodeId>) -> Option<Transition> {
        self.begin(now, to, false)
    }

    /// Begins to move the leadership to a follower with better links.
    pub(super) fn begin_move(&mut self, now: Now, to: NodeId) -> Option<Transition> {
        self.begin(now, Some(to), true)
    }

    fn begin(&mut self, now: Now, to: Option<NodeId>, for_links: bool) -> Option<Transition> {
        let in_vain = self.successors(now, to.as_ref()).next().is_none() && !planted(Bug::TransferInVain);
        if !self.leader.open || in_vain {
            return None;
        }
        self.leader.transfer = Some(Transfer { to, until_ms: now.monotonic_ms + TRANSFER_TIMEOUT_MS, for_links });
        self.finish_transfer(now)
    }

    pub(super) fn cancel_late_transfer(&mut self, now: Now) {
        self.leader.transfer.take_if(|transfer| now.monotonic_ms >= transfer.until_ms);
    }

    /// Names the successor once everything is committed and a follower has it all that can take an epoch.
    pub(super) fn finish_transfer(&mut self, now: Now) -> Option<Transition> {
        let successor = self.ready_successor(now)?;
        if self.leader.transfer.as_ref().is_some_and(|transfer| transfer.for_links) {
            // If this move is in vain, payments are taken for a while before the next one. If another node leads after
            // it, there is nothing to wait for.
            self.state.election.no_move_before_ms = now.monotonic_ms + MOVE_PAUSE_MS;
        }
        let epoch = self.leader.epoch;
        for node in self.state.others() {
            let request = Request::Transfer { epoch, successor: successor.clone() };
            self.state.send(&node, Outgoing::Plain(request));
        }
        Some(Transition::HandOver)
    }

    fn ready_successor(&self, now: Now) -> Option<NodeId> {
        let transfer = self.leader.transfer.as_ref()?;
        let last = self.state.log.last().index;
        if self.state.commit_index < last {
            return None;
        }
        let mut successors = self.successors(now, transfer.to.as_ref());
        successors.find(|(_, progress)| progress.matched == last).map(|(node, _)| node.clone())
    }

    /// The followers that answer and can lead; only the named one, if one is named.
    fn successors(&self, now: Now, named: Option<&NodeId>) -> impl Iterator<Item = (&NodeId, &Progress)> {
        let timeout_ms = self.state.config.timing.heartbeat_timeout_ms;
        self.leader.followers.iter().filter(move |(node, progress)| {
            named.is_none_or(|named| named == *node)
                && progress.answered_within(now, timeout_ms)
                && can_succeed(self.state, node, progress)
        })
    }
}
