//! Faults that last: a healthy cluster must get over each within a bound, and not only after it has ended.

use super::SETTLING_TIME;
use super::knobs::SECOND;
use super::world::World;

/// The leadership must have moved this long after no other node can open connections to the leader.
pub(crate) const MOVES_WITHIN: u64 = 3 * SECOND;

impl World {
    /// From now on no other node can open connections to this one.
    pub(crate) fn close_to_others(&mut self, node: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.links.close(other, node);
        }
    }

    /// In a cluster that has settled, nobody can reach the leader for a while.
    pub(crate) fn close_the_leader_off(&mut self) {
        if self.knobs.nodes < 3 {
            return;
        }
        let Some(leader) = self.oracle.leader(self.now) else { return };
        self.close_to_others(leader);
        let end = self.now + MOVES_WITHIN;
        while self.oracle.leader(self.now).is_none_or(|now| now == leader) {
            assert!(self.now < end, "node{} leads though no other node can open a connection to it", leader + 1);
            self.run_until(self.now + SECOND / 10);
        }
        self.links.mend();
        self.settle(SETTLING_TIME);
    }
}
