//! The followers' responses to appends, and followers that are gone.

use super::handler::LeaderHandler;
use super::progress::Progress;
use crate::domain::{Epoch, LogIndex, Timestamp};
use crate::planted::{Bug, planted};
use crate::replication::effect::RequestId;
use crate::replication::transition::Transition;
use crate::replication::types::{NodeId, Now, StoreId};

/// What every response to an append names besides its content.
pub(in crate::replication) struct Answered<'a> {
    pub(in crate::replication) id: RequestId,
    pub(in crate::replication) from: &'a NodeId,
    pub(in crate::replication) round: u64,
    pub(in crate::replication) store_id: StoreId,
}

impl LeaderHandler<'_> {
    /// A follower has stored everything up to `matched`.
    pub(in crate::replication) fn on_appended(
        &mut self,
        now: Now,
        answered: &Answered<'_>,
        matched: LogIndex,
        clock: Timestamp,
    ) -> Option<Transition> {
        if self.leader.awaits(answered.from, answered.id) {
            self.state.clocks.record(now, answered.from, clock);
        }
        let progress = self.take_awaited(now, answered)?;
        if matched > progress.acknowledged {
            progress.acknowledged = matched;
            progress.stalled_since_ms = None;
        }
        progress.matched = matched;
        progress.next = progress.next.max(progress.matched.next());
        let transition = self.advance_commit(now);
        if transition.is_none() {
            self.answer_reads();
        }
        transition
    }

    /// A follower's log differs from this one at the position before the batch. Its entry at `index` is of `epoch`,
    /// which begins there at `epoch_start`.
    pub(in crate::replication) fn on_mismatch(
        &mut self,
        now: Now,
        answered: &Answered<'_>,
        (index, epoch, epoch_start): (LogIndex, Epoch, LogIndex),
    ) {
        let agreed = self.state.log.agreement(index, epoch, epoch_start);
        let Some(progress) = self.take_awaited(now, answered) else { return };
        progress.next = agreed.next();
        progress.matched = progress.matched.min(agreed);
        progress.stalled_since_ms = None;
        progress.loaded = Vec::new();
        self.answer_reads();
    }

    /// The progress of the follower that responds, if its response is expected; from now on it is not.
    fn take_awaited(&mut self, now: Now, answered: &Answered<'_>) -> Option<&mut Progress> {
        let progress = self.leader.followers.get_mut(answered.from)?;
        if !progress.take_awaited(answered.id) {
            return None;
        }
        progress.on_answered(answered.id, now);
        progress.confirmed_round = progress.confirmed_round.max(answered.round);
        if progress.store_id.replace(answered.store_id) != Some(answered.store_id) && !planted(Bug::WipedStoreCounts) {
            // Before the epoch's first entry is committed, the commit index may be behind what was committed under
            // another leader; that entry is above all of it.
            progress.reset_for_new_store(self.state.commit_index.max(self.leader.start));
        }
        Some(progress)
    }

    pub(in crate::replication) fn on_append_unanswered(&mut self, id: RequestId, to: &NodeId) {
        if let Some(progress) = self.leader.followers.get_mut(to) {
            progress.on_unanswered(id);
        }
    }

    /// A follower refuses an append.
    pub(in crate::replication) fn on_append_refused(&mut self, id: RequestId, from: &NodeId) {
        if let Some(progress) = self.leader.followers.get_mut(from) {
            progress.on_refused(id);
        }
    }

    /// A node has promised `promised`. If that is higher than this leader's epoch, the leadership is over. It is over,
    /// too, if a follower promised this very epoch to another node: it would never follow, so a new epoch has to begin.
    pub(in crate::replication) fn on_fenced(
        &mut self,
        id: RequestId,
        from: &NodeId,
        promised: Epoch,
    ) -> Option<Transition> {
        let to_this_leadership = self.leader.awaits(from, id);
        self.on_append_unanswered(id, from);
        let epoch = self.leader.epoch;
        let is_over = promised > epoch || (promised == epoch && to_this_leadership);
        is_over.then_some(Transition::StepDown)
    }

    /// A follower's process is gone.
    pub(in crate::replication) fn on_peer_gone(&mut self, peer: &NodeId) {
        if let Some(progress) = self.leader.followers.get_mut(peer) {
            progress.on_process_gone();
        }
    }
}
