//! The commit rule, the opening of the epoch, and the end of a leadership that no quorum supports.

use super::handler::LeaderHandler;
use super::progress::Progress;
use crate::planted::{Bug, planted};
use crate::replication::effect::CoordinationCommand;
use crate::replication::transition::Transition;
use crate::replication::types::Now;

impl LeaderHandler<'_> {
    /// Commits the highest index that a majority of voters has durable and whose entry is of this epoch.
    pub(in crate::replication) fn advance_commit(&mut self, now: Now) -> Option<Transition> {
        let early = planted(Bug::LeaderCountsItselfEarly);
        let own = if early { self.state.log.last().index } else { self.state.storage.durable_index() };
        let on_quorum = self.quorum_value(own, Progress::counted);
        let is_of_this_epoch = on_quorum >= self.leader.start || planted(Bug::OldEpochCommits);
        if !is_of_this_epoch || on_quorum <= self.state.commit_index {
            return None;
        }
        self.state.commit_index = on_quorum;
        self.open_epoch();
        self.finish_transfer(now)
    }

    /// The epoch's first entry is committed: proposals are accepted from now on.
    fn open_epoch(&mut self) {
        if !self.leader.open {
            self.leader.open = true;
            self.state.elections_won += 1;
            self.state.coordinate(CoordinationCommand::PublishLeader { epoch: self.leader.epoch });
        }
    }

    /// On every tick: steps down if no quorum answers or its disk hangs; completes or cancels a transfer.
    pub(in crate::replication) fn on_tick(&mut self, now: Now) -> Option<Transition> {
        let supported_ms = self.quorum_value(now.monotonic_ms, |progress| progress.supported_ms(now));
        if supported_ms > 0 {
            self.state.confirmed_ms = Some(supported_ms);
        }
        let heard_ms = supported_ms.max(self.leader.began_ms);
        if now.monotonic_ms > heard_ms + self.state.config.timing.step_down_ms {
            return Some(Transition::StepDown);
        }
        self.cancel_late_transfer(now);
        self.leave_hung_disk(now)
            .or_else(|| self.leave_if_unreached(now))
            .or_else(|| self.leave_if_unfit(now))
            .or_else(|| self.finish_transfer(now))
    }

    /// A leader whose own disk hangs lets a follower lead that has everything, or else steps down: its quorum has lost
    /// a member, its own reads cannot follow, and what it cannot write stays in memory.
    fn leave_hung_disk(&mut self, now: Now) -> Option<Transition> {
        let hangs_for_ms = self.state.disk_hangs_for_ms(now).filter(|_| !planted(Bug::HungWriteIgnored))?;
        if hangs_for_ms > self.state.config.timing.step_down_ms {
            Some(Transition::StepDown)
        } else if self.leader.transfer.is_none() {
            self.begin_transfer(now, None)
        } else {
            None
        }
    }

    /// Whether a majority of the voters, this node among them, judges this leader's clock false.
    fn is_judged_false(&self, now: Now) -> bool {
        if !self.state.own_clock_is_false() {
            return false;
        }
        let within_ms = self.state.config.timing.heartbeat_timeout_ms;
        self.quorum_value(true, |progress| progress.judges_false && progress.answered_within(now, within_ms))
    }

    /// A leader that is not fit to lead, or whose clock is false, hands over to a follower that can take over at once, if
    /// there is one. If its clock is the reason, that of the follower must be right.
    fn leave_if_unfit(&mut self, now: Now) -> Option<Transition> {
        let is_false = self.is_judged_false(now);
        if !self.state.should_give_way(now, is_false) || !self.leader.takes_proposals() {
            return None;
        }
        let falsetickers = self.state.cluster_clock.falsetickers();
        let successor = self.near_follower(now, |node| !is_false || !falsetickers.contains(node))?;
        self.state.give_way(now, is_false);
        self.begin_transfer(now, Some(successor))
    }
}
